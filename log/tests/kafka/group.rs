//! Members of a group: each partition is read by one, from where that one says.

use crate::support::{Folder, Handle, PATIENCE, Store, append, config, numbered, record, topic};
use anyhow::ensure;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use track_harness::broker::Broker;
use track_harness::brokers::Brokers;
use track_harness::poll::eventually;
use track_harness::proxy::Cut;
use track_log::kafka::{Config, KafkaAppender, KafkaGroup, Protocol, ensure_topics};
use track_log::{Subscribe as _, Subscription};
use track_proto::topics::EVENTS;

fn join(config: &Config, topic: &str, protocol: Protocol, member: &Arc<Folder>) -> Box<dyn Subscription> {
    join_as(config, topic, protocol, None, member)
}

fn join_as(
    config: &Config,
    topic: &str,
    protocol: Protocol,
    instance: Option<&str>,
    member: &Arc<Folder>,
) -> Box<dyn Subscription> {
    let group = KafkaGroup::new(config, &format!("group-of-{topic}"), instance.map(str::to_owned), protocol);
    group.on_topic(topic).subscribe(Arc::new(Handle(Arc::clone(member)))).unwrap()
}

fn is_in_with_nothing(protocol: Protocol) {
    let broker = Broker::shared();
    let topic = topic(broker, 1, &[]);
    let config = config(broker, &[]);
    let store = Arc::new(Store::default());
    let (first, second) = (Folder::new(&store), Folder::new(&store));
    let first_membership = join(&config, &topic, protocol, &first);
    first.await_standing("being in", |standing| standing == Some(&Ok(())));
    assert_eq!(first.owned.lock().len(), 1, "one that is in has been told what is its own");
    let second_membership = join(&config, &topic, protocol, &second);
    second.await_standing("being in", |standing| standing == Some(&Ok(())));
    let owned = first.owned.lock().len() + second.owned.lock().len();
    assert_eq!(owned, 1, "there is one for two");
    first_membership.close(PATIENCE);
    second_membership.close(PATIENCE);
}

#[test]
fn who_is_let_in_hears_of_it_with_or_without_partitions() {
    is_in_with_nothing(Protocol::Consumer);
    is_in_with_nothing(Protocol::Classic);
}

fn shares_and_hands_over(protocol: Protocol) {
    let broker = Broker::shared();
    let topic = topic(broker, 4, &[]);
    let config = config(broker, &[]);
    let appender = KafkaAppender::open(&config, &topic).unwrap();
    let store = Arc::new(Store::default());
    append(&appender, numbered(0..1_000)).unwrap();

    let (first, second) = (Folder::new(&store), Folder::new(&store));
    let first_membership = join(&config, &topic, protocol, &first);
    store.await_count(1_000);
    let second_membership = join(&config, &topic, protocol, &second);
    first.await_owned(2);
    second.await_owned(2);
    append(&appender, numbered(1_000..2_000)).unwrap();
    store.await_count(2_000);

    first_membership.close(PATIENCE);
    assert!(first.owned.lock().is_empty(), "closing revokes");
    second.await_owned(4);
    append(&appender, numbered(2_000..3_000)).unwrap();
    store.await_count(3_000);
    drop(second_membership);
    store.assert_exact();
    assert!(first.failures.lock().is_empty() && second.failures.lock().is_empty());
}

#[test]
fn two_members_share_and_hand_over_by_the_brokers_choice() {
    shares_and_hands_over(Protocol::Consumer);
}

#[test]
fn two_members_share_and_hand_over_by_their_own_choice() {
    shares_and_hands_over(Protocol::Classic);
}

#[test]
fn a_member_reads_from_where_it_says_and_knows_the_end_at_once() {
    let broker = Broker::shared();
    let topic = topic(broker, 1, &[]);
    let config = config(broker, &[]);
    append(&KafkaAppender::open(&config, &topic).unwrap(), numbered(0..100)).unwrap();
    let store = Store::starting_at(0, 60);
    let member = Folder::new(&store);
    *member.held.lock() = Some(0);
    let membership = join(&config, &topic, Protocol::Consumer, &member);
    eventually(PATIENCE, "the reader", || {
        ensure!(member.log_ends.lock().get(&0) == Some(&100));
        Ok(())
    })
    .unwrap();
    *member.held.lock() = None;
    store.await_count(40);
    membership.close(PATIENCE);
    assert_eq!(store.values()[0].as_ref(), 60_u32.to_be_bytes());
}

