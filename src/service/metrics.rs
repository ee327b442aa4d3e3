//! `/metrics`: the numbers for Prometheus, counted afresh at every scrape, so that they are right after a restart and there
//! is nothing to forget to increment. Text in the OpenMetrics form, which every Prometheus reads.

use std::fmt;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::error::{ApiError, ErrorBody};
use super::{App, ServiceInfo, health};
use crate::catalogue::measures::{Count, JOB_SECONDS, JobSeconds, Measures, Seconds};
use crate::fault::FaultClass;

/// Type of the answer, as OpenMetrics 1.0 has it.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Numbers for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "machines",
    summary = "Numbers for Prometheus",
    description = "OpenMetrics text. All names begin with soxsd_ and end with their unit.",
    responses(
        (status = 200, description = "OpenMetrics text", content_type = "application/openmetrics-text", body = String),
        (status = 503, description = "The catalogue does not answer in time", body = ErrorBody),
    )
)]
pub(super) async fn metrics(State(app): State<App>) -> Result<Response, ApiError> {
    let work = app.reader.path().parent().unwrap_or(std::path::Path::new(".")).to_path_buf();
    // A dying disk can keep statvfs waiting: it waits on a thread of its own.
    let machine = tokio::task::spawn_blocking(move || Machine::look(&work));
    let snapshot = Snapshot {
        measures: app.within(app.reader.measures()).await?,
        paused: health::paused(&app).await?.is_some(),
        loops: app.liveness.ages(),
        info: app.info.clone(),
        machine: machine.await.unwrap_or_default(),
    };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(snapshot));
    let mut body = String::new();
    text::encode(&mut body, &registry).map_err(|_| {
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            FaultClass::Bug,
            "metrics",
            "the metrics could not be written as text",
            "please report it",
        )
    })?;
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], body).into_response())
}

/// What the machine says.
#[derive(Debug, Default)]
struct Machine {
    /// Free bytes on the disk of the work folder, for us.
    free: Option<u64>,
    /// Memory in use by the process, bytes.
    resident: Option<u64>,
}

impl Machine {
    fn look(work: &std::path::Path) -> Machine {
        let free = rustix::fs::statvfs(work).ok().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        Machine { free, resident: resident_bytes() }
    }
}

/// VmRSS of this process; the kernel writes it in kB of 1024 bytes.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes.saturating_mul(1024))
}

/// Everything one scrape shows.
#[derive(Debug)]
struct Snapshot {
    measures: Measures,
    paused: bool,
    loops: Vec<(&'static str, f64)>,
    info: ServiceInfo,
    machine: Machine,
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let encoder = &mut encoder;
        self.encode_counts(encoder)?;
        self.encode_ages(encoder)?;
        encode_job_seconds(encoder, &self.measures.job_seconds)?;
        self.encode_process(encoder)
    }
}

impl Snapshot {
    fn encode_counts(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let measures = &self.measures;
        counts(encoder, "soxsd_files", "Files below the raw roots by state", [None, Some("state")], &measures.files)?;
        counts(
            encoder,
            "soxsd_frames",
            "Frames by arm and by what is done with them",
            [Some("arm"), Some("usage")],
            &measures.frames,
        )?;
        counts(encoder, "soxsd_sets", "Sets of frames by arm and state", [Some("arm"), Some("state")], &measures.sets)?;
        counts(encoder, "soxsd_jobs", "Jobs by recipe and state", [Some("recipe"), Some("state")], &measures.jobs)?;
        counts(
            encoder,
            "soxsd_products",
            "Products by state and QC verdict",
            [Some("state"), Some("verdict")],
            &measures.products,
        )?;
        counts(
            encoder,
            "soxsd_deliveries",
            "Deliveries by sink and state",
            [Some("sink"), Some("state")],
            &measures.deliveries,
        )?;
        counts(
            encoder,
            "soxsd_alerts",
            "Open alerts by kind and severity",
            [Some("kind"), Some("severity")],
            &measures.alerts,
        )?;
        counts(
            encoder,
            "soxsd_monitor_nights",
            "Nights closed, published or reopened for the quality monitor",
            [None, Some("state")],
            &measures.monitor_nights,
        )
    }

