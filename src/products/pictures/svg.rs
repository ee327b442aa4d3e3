//! A scene under construction: shapes appended to a string of SVG.

use std::fmt::Write;

use super::text::rich;

/// A rectangle: left, top, width, height; y points down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame {
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// Width.
    pub w: f64,
    /// Height.
    pub h: f64,
}

impl Frame {
    /// Right edge.
    pub fn right(&self) -> f64 {
        self.x + self.w
    }

    /// Lower edge.
    pub fn bottom(&self) -> f64 {
        self.y + self.h
    }
}

/// Which end of a text lies at its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text looks.
#[derive(Clone, Copy, Debug)]
pub struct Font {
    /// Height of the letters.
    pub size: f64,
    /// Colour.
    pub colour: &'static str,
    /// Semibold.
    pub bold: bool,
    /// Point of reference.
    pub anchor: Anchor,
}

/// Family of the embedded regular font.
pub const REGULAR: &str = "Open Sans";
/// Family of the embedded bold font.
pub const BOLD: &str = "Open Sans Semibold";

/// The scene.
pub struct Scene {
    body: String,
    size: [f64; 2],
    gradients: usize,
}

/// A coordinate in hundredths of a point, short. What is not finite or far out must not come here; it would be drawn at
/// the edge of the world.
pub fn number(value: f64) -> String {
    let value = if value.is_finite() { value.clamp(-1e5, 1e5) } else { 0.0 };
    let text = format!("{value:.2}");
    let short = text.trim_end_matches('0').trim_end_matches('.');
    if short == "-0" { "0".to_string() } else { short.to_string() }
}

impl Scene {
    /// A white sheet.
    pub fn new(width: f64, height: f64) -> Scene {
        let mut scene = Scene { body: String::new(), size: [width, height], gradients: 0 };
        scene.fill(Frame { x: 0.0, y: 0.0, w: width, h: height }, "#ffffff", 1.0);
        scene
    }

    /// The whole document.
    pub fn finish(self) -> String {
        let [w, h] = self.size.map(number);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" xmlns:xlink=\"http://www.w3.org/1999/xlink\" width=\"{w}\" \
             height=\"{h}\" viewBox=\"0 0 {w} {h}\">\n{}</svg>\n",
            self.body
        )
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        // writing to a string cannot fail
        let _ = self.body.write_fmt(text);
        self.body.push('\n');
    }

    /// A filled rectangle.
    pub fn fill(&mut self, frame: Frame, colour: &str, opacity: f64) {
        let [x, y, w, h] = [frame.x, frame.y, frame.w.max(0.0), frame.h.max(0.0)].map(number);
        let opacity = if opacity < 1.0 { format!(" fill-opacity=\"{}\"", number(opacity)) } else { String::new() };
        self.push(format_args!("<rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" fill=\"{colour}\"{opacity}/>"));
    }

    /// A filled rectangle with round corners.
    pub fn pill(&mut self, frame: Frame, colour: &str) {
        let [x, y, w, h, r] = [frame.x, frame.y, frame.w, frame.h, 0.25 * frame.h].map(number);
        self.push(format_args!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" rx=\"{r}\" fill=\"{colour}\"/>"
        ));
    }

    /// The outline of a rectangle.
    pub fn outline(&mut self, frame: Frame, colour: &str, width: f64) {
        let [x, y, w, h, s] = [frame.x, frame.y, frame.w, frame.h, width].map(number);
        self.push(format_args!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{s}\"/>"
        ));
    }

    /// A stroked path; `dash` is an SVG dash pattern or empty. An empty path is not drawn.
    pub fn stroke(&mut self, path: &str, colour: &str, width: f64, dash: &str) {
        if path.is_empty() {
            return;
        }
        let dash = if dash.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{dash}\"") };
        self.push(format_args!(
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{}\" stroke-linejoin=\"round\"{dash}/>",
            number(width)
        ));
    }

    /// A filled path. An empty path is not drawn.
    pub fn area(&mut self, path: &str, colour: &str, opacity: f64) {
        if !path.is_empty() {
            self.push(format_args!("<path d=\"{path}\" fill=\"{colour}\" fill-opacity=\"{}\"/>", number(opacity)));
        }
    }

    /// Round dots of one colour and diameter.
    pub fn dots(&mut self, points: &[[f64; 2]], colour: &str, size: f64, opacity: f64) {
        if points.is_empty() {
            return;
        }
        let mut path = String::with_capacity(points.len() * 20);
        for [x, y] in points {
            // a stroke of almost no length with round ends is a dot
            let _ = write!(path, "M{} {}h.01", number(*x), number(*y));
        }
        let opacity = if opacity < 1.0 { format!(" stroke-opacity=\"{}\"", number(opacity)) } else { String::new() };
        self.push(format_args!(
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{}\" stroke-linecap=\"round\"{opacity}/>",
            number(size)
        ));
    }

    /// A text at a point of its base line; `^{..}` raises and `_{..}` lowers. `turned` reads upwards.
    pub fn text(&mut self, at: [f64; 2], text: &str, font: Font, turned: bool) {
        if text.trim().is_empty() {
            return;
        }
        let [x, y, size] = [at[0], at[1], font.size].map(number);
        let anchor = match font.anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let family = if font.bold { BOLD } else { REGULAR };
        let turn = if turned { format!(" transform=\"rotate(-90 {x} {y})\"") } else { String::new() };
        let content = rich(text, font.size);
        self.push(format_args!(
            "<text x=\"{x}\" y=\"{y}\" font-family=\"{family}\" font-size=\"{size}\" fill=\"{}\"{anchor}{turn}>{content}</text>",
            font.colour
        ));
    }

    /// An image from the bytes of a PNG file, its pixels as sharp squares.
    pub fn image(&mut self, frame: Frame, png: &[u8]) {
        let [x, y, w, h] = [frame.x, frame.y, frame.w, frame.h].map(number);
        let data = base64(png);
        self.push(format_args!(
            "<image x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" preserveAspectRatio=\"none\" \
             image-rendering=\"optimizeSpeed\" xlink:href=\"data:image/png;base64,{data}\"/>"
        ));
    }

    /// A rectangle that changes its colour from bottom to top.
    pub fn gradient(&mut self, frame: Frame, colours: &[String]) {
        self.gradients += 1;
        let id = format!("g{}", self.gradients);
        let last = colours.len().saturating_sub(1).max(1) as f64;
        let stops: String = colours
            .iter()
            .enumerate()
            .map(|(k, colour)| format!("<stop offset=\"{}\" stop-color=\"{colour}\"/>", number(k as f64 / last)))
            .collect();
        self.push(format_args!(
            "<linearGradient id=\"{id}\" x1=\"0\" y1=\"1\" x2=\"0\" y2=\"0\">{stops}</linearGradient>"
        ));
        self.fill(frame, &format!("url(#{id})"), 1.0);
    }
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for part in bytes.chunks(3) {
        let byte = |k: usize| u32::from(part.get(k).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for k in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * k) & 63) as usize];
            out.push(if k <= part.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_the_standard_examples() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn numbers_are_short_and_finite() {
        let cases = [(1.0, "1"), (-0.001, "0"), (12.345, "12.35"), (0.5, "0.5"), (f64::NAN, "0"), (1e300, "100000")];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }
}
