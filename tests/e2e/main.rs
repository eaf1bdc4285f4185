//! Track as its users have it: real processes, on the embedded log and on a real Kafka.
//!
//! - [`table`]: the requests and answers that every track must give
//! - [`crashes`]: what was acknowledged outlives the process
//! - [`kills`]: whatever dies, stalls, fills up or rots, the answers are the oracle's
//! - [`services`]: Kafka, processors and ingest going away and coming back
//! - [`spool`]: Kafka away, and ingest goes on accepting; or refuses, and stays small
//! - [`away`]: Kafka away, and queries are answered
//! - [`checkpoints`]: a state that is lost comes back from the object store
//! - [`warm`]: a partition is answered from until its next owner serves it
//! - [`states`]: two folds of one log have one state
//! - [`status`]: the operator sees what is served and what is not
//! - [`dead_letters`]: what is no event is put aside, and back again where it is one after all
//! - [`operators`]: the admin listener, TLS, origins, the start
//! - [`openapi`]: the API's description is true
//! - [`generator`]: `track load` finds what is wrong, and nothing where nothing is
//! - [`examples`]: what we ship to try it with works
//!
//! [`site`] is what a case talks to, [`case`] a line of the table, [`errand`] a command that ends, [`load`] clients that do not stop, [`topic`] Kafka as
//! other programs use it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    unreachable_pub,
    missing_docs,
    reason = "a test fails by panicking, and nobody else uses it"
)]

mod away;
mod case;
mod checkpoints;
mod crashes;
mod dead_letters;
mod errand;
mod examples;
mod generator;
mod kills;
mod load;
mod openapi;
mod operators;
mod services;
mod site;
mod spool;
mod states;
mod status;
mod table;
mod topic;
mod warm;

use site::Site;
use std::path::Path;
use track_harness::broker::Broker;
use track_harness::cluster::Plan;
use track_harness::track::Start;

/// The binary under test.
pub const TRACK: &str = env!("CARGO_BIN_EXE_track");

/// All roles in one process, with its data in `dir`.
pub fn standalone(dir: &Path) -> Start {
    Start::standalone(TRACK, dir)
}

#[test]
fn standalone_answers_the_table() {
    let dir = tempfile::tempdir().unwrap();
    let track = standalone(dir.path()).ready().unwrap();
    let site = Site::new(track.public(), track.public());
    table::check(&site);
    // Nothing of it is lost or counted again after the state has come back from the disk.
    track.terminate().unwrap();
    let track = standalone(dir.path()).ready().unwrap();
    site.moved(track.public(), track.public()).check_tally();
    track.terminate().unwrap();
}

#[test]
fn services_on_kafka_answer_the_table() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start().unwrap();
    let cluster = Plan::new(TRACK, &broker, dir.path()).start().unwrap();
    table::check(&Site::new(cluster.ingest.public(), cluster.query.public()));
    cluster.terminate().unwrap();
}
