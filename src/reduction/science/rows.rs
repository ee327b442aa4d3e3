//! Where along the dispersion the light of a pixel would fall at the middle of the slit.
//!
//! Lines of equal wavelength lean, so that the pixels of an order sample the spectrum far more finely than one row per
//! pixel. This coordinate undoes the lean: it counts rows, and two pixels of one wavelength share it.

use ndarray::Array2;

use super::strip::Strip;

/// Wavelength against row at the middle of the slit, and that row for every pixel of a strip.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// For every pixel of the strip: its row at the middle of the slit; NaN outside the order.
    pub at: Array2<f32>,
    /// Wavelength at the middle of the slit, nm, of every whole row.
    middle: Vec<f64>,
}

impl Rows {
    /// From the wavelengths and slit positions of a strip. `None` when they do not rise or fall along the order, or
    /// fewer than four rows reach it.
    pub fn of(strip: &Strip) -> Option<Rows> {
        let middle = middle(strip)?;
        let rising = middle.last()? > middle.first()?;
        let steady = middle.windows(2).all(|pair| pair[0] != pair[1] && (pair[1] > pair[0]) == rising);
        if !steady {
            return None;
        }
        let mut rows = Rows { at: Array2::from_elem(strip.shape(), f32::NAN), middle };
        for ((r, c), wavelength) in strip.wavelength.indexed_iter() {
            if wavelength.is_finite() {
                rows.at[(r, c)] = rows.row_of(*wavelength, r) as f32;
            }
        }
        Some(rows)
    }

    /// Wavelength at the middle of the slit of a row with its fraction, nm; beyond the ends the last two rows continue.
    pub fn wavelength(&self, row: f64) -> f64 {
        let i = (row.max(0.0) as usize).min(self.middle.len() - 2);
        let (low, high) = (self.middle[i], self.middle[i + 1]);
        low + (high - low) * (row - i as f64)
    }

    /// Wavelength per row, nm, negative where it falls.
    pub fn step(&self, row: f64) -> f64 {
        let i = (row.max(0.0) as usize).min(self.middle.len() - 2);
        self.middle[i + 1] - self.middle[i]
    }

    /// Row, with its fraction, of a wavelength; `near` is where to look first.
    pub fn row_of(&self, wavelength: f64, near: usize) -> f64 {
        let last = self.middle.len() - 2;
        let mut i = near.min(last);
        let rising = self.middle[1] > self.middle[0];
        let before = |i: usize| if rising { wavelength < self.middle[i] } else { wavelength > self.middle[i] };
        while i > 0 && before(i) {
            i -= 1;
        }
        while i < last && !before(i + 1) {
            i += 1;
        }
        i as f64 + (wavelength - self.middle[i]) / (self.middle[i + 1] - self.middle[i])
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.middle.len()
    }

    /// Never true: there are at least four rows.
    pub fn is_empty(&self) -> bool {
        false
    }
}

/// Wavelength at slit position 0 in every row.
fn middle(strip: &Strip) -> Option<Vec<f64>> {
    let (rows, columns) = strip.shape();
    let known: Vec<Option<f64>> = (0..rows)
        .map(|r| {
            // the two neighbours with the middle of the slit between them
            (1..columns).find_map(|c| {
                let (s, t) = (f64::from(strip.slit[(r, c - 1)]), f64::from(strip.slit[(r, c)]));
                let between = (s <= 0.0) != (t <= 0.0);
                let (low, high) = (strip.wavelength[(r, c - 1)], strip.wavelength[(r, c)]);
                let value = low - s / (t - s) * (high - low);
                (between && value.is_finite()).then_some(value)
            })
        })
        .collect();
    let first = known.iter().position(Option::is_some)?;
    let last = known.iter().rposition(Option::is_some)?;
    if last < first + 3 {
        return None;
    }
    let mut out = vec![0.0; rows];
    let mut before = first;
    for r in first..=last {
        if let Some(value) = known[r] {
            out[r] = value;
            // rows without the middle of the slit, between two that have it
            let from = out[before];
            for (k, cell) in out.iter_mut().enumerate().take(r).skip(before + 1) {
                *cell = from + (value - from) * (k - before) as f64 / (r - before) as f64;
            }
            before = r;
        }
    }
    let slope = (out[first + 3] - out[first]) / 3.0;
    (0..first).for_each(|r| out[r] = out[first] - slope * (first - r) as f64);
    let slope = (out[last] - out[last - 3]) / 3.0;
    (last + 1..rows).for_each(|r| out[r] = out[last] + slope * (r - last) as f64);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::Scene;
    use super::*;

    #[test]
    fn pixels_of_one_wavelength_share_their_row() {
        for falling in [false, true] {
            let scene = Scene { falling, ..Scene::small() };
            let strip = scene.strip(&|_, _| 0.0);
            let rows = Rows::of(&strip).unwrap();
            for ((r, c), u) in rows.at.indexed_iter().filter(|(_, u)| u.is_finite()) {
                let expected = scene.row_at_middle(r as f64, f64::from(strip.slit[(r, c)]));
                assert!((f64::from(*u) - expected).abs() < 2e-3, "{r} {c} {u} {expected}");
                assert!((rows.wavelength(f64::from(*u)) - strip.wavelength[(r, c)]).abs() < 1e-4);
            }
            assert_eq!(rows.step(10.0) < 0.0, falling);
        }
    }

    #[test]
    fn wavelengths_that_turn_round_are_refused() {
        let mut strip = Scene::small().strip(&|_, _| 0.0);
        strip.wavelength.slice_mut(ndarray::s![20.., ..]).fill(500.0);
        assert_eq!(Rows::of(&strip), None);
    }
}
