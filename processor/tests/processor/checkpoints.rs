//! Where the log no longer is enough, a checkpoint is, and it leads to the state that the whole log would have led to.

use super::damage::{aside, fill_segments, lose_beginning, store};
use super::*;
use std::fs;
use track_processor::{CheckpointConfig, StateDigest, StoredStates};

/// With checkpoints in a folder inside; the only one that is made is that on a clean stop.
fn with_checkpoints(dir: &Path) -> Config {
    let checkpoints = CheckpointConfig {
        location: dir.join("checkpoints").to_str().unwrap().parse().unwrap(),
        interval: Duration::from_secs(3_600),
        kept: 3,
        grace: CheckpointConfig::GRACE,
    };
    Config { checkpoints: Some(checkpoints), ..config(dir) }
}

fn digest(dir: &Path) -> StateDigest {
    StoredStates::open(&dir.join("state")).unwrap().digest(0).unwrap()
}

fn wipe(dir: &Path) {
    fs::remove_dir_all(dir.join("state")).unwrap();
}

/// A folder with a log that has lost its beginning and a checkpoint that has not, and the digest of the whole.
async fn truncated() -> (tempfile::TempDir, StateDigest) {
    let dir = tempfile::tempdir().unwrap();
    let track = Track::start_with(dir.path(), with_checkpoints(dir.path()));
    fill_segments(&track).await;
    track.stop().await.unwrap();
    // A fold of the whole log, which has never heard of checkpoints.
    wipe(dir.path());
    let track = Track::start(dir.path());
    track.applied().await;
    track.stop().await.unwrap();
    let whole = digest(dir.path());
    lose_beginning(dir.path()).await;
    wipe(dir.path());
    (dir, whole)
}

#[tokio::test]
async fn a_lost_store_comes_back_where_the_log_has_lost_its_beginning() {
    let (dir, whole) = truncated().await;
    let refusal = Track::start(dir.path()).running.await.unwrap().unwrap_err();
    assert!(matches!(refusal, ProcessorError::Truncated { next_offset: 0, log_start: 1.., .. }), "{refusal}");

    // An empty store stands there now: it is not as far as the checkpoint.
    let track = Track::start_with(dir.path(), with_checkpoints(dir.path()));
    track.applied().await;
    track.stop().await.unwrap();
    assert_eq!(digest(dir.path()), whole);
    assert!(!aside(dir.path()).exists(), "nothing was damaged");

    // Its own state is as far: it is taken as it is, object store or not.
    fs::remove_dir_all(dir.path().join("checkpoints")).unwrap();
    let track = Track::start_with(dir.path(), with_checkpoints(dir.path()));
    track.applied().await;
    track.stop().await.unwrap();
    assert_eq!(digest(dir.path()), whole);
}

#[tokio::test]
async fn a_damaged_store_comes_back_where_the_log_has_lost_its_beginning() {
    let (dir, whole) = truncated().await;
    let track = Track::start_with(dir.path(), with_checkpoints(dir.path()));
    track.applied().await;
    track.stop().await.unwrap();
    fs::write(store(dir.path()).join("CURRENT"), "nonsense").unwrap();

    let track = Track::start_with(dir.path(), with_checkpoints(dir.path()));
    track.applied().await;
    track.append([event("ann", "like", NEW_YEAR_MS)]).await;
    track.applied().await;
    track.stop().await.unwrap();
    assert_eq!(fs::read_to_string(aside(dir.path()).join("CURRENT")).unwrap(), "nonsense");
    assert_ne!(digest(dir.path()), whole, "it goes on from there");
    wipe(dir.path());

    // The checkpoint of the state before is still there, beneath the one of that last event.
    let area = fs::read_dir(dir.path().join("checkpoints/partition-0000")).unwrap().next().unwrap().unwrap().path();
    let newest = fs::read_dir(area.join("manifests")).unwrap().map(|file| file.unwrap().path()).max().unwrap();
    fs::remove_file(newest).unwrap();
    let log = open_log(&dir.path().join("log"), 1, clock(&Arc::new(AtomicI64::new(NEW_YEAR_MS))));
    let end = log.bounds(0).unwrap().end;
    drop(log);
    let track = Track::start_with(dir.path(), with_checkpoints(dir.path()));
    track.applied().await;
    let as_of = track.processor.owner("test:").partitions[0].as_of.unwrap();
    assert_eq!(as_of.next_offset, end);
    track.stop().await.unwrap();
}

#[tokio::test]
async fn without_the_object_store_a_lost_store_waits_for_it() {
    let (dir, whole) = truncated().await;
    let (place, away) = (dir.path().join("checkpoints/partition-0000"), dir.path().join("away"));
    fs::rename(&place, &away).unwrap();
    fs::write(&place, "no folder").unwrap();
    let track = Track::start_with(dir.path(), with_checkpoints(dir.path()));
    poll("it waits", || {
        track.processor.check_ready().is_err_and(|reason| reason.contains("waiting for the checkpoints"))
    })
    .await;
    assert!(!track.running.is_finished());
    fs::remove_file(&place).unwrap();
    fs::rename(&away, &place).unwrap();
    track.applied().await;
    track.stop().await.unwrap();
    assert_eq!(digest(dir.path()), whole);
}

/// Another log in the place of the one before, with so many events, taken an hour later for each.
async fn another_log(dir: &Path, events: i64) {
    fs::remove_dir_all(dir.join("log")).unwrap();
    wipe(dir);
    let track = Track::start(dir);
    track.now_ms.store(NEW_YEAR_MS + events * HOUR_MS, Ordering::SeqCst);
    for n in 0..events {
        track.append([event("bob", "like", NEW_YEAR_MS + n)]).await;
    }
    track.applied().await;
    track.stop().await.unwrap();
}

#[tokio::test]
async fn a_checkpoint_of_another_log_is_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let track = Track::start_with(dir.path(), with_checkpoints(dir.path()));
    track.append([event("ann", "like", NEW_YEAR_MS), event("ann", "like", NEW_YEAR_MS)]).await;
    track.applied().await;
    track.stop().await.unwrap();
    // One that ends before the checkpoint, and one that goes further: then the record before it tells.
    for events in [1, 3] {
        another_log(dir.path(), events).await;
        let own = digest(dir.path());
        wipe(dir.path());
        let track = Track::start_with(dir.path(), with_checkpoints(dir.path()));
        track.applied().await;
        track.stop().await.unwrap();
        assert_eq!(digest(dir.path()), own, "{events} events");
    }

    // Under other rules it is not met: nothing was folded under these.
    wipe(dir.path());
    let other = Config { session_duration_ms_max: HOUR_MS, ..with_checkpoints(dir.path()) };
    let track = Track::start_with(dir.path(), other);
    track.applied().await;
    track.stop().await.unwrap();
}
