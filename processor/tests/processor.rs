//! The processor from the outside: events on a real embedded log, answers over its own gRPC service.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "processor/checkpoints.rs"]
mod checkpoints;
#[path = "processor/damage.rs"]
mod damage;

use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use track_log::embedded::{self, EmbeddedLog};
use track_log::{Append, NewRecord, Position, ReadLog};
use track_processor::{Config, OpenError, PartitionsService, Processor, ProcessorError, SessionPair};
use track_proto::v1::partitions_client::PartitionsClient;
use track_proto::v1::partitions_server::PartitionsServer;
use track_proto::v1::{BucketCount, CountsAnswer, Event, EventCounts, PartitionState, QueryRequest, SessionRow};
use track_proto::{clock::Clock, event};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const HOUR_MS: i64 = 60 * 60 * 1000;
/// 2025-01-01T00:00:00Z.
const NEW_YEAR_MS: i64 = 1_735_689_600_000;
const NEW_YEAR: i32 = 20_089;
/// Shorter than the longest wait for a position, so that a wait which nothing ends is noticed.
const DEADLINE: Duration = Duration::from_secs(20);

/// A log and a processor on it, both in one folder, with a clock that the test moves.
struct Track {
    now_ms: Arc<AtomicI64>,
    log: Arc<EmbeddedLog>,
    dead_letters: Arc<EmbeddedLog>,
    processor: Processor,
    stop: CancellationToken,
    running: JoinHandle<Result<(), ProcessorError>>,
}

fn clock(now_ms: &Arc<AtomicI64>) -> Clock {
    let now_ms = Arc::clone(now_ms);
    Arc::new(move || now_ms.load(Ordering::SeqCst))
}

fn open_log(dir: &Path, partition_count: u32, clock: Clock) -> Arc<EmbeddedLog> {
    let config = embedded::Config {
        dir: dir.to_owned(),
        partition_count,
        retention_ms: 10_000 * DAY_MS,
        segment_bytes_max: 1 << 20,
        queue_bytes_max: 64 << 20,
    };
    EmbeddedLog::open(config, clock).unwrap()
}

fn config(dir: &Path) -> Config {
    Config {
        data_dir: dir.join("state"),
        instance: "test".into(),
        session_pairs: vec![SessionPair { open: "play".into(), close: "stop".into() }],
        session_duration_ms_max: 30 * DAY_MS,
        retention_ms: 400 * DAY_MS,
        memory_bytes_max: 64 << 20,
        accept_truncated_log: false,
        checkpoints: None,
        warm_within: None,
    }
}

impl Track {
    fn start(dir: &Path) -> Self {
        Self::start_with(dir, config(dir))
    }

    fn start_with(dir: &Path, config: Config) -> Self {
        let now_ms = Arc::new(AtomicI64::new(NEW_YEAR_MS));
        let log = open_log(&dir.join("log"), 1, clock(&now_ms));
        let dead_letters = open_log(&dir.join("dead-letter"), 1, clock(&now_ms));
        let processor =
            Processor::open(config, Arc::clone(&log) as _, Arc::clone(&dead_letters) as _, clock(&now_ms)).unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn(processor.clone().run(Arc::clone(&log) as _, stop.clone()));
        Self { now_ms, log, dead_letters, processor, stop, running }
    }

    async fn stop(self) -> Result<(), ProcessorError> {
        self.stop.cancel();
        self.running.await.unwrap()
    }

    fn client(&self) -> PartitionsClient<PartitionsServer<PartitionsService>> {
        PartitionsClient::new(self.processor.service())
    }

    async fn append(&self, events: impl IntoIterator<Item = Event>) -> Vec<Position> {
        let records = events
            .into_iter()
            .map(|event| NewRecord { key: event.user_id.clone().into(), value: event::encode(&event) })
            .collect();
        self.log.append(records).await.unwrap()
    }

    /// Lets the log's time go on to `now_ms`, in steps that are believed: a record a day, of years ago.
    async fn pass_to(&self, now_ms: i64) {
        loop {
            let next_ms = (self.now_ms.load(Ordering::SeqCst) + DAY_MS).min(now_ms);
            self.now_ms.store(next_ms, Ordering::SeqCst);
            self.append([event("clock", "tick", 0)]).await;
            if next_ms == now_ms {
                break;
            }
        }
    }

