//! What a page of pictures shows, without any drawing: panels of data, a table of metrics, facts about the set.
//!
//! What lives here: the description that recipes fill from what they hold already. Data is thinned before it enters: an
//! image is a thumbnail of bytes, a cloud of points has some thousands. What never lives here: SVG, fonts, colours of the
//! screen, files; `products::pictures` draws a page.
//!
//! Every number may be NaN: it is left out. A panel without any finite number says that it has no data.

mod metrics;
mod thin;
mod thumbnail;

pub use thin::{histogram, profile, thinned};
pub use thumbnail::{Palette, Stretch, Thumbnail};

use super::metric::Verdict;

/// One page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// Text between the stem of the set's name and the extension; empty for the only page of a recipe.
    pub suffix: String,
    /// Name of the set that it belongs to, in the head. Recipes leave it empty; whoever named the set fills it.
    pub name: String,
    /// What the page shows: `Master bias`.
    pub title: String,
    /// One sentence under the title that says what to look for.
    pub subtitle: String,
    /// Facts beside the panels, label and value: `Frames`, `5`.
    pub facts: Vec<(String, String)>,
    /// Names of the metrics that the table shows, best first; those out of range come before them whatever their name.
    pub show: Vec<String>,
    /// Lines of the table. Recipes leave it empty; whoever judged the metrics fills it.
    pub metrics: Vec<MetricLine>,
    /// The verdict on everything, when it is known.
    pub verdict: Option<Verdict>,
    /// Panels on a grid of [`GRID`] columns and as many rows as the panels need.
    pub panels: Vec<Panel>,
}

/// Columns of the grid of panels.
pub const GRID: usize = 12;

/// A line of the table of metrics, in the words that are shown.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricLine {
    /// Name with the order: `X RES SD u`.
    pub name: String,
    /// Value with unit, or why it is absent.
    pub value: String,
    /// Acceptable range; empty without one.
    pub range: String,
    /// Verdict.
    pub verdict: Verdict,
}

/// Where a panel stands on the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// First column, 0 at the left.
    pub column: usize,
    /// Columns, at least 1.
    pub columns: usize,
    /// First row, 0 at the top.
    pub row: usize,
    /// Rows, at least 1.
    pub rows: usize,
}

impl Cell {
    /// `columns` x `rows` cells from column and row.
    pub fn new(column: usize, columns: usize, row: usize, rows: usize) -> Cell {
        Cell { column, columns, row, rows }
    }
}

/// One pair of axes with data.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// Place.
    pub cell: Cell,
    /// Title above it.
    pub title: String,
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis, pointing up.
    pub y: Axis,
    /// Data, drawn in this order.
    pub layers: Vec<Layer>,
    /// Bar of colours at the right, for values of colour.
    pub bar: Option<Bar>,
}

impl Panel {
    /// An empty panel.
    pub fn new(cell: Cell, title: &str, x: Axis, y: Axis) -> Panel {
        Panel { cell, title: title.to_string(), x, y, layers: Vec::new(), bar: None }
    }

    /// With one more layer on top.
    #[must_use]
    pub fn with(mut self, layer: Layer) -> Panel {
        self.layers.push(layer);
        self
    }

    /// With more layers on top.
    #[must_use]
    pub fn with_all(mut self, layers: impl IntoIterator<Item = Layer>) -> Panel {
        self.layers.extend(layers);
        self
    }

    /// With a bar of colours.
    #[must_use]
    pub fn with_bar(mut self, bar: Bar) -> Panel {
        self.bar = Some(bar);
        self
    }
}

/// How an axis divides its range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    #[default]
    Linear,
    /// By powers of ten; what is not positive is left out.
    Log,
}

/// An axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Axis {
    /// Quantity and unit: `wavelength / nm`. `^{..}` raises, `_{..}` lowers.
    pub label: String,
    /// Linear or logarithmic.
    pub scale: Scale,
    /// Ends; `None` takes them from the data.
    pub range: Option<[f64; 2]>,
    /// Ticks with their text; empty takes round numbers.
    pub ticks: Vec<(f64, String)>,
    /// Without numbers, for panels that share the axis of one below.
    pub bare: bool,
}

impl Axis {
    /// A linear axis whose ends come from the data.
    pub fn new(label: &str) -> Axis {
        Axis { label: label.to_string(), ..Axis::default() }
    }

