//! The last lines of every job's log, kept with the job.
//!
//! A tracing layer copies what is said inside a span named `job` (field `job_id`) into a ring of lines; the scheduler
//! takes the ring when the job ends and stores it in the catalogue.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::sync::{LazyLock, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Lines kept per job.
const LINES: usize = 200;

static LOGS: LazyLock<Mutex<BTreeMap<i64, VecDeque<String>>>> = LazyLock::new(Mutex::default);

/// Put this layer into the subscriber to keep the logs of jobs.
#[derive(Clone, Copy, Debug, Default)]
pub struct JobLogLayer;

/// Take the lines of a job; they are forgotten here.
pub fn take(job_id: i64) -> String {
    let mut logs = LOGS.lock().unwrap_or_else(PoisonError::into_inner);
    logs.remove(&job_id).map(|lines| Vec::from(lines).join("\n")).unwrap_or_default()
}

struct JobOfSpan(i64);

#[derive(Default)]
struct JobId(Option<i64>);

impl Visit for JobId {
    fn record_i64(&mut self, field: &Field, value: i64) {
        if field.name() == "job_id" {
            self.0 = Some(value);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = value.to_string();
        } else {
            // Writing to a string cannot fail.
            let _ = write!(self.fields, " {}={value}", field.name());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            let _ = write!(self.fields, " {}={value:?}", field.name());
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for JobLogLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut job = JobId::default();
        if attributes.metadata().name() == "job" {
            attributes.record(&mut job);
        }
        if let (JobId(Some(job_id)), Some(span)) = (job, context.span(id)) {
            span.extensions_mut().insert(JobOfSpan(job_id));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let job = context
            .event_scope(event)
            .and_then(|mut scope| scope.find_map(|span| span.extensions().get::<JobOfSpan>().map(|job| job.0)));
        let Some(job) = job else { return };
        let mut line = Line::default();
        event.record(&mut line);
        let time = jiff::Timestamp::now().strftime("%H:%M:%S%.3f");
        let text = format!("{time} {:5} {}{}", event.metadata().level(), line.message, line.fields);
        let mut logs = LOGS.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = logs.entry(job).or_default();
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn lines_of_a_job_are_kept_apart_and_taken_once() {
        tracing::subscriber::with_default(tracing_subscriber::registry().with(JobLogLayer), || {
            let span = tracing::info_span!("job", job_id = 77_i64);
            span.in_scope(|| tracing::info!(frames = 5, "reading"));
            tracing::info!("outside");
        });
        let log = take(77);
        assert!(log.contains("reading frames=5") && !log.contains("outside"), "{log}");
        assert_eq!(take(77), "");
    }
}