    async fn applied(&self) {
        let end = self.log.bounds(0).unwrap().end;
        poll("the partition is folded to its end", || {
            let owner = self.processor.owner("test:");
            owner.partitions.iter().any(|partition| {
                partition.state() == PartitionState::Serving
                    && partition.as_of.is_some_and(|as_of| as_of.next_offset >= end)
            })
        })
        .await;
    }

    async fn counts(&self, request: QueryRequest) -> Vec<(i64, String, u64)> {
        self.applied().await;
        rows_of(self.client().counts(request).await.unwrap().into_inner())
    }

    /// (bucket, sessions, seconds).
    async fn sessions(&self, request: QueryRequest) -> Vec<(i64, u64, u64)> {
        self.applied().await;
        let mut rows: Vec<_> = self
            .client()
            .sessions(request)
            .await
            .unwrap()
            .into_inner()
            .rows
            .into_iter()
            .map(|SessionRow { bucket, count, duration_ms_sum }| (bucket, count, duration_ms_sum / 1000))
            .collect();
        rows.sort_unstable();
        rows
    }
}

/// (bucket, event, count), in order.
fn rows_of(answer: CountsAnswer) -> Vec<(i64, String, u64)> {
    let of_event = |EventCounts { event, buckets }| {
        buckets.into_iter().map(move |BucketCount { bucket, count }| (bucket, event.clone(), count))
    };
    let mut rows: Vec<_> = answer.events.into_iter().flat_map(of_event).collect();
    rows.sort();
    rows
}

async fn poll(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn event(user_id: &str, name: &str, timestamp_ms: i64) -> Event {
    Event {
        event: name.into(),
        user_id: user_id.into(),
        timestamp_ms,
        received_at_ms: timestamp_ms,
        ..Event::default()
    }
}

fn with_id(event_id: &str, event: Event) -> Event {
    Event { event_id: event_id.into(), client_event_id: true, ..event }
}

/// The days around New Year 2025, in UTC.
fn january() -> QueryRequest {
    QueryRequest { start_day: NEW_YEAR, end_day: NEW_YEAR + 30, ..QueryRequest::default() }
}

fn of_user(user_id: &str) -> QueryRequest {
    QueryRequest { user_id: Some(user_id.into()), ..january() }
}

const DAY: i64 = NEW_YEAR as i64;

#[tokio::test]
async fn events_are_counted_by_day_by_user_and_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let track = Track::start(dir.path());
    track
        .append([
            event("ann", "play", NEW_YEAR_MS),
            event("ann", "play", NEW_YEAR_MS + DAY_MS - 1),
            event("ann", "stop", NEW_YEAR_MS + DAY_MS),
            event("bob", "play", NEW_YEAR_MS + HOUR_MS),
            event("ann:bob", "like", NEW_YEAR_MS),
            event("bob", "play", NEW_YEAR_MS - 1),
        ])
        .await;
    assert_eq!(
        track.counts(january()).await,
        [(DAY, "like".into(), 1), (DAY, "play".into(), 3), (DAY + 1, "stop".into(), 1)]
    );
    assert_eq!(track.counts(of_user("ann")).await, [(DAY, "play".into(), 2), (DAY + 1, "stop".into(), 1)]);
    let only_stop = QueryRequest { events: vec!["stop".into()], ..january() };
    assert_eq!(track.counts(only_stop).await, [(DAY + 1, "stop".into(), 1)]);
    // In Kolkata the new year came five and a half hours earlier; bob's play just before midnight UTC is in it.
    let kolkata = QueryRequest { timezone: "Asia/Kolkata".into(), ..january() };
    assert_eq!(
        track.counts(kolkata).await,
        [(DAY, "like".into(), 1), (DAY, "play".into(), 3), (DAY + 1, "play".into(), 1), (DAY + 1, "stop".into(), 1)]
    );
    let kolkata_ann = QueryRequest { timezone: "Asia/Kolkata".into(), ..of_user("ann") };
    assert_eq!(
        track.counts(kolkata_ann).await,
        [(DAY, "play".into(), 1), (DAY + 1, "play".into(), 1), (DAY + 1, "stop".into(), 1)]
    );
    track.stop().await.unwrap();
}

