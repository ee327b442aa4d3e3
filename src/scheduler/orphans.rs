//! Jobs that were running when the process died: taken back, and what their deaths say about them.
//!
//! Most deaths are nobody's fault among the jobs: the power went, the memory killer looked for a victim, somebody sent
//! SIGKILL. A dead process cannot say which, and an innocent job that is parked is a product that is never made. But a
//! job that kills the process every time would keep everything else from being done. So the rule has two steps:
//!
//! 1. After [`SUSPECTED_AFTER`] deaths in a row a job is suspected. It still runs, but alone, after everything that can run
//!    beside other jobs, and with a pause that doubles. Nobody else is hurt by its deaths any more, or blamed for them.
//! 2. After [`PARKED_AFTER`] further deaths in a row, all of them alone, no other cause is plausible: it is parked.
//!
//! An attempt that ends in any way but the death of the process clears the count; so does an operator's retry. A process
//! that dies while no job runs shows that there is another cause, and clears every job. (A death with another job running
//! shows nothing: there may be two that kill.) A process that stops in order, if with jobs unfinished, has not died.

use super::pause_s;
use crate::catalogue::jobs::{Job, JobChange};
use crate::catalogue::{CatalogueError, WriteTx};
use crate::config::SchedulerConfig;
use crate::fault::FaultClass;

/// Deaths in a row after which a job runs alone.
const SUSPECTED_AFTER: i64 = 3;
/// Deaths in a row of a job that ran alone after which it is parked.
const PARKED_AFTER: i64 = 10;

/// Must this job run alone?
pub fn is_suspected(job: &Job) -> bool {
    job.crashes >= SUSPECTED_AFTER
}

