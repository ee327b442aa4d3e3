//! Which polynomials a map is made of, what is known of their coefficients before, and the choice among them by hold-out
//! tests.

use rayon::prelude::*;

use super::fit::{FitOptions, Ties};
use crate::numerics::least_squares::NormalSums;

/// Standard deviation of the difference to the guess: of the constant, pixels, its decay with each degree in order number
/// and wavelength, and with each power of the slit position.
const PRIOR: f64 = 2.0;
/// See [`PRIOR`].
const PRIOR_DECAY: f64 = 0.75;
/// See [`PRIOR`].
const PRIOR_SLIT: f64 = 0.7;
/// Factor by which a shift or a stretch may be larger than [`PRIOR`].
const PRIOR_RIGID: f64 = 10.0;
/// Degrees beyond those that may be chosen that a map is allowed for.
pub(super) const SLACK_DEGREES: usize = 2;
/// Decay of what a layout leaves out with each degree beyond it.
const SLACK_DECAY: f64 = 0.75;
/// Sizes of it that are tried, pixels, ascending.
const SLACK_SIZES: [f64; 9] = [1e-4, 1e-3, 2e-3, 4e-3, 8e-3, 0.016, 0.03, 0.06, 0.12];
/// The largest size is taken whose likelihood is not lower than the best by more than this, in logarithms: one sigma.
const SLACK_LIKELY: f64 = 0.5;
/// A larger basis must lower the hold-out chi-square by this to be preferred.
const WORTHWHILE: f64 = 6.0;

/// A term of the basis: degrees in order number, phase and slit position.
pub(super) type Term = (usize, usize, usize);

/// The basis of an axis: highest degrees in order number and phase for each power of the slit position.
pub(super) type Layout = Vec<(usize, usize)>;

fn contains(layout: &Layout, term: &Term) -> bool {
    layout.get(term.2).is_some_and(|(n, u)| term.0 <= *n && term.1 <= *u)
}

/// The terms that a layout leaves out may be there all the same, too small to be seen: coefficients of this standard
/// deviation, pixels, in the first degree beyond the layout and less in those that follow. Between the lines it changes
/// nothing; where there are none, errors grow as they must.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Slack(pub(super) f64);

impl Slack {
    /// Standard deviation of a term that the layout leaves out.
    fn sigma(self, layout: &Layout, term: &Term) -> f64 {
        let first = layout.get(term.2).map_or(0, |(_, wave)| wave + 1);
        self.0 * SLACK_DECAY.powi(term.1.saturating_sub(first) as i32)
    }
}

pub(super) fn columns_of(layout: &Layout, terms: &[Term]) -> Vec<usize> {
    (0..terms.len()).filter(|k| contains(layout, &terms[*k])).collect()
}

/// Every layout that may be tried, for one power of the slit position.
pub(super) fn choices(power: usize, options: &FitOptions) -> Vec<Option<(usize, usize)>> {
    let echelle = options.ties == Ties::Echelle;
    let numbers: Vec<usize> = match (echelle, power) {
        (false, _) => vec![0],
        (true, 0) => (3..=options.max_order).collect(),
        (true, 1) => (1..=options.max_order.min(8)).collect(),
        (true, _) => (0..=options.max_order.min(4)).collect(),
    };
    let waves: Vec<usize> = match (echelle, power) {
        (true, 0) => (4..=options.max_wave).collect(),
        (false, 0) => (options.least_wave..=options.max_wave).collect(),
        (true, 1) => (1..=options.max_wave.min(5)).collect(),
        (false, 1) => (0..=options.max_wave.min(5)).collect(),
        (false, _) => (0..=options.max_wave.min(5)).collect(),
        (true, _) => (0..=3).collect(),
    };
    let pairs = numbers.iter().flat_map(|n| waves.iter().map(|u| Some((*n, *u))));
    if power >= 2 { std::iter::once(None).chain(pairs).collect() } else { pairs.collect() }
}

/// What is known of the coefficients before: the guess is good to pixels in its low terms and to less in the higher ones.
/// Columns that are not in the layout need a slack.
pub(super) fn prior(terms: &[Term], columns: &[usize], layout: &Layout, slack: Option<Slack>) -> NormalSums {
    let mut sums = NormalSums::new(columns.len());
    let mut row = vec![0.0; columns.len()];
    for (k, column) in columns.iter().enumerate() {
        let (i, j, slit) = terms[*column];
        // flexure moves, turns and stretches the whole format
        let rigid = if i + j < 2 { PRIOR_RIGID } else { 1.0 };
        let wide = rigid * PRIOR * PRIOR_DECAY.powi((i + j) as i32) * PRIOR_SLIT.powi(slit as i32);
        let sigma = match slack {
            Some(slack) if !contains(layout, &terms[*column]) => slack.sigma(layout, &terms[*column]),
            _ => wide,
        };
        row[k] = 1.0 / sigma;
        sums.add(&row, 0.0);
        row[k] = 0.0;
    }
    sums
}

