//! The digest of a state that is being folded, over the processor's own gRPC service and from its folder.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use track_log::embedded::{self, EmbeddedLog};
use track_log::{Append, NewRecord};
use track_processor::{
    Config, InspectError, PartitionsService, Processor, ProcessorError, SessionPair, StoredError, StoredStates,
};
use track_proto::event::{self, Event};
use track_proto::v1::partitions_client::PartitionsClient;
use track_proto::v1::partitions_server::PartitionsServer;
use track_proto::v1::{DigestAnswer, DigestRequest, RowHash, RowsRequest};

/// 2025-01-01T00:00:00Z, which is also what the log's clock says.
const NEW_YEAR_MS: i64 = 1_735_689_600_000;
const DEADLINE: Duration = Duration::from_secs(60);

/// A log and a processor on it, both in one folder.
struct Track {
    log: Arc<EmbeddedLog>,
    processor: Processor,
    stop: CancellationToken,
    running: JoinHandle<Result<(), ProcessorError>>,
}

impl Track {
    fn start(dir: &Path) -> Self {
        let log = |name: &str| {
            let config = embedded::Config::new(dir.join(name), 1);
            EmbeddedLog::open(config, Arc::new(|| NEW_YEAR_MS)).unwrap()
        };
        let (log, dead_letters) = (log("log"), log("dead-letter"));
        let config = Config {
            data_dir: dir.join("state"),
            instance: "test".into(),
            session_pairs: vec![SessionPair { open: "play".into(), close: "stop".into() }],
            session_duration_ms_max: 30 * 86_400_000,
            retention_ms: 400 * 86_400_000,
            memory_bytes_max: 64 << 20,
            accept_truncated_log: false,
            checkpoints: None,
            warm_within: None,
        };
        let processor =
            Processor::open(config, Arc::clone(&log) as _, dead_letters as _, Arc::new(|| NEW_YEAR_MS)).unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn(processor.clone().run(Arc::clone(&log) as _, stop.clone()));
        Self { log, processor, stop, running }
    }

    fn client(&self) -> PartitionsClient<PartitionsServer<PartitionsService>> {
        PartitionsClient::new(self.processor.service())
    }

