//! How long an observation takes from its last byte on the disk to its science files in the archive.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::super::super::table::{self, Column};
use super::super::super::{CliError, output};
use super::super::account::Account;
use super::landing::Landed;
use crate::catalogue::Catalogue;
use crate::catalogue::views::{Filter, ProductRow};

/// One observation: all exposures of a target, in both arms.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Observation {
    /// Its target.
    pub object: String,
    /// Raw frames that landed.
    pub frames: usize,
    /// Arms with a science file in the archive.
    pub arms: Vec<String>,
    /// Seconds from the last byte of its last frame to the confirmation of the last Phase 3 file of both arms; none when
    /// it has no such file, as a standard star, or when one is not confirmed.
    pub seconds: Option<f64>,
}

/// The observations of the night with their times, in the order in which they landed.
pub async fn observations(
    catalogue: &Catalogue,
    account: &Account,
    landed: &[Landed],
) -> Result<Vec<Observation>, CliError> {
    let deliveries = catalogue.deliveries(&Filter { limit: i64::MAX, ..Filter::default() }).await?;
    let confirmed: BTreeMap<i64, Option<i64>> =
        deliveries.iter().filter_map(|delivery| Some((delivery.product_id?, delivery.confirmed_us))).collect();
    Ok(landed.iter().map(|landed| observation(account, &confirmed, landed)).collect())
}

fn observation(account: &Account, confirmed: &BTreeMap<i64, Option<i64>>, landed: &Landed) -> Observation {
    let sets: BTreeSet<i64> =
        account.files.iter().filter(|file| landed.names.contains(&file.name)).filter_map(|file| file.set_id).collect();
    let claims: Vec<&ProductRow> = account
        .products
        .iter()
        .filter(|product| sets.contains(&product.set_id) && !product.prodcatg.is_empty())
        .collect();
    let arms: BTreeSet<String> = claims.iter().map(|product| product.arm.clone()).collect();
    let last: Option<i64> = claims.iter().map(|product| confirmed.get(&product.id).copied().flatten()).max().flatten();
    let all = claims.iter().all(|product| confirmed.get(&product.id).copied().flatten().is_some());
    Observation {
        object: landed.object.clone(),
        frames: landed.names.len(),
        arms: arms.into_iter().collect(),
        seconds: last.filter(|_| all).map(|last| (last - landed.last_byte_us) as f64 / 1e6),
    }
}

/// A row per observation, and the median.
pub fn print(observations: &[Observation]) -> Result<(), CliError> {
    const COLUMNS: [Column; 4] = [
        table::text("observation", 0),
        table::number("frames", 0),
        table::text("science files", 0),
        table::number("in the archive after", 0),
    ];
    let rows: Vec<Vec<String>> = observations
        .iter()
        .map(|observation| {
            vec![
                observation.object.clone(),
                observation.frames.to_string(),
                observation.arms.join(", "),
                observation.seconds.map(|seconds| format!("{seconds:.1} s")).unwrap_or_default(),
            ]
        })
        .collect();
    output::print(&format!("\n{}", table::render(&COLUMNS, &rows, table::terminal_width())))?;
    if let Some(median) = median(observations) {
        output::print(&format!(
            "from the last byte of an observation to its Phase 3 files confirmed by the archive, both arms: median {median:.1} s\n\n"
        ))?;
    }
    Ok(())
}

/// Median of the times, seconds; none when there is none.
pub fn median(observations: &[Observation]) -> Option<f64> {
    let mut seconds: Vec<f64> = observations.iter().filter_map(|observation| observation.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    let middle = seconds.len().checked_sub(1)? / 2;
    // The mean of the two in the middle when their number is even.
    Some((seconds[middle] + seconds[seconds.len() / 2]) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn took(seconds: Option<f64>) -> Observation {
        Observation { object: String::new(), frames: 1, arms: Vec::new(), seconds }
    }

    #[test]
    fn the_median_passes_over_observations_without_a_time() {
        assert_eq!(median(&[took(None)]), None);
        assert_eq!(median(&[took(Some(9.0)), took(None), took(Some(4.0)), took(Some(5.0))]), Some(5.0));
        assert_eq!(median(&[took(Some(4.0)), took(Some(7.0))]), Some(5.5));
    }
}
