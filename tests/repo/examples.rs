//! examples.sh and the Postman collection, run as a user runs them: against one process, and against the services of
//! docker/compose.yaml.

use crate::{compose, tree};
use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;
use track_harness::broker::Broker;
use track_harness::cluster::serving;
use track_harness::poll::eventually;
use track_harness::track::{Start, Track};

const TRACK: &str = env!("CARGO_BIN_EXE_track");

/// How long two processors may take to share out the partitions.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} ended with {}:\n{said}", output.status);
    said
}

/// Twice: also a server that has seen events gives the answers that are expected.
fn run_examples(events: SocketAddr, queries: SocketAddr) {
    let newman = tree::path("tests/newman/node_modules/.bin/newman");
    assert!(newman.exists(), "newman is not installed: run scripts/setup test");
    let (events, queries) = (format!("http://{events}"), format!("http://{queries}"));
    for _ in 0..2 {
        let said = succeeds(Command::new(tree::path("examples.sh")).args([&events, &queries]));
        assert!(said.ends_with("All answers were as expected.\n"), "{said}");
        let (events, queries) = (format!("baseUrl={events}"), format!("queryUrl={queries}"));
        let said = succeeds(
            Command::new(&newman)
                .args(["run", "--color", "off", "--env-var", &events, "--env-var", &queries])
                .arg(tree::path("postman/track.postman_collection.json")),
        );
        assert!(said.contains("assertions"), "{said}");
    }
}

#[test]
fn one_process_answers_them() {
    let dir = tempfile::tempdir().unwrap();
    let track = Start::standalone(TRACK, dir.path()).ready().unwrap();
    run_examples(track.public(), track.public());
    track.terminate().unwrap();
}

/// Each with the command line that it has there, short of names and ports that only containers have.
#[test]
fn the_services_of_the_compose_file_answer_them() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start().unwrap();
    let started: Vec<(String, Track)> = compose::services()
        .iter()
        .map(|service| {
            let role = ["ingest", "processor", "query"].into_iter().find(|role| *role == service.role());
            let mut start = Start::new(TRACK, role, dir.path()).flag("--kafka-brokers", &broker.bootstrap());
            if role == Some("processor") {
                start = start.flag("--data-dir", &dir.path().join(&service.name).to_string_lossy());
            }
            for (flag, value) in service.flags().filter(|(flag, _)| *flag != "--advertise-url") {
                start = start.flag(flag, value);
            }
            (service.name.clone(), start.spawn().unwrap())
        })
        .collect();
    for (_, track) in &started {
        track.wait_ready().unwrap();
    }
    // Newman does not send again what is refused while partitions move.
    eventually(SETTLED_WITHIN, "the partitions are shared out", || {
        let processors = started.iter().filter(|(service, _)| service.starts_with("processor"));
        let shares = processors.map(|(_, track)| serving(track)).collect::<anyhow::Result<Vec<_>>>()?;
        let whole =
            shares.iter().all(|share| !share.is_empty()) && shares.iter().map(BTreeSet::len).sum::<usize>() == 12;
        anyhow::ensure!(whole, "{shares:?}");
        Ok(())
    })
    .unwrap();
    let address = |name: &str| started.iter().find(|(service, _)| service == name).unwrap().1.public();
    run_examples(address("ingest"), address("query"));
    for (_, track) in started {
        track.terminate().unwrap();
    }
}

#[test]
fn examples_sh_fails_where_nothing_answers() {
    // Bound and let go: nothing listens there.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = Command::new(tree::path("examples.sh")).arg(format!("http://{address}")).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
}
