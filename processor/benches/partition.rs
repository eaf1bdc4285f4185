//! One partition on a real log and a real store: folding what lies on the log, and answering for a month.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use track_log::embedded::{self, EmbeddedLog};
use track_log::{Append as _, NewRecord};
use track_processor::{Config, Processor, ProcessorError, SessionPair};
use track_proto::event::{self, Event, VERSION};
use track_proto::v1::partitions_client::PartitionsClient;
use track_proto::v1::{GroupBy, QueryRequest};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// 2025-01-01T00:00:00Z.
const NEW_YEAR_MS: i64 = 1_735_689_600_000;
const NEW_YEAR: i32 = 20_089;
const EVENTS: u64 = 100_000;
const USERS: u64 = 5_000;
const BATCH: u64 = 10_000;

/// A log of `EVENTS` events through 30 days, a quarter of them plays and stops.
fn fill(dir: &Path, runtime: &Runtime) -> Arc<EmbeddedLog> {
    let log = EmbeddedLog::open(embedded::Config::new(dir.join("log"), 1), Arc::new(|| NEW_YEAR_MS)).unwrap();
    let record = |n: u64| {
        let names = ["play", "page_view", "click", "search", "stop", "scroll", "like", "share"];
        let draw = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        // Users come and go by the square: some are hot.
        let user_id = format!("user-{}", (draw % USERS) * (draw % USERS) / USERS);
        let event = Event {
            event_id: format!("{n:036x}"),
            event: names[usize::try_from(n % 8).unwrap()].to_owned(),
            user_id: user_id.clone(),
            timestamp_ms: NEW_YEAR_MS + 30 * DAY_MS * i64::try_from(n).unwrap() / i64::try_from(EVENTS).unwrap(),
            received_at_ms: NEW_YEAR_MS,
            metadata: format!(r#"{{"source":"web","detail":"{}"}}"#, "x".repeat(90)).into(),
            client_event_id: n.is_multiple_of(50),
            version: VERSION,
        };
        NewRecord { key: user_id.into(), value: event::encode(&event) }
    };
    for first in (0..EVENTS).step_by(usize::try_from(BATCH).unwrap()) {
        runtime.block_on(log.append((first..first + BATCH).map(record).collect())).unwrap();
    }
    log
}

struct Running {
    processor: Processor,
    stop: CancellationToken,
    running: JoinHandle<Result<(), ProcessorError>>,
}

impl Running {
    fn start(dir: &Path, log: &Arc<EmbeddedLog>, runtime: &Runtime) -> Self {
        let config = Config {
            data_dir: dir.to_owned(),
            instance: "bench".to_owned(),
            session_pairs: vec![SessionPair { open: "play".to_owned(), close: "stop".to_owned() }],
            session_duration_ms_max: 30 * DAY_MS,
            retention_ms: 400 * DAY_MS,
            memory_bytes_max: 512 << 20,
            accept_truncated_log: false,
            checkpoints: None,
            warm_within: None,
        };
        let processor =
            Processor::open(config, Arc::clone(log) as _, Arc::clone(log) as _, Arc::new(|| NEW_YEAR_MS)).unwrap();
        let stop = CancellationToken::new();
        let running = runtime.spawn(processor.clone().run(Arc::clone(log) as _, stop.clone()));
        Self { processor, stop, running }
    }

    fn wait_folded(&self, runtime: &Runtime) {
        let reached = |next: u64| {
            self.processor
                .owner("bench:")
                .partitions
                .iter()
                .any(|partition| partition.as_of.is_some_and(|as_of| as_of.next_offset >= next))
        };
        runtime.block_on(async {
            while !reached(EVENTS) {
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        });
    }

    fn stop(self, runtime: &Runtime) {
        self.stop.cancel();
        runtime.block_on(self.running).unwrap().unwrap();
    }
}

fn partition(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let log = fill(dir.path(), &runtime);

    let mut group = c.benchmark_group("fold");
    group.throughput(Throughput::Elements(EVENTS)).sample_size(10);
    group.bench_function("100,000 events in batches, and a flush", |b| {
        b.iter_custom(|rounds| {
            let mut took = Duration::ZERO;
            for _ in 0..rounds {
                let state = tempfile::tempdir_in(dir.path()).unwrap();
                let began = Instant::now();
                let running = Running::start(state.path(), &log, &runtime);
                running.wait_folded(&runtime);
                running.stop(&runtime);
                took += began.elapsed();
            }
            took
        });
    });
    group.finish();

    let running = Running::start(&dir.path().join("state"), &log, &runtime);
    running.wait_folded(&runtime);
    let client = PartitionsClient::new(running.processor.service());
    let question = |user_id: Option<&str>| QueryRequest {
        partition: 0,
        start_day: NEW_YEAR,
        end_day: NEW_YEAR + 29,
        timezone: "UTC".to_owned(),
        group_by: GroupBy::Day.into(),
        user_id: user_id.map(str::to_owned),
        ..QueryRequest::default()
    };
    let mut group = c.benchmark_group("query");
    for (name, user_id) in [("one user's month by day", Some("user-0")), ("all users' month by day", None)] {
        group.bench_function(name, |b| {
            b.to_async(&runtime).iter(|| async {
                let answer = client.clone().counts(question(user_id)).await.unwrap();
                assert!(!answer.into_inner().events.is_empty());
            });
        });
    }
    group.finish();
    running.stop(&runtime);
}

criterion_group!(benches, partition);
criterion_main!(benches);