#[test]
fn a_slow_reader_neither_loses_nor_holds_up_the_others() {
    let broker = Broker::shared();
    let topic = topic(broker, 2, &[]);
    let config = config(broker, &[]);
    let appender = KafkaAppender::open(&config, &topic).unwrap();
    // Several times what may wait for a reader, in each partition.
    let records: Vec<_> = (0..20_000_u32).map(|n| record(&format!("user-{n}"), vec![7_u8; 1_000])).collect();
    let mut counts = [0; 2];
    for batch in records.chunks(2_000) {
        for position in append(&appender, batch.to_vec()).unwrap() {
            counts[usize::try_from(position.partition).unwrap()] += 1;
        }
    }
    let store = Arc::new(Store::default());
    let member = Folder::new(&store);
    *member.held.lock() = Some(0);
    let membership = join(&config, &topic, Protocol::Consumer, &member);
    store.await_count(counts[1]);
    *member.held.lock() = None;
    store.await_count(20_000);
    store.assert_exact();
    eventually(PATIENCE, "no lag", || {
        let ends = member.log_ends.lock();
        ensure!((0..2).all(|partition| ends[&partition] == u64::try_from(counts[partition as usize]).unwrap()));
        Ok(())
    })
    .unwrap();
    membership.close(PATIENCE);
}

#[test]
fn an_offset_outside_the_log_reaches_the_reader() {
    let broker = Broker::shared();
    let topic = topic(broker, 1, &[]);
    let config = config(broker, &[]);
    append(&KafkaAppender::open(&config, &topic).unwrap(), numbered(0..10)).unwrap();
    let store = Store::starting_at(0, 11);
    let member = Folder::new(&store);
    let membership = join(&config, &topic, Protocol::Consumer, &member);
    let failure = member.await_failure();
    assert!(failure.contains("offset 11") && failure.contains("0 to 10"), "{failure}");
    membership.close(PATIENCE);
    assert_eq!(store.count(), 0);
}

#[test]
fn a_declined_partition_is_not_read_and_the_others_are() {
    let broker = Broker::shared();
    let topic = topic(broker, 3, &[]);
    let config = config(broker, &[]);
    let appender = KafkaAppender::open(&config, &topic).unwrap();
    let store = Arc::new(Store::default());
    let member = Folder::declining(&store, &[1]);
    let membership = join(&config, &topic, Protocol::Consumer, &member);
    member.await_owned(3);
    let positions = append(&appender, numbered(0..900)).unwrap();
    let wanted = positions.iter().filter(|position| position.partition != 1).count();
    assert!(wanted < 900);
    store.await_count(wanted);
    membership.close(PATIENCE);
    assert_eq!(store.count(), wanted);
}

/// A member that does not read what it has at first, loses half of it to another, and gets that back and reads it.
fn comes_back_and_is_read(begin: impl Fn(&Folder), want: impl Fn(&Folder)) {
    let broker = Broker::shared();
    let topic = topic(broker, 2, &[]);
    let config = config(broker, &[]);
    let appender = KafkaAppender::open(&config, &topic).unwrap();
    append(&appender, numbered(0..100)).unwrap();
    let store = Arc::new(Store::default());
    let (first, second) = (Folder::new(&store), Folder::new(&store));
    begin(&first);
    let first_membership = join(&config, &topic, Protocol::Consumer, &first);
    first.await_owned(2);
    let second_membership = join(&config, &topic, Protocol::Consumer, &second);
    second.await_owned(1);
    let moved = second.owned.lock()[0];
    want(&first);
    second_membership.close(PATIENCE);
    first.await_owned(2);
    let positions = append(&appender, numbered(100..1_000)).unwrap();
    let end = positions.iter().filter(|position| position.partition == moved).map(|position| position.offset + 1).max();
    store.await_next(moved, end.unwrap());
    first_membership.close(PATIENCE);
    store.assert_exact();
}