    async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
    }

    /// Appends the events `from..to`, each the same wherever it is appended.
    async fn append(&self, from: u64, to: u64) {
        let record = |n: u64| {
            let event = Event {
                event: if n.is_multiple_of(2) { "play" } else { "stop" }.into(),
                user_id: format!("user-{}", n % 7),
                timestamp_ms: NEW_YEAR_MS + i64::try_from(n * 1_000).unwrap(),
                received_at_ms: NEW_YEAR_MS,
                ..Event::default()
            };
            NewRecord { key: event.user_id.clone().into(), value: event::encode(&event) }
        };
        self.log.append((from..to).map(record).collect()).await.unwrap();
    }

    async fn digest_at(&self, offset: u64) -> Result<DigestAnswer, Status> {
        let request = DigestRequest { partition: 0, at_offset: Some(offset) };
        self.client().digest(request).await.map(tonic::Response::into_inner)
    }

    /// Waits until everything before `offset` is folded.
    async fn folded_to(&self, offset: u64) {
        let deadline = Instant::now() + DEADLINE;
        let at = || self.processor.owner("test:").partitions.first().and_then(|status| status.as_of);
        while at().is_none_or(|as_of| as_of.next_offset < offset) {
            assert!(Instant::now() < deadline, "in time: offset {offset}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn rows(track: &Track) -> Vec<RowHash> {
    let mut stream = track.client().rows(RowsRequest { partition: 0, at_offset: None }).await.unwrap().into_inner();
    let (mut rows, mut ended) = (Vec::new(), false);
    while let Some(message) = stream.message().await.unwrap() {
        assert!(!ended, "nothing comes after the last message");
        ended = message.last;
        rows.extend(message.rows);
    }
    assert!(ended);
    rows
}

#[tokio::test]
async fn a_fold_that_goes_on_is_seen_at_exact_offsets() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (track, other) = (Track::start(dir.path()), Track::start(other_dir.path()));
    track.folded_to(0).await;
    other.folded_to(0).await;
    // Asked for before there are records, seen while thousands more are folded.
    let offsets = [1, 2_500, 2_501, 7_000];
    let asked = offsets.map(|offset| {
        let mut client = track.client();
        tokio::spawn(async move { client.digest(DigestRequest { partition: 0, at_offset: Some(offset) }).await })
    });
    // All of them wait after their first turn, which this test's one thread gives them now.
    tokio::task::yield_now().await;
    for from in (0..10_000).step_by(1_000) {
        track.append(from, from + 1_000).await;
    }
    let mut seen = Vec::new();
    for (asked, offset) in asked.into_iter().zip(offsets) {
        let answer = tokio::time::timeout(DEADLINE, asked).await.unwrap().unwrap().unwrap().into_inner();
        assert_eq!(answer.as_of.unwrap().next_offset, offset);
        seen.push(answer);
    }
    // The same as if nothing more had ever come.
    let mut from = 0;
    for (offset, seen) in offsets.into_iter().zip(&seen) {
        other.append(from, offset).await;
        let answer = other.digest_at(offset).await.unwrap();
        assert_eq!((&answer.digest, answer.rows), (&seen.digest, seen.rows), "offset {offset}");
        from = offset;
    }
    // What it has passed it can't show any more.
    track.folded_to(10_000).await;
    let refusal = track.digest_at(9_999).await.unwrap_err();
    assert_eq!(refusal.code(), Code::OutOfRange);
    assert!(refusal.message().contains("is at 10000"), "{refusal}");
    assert_eq!(
        track.processor.digests(Some(0), Some(9_999)).await,
        Err(InspectError::Passed { partition: 0, at_offset: 9_999, next_offset: 10_000 })
    );
    track.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn the_folder_says_what_the_processor_said() {
    let dir = tempfile::tempdir().unwrap();
    let track = Track::start(dir.path());
    track.append(0, 500).await;
    track.folded_to(500).await;
    let running = track.processor.digests(None, None).await.unwrap();
    assert_eq!(running.len(), 1);
    assert_eq!(running, track.processor.digests(Some(0), Some(500)).await.unwrap());
    let hashes = rows(&track).await;
    assert_eq!(hashes.len(), usize::try_from(running[0].rows).unwrap());
    assert!(hashes.is_sorted_by_key(|row| (row.family.clone(), row.key.clone())));
    assert!(matches!(StoredStates::open(dir.path()), Err(StoredError::InUse(_))));
    track.stop().await;

    let stored = StoredStates::open(dir.path()).unwrap();
    assert_eq!(stored.digest(0).unwrap(), running[0]);
    let mut stored_hashes = Vec::new();
    stored
        .hash_rows(0, |message| {
            stored_hashes.extend(message.rows);
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(stored_hashes, hashes);
}

#[tokio::test]
async fn a_partition_that_is_not_here_or_leaves_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let track = Track::start(dir.path());
    track.folded_to(0).await;
    let refusal = track.client().digest(DigestRequest { partition: 7, at_offset: None }).await.unwrap_err();
    assert_eq!(refusal.code(), Code::NotFound);
    let refusal = track.client().rows(RowsRequest { partition: 7, at_offset: None }).await.unwrap_err();
    assert_eq!(refusal.code(), Code::NotFound);

    let mut client = track.client();
    let (asked, is_asked) = tokio::sync::oneshot::channel();
    let waiting = tokio::spawn(async move {
        asked.send(()).unwrap();
        client.digest(DigestRequest { partition: 0, at_offset: Some(1) }).await.unwrap_err()
    });
    is_asked.await.unwrap();
    // The question itself starts to wait with its next turn, which this test's one thread has given it by now.
    tokio::task::yield_now().await;
    track.stop().await;
    let refusal = tokio::time::timeout(DEADLINE, waiting).await.unwrap().unwrap();
    assert_eq!(refusal.code(), Code::Unavailable);
}

/// Rows that nobody takes any more keep neither their snapshot nor the partition.
#[tokio::test]
async fn rows_that_nobody_takes_do_not_hold_up_a_partition() {
    let dir = tempfile::tempdir().unwrap();
    let track = Track::start(dir.path());
    // Rows for more messages than wait to be taken.
    let users = (0..10_000).map(|n| {
        let event = Event {
            event: "like".into(),
            user_id: format!("somebody-with-a-long-name-{n}"),
            timestamp_ms: NEW_YEAR_MS,
            ..Event::default()
        };
        NewRecord { key: event.user_id.clone().into(), value: event::encode(&event) }
    });
    track.log.append(users.collect()).await.unwrap();
    track.folded_to(10_000).await;
    let mut stream = track.client().rows(RowsRequest { partition: 0, at_offset: None }).await.unwrap().into_inner();
    assert!(!stream.message().await.unwrap().unwrap().last);
    tokio::time::timeout(DEADLINE, track.stop()).await.unwrap();
    drop(stream);
}
