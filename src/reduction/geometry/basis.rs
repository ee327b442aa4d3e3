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
/// A larger basis must lower the hold-out chi-square by this to be preferred.
const WORTHWHILE: f64 = 6.0;

/// A term of the basis: degrees in order number, phase and slit position.
pub(super) type Term = (usize, usize, usize);

/// The basis of an axis: highest degrees in order number and phase for each power of the slit position.
pub(super) type Layout = Vec<(usize, usize)>;

fn contains(layout: &Layout, term: &Term) -> bool {
    layout.get(term.2).is_some_and(|(n, u)| term.0 <= *n && term.1 <= *u)
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
        (_, 0) => (4..=options.max_wave).collect(),
        (true, 1) => (1..=options.max_wave.min(5)).collect(),
        (false, 1) => (0..=options.max_wave.min(5)).collect(),
        (false, _) => (0..=options.max_wave.min(5)).collect(),
        (true, _) => (0..=3).collect(),
    };
    let pairs = numbers.iter().flat_map(|n| waves.iter().map(|u| Some((*n, *u))));
    if power >= 2 { std::iter::once(None).chain(pairs).collect() } else { pairs.collect() }
}

/// What is known of the coefficients before: the guess is good to pixels in its low terms and to less in the higher ones.
pub(super) fn prior(terms: &[Term], columns: &[usize]) -> NormalSums {
    let mut sums = NormalSums::new(columns.len());
    let mut row = vec![0.0; columns.len()];
    for (k, column) in columns.iter().enumerate() {
        let (i, j, slit) = terms[*column];
        // flexure moves, turns and stretches the whole format
        let rigid = if i + j < 2 { PRIOR_RIGID } else { 1.0 };
        row[k] = 1.0 / (rigid * PRIOR * PRIOR_DECAY.powi((i + j) as i32) * PRIOR_SLIT.powi(slit as i32));
        sums.add(&row, 0.0);
        row[k] = 0.0;
    }
    sums
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
            whole.merge(&prior(terms, &columns), 1.0);
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