#[test]
fn a_partition_that_was_declined_is_read_when_it_comes_back() {
    comes_back_and_is_read(|member| *member.declines.lock() = vec![0, 1], |member| member.declines.lock().clear());
}

#[test]
fn a_partition_the_reader_of_which_was_dropped_is_read_when_it_comes_back() {
    let drop_readers = |member: &Folder, drops| member.drops_readers.store(drops, Ordering::Relaxed);
    comes_back_and_is_read(|member| drop_readers(member, true), |member| drop_readers(member, false));
}

#[test]
fn the_group_knows_how_far_a_member_is() {
    let broker = Broker::shared();
    let topic = topic(broker, 1, &[]);
    let config = config(broker, &[]);
    append(&KafkaAppender::open(&config, &topic).unwrap(), numbered(0..10)).unwrap();
    let store = Arc::new(Store::default());
    let member = Folder::new(&store);
    let membership = join(&config, &topic, Protocol::Consumer, &member);
    store.await_count(10);
    membership.commit_hint(&[(0, 7), (99, 1)]);
    let lag_tool: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .set("group.id", format!("group-of-{topic}"))
        .create()
        .unwrap();
    eventually(PATIENCE, "the committed offset", || {
        let mut asked = TopicPartitionList::new();
        asked.add_partition(&topic, 0);
        let committed = lag_tool.committed_offsets(asked, Duration::from_secs(5))?;
        ensure!(committed.elements()[0].offset() == Offset::Offset(7), "{committed:?}");
        Ok(())
    })
    .unwrap();
    membership.close(PATIENCE);
}

#[test]
fn a_second_member_of_one_name_waits_until_the_first_has_gone() {
    let broker = Broker::shared();
    let topic = topic(broker, 2, &[]);
    let config = config(broker, &[]);
    let appender = KafkaAppender::open(&config, &topic).unwrap();
    let store = Arc::new(Store::default());
    let (first, second) = (Folder::new(&store), Folder::new(&store));
    let first_membership = join_as(&config, &topic, Protocol::Consumer, Some("node-a"), &first);
    first.await_owned(2);
    let second_membership = join_as(&config, &topic, Protocol::Consumer, Some("node-a"), &second);
    second.await_standing(
        "the refusal",
        |standing| matches!(standing, Some(Err(reason)) if reason.contains("instance ID is still used")),
    );
    append(&appender, numbered(0..500)).unwrap();
    store.await_count(500);
    assert!(second.owned.lock().is_empty(), "the name was taken");
    assert!(!matches!(*second.standing.lock(), Some(Ok(()))), "it is not in");
    first_membership.close(PATIENCE);
    second.await_owned(2);
    second.await_standing("being in", |standing| standing == Some(&Ok(())));
    append(&appender, numbered(500..1_000)).unwrap();
    store.await_count(1_000);
    second_membership.close(PATIENCE);
    store.assert_exact();
}

/// The brokers tell a member once what it is to have, and librdkafka does not ask again where an answer came too late for it.
#[test]
fn who_has_missed_what_the_group_told_it_finds_out() {
    let brokers = Brokers::start().unwrap();
    let near = Config { brokers: brokers.bootstrap(), properties: vec![], partitions: 2, replication: 3 };
    let apart = Config { brokers: brokers.bootstrap_apart(), ..near.clone() };
    ensure_topics(&near).unwrap();
    let store = Arc::new(Store::default());
    let (first, second) = (Folder::new(&store), Folder::new(&store));
    let first_membership = join(&apart, EVENTS, Protocol::Consumer, &first);
    first.await_owned(2);
    // A heartbeat of the first is under way until the second has come, and the answer to it has to say so. By then the first
    // has given it up, and asks anew over another connection.
    brokers.cut_apart(Cut::Silence);
    let second_membership = join(&near, EVENTS, Protocol::Consumer, &second);
    eventually(PATIENCE, "another connection", || {
        ensure!(brokers.knocking_apart() > 0);
        Ok(())
    })
    .unwrap();
    brokers.heal_apart();
    eventually(PATIENCE * 3, "each has one", || {
        let owned = [first.owned.lock().len(), second.owned.lock().len()];
        ensure!(owned == [1, 1], "{owned:?}, {:?}", first.left_out.lock());
        Ok(())
    })
    .unwrap();
    first_membership.close(PATIENCE);
    second_membership.close(PATIENCE);
}

