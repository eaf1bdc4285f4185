//! What is counted.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod memory;

use memory::{MemoryLog, Mood, ingest};
use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use track_ingest::{Config, Ingest};
use track_log::AppendError;

type Counts = Arc<Mutex<BTreeMap<String, u64>>>;

/// Counts by name and labels; of a histogram, how often it was recorded to.
#[derive(Default)]
struct Counting(Counts);

struct Cell(String, Counts);

impl Cell {
    fn add(&self, value: u64) {
        *self.1.lock().unwrap().entry(self.0.clone()).or_default() += value;
    }
}

impl CounterFn for Cell {
    fn increment(&self, value: u64) {
        self.add(value);
    }

    fn absolute(&self, _: u64) {}
}

impl HistogramFn for Cell {
    fn record(&self, seconds: f64) {
        assert!(seconds >= 0.0);
        self.add(1);
    }
}

impl Counting {
    fn cell(&self, key: &Key) -> Arc<Cell> {
        let labels = key.labels().map(|label| format!("{{{}={}}}", label.key(), label.value()));
        Arc::new(Cell(key.name().to_owned() + &labels.collect::<String>(), Arc::clone(&self.0)))
    }
}

impl Recorder for Counting {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.cell(key))
    }
}

fn counted(mood: Mood) -> (Ingest, Counts) {
    let recorder = Counting::default();
    let ingest = metrics::with_local_recorder(&recorder, || ingest(&MemoryLog::new(mood), Config::default()));
    (ingest, recorder.0)
}

async fn post(ingest: &Ingest, path: &str, body: &str) {
    warp::test::request().method("POST").path(path).body(body).reply(&ingest.routes()).await;
}

fn seen(counts: &Counts) -> Vec<(String, u64)> {
    counts.lock().unwrap().clone().into_iter().collect()
}

#[tokio::test]
async fn accepted_and_rejected_events_are_counted() {
    let (ingest, counts) = counted(Mood::Takes);
    post(&ingest, "/track", r#"{"event":"a","user_id":"b"}"#).await;
    post(&ingest, "/track", r#"{"event":"a"}"#).await;
    post(&ingest, "/track", r#"{"event":"date","user_id":"b"}"#).await;
    post(
        &ingest,
        "/track/batch",
        "{\"event\":\"a\",\"user_id\":\"b\"}\n{\n{\"event\":\"a\",\"user_id\":\"b\",\"timestamp\":1}",
    )
    .await;
    post(&ingest, "/track/batch", "1\n2").await;
    post(&ingest, "/track", &" ".repeat(70_000)).await;
    let expected = [
        ("track_append_seconds", 2),
        ("track_events_accepted_total", 2),
        ("track_events_rejected_total{reason=event}", 1),
        ("track_events_rejected_total{reason=json}", 3),
        ("track_events_rejected_total{reason=timestamp}", 1),
        ("track_events_rejected_total{reason=too_large}", 1),
        ("track_events_rejected_total{reason=user_id}", 1),
    ];
    assert_eq!(seen(&counts), expected.map(|(name, count)| (name.to_owned(), count)));
}

#[tokio::test]
async fn events_that_the_log_does_not_take_are_counted_each() {
    let (ingest, counts) = counted(Mood::Fails(AppendError::Busy));
    post(&ingest, "/track/batch", "{\"event\":\"a\",\"user_id\":\"b\"}\n{\"event\":\"a\",\"user_id\":\"b\"}").await;
    assert_eq!(seen(&counts), [("track_events_rejected_total{reason=log_busy}".to_owned(), 2)]);
}
