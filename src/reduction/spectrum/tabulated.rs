//! Tables of numbers that come with the program, and functions sampled in them.

/// Lines of a table without comments, header and blank lines, split at commas.
pub(super) fn rows(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines.skip(1).map(|line| line.split(',').map(str::trim).collect())
}

/// A function at increasing places, straight between them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tabulated {
    places: Vec<f64>,
    values: Vec<f64>,
}

impl Tabulated {
    /// From a table whose first two columns are place and value.
    pub(super) fn parse(text: &'static str) -> Tabulated {
        let (places, values) = rows(text)
            .filter_map(|row| Some((row.first()?.parse::<f64>().ok()?, row.get(1)?.parse::<f64>().ok()?)))
            .unzip();
        Tabulated { places, values }
    }

    /// First and last place; `None` for an empty table.
    pub fn range(&self) -> Option<[f64; 2]> {
        Some([*self.places.first()?, *self.places.last()?])
    }

    /// Value at a place; beyond its ends that of the nearest end, NaN for an empty table.
    pub fn at(&self, place: f64) -> f64 {
        let above = self.places.partition_point(|p| *p <= place);
        match (above.checked_sub(1), self.values.get(above)) {
            (Some(below), Some(upper)) => {
                let t = (place - self.places[below]) / (self.places[above] - self.places[below]);
                self.values[below] + t * (upper - self.values[below])
            }
            (None, Some(first)) => *first,
            _ => self.values.last().copied().unwrap_or(f64::NAN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_points_it_is_straight_and_beyond_them_it_holds() {
        let table = Tabulated::parse("# a comment\nplace,value\n1,10\n3,30\n\n4,20\n");
        assert_eq!(table.range(), Some([1.0, 4.0]));
        assert_eq!([0.0, 1.0, 2.0, 3.5, 4.0, 9.0].map(|x| table.at(x)), [10.0, 10.0, 20.0, 25.0, 20.0, 20.0]);
        assert!(Tabulated::default().at(1.0).is_nan());
    }
}
