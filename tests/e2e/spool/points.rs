//! Killed while the spool is forwarded: a round that is on the log and not remembered goes there twice, and counts once.

use super::posting::counted;
use super::{cut_off, metric, spool_events, spool_in, wait_forwarded};
use crate::{TRACK, topic};
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;
use track_harness::broker::Broker;
use track_harness::cluster::{Cluster, Plan};
use track_harness::poll::eventually;
use track_harness::track::Start;
use track_proto::topics;

const SIGABRT: i32 = 6;
const DIES_WITHIN: Duration = Duration::from_secs(60);
const EVENTS: usize = 500;

/// Starts it with this point to fail at, and waits until it dies there.
fn dies_at(start: &Start, point: &str) {
    let start = start.clone().env("FAILPOINTS", &format!("{point}=return"));
    let mut track = match start.spawn() {
        Ok(track) => track,
        // Before it listened.
        Err(error) => return assert!(format!("{error:#}").contains("SIGABRT"), "{error:#}"),
    };
    let status = eventually(DIES_WITHIN, point, || track.ended()?.ok_or_else(|| anyhow::anyhow!("it lives")));
    assert_eq!(status.unwrap().signal(), Some(SIGABRT));
    track.check_log().unwrap();
}

#[test]
fn forwarded_and_not_remembered_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start().unwrap();
    let cluster = Plan::new(TRACK, &broker, dir.path()).partitions(4).start().unwrap();
    let start = cluster.plan().role("ingest").flag("--spool", &spool_in(dir.path()).to_string_lossy());
    let Cluster { ingest, processors, query, .. } = cluster;
    ingest.terminate().unwrap();
    let on_the_log = || topic::end(&broker, topics::EVENTS);

    // Spooled without Kafka; stopped in good order it leaves them where they are.
    let alone = cut_off(dir.path()).ready().unwrap();
    spool_events(&alone, EVENTS);
    assert_eq!(metric(&alone, "track_spool_records_spooled_total").unwrap(), EVENTS as f64);
    alone.terminate().unwrap();
    assert_eq!(on_the_log(), 0);

    dies_at(&start, "spool-forwarded");
    assert_eq!(on_the_log(), EVENTS as u64, "on the log, and not remembered");
    dies_at(&start, "spool-remembered");
    assert_eq!(on_the_log(), 2 * EVENTS as u64, "forwarded again");

    let ingest = start.ready().unwrap();
    wait_forwarded(&ingest, dir.path());
    assert_eq!(on_the_log(), 2 * EVENTS as u64, "what was remembered is not forwarded again");
    let all = || counted(query.public(), None);
    let sum = |name: &str| -> f64 { processors.iter().map(|processor| metric(processor, name).unwrap()).sum() };
    eventually(DIES_WITHIN, "all are folded", || {
        anyhow::ensure!(all()? >= EVENTS as u64, "{} of {EVENTS}", all()?);
        let (folded, duplicate) = (sum("track_events_folded_total"), sum("track_events_duplicate_total"));
        anyhow::ensure!(folded + duplicate == 2.0 * EVENTS as f64, "{folded} and {duplicate} are folded");
        Ok(())
    })
    .unwrap();
    for user in 0..EVENTS {
        assert_eq!(counted(query.public(), Some(&format!("spooled-{user}"))).unwrap(), 1);
    }
    assert_eq!(all().unwrap(), EVENTS as u64);
    assert_eq!(sum("track_events_duplicate_total"), EVENTS as f64);

    ingest.terminate().unwrap();
    query.terminate().unwrap();
    for processor in processors {
        processor.terminate().unwrap();
    }
}
