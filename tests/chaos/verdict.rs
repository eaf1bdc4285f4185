//! The end: everything is well again, and must be as if nothing had ever happened.

use crate::TRACK;
use crate::asking::all_days;
use crate::cluster::{Cluster, PARTITIONS};
use crate::ending::Ending;
use crate::errand::run;
use crate::history::History;
use anyhow::ensure;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::thread::ScopedJoinHandle;
use std::time::Duration;
use track_harness::answers;
use track_harness::poll::eventually;
use track_oracle::Query;

/// From the last harm to the last acknowledgement.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(120);
/// From then on until all replicas have all of it, one of them from the log's beginning.
const EQUAL_WITHIN: Duration = Duration::from_secs(180);
/// So many users are asked about one by one.
const USERS: usize = 40;
/// A replica that has folded the log once, without checkpoints, while nothing happened to it.
const FRESH: &str = "fresh";

/// Waits until everything that was begun is acknowledged.
pub fn wait_for_producers(producers: &[ScopedJoinHandle<'_, ()>], ending: &Ending) {
    eventually(ACKNOWLEDGED_WITHIN, "what was begun is acknowledged", || {
        ending.check();
        let left = producers.iter().filter(|producer| !producer.is_finished()).count();
        ensure!(left == 0, "{left} producers still send");
        Ok(())
    })
    .unwrap();
}

/// Holds the answers against the oracle's and the states against each other, and stops everything.
pub fn check(mut cluster: Cluster, history: &History) {
    let known = history.now();
    let (events, positions, [first, last]) = (known.sent(), known.positions(), all_days());
    assert!(known.is_acknowledged(), "everything is acknowledged");
    let users: Vec<_> = known.users().map(|(user, _)| user.clone()).collect();
    let mut queries = answers::queries(first, last, ["user-0", "user-1", "user-20"]);
    let every = users.len().div_ceil(USERS);
    let some = users.iter().step_by(every).map(|user| Query { user: Some(user.clone()), ..Query::days(first, last) });
    queries.extend(some);
    for door in cluster.query_doors() {
        answers::check(door.look().address.unwrap(), &queries, &events, &positions).unwrap();
    }

    let fresh = cluster.plan().processor(FRESH).flag("--replica", FRESH).ready().unwrap();
    check_states_equal(&cluster.brokers.bootstrap());
    fresh.terminate().unwrap();
    for service in &mut cluster.services {
        if !service.is_retired {
            service.terminate();
            service.is_retired = true;
        }
    }
    cluster.wait_retired();
}

/// Every partition is served by three replicas, which have one state.
fn check_states_equal(brokers: &str) {
    eventually(EQUAL_WITHIN, "all replicas have one state", || {
        let ended = run(&["status", "--json", "--digests", "--kafka-brokers", brokers]);
        let picture: Value = serde_json::from_str(&ended.printed)?;
        let partitions = picture["partitions"].as_array().unwrap();
        assert_eq!(partitions.len(), PARTITIONS as usize, "{picture}");
        for partition in partitions {
            let owners = partition["owners"].as_array().unwrap().iter();
            let serving = owners.filter(|owner| owner["state"] == "serving");
            let replicas: BTreeSet<_> =
                serving.filter_map(|owner| owner["instance"].as_str()?.chars().next()).collect();
            let digests = partition["digests"].as_array().unwrap();
            assert!(digests.iter().all(|digests| digests["equal"] != json!(false)), "{TRACK} status: {partition}");
            let equal = digests.iter().filter(|digests| digests["equal"] == json!(true)).count();
            ensure!(replicas == BTreeSet::from(['a', 'b', 'f']) && equal == 2, "not yet: {partition}");
        }
        ensure!(ended.code == Some(0), "{ended:?}");
        Ok(())
    })
    .unwrap();
}
