use crate::cluster::{Behaviour, Cluster, NEXT_OFFSET};
use std::time::Duration;
use tokio::time::Instant;

fn serving(partitions: std::ops::Range<u32>) -> impl Iterator<Item = (u32, Behaviour)> {
    partitions.map(|partition| (partition, Behaviour::Counts(vec![])))
}

#[test]
fn ready_once_every_partition_is_served() {
    let cluster = Cluster::new(3);
    assert_eq!(cluster.api.check_ready().unwrap_err(), "no processor has been heard of yet");
    cluster.add("a", serving(0..1));
    assert_eq!(cluster.api.check_ready().unwrap_err(), "partitions that no processor serves yet: [1, 2]");
    cluster.add("b", serving(1..3));
    assert_eq!(cluster.api.check_ready(), Ok(()));
}

#[test]
fn a_lost_partition_does_not_turn_the_others_away() {
    let cluster = Cluster::new(2);
    cluster.add("a", serving(0..1));
    cluster.add("b", serving(1..2));
    assert_eq!(cluster.api.check_ready(), Ok(()));
    cluster.owners.apply("b".into(), None, Instant::now());
    assert_eq!(cluster.api.check_ready(), Ok(()));
    let long_ago = Instant::now() - Duration::from_secs(60);
    cluster.add_heard_at("a", NEXT_OFFSET, long_ago, serving(0..1));
    assert_eq!(cluster.api.check_ready().unwrap_err(), "no processor that serves a partition has been heard of lately");
}