    fn encode_ages(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let measures = &self.measures;
        seconds(
            encoder,
            "soxsd_oldest_undelivered_seconds",
            "Age of the oldest delivery that is not confirmed; absent when there is none",
            "sink",
            &measures.oldest_undelivered,
        )?;
        single(
            encoder,
            "soxsd_oldest_waiting_set_seconds",
            "Age of the oldest set that waits for frames or for a calibration; absent when there is none",
            measures.oldest_waiting_set,
        )?;
        single(
            encoder,
            "soxsd_oldest_ready_job_seconds",
            "Age of the oldest job that could run and does not; absent when there is none",
            measures.oldest_ready_job,
        )?;
        seconds(
            encoder,
            "soxsd_exposure_to_product_seconds",
            "End of the last exposure to product, newest product of each recipe",
            "recipe",
            &measures.exposure_to_product,
        )?;
        seconds(
            encoder,
            "soxsd_exposure_to_archive_seconds",
            "End of the last exposure to the archive's confirmation, newest confirmed product of each sink",
            "sink",
            &measures.exposure_to_archive,
        )?;
        single(
            encoder,
            "soxsd_last_frame_taken_timestamp_seconds",
            "When the last frame was taken in, seconds since 1970 UTC",
            measures.last_frame_taken_us.map(unix_seconds),
        )?;
        single(
            encoder,
            "soxsd_last_exposure_timestamp_seconds",
            "Start of the latest exposure known, seconds since 1970 UTC",
            measures.last_exposure_us.map(unix_seconds),
        )
    }

    fn encode_process(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        single(
            encoder,
            "soxsd_paused",
            "1 when no recipe is started, see /readyz for the reason",
            Some(f64::from(u8::from(self.paused))),
        )?;
        let ages: Vec<Seconds> =
            self.loops.iter().map(|(name, age)| Seconds { group: (*name).to_string(), seconds: *age }).collect();
        seconds(encoder, "soxsd_loop_tick_age_seconds", "Time since the last tick of each loop", "loop", &ages)?;
        single(
            encoder,
            "soxsd_work_free_bytes",
            "Free space on the disk of the work folder",
            self.machine.free.map(|bytes| bytes as f64),
        )?;
        single(
            encoder,
            "soxsd_resident_memory_bytes",
            "Memory in use by the process (VmRSS)",
            self.machine.resident.map(|bytes| bytes as f64),
        )?;
        single(
            encoder,
            "soxsd_process_start_timestamp_seconds",
            "When the process started, seconds since 1970 UTC",
            Some(unix_seconds(self.info.started_us)),
        )?;
        let mut metric =
            encoder.encode_descriptor("soxsd_build_info", "Version of the running program", None, MetricType::Gauge)?;
        let labels = [("version", self.info.version.as_str()), ("boot_id", self.info.boot_id.as_str())];
        metric.encode_family(&labels)?.encode_gauge(&1_i64)
    }
}

/// One gauge per row, with the group and the state as labels where they have a name.
fn counts(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    labels: [Option<&'static str>; 2],
    rows: &[Count],
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for row in rows {
        let [group, state] = labels;
        let named: Vec<(&str, &str)> = [(group, &row.group), (state, &row.state)]
            .into_iter()
            .filter_map(|(n, v)| Some((n?, v.as_str())))
            .collect();
        metric.encode_family(&named)?.encode_gauge(&row.n)?;
    }
    Ok(())
}

/// One gauge per row, labelled by its group.
fn seconds(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    label: &'static str,
    rows: &[Seconds],
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for row in rows {
        metric.encode_family(&[(label, row.group.as_str())])?.encode_gauge(&row.seconds)?;
    }
    Ok(())
}

/// One gauge without labels, when there is a value.
fn single(encoder: &mut DescriptorEncoder, name: &str, help: &str, value: Option<f64>) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    match value {
        Some(value) => metric.encode_gauge(&value),
        None => Ok(()),
    }
}

fn encode_job_seconds(encoder: &mut DescriptorEncoder, rows: &[JobSeconds]) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(
        "soxsd_job_duration_seconds",
        "Time from start to end of finished jobs",
        None,
        MetricType::Histogram,
    )?;
    for row in rows {
        let bounds = JOB_SECONDS.into_iter().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(row.intervals).collect();
        let count = row.intervals.iter().sum();
        metric
            .encode_family(&[("recipe", row.recipe.as_str())])?
            .encode_histogram::<NoLabelSet>(row.total, count, &buckets, None)?;
    }
    Ok(())
}

fn unix_seconds(us: i64) -> f64 {
    us as f64 / 1e6
}
