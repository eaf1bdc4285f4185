//! The only member of the group has all partitions, until it leaves.

use crate::Time;
use crate::conformance::{append, record};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use track_log::embedded::{Config, EmbeddedLog};
use track_log::{LogError, Member, Offset, Partition, PartitionReader, Subscribe};

const DEADLINE: Duration = Duration::from_secs(30);

enum Told {
    Reader(Partition, Box<dyn PartitionReader>),
    Joined,
    Revoked(Vec<Partition>),
}

struct Listener {
    from: Vec<(Partition, Offset)>,
    told: Mutex<Sender<Told>>,
}

impl Member for Listener {
    fn joined(&self) {
        self.told.lock().unwrap().send(Told::Joined).unwrap();
    }

    fn left_out(&self, reason: &str) {
        panic!("there is nobody to leave it out: {reason}");
    }

    fn assigned(&self, partitions: &[Partition]) -> Vec<(Partition, Offset)> {
        assert_eq!(partitions, [0, 1, 2]);
        self.from.clone()
    }

    fn reader(&self, partition: Partition, reader: Box<dyn PartitionReader>) {
        self.told.lock().unwrap().send(Told::Reader(partition, reader)).unwrap();
    }

    fn revoked(&self, partitions: &[Partition]) {
        self.told.lock().unwrap().send(Told::Revoked(partitions.to_vec())).unwrap();
    }
}

fn listener(from: &[(Partition, Offset)]) -> (Arc<Listener>, Receiver<Told>) {
    let (told, hears) = channel();
    (Arc::new(Listener { from: from.to_vec(), told: Mutex::new(told) }), hears)
}

#[test]
fn a_member_reads_what_it_asked_for_until_it_leaves() {
    let dir = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(Config::new(dir.path(), 3), Time::at(1).clock()).unwrap();
    let records: Vec<_> = (0..300).map(|i| record(format!("user-{i}"), "v")).collect();
    append(log.as_ref(), &records);
    // Partition 1 is left out.
    let (member, hears) = listener(&[(0, 5), (2, 1_000)]);
    let subscription = log.subscribe(member).unwrap();

    let Ok(Told::Reader(0, mut first)) = hears.recv_timeout(DEADLINE) else { panic!("no reader of partition 0") };
    let Ok(Told::Reader(2, mut beyond)) = hears.recv_timeout(DEADLINE) else { panic!("no reader of partition 2") };
    assert!(matches!(hears.recv_timeout(DEADLINE), Ok(Told::Joined)));
    let mut got = Vec::new();
    first.read(&mut got, 10_000, DEADLINE).unwrap();
    assert_eq!(got[0].offset, 5);
    // An offset that is not there is said by the reader, as Kafka's does.
    assert!(matches!(beyond.read(&mut got, 1, DEADLINE), Err(LogError::OutOfRange { wanted: 1_000, .. })));

    let end = first.log_end();
    let waiting = std::thread::spawn(move || {
        let mut got = Vec::new();
        (first.read(&mut got, 1, DEADLINE), got.len())
    });
    assert!(end > 5);
    subscription.commit_hint(&[(0, end)]);
    subscription.close(DEADLINE);
    let Ok(Told::Revoked(partitions)) = hears.try_recv() else { panic!("nothing was revoked before close returned") };
    assert_eq!(partitions, [0, 1, 2]);
    assert!(matches!(waiting.join().unwrap(), (Err(LogError::Closed), 0)));
    // A second time is no harm, and nothing is revoked twice.
    subscription.close(DEADLINE);
    drop(subscription);
    assert!(hears.try_recv().is_err());
}

#[test]
fn a_dropped_subscription_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(Config::new(dir.path(), 3), Time::at(1).clock()).unwrap();
    let (member, hears) = listener(&[]);
    drop(log.subscribe(member).unwrap());
    assert!(matches!(hears.recv_timeout(DEADLINE), Ok(Told::Joined)));
    assert!(matches!(hears.recv_timeout(DEADLINE), Ok(Told::Revoked(_))));
}