    /// A linear axis with given ends.
    pub fn from_to(label: &str, from: f64, to: f64) -> Axis {
        Axis { range: Some([from, to]), ..Axis::new(label) }
    }

    /// The same axis divided by powers of ten.
    #[must_use]
    pub fn log(mut self) -> Axis {
        self.scale = Scale::Log;
        self
    }

    /// The same axis without its numbers.
    #[must_use]
    pub fn bare(mut self) -> Axis {
        self.bare = true;
        self
    }
}

/// A bar that says which colour means which value.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// Quantity and unit.
    pub label: String,
    /// Value of the lowest and the highest colour.
    pub range: [f64; 2],
    /// Colours.
    pub palette: Palette,
}

/// Colour of a layer by its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// Text and axes.
    Black,
    /// What stands back: guides, limits.
    Grey,
    /// A series of data, by number; neighbours differ for every kind of colour vision.
    Series(usize),
    /// What is expected or ideal.
    Model,
    /// What was left out.
    Rejected,
    /// Drawn over an image.
    Overlay,
}

/// Data of a panel. Points are `[x, y]` in the units of the axes.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// An image.
    Image {
        /// Its bytes; row 0 is at the bottom.
        thumbnail: Thumbnail,
        /// Left and right edge.
        x: [f64; 2],
        /// Lower and upper edge.
        y: [f64; 2],
    },
    /// A line; a point that is not finite breaks it.
    Line {
        /// Points.
        points: Vec<[f64; 2]>,
        /// Colour.
        ink: Ink,
        /// Width in points of print.
        width: f64,
        /// Dashed.
        dashed: bool,
        /// Text of the legend; empty for none.
        name: String,
    },
    /// What lies between two curves: `[x, low, high]`.
    Band {
        /// Triples.
        points: Vec<[f64; 3]>,
        /// Colour.
        ink: Ink,
        /// Text of the legend; empty for none.
        name: String,
    },
    /// Dots of one colour.
    Dots {
        /// Points.
        points: Vec<[f64; 2]>,
        /// Colour.
        ink: Ink,
        /// Diameter in points of print.
        size: f64,
        /// Text of the legend; empty for none.
        name: String,
    },
    /// Dots coloured by a value: `[x, y, value]`.
    Values {
        /// Triples.
        points: Vec<[f64; 3]>,
        /// Value of the lowest and the highest colour.
        range: [f64; 2],
        /// Colours.
        palette: Palette,
        /// Diameter in points of print.
        size: f64,
    },
    /// A histogram.
    Bars {
        /// Edges of the bins, one more than counts.
        edges: Vec<f64>,
        /// Height of each bin.
        counts: Vec<f64>,
        /// Colour.
        ink: Ink,
        /// Text of the legend; empty for none.
        name: String,
    },
    /// A shaded range of x over the whole height.
    Span {
        /// Ends.
        x: [f64; 2],
        /// Text at its top; empty for none.
        name: String,
    },
    /// A horizontal line over the whole width.
    Level {
        /// Where.
        y: f64,
        /// Colour.
        ink: Ink,
        /// Text of the legend; empty for none.
        name: String,
    },
    /// A vertical line over the whole height.
    Mark {
        /// Where.
        x: f64,
        /// Colour.
        ink: Ink,
        /// Text at its top; empty for none.
        name: String,
    },
    /// A word at a point.
    Word {
        /// Its middle.
        at: [f64; 2],
        /// Text.
        text: String,
        /// Colour.
        ink: Ink,
    },
}

impl Layer {
    /// A solid line without a legend.
    pub fn line(points: Vec<[f64; 2]>, ink: Ink) -> Layer {
        Layer::Line { points, ink, width: 1.0, dashed: false, name: String::new() }
    }

    /// Dots without a legend.
    pub fn dots(points: Vec<[f64; 2]>, ink: Ink) -> Layer {
        Layer::Dots { points, ink, size: 1.8, name: String::new() }
    }

    /// The layer with a text in the legend.
    #[must_use]
    pub fn named(mut self, text: &str) -> Layer {
        match &mut self {
            Layer::Line { name, .. }
            | Layer::Band { name, .. }
            | Layer::Dots { name, .. }
            | Layer::Bars { name, .. }
            | Layer::Span { name, .. }
            | Layer::Level { name, .. }
            | Layer::Mark { name, .. } => *name = text.to_string(),
            Layer::Word { text: own, .. } => *own = text.to_string(),
            Layer::Image { .. } | Layer::Values { .. } => {}
        }
        self
    }
}