/// More rows than are read on the thread that was asked, and rows that have to be read from the disk.
#[tokio::test]
async fn what_is_not_at_hand_is_answered_too() {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<_> = (0..1_500).map(|number| format!("event-{number:04}")).collect();
    let expected: Vec<_> = names.iter().map(|name| (DAY, name.clone(), 1)).collect();
    let track = Track::start(dir.path());
    track.append(names.iter().map(|name| event("ann", name, NEW_YEAR_MS))).await;
    track.append([event("bob", "play", NEW_YEAR_MS), event("bob", "stop", NEW_YEAR_MS + HOUR_MS)]).await;
    assert_eq!(track.counts(of_user("ann")).await, expected);
    track.stop().await.unwrap();

    let track = Track::start(dir.path());
    assert_eq!(track.sessions(of_user("bob")).await, [(DAY, 1, 3600)]);
    assert_eq!(track.counts(of_user("ann")).await, expected);
    assert_eq!(track.counts(of_user("bob")).await, [(DAY, "play".into(), 1), (DAY, "stop".into(), 1)]);
    let owner = track.processor.owner("test:");
    assert_eq!(owner.partitions[0].state(), PartitionState::Serving);
    track.stop().await.unwrap();
}

#[tokio::test]
async fn sessions_are_paired_by_event_time_and_paired_anew_by_late_events() {
    let dir = tempfile::tempdir().unwrap();
    let track = Track::start(dir.path());
    track.append([event("ann", "stop", NEW_YEAR_MS + 4 * HOUR_MS), event("ann", "play", NEW_YEAR_MS + HOUR_MS)]).await;
    assert_eq!(track.sessions(january()).await, [(DAY, 1, 3 * 3600)]);
    // A late stop between them takes the play over; the old stop closes nothing then.
    track.append([event("ann", "stop", NEW_YEAR_MS + 2 * HOUR_MS)]).await;
    assert_eq!(track.sessions(january()).await, [(DAY, 1, 3600)]);
    // A late play, the day before, is what the old stop closes: a session of the day on which it started.
    track.append([event("ann", "play", NEW_YEAR_MS - HOUR_MS)]).await;
    assert_eq!(track.sessions(january()).await, [(DAY, 1, 3600)]);
    let december = QueryRequest { start_day: NEW_YEAR - 31, end_day: NEW_YEAR - 1, ..QueryRequest::default() };
    assert_eq!(track.sessions(december.clone()).await, [(DAY - 1, 1, 5 * 3600)]);
    assert_eq!(track.sessions(QueryRequest { user_id: Some("bob".into()), ..december.clone() }).await, []);
    assert_eq!(track.sessions(QueryRequest { events: vec!["stop".into()], ..december.clone() }).await.len(), 1);
    assert_eq!(track.sessions(QueryRequest { events: vec!["like".into()], ..december }).await, []);
    track.stop().await.unwrap();
}

#[tokio::test]
async fn a_batch_that_is_much_work_is_written_piece_by_piece() {
    let dir = tempfile::tempdir().unwrap();
    let track = Track::start(dir.path());
    // Each of these stops takes over the play of every one that came before it.
    let edges: i64 = 3_000;
    track.append((0..edges).map(|n| event("ann", "play", NEW_YEAR_MS + n * 1000))).await;
    track.append((0..edges).rev().map(|n| event("ann", "stop", NEW_YEAR_MS + (edges + n) * 1000))).await;
    track.append([Event::default()]).await;
    let seconds: i64 = (0..edges).map(|n| edges + n - (edges - 1 - n)).sum();
    assert_eq!(track.sessions(january()).await, [(DAY, edges.unsigned_abs(), seconds.unsigned_abs())]);
    track.stop().await.unwrap();
}

#[tokio::test]
async fn an_event_id_counts_once_for_its_user_for_thirty_days() {
    let dir = tempfile::tempdir().unwrap();
    let track = Track::start(dir.path());
    let sent = || with_id("1", event("ann", "like", NEW_YEAR_MS));
    track.append([sent(), sent(), with_id("1", event("bob", "like", NEW_YEAR_MS))]).await;
    track.append([sent()]).await;
    assert_eq!(track.counts(january()).await, [(DAY, "like".into(), 2)]);
    track.pass_to(NEW_YEAR_MS + 30 * DAY_MS - 1000).await;
    track.append([sent()]).await;
    assert_eq!(track.counts(january()).await, [(DAY, "like".into(), 2)]);
    track.pass_to(NEW_YEAR_MS + 30 * DAY_MS).await;
    track.append([sent()]).await;
    assert_eq!(track.counts(january()).await, [(DAY, "like".into(), 3)]);
    track.stop().await.unwrap();
}

