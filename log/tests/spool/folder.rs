//! The spool's folder: whose it is, and how far it says that it is forwarded.

use crate::{
    BYTES_MAX, Log, Mood, PATIENCE, accept, connected, limited, opened, record, segments, spool_one, wait_empty,
};
use futures::executor::block_on;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use track_harness::poll::eventually;
use track_log::embedded::{self, EmbeddedLog};
use track_log::spool::{Config, Spool};
use track_log::{Accepted, Append as _, AppendError, LogError};

/// Makes segments small enough for several.
const ROTTING_BYTES_MAX: u64 = 16 << 20;

fn error(dir: &Path) -> LogError {
    let opened = Spool::open(Config { dir: dir.to_owned(), bytes_max: BYTES_MAX }, Arc::new(|| 1));
    opened.err().expect("a spool that can't be opened")
}

fn refusal(dir: &Path) -> String {
    match error(dir) {
        LogError::Refused(message) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_second_open_is_refused_until_the_first_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let first = opened(dir.path());
    let message = refusal(dir.path());
    assert!(message.contains("in use by another process") && message.contains("folder of its own"), "{message}");
    drop(first);
    opened(dir.path());
}

#[test]
fn a_log_that_is_no_spool_is_not_emptied() {
    for (partitions, is_empty) in [(1, false), (4, false), (1, true)] {
        let dir = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(embedded::Config::new(dir.path(), partitions), Arc::new(|| 1)).unwrap();
        if !is_empty {
            block_on(log.append(vec![record("a", false)])).unwrap();
        }
        drop(log);
        let message = refusal(dir.path());
        assert!(message.contains("folder of its own"), "{message}");
    }
}

#[test]
fn a_spool_of_a_newer_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(opened(dir.path()));
    std::fs::write(dir.path().join("forwarded"), "track spool\nversion 2\nnext 0\n").unwrap();
    assert!(refusal(dir.path()).contains("format version 2"));
}

#[test]
fn a_spool_that_lost_its_end_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    drop(opened(dir.path()));
    std::fs::write(dir.path().join("forwarded"), "track spool\nversion 1\nnext 7\n").unwrap();
    assert!(matches!(error(dir.path()), LogError::Corrupt(_)));
    std::fs::write(dir.path().join("forwarded"), "track spool\nversion 1\n").unwrap();
    assert!(matches!(error(dir.path()), LogError::Corrupt(_)));
}

#[test]
fn segments_that_are_gone_are_forwarded_whatever_is_written_down() {
    let dir = tempfile::tempdir().unwrap();
    let spool = opened(dir.path());
    spool_one(&spool, "a");
    let log = Log::new(Mood::Takes);
    spool.connect(Arc::clone(&log) as _);
    wait_empty(dir.path());
    drop(spool);
    // As on a disk too full to write it down.
    std::fs::write(dir.path().join("forwarded"), "track spool\nversion 1\nnext 0\n").unwrap();
    let spool = connected(dir.path(), &log);
    log.set(Mood::Away);
    spool_one(&spool, "b");
    log.set(Mood::Takes);
    log.wait_for(2);
    assert_eq!(log.ids(), ["a", "b"]);
}

#[test]
fn a_spool_that_rots_is_said_and_the_log_is_still_asked() {
    let dir = tempfile::tempdir().unwrap();
    let spool = limited(dir.path(), ROTTING_BYTES_MAX);
    // Of two segments the first is damaged: opening looks at the last one alone.
    for n in 0..40 {
        let large = vec![record(&"x".repeat(100), false); 500];
        assert_eq!(accept(&spool, large), Ok(Accepted::Spooled), "{n}");
    }
    drop(spool);
    let mut files = segments(dir.path());
    files.sort();
    let file = std::fs::File::options().write(true).open(&files[0]).unwrap();
    assert!(files.len() > 1, "{files:?}");
    file.write_all_at(&[0xff; 16], 4_000).unwrap();

    let spool = limited(dir.path(), ROTTING_BYTES_MAX);
    let log = Log::new(Mood::Takes);
    spool.connect(Arc::clone(&log) as _);
    eventually(PATIENCE, "it is said", || {
        let said = spool.check_ready().map_err(anyhow::Error::msg)?.unwrap_or_default();
        anyhow::ensure!(said.contains("can't be read"), "{said}");
        Ok(())
    })
    .unwrap();
    assert!(matches!(accept(&spool, vec![record("straight", false)]), Ok(Accepted::OnLog(_))));
    log.set(Mood::Away);
    let refused = accept(&spool, vec![record("refused", false)]);
    assert!(matches!(&refused, Err(AppendError::NotAppended(why)) if why.contains("can't be read")), "{refused:?}");
    assert!(spool.check_ready().is_err());
}
