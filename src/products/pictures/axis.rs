//! Axes: from values to places on the sheet, and the numbers beside them.

use crate::quality::page::{Axis, Scale};

/// An axis with its ends settled.
#[derive(Clone, Debug)]
pub struct Ruler {
    /// Linear or by powers of ten.
    scale: Scale,
    /// Ends, low first.
    pub ends: [f64; 2],
    /// Places of the ends on the sheet.
    pub places: [f64; 2],
}

/// Room between data and the ends of an axis that is taken from them.
const MARGIN: f64 = 0.04;

impl Ruler {
    /// An axis between two places; `data` gives its ends when the axis itself does not. `None` without any usable number.
    pub fn new(axis: &Axis, data: impl Iterator<Item = f64>, places: [f64; 2]) -> Option<Ruler> {
        let usable = |value: &f64| value.is_finite() && (axis.scale == Scale::Linear || *value > 0.0);
        let given = axis.range.filter(|ends| ends.iter().all(usable) && ends[0] < ends[1]);
        let ends = match given {
            Some(ends) => ends,
            None => {
                let (low, high) = data
                    .filter(usable)
                    .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
                if low > high {
                    return None;
                }
                widened(axis.scale, [low, high])
            }
        };
        Some(Ruler { scale: axis.scale, ends, places })
    }

    /// The same axis from zero, when it is linear and took its ends from data above zero.
    pub fn standing(mut self, axis: &Axis) -> Ruler {
        if axis.range.is_none() && self.scale == Scale::Linear && self.ends[1] > 0.0 {
            self.ends[0] = self.ends[0].max(0.0);
        }
        self
    }

    /// Where a value lies on the sheet; not finite for a value that the axis cannot show.
    pub fn place(&self, value: f64) -> f64 {
        let [low, high] = self.ends.map(|end| self.even(end));
        let t = (self.even(value) - low) / (high - low);
        self.places[0] + t * (self.places[1] - self.places[0])
    }

    /// Whether a value lies between the ends.
    pub fn holds(&self, value: f64) -> bool {
        self.ends[0] <= value && value <= self.ends[1]
    }

    fn even(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => value,
            Scale::Log if value > 0.0 => value.log10(),
            Scale::Log => f64::NAN,
        }
    }

    /// Round values with their texts, as many as fit when each needs so many points of print.
    pub fn ticks(&self, spacing: f64) -> Vec<(f64, String)> {
        let room = (self.places[1] - self.places[0]).abs();
        let wanted = (room / spacing.max(1.0)).clamp(2.0, 12.0);
        match self.scale {
            Scale::Linear => linear(self.ends, wanted),
            Scale::Log => decades(self.ends, wanted),
        }
    }

    /// Minor values between those of a logarithmic axis.
    pub fn minor(&self) -> Vec<f64> {
        let [low, high] = self.ends.map(f64::log10);
        if self.scale == Scale::Linear || !(high - low).is_finite() || high - low > 6.0 {
            return Vec::new();
        }
        let powers = low.floor() as i32..=high.ceil() as i32;
        let all = powers.flat_map(|power| (2..10).map(move |k| f64::from(k) * 10f64.powi(power)));
        all.filter(|value| self.holds(*value)).collect()
    }
}

/// Ends with a margin; a single value gets some room about it.
fn widened(scale: Scale, [low, high]: [f64; 2]) -> [f64; 2] {
    match scale {
        Scale::Linear => {
            let span = high - low;
            let room = if span > 1e-12 * low.abs().max(high.abs()) { MARGIN * span } else { 0.5 * low.abs().max(1.0) };
            [low - room, high + room]
        }
        Scale::Log => {
            let room = if high > low { (high / low).powf(MARGIN) } else { 2.0 };
            [low / room, high * room]
        }
    }
}

fn linear([low, high]: [f64; 2], wanted: f64) -> Vec<(f64, String)> {
    let rough = (high - low) / wanted;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|k| k * power).into_iter().find(|step| *step >= 0.999 * rough);
    // a range that is too small for its numbers has no ticks
    let Some(step) = step.filter(|step| *step > 1e-13 * low.abs().max(high.abs())) else { return Vec::new() };
    let (first, last) = ((low / step - 1e-6).ceil(), (high / step + 1e-6).floor());
    let count = (last - first).clamp(0.0, 40.0) as usize;
    let values: Vec<f64> = (0..=count).map(|k| (first + k as f64) * step).collect();
    let largest = values.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    values.into_iter().map(|value| (value, tick_text(value, step, largest))).collect()
}