#[tokio::test]
async fn counts_are_over_when_their_day_was_not_touched_for_the_retention() {
    let dir = tempfile::tempdir().unwrap();
    let track = Track::start(dir.path());
    track.append([event("ann", "like", NEW_YEAR_MS), event("ann", "play", NEW_YEAR_MS + DAY_MS)]).await;
    track.pass_to(NEW_YEAR_MS + 300 * DAY_MS).await;
    track.append([event("ann", "like", NEW_YEAR_MS + HOUR_MS)]).await;
    // The first day was touched a hundred days before, the second one is over; in every time zone alike.
    track.pass_to(NEW_YEAR_MS + 400 * DAY_MS).await;
    assert_eq!(track.counts(january()).await, [(DAY, "like".into(), 2)]);
    assert_eq!(track.counts(of_user("ann")).await, [(DAY, "like".into(), 2)]);
    let hours = QueryRequest { group_by: track_proto::v1::GroupBy::Hour.into(), ..january() };
    assert_eq!(track.counts(hours).await, [(DAY * 24, "like".into(), 1), (DAY * 24 + 1, "like".into(), 1)]);
    // What is over is not built upon.
    track.append([event("ann", "play", NEW_YEAR_MS + DAY_MS)]).await;
    assert_eq!(track.counts(of_user("ann")).await, [(DAY, "like".into(), 2), (DAY + 1, "play".into(), 1)]);
    track.stop().await.unwrap();
}

/// Bytes of the partition's table files.
fn table_bytes(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir.join("state/partition-0000")).unwrap().map(Result::unwrap);
    let tables = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "sst"));
    // One that a compaction has just taken away has no length any more.
    tables.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}

#[tokio::test]
async fn what_is_over_leaves_the_disk_without_being_asked() {
    let dir = tempfile::tempdir().unwrap();
    let track = Track::start(dir.path());
    let id = |n: u64| {
        format!("{:016x}{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15), n.wrapping_mul(0xbf58_476d_1ce4_e5b9))
    };
    for thousand in 0..20 {
        track.append((0..1_000).map(|n| with_id(&id(thousand * 1_000 + n), event("ann", "like", NEW_YEAR_MS)))).await;
    }
    let pass_day = async |day: i64| {
        track.now_ms.store(NEW_YEAR_MS + day * DAY_MS, Ordering::SeqCst);
        track.append([event("bob", "like", NEW_YEAR_MS)]).await;
    };
    pass_day(1).await;
    poll("the marks are on disk", || table_bytes(dir.path()) > 200_000).await;
    let full = table_bytes(dir.path());
    for day in 2..=38 {
        pass_day(day).await;
    }
    poll("the marks are off the disk", || table_bytes(dir.path()) < full / 10).await;
    assert_eq!(track.counts(january()).await, [(DAY, "like".into(), 20_038)], "the day is not over");
    track.stop().await.unwrap();
}

#[tokio::test]
async fn a_stopped_processor_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let track = Track::start(dir.path());
    track.append((0..100).map(|n| with_id(&n.to_string(), event("ann", "like", NEW_YEAR_MS)))).await;
    track.applied().await;
    track.stop().await.unwrap();

    let track = Track::start(dir.path());
    track.append((0..150).map(|n| with_id(&n.to_string(), event("ann", "like", NEW_YEAR_MS)))).await;
    assert_eq!(track.counts(january()).await, [(DAY, "like".into(), 150)]);
    track.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_not_an_event_is_buried_and_the_partition_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let track = Track::start(dir.path());
    let garbage = NewRecord { key: Bytes::from_static(b"ann"), value: Bytes::from_static(b"\xff garbage") };
    track.log.append(vec![garbage]).await.unwrap();
    track.append([event("ann", "like", NEW_YEAR_MS)]).await;
    assert_eq!(track.counts(january()).await, [(DAY, "like".into(), 1)]);

    let mut letters = Vec::new();
    track.dead_letters.reader(0, 0).unwrap().read(&mut letters, 10, Duration::ZERO).unwrap();
    let letter: track_proto::v1::DeadLetter = prost::Message::decode(letters[0].value.clone()).unwrap();
    assert_eq!((letter.partition, letter.offset), (0, 0));
    assert!(letter.reason.contains("not an event envelope"), "{}", letter.reason);
    assert_eq!(letter.value, Bytes::from_static(b"\xff garbage"));
    track.stop().await.unwrap();
}

