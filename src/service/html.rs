//! Writing HTML in which nothing that came from outside can become markup: markup is only taken from the program's own
//! text (`&'static str`), everything else is escaped on its way in.

use std::fmt::Write;

/// A piece of a page in the making.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Nothing yet.
    pub fn new() -> Html {
        Html::default()
    }

    /// Markup of the program itself.
    pub fn raw(&mut self, markup: &'static str) -> &mut Html {
        self.0.push_str(markup);
        self
    }

    /// A value from anywhere, as text between tags or inside a quoted attribute.
    pub fn text(&mut self, value: impl std::fmt::Display) -> &mut Html {
        // Writing into a String cannot fail.
        let _ = write!(Escaped(&mut self.0), "{value}");
        self
    }

    /// A value from anywhere as one segment of a URL inside a quoted attribute.
    pub fn url(&mut self, value: &str) -> &mut Html {
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                self.0.push(char::from(byte));
            } else {
                let _ = write!(self.0, "%{byte:02X}");
            }
        }
        self
    }

    /// Another piece.
    pub fn piece(&mut self, piece: &Html) -> &mut Html {
        self.0.push_str(&piece.0);
        self
    }

    /// The finished text.
    pub fn finish(self) -> String {
        self.0
    }
}

struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\n' | '\t' => self.0.push(character),
                // Characters that would not be seen, or that turn the direction of what follows, are shown as unknown.
                '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => self.0.push('\u{FFFD}'),
                hidden if hidden.is_control() => self.0.push('\u{FFFD}'),
                harmless => self.0.push(harmless),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_from_outside_cannot_become_markup() {
        let mut html = Html::new();
        html.raw("<b title=\"").text("\" onclick='x'").raw("\">").text("<script>a && b</script>\u{0}\u{202E}");
        assert_eq!(
            html.finish(),
            "<b title=\"&quot; onclick=&#39;x&#39;\">&lt;script&gt;a &amp;&amp; b&lt;/script&gt;\u{FFFD}\u{FFFD}"
        );
    }

    #[test]
    fn a_url_segment_keeps_only_unreserved_characters() {
        let mut html = Html::new();
        html.url("SOXS.2026-03-10T19:00:42.000/ä\"&");
        assert_eq!(html.finish(), "SOXS.2026-03-10T19%3A00%3A42.000%2F%C3%A4%22%26");
    }
}
