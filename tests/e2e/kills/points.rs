//! Killed between two steps that belong together: by `abort`, at points that only the tests' build has.

use super::producer::{Sending, send_all};
use super::standalone::check_digest;
use super::traffic::Traffic;
use crate::standalone;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use track_harness::poll::eventually;
use track_harness::seed::rng;
use track_harness::track::Start;
use track_log::embedded::{Config, EmbeddedLog};
use track_log::{Append as _, NewRecord};

const SIGABRT: i32 = 6;
/// How often it dies in each scenario.
const LIVES: usize = 3;
/// From a start to the death that was ordered, or to the end of the sending.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// Starts it with this in its environment, and waits until it dies of that; false where all was sent and folded by a life
/// before.
fn dies(start: &Start, points: &str, sending: &Sending<'_>, life: usize) -> bool {
    let mut track = match start.clone().env("FAILPOINTS", points).spawn() {
        Ok(track) => track,
        Err(error) => {
            let error = format!("{error:#}");
            assert!(error.contains("SIGABRT"), "{error}");
            return true;
        }
    };
    sending.aim(&[track.public()]);
    let died = eventually(ENDS_WITHIN, points, || {
        if let Some(status) = track.ended()? {
            assert_eq!(status.signal(), Some(SIGABRT), "{status}");
            return Ok(true);
        }
        anyhow::ensure!(life > 0 && sending.is_done(), "it lives, and not all is sent");
        anyhow::ensure!(track.ask_admin("/readyz")?.status == 200, "it lives, and not all is folded");
        Ok(false)
    });
    track.check_log().unwrap();
    died.unwrap()
}

/// Puts records that are no events on every partition of a log that no process has.
fn append_garbage(dir: &Path) {
    let log = EmbeddedLog::open(Config::new(dir.join("data/log"), 4), Arc::new(|| 1_738_000_000_000)).unwrap();
    let garbage = |number: u32| NewRecord { key: format!("user-{number}").into(), value: "no event".into() };
    futures::executor::block_on(log.append((0..40).map(garbage).collect())).unwrap();
}

/// Dies at this point a few times, having passed it unharmed up to `spared_max` times first: less often than any run
/// passes it, and where all is sent before anything is folded that is once for each of the four partitions.
fn dies_at(point: &str, spared_max: u32) {
    dies_with(point, spared_max, |start| start, |_| {});
}

/// The same with more flags, and with something else that happens to the folder after each death.
fn dies_with(point: &str, spared_max: u32, flags: impl FnOnce(Start) -> Start, and_then: impl Fn(&Path)) {
    let mut rng = rng(point);
    let dir = tempfile::tempdir().unwrap();
    let traffic = Traffic::new("id", 1_000, &mut rng);
    let start = flags(standalone(dir.path()));
    start.ready().unwrap().terminate().unwrap();
    append_garbage(dir.path());
    let (track, positions) = send_all(&traffic, |sending| {
        for life in 0..LIVES {
            let action = match rng.u32(0..=spared_max) {
                0 => "return".to_owned(),
                spared => format!("{spared}*off->return"),
            };
            if !dies(&start, &format!("flush-due=50%return;{point}={action}"), sending, life) {
                break;
            }
            and_then(dir.path());
        }
        let track = start.spawn().unwrap();
        sending.aim(&[track.public()]);
        track
    });
    traffic.check(track.public(), &positions, point);
    check_digest(dir.path(), track);
}

#[test]
fn batch_built_and_not_written() {
    dies_at("fold-built", 3);
}

#[test]
fn batch_written_and_not_told() {
    dies_at("fold-written", 3);
}

#[test]
fn store_flushed_and_not_told() {
    dies_at("store-flushed", 2);
}

#[test]
fn log_synced_and_not_acknowledged() {
    dies_at("log-synced", 20);
}

#[test]
fn appended_and_not_answered() {
    dies_at("ingest-appended", 20);
}

#[test]
fn dead_letters_appended_and_the_offset_not_moved() {
    dies_at("dead-letters-appended", 0);
}

/// In the middle of a checkpoint, and its state is lost as well: what comes back is whole, or not there.
fn dies_in_a_checkpoint(point: &str) {
    let flags = |start: Start| start.flag("--checkpoints", "checkpoints").flag("--checkpoint-interval", "100ms");
    dies_with(point, 3, flags, |dir| std::fs::remove_dir_all(dir.join("data/state")).unwrap());
}

#[test]
fn checkpoint_uploaded_and_no_manifest() {
    dies_in_a_checkpoint("checkpoint-files-uploaded");
}

#[test]
fn checkpoint_written_and_not_told() {
    dies_in_a_checkpoint("checkpoint-manifest-written");
}