/// By the classic protocol, where librdkafka takes less than 45 seconds for too long.
#[test]
fn who_is_thrown_out_for_its_silence_hears_that_it_has_lost_its_place() {
    let quick = [("max.poll.interval.ms", "2000"), ("session.timeout.ms", "2000"), ("heartbeat.interval.ms", "500")];
    let (broker, protocol) = (Broker::shared(), Protocol::Classic);
    let topic = topic(broker, 2, &[]);
    let config = config(broker, &quick);
    let store = Arc::new(Store::default());
    let (first, second) = (Folder::new(&store), Folder::new(&store));
    // Who is given a reader takes note of it, and as long as it can't the group's thread does not poll.
    let silence = first.log_ends.lock();
    let first_membership = join(&config, &topic, protocol, &first);
    first.await_standing("being in", |standing| standing == Some(&Ok(())));
    let second_membership = join(&config, &topic, protocol, &second);
    second.await_owned(2);
    assert_eq!(*first.left_out.lock(), Vec::<String>::new(), "it does not know yet");
    drop(silence);
    second.await_owned(1);
    first.await_owned(1);
    first.await_standing("being in again", |standing| standing == Some(&Ok(())));
    let left_out = first.left_out.lock().clone();
    assert!(left_out.iter().any(|reason| reason.contains("its place was lost")), "{left_out:?}");
    first_membership.close(PATIENCE);
    second_membership.close(PATIENCE);
}

#[test]
fn who_gave_its_partitions_up_for_want_of_brokers_is_not_in_until_it_has_them_again() {
    let mut broker = Broker::start().unwrap();
    let topic = topic(&broker, 2, &[]);
    // What a member of the classic protocol has it keeps for so long.
    let config = config(&broker, &[("session.timeout.ms", "2000"), ("heartbeat.interval.ms", "500")]);
    let store = Arc::new(Store::default());
    let member = Folder::new(&store);
    let membership = join(&config, &topic, Protocol::Classic, &member);
    member.await_standing("being in", |standing| standing == Some(&Ok(())));

    broker.kill9().unwrap();
    member.await_standing("having lost its place", |standing| matches!(standing, Some(Err(_))));
    assert!(member.owned.lock().is_empty(), "it has nothing");
    broker.restart().unwrap();
    member.await_owned(2);
    member.await_standing("being in again", |standing| standing == Some(&Ok(())));
    membership.close(PATIENCE);
}

#[test]
fn members_outlive_their_broker_and_leave_without_it() {
    let mut broker = Broker::start().unwrap();
    let topic = topic(&broker, 2, &[]);
    let config = config(&broker, &[]);
    let appender = KafkaAppender::open(&config, &topic).unwrap();
    let store = Arc::new(Store::default());
    let member = Folder::new(&store);
    let membership = join(&config, &topic, Protocol::Consumer, &member);
    append(&appender, numbered(0..100)).unwrap();
    store.await_count(100);

    broker.kill9().unwrap();
    broker.restart().unwrap();
    eventually(PATIENCE, "an append", || Ok(append(&appender, numbered(100..200))?)).unwrap();
    eventually(PATIENCE, "the member to go on", || {
        ensure!(store.count() >= 200);
        Ok(())
    })
    .unwrap();
    store.assert_exact();

    broker.kill9().unwrap();
    let asked = Instant::now();
    membership.close(Duration::from_secs(3));
    assert!(asked.elapsed() < PATIENCE, "the deadline holds without a broker");
    assert!(member.owned.lock().is_empty());
}