#[tokio::test]
async fn a_question_waits_for_the_position_it_names() {
    let dir = tempfile::tempdir().unwrap();
    let track = Track::start(dir.path());
    track.applied().await;
    let mut client = track.client();
    let waiting = tokio::spawn(async move {
        client.counts(QueryRequest { min_offset: Some(0), ..january() }).await.unwrap().into_inner()
    });
    assert_eq!(track.append([event("ann", "like", NEW_YEAR_MS)]).await, [Position { partition: 0, offset: 0 }]);
    let answer = tokio::time::timeout(DEADLINE, waiting).await.unwrap().unwrap();
    assert_eq!(answer.as_of.unwrap().next_offset, 1);
    assert_eq!(rows_of(answer), [(DAY, "like".into(), 1)]);
    track.stop().await.unwrap();
}

#[tokio::test]
async fn who_waits_for_a_position_is_told_when_the_partition_moves_on() {
    let dir = tempfile::tempdir().unwrap();
    let track = Track::start(dir.path());
    track.applied().await;
    let mut client = track.client();
    let (asked, is_asked) = tokio::sync::oneshot::channel();
    let waiting = tokio::spawn(async move {
        asked.send(()).unwrap();
        client.counts(QueryRequest { min_offset: Some(0), ..january() }).await.unwrap_err()
    });
    is_asked.await.unwrap();
    // The question itself starts to wait with its next turn, which this test's one thread has given it by now.
    tokio::task::yield_now().await;
    track.stop().await.unwrap();
    let refusal = tokio::time::timeout(DEADLINE, waiting).await.unwrap().unwrap();
    assert_eq!(refusal.code(), Code::Unavailable);
}

#[tokio::test]
async fn a_partition_that_is_not_here_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let track = Track::start(dir.path());
    track.applied().await;
    let refusal = track.client().counts(QueryRequest { partition: 7, ..january() }).await.unwrap_err();
    assert_eq!(refusal.code(), Code::NotFound);
    let refusal = track.client().counts(QueryRequest { timezone: "Mars".into(), ..january() }).await.unwrap_err();
    assert_eq!(refusal.code(), Code::InvalidArgument);
    track.stop().await.unwrap();
}

#[tokio::test]
async fn a_store_refuses_other_rules_and_a_folder_another_process() {
    let dir = tempfile::tempdir().unwrap();
    let track = Track::start(dir.path());
    let second = Processor::open(
        config(dir.path()),
        Arc::clone(&track.log) as _,
        Arc::clone(&track.dead_letters) as _,
        clock(&track.now_ms),
    );
    assert!(matches!(second, Err(OpenError::InUse(_))));
    track.applied().await;
    track.stop().await.unwrap();

    let other = Config { session_duration_ms_max: HOUR_MS, ..config(dir.path()) };
    let track = Track::start_with(dir.path(), other);
    let refusal = track.running.await.unwrap().unwrap_err().to_string();
    assert!(refusal.contains("session-max-ms 2592000000") && refusal.contains("remove the store"), "{refusal}");
}

#[tokio::test]
async fn a_store_that_is_ahead_of_its_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let track = Track::start(dir.path());
    track.append([event("ann", "like", NEW_YEAR_MS)]).await;
    track.applied().await;
    track.stop().await.unwrap();
    std::fs::remove_dir_all(dir.path().join("log")).unwrap();

    let track = Track::start(dir.path());
    let refusal = track.running.await.unwrap().unwrap_err();
    assert!(matches!(refusal, ProcessorError::Ahead { next_offset: 1, log_end: 0, .. }), "{refusal}");
}

#[tokio::test]
async fn a_retention_below_thirty_days_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let now_ms = Arc::new(AtomicI64::new(NEW_YEAR_MS));
    let log = open_log(&dir.path().join("log"), 1, clock(&now_ms));
    let config = Config { retention_ms: 30 * DAY_MS - 1, ..config(dir.path()) };
    let refusal = Processor::open(config, Arc::clone(&log) as _, log, clock(&now_ms));
    assert!(matches!(refusal, Err(OpenError::Retention)));
}