/// How large what a layout leaves out may be, by the likelihood of the places: `sums` holds all terms.
pub(super) fn slack(sums: &NormalSums, layout: &Layout, terms: &[Term]) -> Slack {
    let columns: Vec<usize> = (0..terms.len()).collect();
    let likelihood = |size: f64| -> Option<f64> {
        let before = prior(terms, &columns, layout, Some(Slack(size)));
        let mut whole = sums.clone();
        whole.merge(&before, 1.0);
        let (fitted, known) = (whole.solve()?, before.solve()?);
        let volume = known.factor.log_determinant() - fitted.factor.log_determinant();
        Some(0.5 * (volume - whole.chi_square(&fitted.coefficients)))
    };
    let likelihoods: Vec<f64> =
        SLACK_SIZES.par_iter().map(|size| likelihood(*size).unwrap_or(f64::NEG_INFINITY)).collect();
    let best = likelihoods.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let likely = SLACK_SIZES.iter().zip(&likelihoods).filter(|(_, found)| **found >= best - SLACK_LIKELY);
    Slack(likely.map(|(size, _)| *size).next_back().unwrap_or(SLACK_SIZES[SLACK_SIZES.len() - 1]))
}

/// The layout with the best choice for one power of the slit position.
pub(super) fn better(
    sums: &[NormalSums],
    layout: &Layout,
    power: usize,
    terms: &[Term],
    options: &FitOptions,
) -> Layout {
    let candidates: Vec<Layout> = choices(power, options)
        .into_iter()
        .filter_map(|choice| {
            let mut candidate = layout.clone();
            match choice {
                Some(choice) if power < candidate.len() => candidate[power] = choice,
                Some(choice) if power == candidate.len() => candidate.push(choice),
                Some(_) => return None,
                None => candidate.truncate(power),
            }
            Some(candidate)
        })
        .collect();
    let mut whole = sums[0].clone();
    sums[1..].iter().for_each(|part| whole.merge(part, 1.0));
    let scored: Vec<(f64, usize)> = candidates
        .par_iter()
        .map(|candidate| {
            let columns = columns_of(candidate, terms);
            let mut whole = whole.subset(&columns);
            whole.merge(&prior(terms, &columns, candidate, None), 1.0);
            let score = sums.iter().try_fold(0.0, |total, fold| {
                let fold = fold.subset(&columns);
                let mut rest = whole.clone();
                rest.merge(&fold, -1.0);
                rest.solve().map(|fitted| total + fold.chi_square(&fitted.coefficients))
            });
            (score.filter(|score| score.is_finite()).unwrap_or(f64::INFINITY), columns.len())
        })
        .collect();
    let best = scored.iter().map(|(score, _)| *score).fold(f64::INFINITY, f64::min);
    let chosen = (0..candidates.len())
        .filter(|k| scored[*k].0 <= best + WORTHWHILE)
        .min_by(|a, b| scored[*a].1.cmp(&scored[*b].1).then(scored[*a].0.total_cmp(&scored[*b].0)));
    chosen.map_or_else(|| layout.clone(), |k| candidates[k].clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numerics::chebyshev;

    #[test]
    fn what_a_layout_leaves_out_is_as_large_as_the_places_say() {
        let terms: Vec<Term> = (0..9).map(|j| (0, j, 0)).collect();
        let found = |bend: f64| {
            let mut sums = NormalSums::new(terms.len());
            for k in 0..200u32 {
                let mut row = [0.0; 9];
                chebyshev::values(2.0 * f64::from(k) / 199.0 - 1.0, &mut row);
                // deviations of a thousandth of a pixel, up and down
                let value = bend * row[5] + if k % 2 == 0 { 1e-3 } else { -1e-3 };
                sums.add(&row.map(|term| term / 1e-3), value / 1e-3);
            }
            slack(&sums, &vec![(0, 4)], &terms).0
        };
        assert!(found(0.0) <= 1e-3, "{}", found(0.0));
        assert!((0.008..=0.06).contains(&found(0.02)), "{}", found(0.02));
    }
}
