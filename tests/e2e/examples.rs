//! The purchases of examples/cdnow, on the embedded log and on Kafka.

use crate::{TRACK, standalone};
use std::net::SocketAddr;
use std::process::Command;
use track_harness::broker::Broker;
use track_harness::cluster::Plan;

fn run(ingest: SocketAddr, query: SocketAddr) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/cdnow/run");
    let urls = [format!("http://{ingest}"), format!("http://{query}")];
    let output = Command::new(script).args(urls).output().unwrap_or_else(|error| panic!("{script}: {error}"));
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script} ended with {}:\n{said}", output.status);
}

/// Twice: the second time nothing counts again.
#[test]
fn cdnow_standalone() {
    let dir = tempfile::tempdir().unwrap();
    let track = standalone(dir.path()).ready().unwrap();
    run(track.public(), track.public());
    run(track.public(), track.public());
    track.terminate().unwrap();
}

#[test]
fn cdnow_on_kafka() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start().unwrap();
    let cluster = Plan::new(TRACK, &broker, dir.path()).start().unwrap();
    run(cluster.ingest.public(), cluster.query.public());
    cluster.terminate().unwrap();
}
