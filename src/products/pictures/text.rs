//! Words: what the font can show, how long it is, how it is raised.

use super::svg::number;

/// Whether the embedded fonts have the character; the list is in `font/README.md`.
fn shown(letter: char) -> bool {
    matches!(letter,
        ' '..='~' | '\u{a0}'..='\u{ff}' | 'Α'..='Ω' | 'α'..='ω' | 'ı' | 'Œ' | 'œ' | 'Š' | 'š' | 'Ž' | 'ž' | 'ć' | 'č')
        || "–—‘’‚“”„†•…‰′″⁰⁴⁵⁶⁷⁸⁹∂∆∑−√∞≈≠≤≥".contains(letter)
}

/// A text as content of XML: markup characters escaped, `^{..}` raised, `_{..}` lowered, unknown characters as `?`.
pub fn rich(text: &str, size: f64) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['^', '_']) {
        let (before, mark) = rest.split_at(at);
        let raised = mark.starts_with('^');
        let Some((inner, after)) = mark[1..].strip_prefix('{').and_then(|mark| mark.split_once('}')) else {
            // a mark without braces is a character like others
            escape(before, &mut out);
            escape(&mark[..1], &mut out);
            rest = &mark[1..];
            continue;
        };
        escape(before, &mut out);
        let shift = if raised { -0.36 * size } else { 0.18 * size };
        out.push_str(&format!("<tspan font-size=\"{}\" dy=\"{}\">", number(0.72 * size), number(shift)));
        escape(inner, &mut out);
        out.push_str(&format!("</tspan><tspan dy=\"{}\">", number(-shift)));
        // what follows stands on the line again
        let rest_of_line = rich(after, size);
        if rest_of_line.is_empty() {
            out.truncate(out.len() - format!("<tspan dy=\"{}\">", number(-shift)).len());
        } else {
            out.push_str(&rest_of_line);
            out.push_str("</tspan>");
        }
        return out;
    }
    escape(rest, &mut out);
    out
}

fn escape(text: &str, out: &mut String) {
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            letter if shown(letter) => out.push(letter),
            letter if letter.is_whitespace() => out.push(' '),
            _ => out.push('?'),
        }
    }
}

/// About how long a text is, in points of print; a few per cent too much rather than too little.
pub fn length(text: &str, size: f64) -> f64 {
    let em = |letter: char| match letter {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '|' | '\'' | ' ' | '!' | '(' | ')' | '[' | ']' => 0.29,
        'f' | 'r' | 't' | '-' | '/' => 0.4,
        'm' | 'w' | 'M' | 'W' | '%' | '@' => 0.92,
        'A'..='Z' | '&' | '_' => 0.66,
        '^' | '{' | '}' => 0.0,
        _ => 0.575,
    };
    size * text.chars().map(em).sum::<f64>()
}

/// The text, or as much of it as fits with an ellipsis.
pub fn fitted(text: &str, size: f64, room: f64) -> String {
    if length(text, size) <= room {
        return text.to_string();
    }
    let mut short = String::new();
    for letter in text.chars() {
        if length(&short, size) + length(&letter.to_string(), size) + 0.7 * size > room {
            break;
        }
        short.push(letter);
    }
    format!("{}…", short.trim_end())
}

/// A text in lines of at most so many points of print, broken at blanks; at most `most` lines.
pub fn wrapped(text: &str, size: f64, room: f64, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let words = text.split_whitespace().flat_map(|word| pieces(word, size, room));
    for word in words {
        match lines.last_mut() {
            Some(line) if length(line, size) + length(&word, size) + 0.3 * size <= room => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    if lines.len() > most {
        let rest = lines.split_off(most.saturating_sub(1)).join(" ");
        lines.push(rest);
    }
    lines.iter().map(|line| fitted(line, size, room)).collect()
}

/// A word in pieces that fit.
fn pieces(word: &str, size: f64, room: f64) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut used = 0.0;
    for letter in word.chars() {
        let wide = length(letter.encode_utf8(&mut [0; 4]), size);
        if used + wide > room && used > 0.0 {
            pieces.push(String::new());
            used = 0.0;
        }
        used += wide;
        if let Some(last) = pieces.last_mut() {
            last.push(letter);
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_escaped_and_unknown_letters_are_question_marks() {
        assert_eq!(rich("a<b & \"c\" 漢\u{7}\n", 8.0), "a&lt;b &amp; &quot;c&quot; ?? ");
    }

    #[test]
    fn raised_text_returns_to_the_line() {
        assert_eq!(
            rich("10^{-17} erg", 10.0),
            "10<tspan font-size=\"7.2\" dy=\"-3.6\">-17</tspan><tspan dy=\"3.6\"> erg</tspan>"
        );
        assert_eq!(rich("m_{AB}", 10.0), "m<tspan font-size=\"7.2\" dy=\"1.8\">AB</tspan>");
        assert_eq!(rich("FITTED_LINES x^2 {", 10.0), "FITTED_LINES x^2 {");
        assert_eq!(rich("open ^{2", 10.0), "open ^{2");
    }

    #[test]
    fn long_text_is_cut_and_wrapped() {
        assert_eq!(fitted("short", 10.0, 100.0), "short");
        let cut = fitted("a rather long text that goes on", 10.0, 60.0);
        assert!(cut.ends_with('…') && length(&cut, 10.0) <= 62.0, "{cut}");
        let lines = wrapped("one two three four five six seven eight nine ten", 10.0, 60.0, 3);
        assert_eq!(lines.len(), 3);
        assert!(lines[2].ends_with('…'));
        assert!(wrapped("", 10.0, 60.0, 3).is_empty());
        assert_eq!(wrapped(&"x".repeat(20), 10.0, 60.0, 3).concat(), "x".repeat(20));
    }
}
