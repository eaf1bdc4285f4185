//! The broker is killed, ingest goes on accepting, is killed itself and started again, and all of it comes back.

use super::posting::post_while;
use super::{metric, readiness, spool_in, wait_forwarded};
use crate::TRACK;
use crate::site::SEEN_WITHIN;
use track_harness::broker::Broker;
use track_harness::cluster::{Cluster, Plan};
use track_harness::poll::eventually;

#[test]
fn kafka_is_away_and_ingest_dies_and_every_event_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::start().unwrap();
    let cluster = Plan::new(TRACK, &broker, dir.path()).partitions(4).start().unwrap();
    let start = cluster.plan().role("ingest").flag("--spool", &spool_in(dir.path()).to_string_lossy());
    let Cluster { ingest, processors, query, .. } = cluster;
    ingest.terminate().unwrap();

    let mut ingest = start.ready().unwrap();
    eventually(SEEN_WITHIN, "it has found Kafka", || {
        let said = readiness(&ingest)?;
        anyhow::ensure!(said == "ready", "{said}");
        Ok(())
    })
    .unwrap();
    let posting = post_while(|posting| {
        posting.aim(ingest.public());
        posting.wait_for_more(200);
        assert_eq!(posting.without_position(), 0, "the log takes them, and has a place for each");

        broker.kill9().unwrap();
        eventually(SEEN_WITHIN, "it spools and says so", || {
            let said = readiness(&ingest)?;
            anyhow::ensure!(said.starts_with("ready, spooling: "), "{said}");
            Ok(())
        })
        .unwrap();
        posting.wait_for_more(400);
        // The metric is looked at once a second.
        eventually(SEEN_WITHIN, "those that wait are counted", || {
            let (waiting, oldest_seconds) =
                (metric(&ingest, "track_spool_waiting_records")?, metric(&ingest, "track_spool_oldest_seconds")?);
            anyhow::ensure!(waiting >= 100.0 && oldest_seconds > 0.0, "{waiting} for {oldest_seconds} s");
            Ok(())
        })
        .unwrap();

        // Killed while Kafka is still away: the next one has what this one accepted, and accepts.
        ingest.kill_in_place().unwrap();
        ingest = start.ready().unwrap();
        posting.aim(ingest.public());
        posting.wait_for_more(400);
        assert!(posting.without_position() > 400, "{} were spooled", posting.without_position());

        broker.restart().unwrap();
        wait_forwarded(&ingest, dir.path());
        let spooled = posting.without_position();
        posting.wait_for_more(200);
        let said = ingest.log().unwrap();
        for line in ["events are spooled until", "the log takes events again", "all that was spooled is on the log"] {
            assert!(said.contains(line), "it does not say: {line}");
        }
        // Those that were under way when it turned back are spooled as well.
        assert!(posting.without_position() < spooled + 200, "it still spools");
    });
    wait_forwarded(&ingest, dir.path());
    assert!(metric(&ingest, "track_spool_records_forwarded_total").unwrap() > 400.0);
    posting.check(query.public());

    ingest.terminate().unwrap();
    query.terminate().unwrap();
    for processor in processors {
        processor.terminate().unwrap();
    }
}