/// Take back the jobs of processes that are gone. Returns how many there were.
pub async fn take_back(tx: &mut WriteTx, boot_id: &str, config: &SchedulerConfig) -> Result<usize, CatalogueError> {
    let died = tx.previous_died(boot_id).await?;
    let orphans = tx.orphaned_jobs(boot_id, died).await?;
    if died && orphans.is_empty() {
        tx.forgive_all_crashes().await?;
    }
    for &(job, crashes) in &orphans {
        let alone = (crashes - SUSPECTED_AFTER).max(0);
        if alone >= PARKED_AFTER {
            let error = format!("the process died {crashes} times in a row while it ran this job, {alone} times alone");
            let change = JobChange {
                why: "it is what kills the process",
                actor: "scheduler",
                class: FaultClass::Bug.code(),
                error: &error,
                ..JobChange::default()
            };
            tx.move_job(job, &["running"], "parked", &change).await?;
            continue;
        }
        let suspected = crashes >= SUSPECTED_AFTER;
        let pause = if suspected { pause_s(config, alone + 1) } else { 0.0 };
        let why = if suspected {
            format!("the process that ran it is gone, {crashes} times in a row; it runs alone in {pause:.0} s")
        } else {
            "the process that ran it is gone".to_string()
        };
        let not_before_us = if suspected { tx.now_us() + (pause * 1e6) as i64 } else { 0 };
        let change = JobChange { why: &why, actor: "scheduler", not_before_us, ..JobChange::default() };
        tx.move_job(job, &["running"], "ready", &change).await?;
        tx.forgive_attempt(job).await?;
    }
    Ok(orphans.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::JobId;
    use crate::catalogue::acts::Act;
    use crate::catalogue::seeded::Seeded;
    use crate::config::Config;

    /// The done job of the seeded night.
    const JOB: JobId = JobId(2);

    /// The job is claimed by a process that then dies; the next one takes it back.
    async fn die(seeded: &Seeded, boot: i64, config: &SchedulerConfig) -> Job {
        claim(seeded, boot).await;
        start(seeded, boot + 1, config).await
    }

    async fn claim(seeded: &Seeded, boot: i64) {
        let mut tx = seeded.catalogue.begin().await.expect("a transaction");
        assert!(tx.claim_job(JOB, &format!("boot {boot}")).await.expect("a claim"), "boot {boot}");
        tx.commit().await.expect("kept");
    }

    async fn start(seeded: &Seeded, boot: i64, config: &SchedulerConfig) -> Job {
        let boot = format!("boot {boot}");
        seeded.catalogue.record_boot(&boot, "test").await.expect("recorded");
        let mut tx = seeded.catalogue.begin().await.expect("a transaction");
        take_back(&mut tx, &boot, config).await.expect("taken back");
        tx.commit().await.expect("kept");
        seeded.catalogue.job(JOB).await.expect("a row").expect("a job")
    }

    async fn again(seeded: &Seeded) {
        seeded.catalogue.record_boot("boot 1", "test").await.expect("recorded");
        seeded.catalogue.act("ana", Act::Reprocess, &format!("job:{JOB}"), "").await.expect("admitted");
    }

    #[tokio::test]
    async fn an_innocent_job_is_never_parked_for_the_deaths_of_others() {
        let seeded = Seeded::night().await;
        let config = Config::defaults().expect("defaults").scheduler;
        again(&seeded).await;
        for boot in 1..=40 {
            let job = die(&seeded, boot, &config).await;
            assert_eq!((job.state.as_str(), job.attempts), ("ready", 0), "boot {boot}");
            if is_suspected(&job) {
                // Alone, it ends: with an error here, which is no death either.
                claim(&seeded, boot + 1).await;
                let mut tx = seeded.catalogue.begin().await.expect("a transaction");
                tx.move_job(JOB, &["running"], "ready", &JobChange::default()).await.expect("moved");
                tx.forgive_crashes(JOB).await.expect("forgiven");
                tx.forgive_attempt(JOB).await.expect("forgiven");
                tx.commit().await.expect("kept");
            }
        }
    }

    #[tokio::test]
    async fn a_process_that_dies_without_a_job_or_stops_in_order_tells_of_another_cause() {
        let seeded = Seeded::night().await;
        let config = Config::defaults().expect("defaults").scheduler;
        again(&seeded).await;
        for boot in 1..=3 {
            die(&seeded, boot, &config).await;
        }
        // It runs when the fourth process stops in order.
        claim(&seeded, 4).await;
        seeded.catalogue.record_stop("boot 4").await.expect("recorded");
        let job = start(&seeded, 5, &config).await;
        assert_eq!((job.state.as_str(), job.crashes), ("ready", 3));
        // The fifth stops in order too, without a job.
        seeded.catalogue.record_stop("boot 5").await.expect("recorded");
        assert_eq!(start(&seeded, 6, &config).await.crashes, 3);
        // The sixth dies without a job.
        assert_eq!(start(&seeded, 7, &config).await.crashes, 0);
    }

    #[tokio::test]
    async fn a_job_that_kills_the_process_runs_alone_ever_later_and_is_parked_in_the_end() {
        let seeded = Seeded::night().await;
        let config = Config::defaults().expect("defaults").scheduler;
        again(&seeded).await;
        let mut pauses = Vec::new();
        for boot in 1..=12 {
            let job = die(&seeded, boot, &config).await;
            assert_eq!(job.state, "ready", "boot {boot}");
            assert_eq!(is_suspected(&job), boot >= 3, "boot {boot}");
            let waits = seeded.catalogue.next_job_time().await.expect("a time").map_or(0, |t| t.max(0));
            pauses.push(waits);
        }
        assert_eq!(pauses[..2], [0, 0]);
        let now = seeded.catalogue.clock().now_us();
        let seconds: Vec<i64> = pauses[2..].iter().map(|at| (at - now) / 1_000_000).collect();
        assert_eq!(seconds, [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]);
        let job = die(&seeded, 13, &config).await;
        assert_eq!((job.state.as_str(), job.class.as_str()), ("parked", "bug"));

        seeded.catalogue.act("ana", Act::Retry, &format!("job:{JOB}"), "").await.expect("admitted");
        assert!(!is_suspected(&seeded.catalogue.job(JOB).await.expect("a row").expect("a job")));
    }
}