/// The number with as many decimals as the step needs; by powers of ten when it is very large or small.
fn tick_text(value: f64, step: f64, largest: f64) -> String {
    if value == 0.0 || value.abs() < 1e-9 * step {
        return "0".to_string();
    }
    if !(1e-4..1e6).contains(&largest) {
        let power = largest.log10().floor() as i32;
        let unit = 10f64.powi(power);
        let decimals = (-(step / unit).log10().floor()).clamp(0.0, 6.0) as usize;
        let lead = format!("{:.decimals$}", value / unit);
        return minus(if lead == "1" { format!("10^{{{power}}}") } else { format!("{lead}×10^{{{power}}}") });
    }
    let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
    minus(format!("{value:.decimals$}"))
}

fn minus(text: String) -> String {
    text.replace('-', "−")
}

fn decades([low, high]: [f64; 2], wanted: f64) -> Vec<(f64, String)> {
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let span = high.log10() - low.log10();
    let text = |value: f64, power: i32| {
        if (-3..=4).contains(&power) {
            minus(format!("{value:.decimals$}", decimals = (-power).max(0) as usize))
        } else {
            let lead = (value / 10f64.powi(power)).round();
            let lead = if lead == 1.0 { String::new() } else { format!("{lead}×") };
            minus(format!("{lead}10^{{{power}}}"))
        }
    };
    let leads: &[f64] = if span < 1.2 {
        &[1.0, 2.0, 3.0, 5.0, 7.0]
    } else if span < 2.5 {
        &[1.0, 2.0, 5.0]
    } else {
        &[1.0]
    };
    let every = ((span / wanted).ceil() as i32).max(1);
    let mut ticks = Vec::new();
    for power in (first..=last).filter(|power| power.rem_euclid(every) == 0) {
        for lead in leads {
            let value = lead * 10f64.powi(power);
            if value >= low * 0.9999 && value <= high * 1.0001 {
                ticks.push((value, text(value, power)));
            }
        }
    }
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ruler(axis: Axis, data: &[f64]) -> Option<Ruler> {
        Ruler::new(&axis, data.iter().copied(), [100.0, 300.0])
    }

    fn texts(ruler: &Ruler) -> Vec<String> {
        ruler.ticks(40.0).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn ends_come_from_the_axis_or_from_finite_data() {
        let given = ruler(Axis::from_to("", 0.0, 10.0), &[]).unwrap();
        assert_eq!((given.place(0.0), given.place(10.0), given.place(5.0)), (100.0, 300.0, 200.0));
        let found = ruler(Axis::new(""), &[f64::NAN, 0.0, 100.0, f64::INFINITY]).unwrap();
        assert_eq!(found.ends, [-4.0, 104.0]);
        assert!(ruler(Axis::new(""), &[f64::NAN]).is_none());
        assert!(ruler(Axis::from_to("", f64::NAN, 1.0), &[]).is_none());
        assert!(ruler(Axis::new("").log(), &[-1.0, 0.0]).is_none());
        let one = ruler(Axis::new(""), &[7.0]).unwrap();
        assert!(one.ends[0] < 7.0 && one.ends[1] > 7.0);
    }

    #[test]
    fn ticks_are_round() {
        let ticks = |low, high| texts(&ruler(Axis::from_to("", low, high), &[]).unwrap());
        assert_eq!(ticks(0.0, 10.0), ["0", "2", "4", "6", "8", "10"]);
        assert_eq!(ticks(-0.1, 0.1), ["−0.10", "−0.05", "0", "0.05", "0.10"]);
        assert_eq!(ticks(0.0, 4e6), ["0", "10^{6}", "2×10^{6}", "3×10^{6}", "4×10^{6}"]);
        assert!(ticks(1.0, 1.0 + 1e-15).is_empty());
    }

    #[test]
    fn a_logarithmic_axis_has_decades() {
        let ruler = ruler(Axis::from_to("", 1.0, 1e6).log(), &[]).unwrap();
        assert_eq!(ruler.place(1e3), 200.0);
        assert!(ruler.place(-1.0).is_nan());
        assert!(texts(&ruler).contains(&"10^{6}".to_string()));
        let short = Ruler::new(&Axis::from_to("", 300.0, 2500.0).log(), [].into_iter(), [0.0, 300.0]).unwrap();
        assert_eq!(texts(&short), ["300", "500", "700", "1000", "2000"]);
        assert!(short.minor().contains(&400.0));
    }
}
