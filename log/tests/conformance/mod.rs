//! What every log must do, whatever it is made of. A log passes by implementing [`Fixture`] and naming it in
//! [`conformance!`](crate::conformance).
//!
//! Offsets may have gaps, the first offset of a fresh log is 0, and `append` may do its work on any thread.

use bytes::Bytes;
use futures::executor::block_on;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use track_log::{Append, AppendError, LogError, NewRecord, PartitionReader, Position, ReadLog, Record};
use track_proto::partitioner::partition_for;

/// A fresh log with its own data, gone when this is dropped.
pub(crate) trait Fixture: Sized {
    /// Makes one.
    fn open(partition_count: u32) -> Self;
    /// Closes the log, or what this process has of it, and opens it once more.
    fn reopen(self) -> Self;
    /// Appends to it.
    fn append(&self) -> Arc<dyn Append>;
    /// Reads it.
    fn log(&self) -> Arc<dyn ReadLog>;
}

/// Makes a test of each rule for a [`Fixture`].
#[macro_export]
macro_rules! conformance {
    ($fixture:ty) => {
        $crate::conformance!($fixture;
            positions_are_where_the_records_are,
            an_empty_append_is_done,
            order_holds_under_concurrent_appenders,
            keys_go_to_the_partition_of_java,
            a_reader_goes_on_at_any_offset,
            a_reader_takes_no_more_than_it_may,
            a_waiting_reader_wakes_up,
            a_reader_that_waits_in_vain_returns,
            bounds_grow_with_appends,
            an_empty_log_is_empty,
            after_the_end_is_out_of_range,
            a_partition_that_is_not_there_is_an_error,
            large_and_empty_values,
            a_batch_of_ten_thousand,
            append_times_are_when_it_was_appended,
            a_log_is_ready,
            what_was_appended_is_there_after_a_reopen,
        );
    };
    ($fixture:ty; $($rule:ident,)*) => {
        $(
            #[test]
            fn $rule() {
                conformance::$rule::<$fixture>();
            }
        )*
    };
}

/// How long anything may take before the test fails.
const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) fn record(key: impl Into<Bytes>, value: impl Into<Bytes>) -> NewRecord {
    NewRecord { key: key.into(), value: value.into() }
}

/// Appends and waits; one that is busy is tried again.
pub(crate) fn append(log: &dyn Append, records: &[NewRecord]) -> Vec<Position> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match block_on(log.append(records.to_vec())) {
            Ok(positions) => return positions,
            Err(AppendError::Busy) if Instant::now() < deadline => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Reads until there are `count` records.
pub(crate) fn read(reader: &mut dyn PartitionReader, count: usize) -> Vec<Record> {
    let deadline = Instant::now() + DEADLINE;
    let mut records = Vec::new();
    while records.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} records came", records.len());
        let most = count - records.len();
        reader.read(&mut records, most, Duration::from_millis(200)).unwrap();
    }
    records
}

/// The `count` records of a partition from `from` on.
pub(crate) fn read_from(log: &dyn ReadLog, partition: u32, from: u64, count: usize) -> Vec<Record> {
    read(log.reader(partition, from).unwrap().as_mut(), count)
}

/// Asserts that each record stands at the position that its append told, and nothing else stands there.
fn assert_read_back(log: &dyn ReadLog, records: &[NewRecord], positions: &[Position]) {
    assert_eq!(records.len(), positions.len());
    assert_eq!(positions.iter().collect::<HashSet<_>>().len(), positions.len(), "a position was given twice");
    for partition in 0..log.partition_count() {
        let expected: Vec<_> = records.iter().zip(positions).filter(|(_, p)| p.partition == partition).collect();
        let got = read_from(log, partition, 0, expected.len());
        for ((record, position), got) in expected.into_iter().zip(got) {
            assert_eq!(got.offset, position.offset);
            assert_eq!(got.key.as_ref(), Some(&record.key));
            assert_eq!(got.value, record.value);
        }
    }
}

fn numbered(count: usize) -> Vec<NewRecord> {
    (0..count).map(|i| record(format!("user-{}", i % 37), format!("value {i}"))).collect()
}

pub(crate) fn positions_are_where_the_records_are<F: Fixture>() {
    let log = F::open(3);
    let records = numbered(500);
    let mut positions = append(log.append().as_ref(), &records[..1]);
    positions.extend(append(log.append().as_ref(), &records[1..]));
    assert_read_back(log.log().as_ref(), &records, &positions);
    for partition in 0..3 {
        let offsets: Vec<u64> = positions.iter().filter(|p| p.partition == partition).map(|p| p.offset).collect();
        assert!(offsets.is_sorted(), "positions are in the order of the records");
        assert_eq!(offsets.first(), Some(&0), "the first offset is 0");
    }
}

pub(crate) fn an_empty_append_is_done<F: Fixture>() {
    let log = F::open(2);
    assert_eq!(append(log.append().as_ref(), &[]), []);
    assert_eq!(log.log().bounds(0).unwrap().end, 0);
}

pub(crate) fn order_holds_under_concurrent_appenders<F: Fixture>() {
    const THREADS: usize = 8;
    const APPENDS: usize = 60;
    let log = F::open(2);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let log = log.append();
            scope.spawn(move || {
                // Several under way at once: each call begins after the one before, and so do its records.
                let under_way: Vec<_> = (0..APPENDS)
                    .map(|n| {
                        log.append((0..3).map(|i| record(format!("t{thread}"), format!("{}", n * 3 + i))).collect())
                    })
                    .collect();
                let positions: Vec<Position> = under_way.into_iter().flat_map(|a| block_on(a).unwrap()).collect();
                assert!(positions.is_sorted());
            });
        }
    });
    let mut next = [0; THREADS];
    for partition in 0..2 {
        let mine = (0..THREADS).filter(|t| partition_for(format!("t{t}").as_bytes(), 2) == partition).count();
        for got in read_from(log.log().as_ref(), partition, 0, mine * APPENDS * 3) {
            let thread: usize = std::str::from_utf8(&got.key.unwrap()[1..]).unwrap().parse().unwrap();
            assert_eq!(got.value, next[thread].to_string(), "thread {thread}");
            next[thread] += 1;
        }
    }
    assert_eq!(next, [APPENDS * 3; THREADS]);
}

pub(crate) fn keys_go_to_the_partition_of_java<F: Fixture>() {
    let log = F::open(7);
    // The hashes that Kafka's own test of murmur2 expects; a producer clears the sign bit and takes the remainder.
    let vectors = [
        ("21", -973_932_308_i32),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ("abc", 479_470_107),
    ];
    let records: Vec<NewRecord> = vectors.iter().map(|(key, _)| record(*key, "")).collect();
    let positions = append(log.append().as_ref(), &records);
    for ((key, hash), position) in vectors.iter().zip(&positions) {
        assert_eq!(i64::from(position.partition), i64::from((hash & 0x7fff_ffff) % 7), "{key}");
    }
    assert_read_back(log.log().as_ref(), &records, &positions);
}

pub(crate) fn a_reader_goes_on_at_any_offset<F: Fixture>() {
    let log = F::open(1);
    let records = numbered(300);
    let positions = append(log.append().as_ref(), &records);
    for at in [0, 1, 150, 298, 299] {
        let got = read_from(log.log().as_ref(), 0, positions[at].offset, 300 - at);
        assert_eq!(got[0].offset, positions[at].offset);
        assert!(got.iter().map(|r| &r.value).eq(records[at..].iter().map(|r| &r.value)), "from record {at}");
    }
    // At the end: only what comes from now on.
    let mut reader = log.log().reader(0, log.log().bounds(0).unwrap().end).unwrap();
    let later = append(log.append().as_ref(), &[record("k", "later")]);
    let got = read(reader.as_mut(), 1);
    assert_eq!((got[0].offset, &got[0].value[..]), (later[0].offset, &b"later"[..]));
}

pub(crate) fn a_reader_takes_no_more_than_it_may<F: Fixture>() {
    let log = F::open(1);
    append(log.append().as_ref(), &numbered(10));
    let mut reader = log.log().reader(0, 0).unwrap();
    let mut records = read(reader.as_mut(), 3);
    assert_eq!(records.len(), 3);
    reader.read(&mut records, 0, Duration::ZERO).unwrap();
    assert_eq!(records.len(), 3);
    records.extend(read(reader.as_mut(), 7));
    let values: Vec<_> = records.iter().map(|r| r.value.clone()).collect();
    assert_eq!(values, numbered(10).into_iter().map(|r| r.value).collect::<Vec<_>>());
    assert!(reader.log_end() > records[9].offset);
    assert!(reader.log_end_age().is_some());
}

pub(crate) fn a_waiting_reader_wakes_up<F: Fixture>() {
    let log = F::open(1);
    let (waiting, started) = std::sync::mpsc::channel();
    let mut reader = log.log().reader(0, 0).unwrap();
    let thread = std::thread::spawn(move || {
        waiting.send(()).unwrap();
        let mut records = Vec::new();
        let deadline = Instant::now() + DEADLINE;
        while records.is_empty() && Instant::now() < deadline {
            reader.read(&mut records, 10, DEADLINE).unwrap();
        }
        records
    });
    started.recv().unwrap();
    append(log.append().as_ref(), &[record("k", "wake up")]);
    assert_eq!(thread.join().unwrap()[0].value, "wake up");
}

pub(crate) fn a_reader_that_waits_in_vain_returns<F: Fixture>() {
    let log = F::open(1);
    let mut reader = log.log().reader(0, 0).unwrap();
    let mut records = Vec::new();
    reader.read(&mut records, 10, Duration::from_millis(20)).unwrap();
    reader.read(&mut records, 10, Duration::ZERO).unwrap();
    assert_eq!(records, []);
    append(log.append().as_ref(), &[record("k", "v")]);
    assert_eq!(read(reader.as_mut(), 1)[0].value, "v");
}

pub(crate) fn bounds_grow_with_appends<F: Fixture>() {
    let log = F::open(2);
    let (mut ends, mut last) = ([0, 0], [None, None]);
    for chunk in numbered(100).chunks(10) {
        for position in append(log.append().as_ref(), chunk) {
            last[position.partition as usize] = Some(position.offset);
        }
        for partition in 0..2 {
            let bounds = log.log().bounds(partition).unwrap();
            let i = partition as usize;
            assert_eq!(bounds.start, 0);
            assert!(
                last[i].is_none_or(|last| bounds.end > last),
                "the end is behind every record that was acknowledged"
            );
            assert!(bounds.end >= ends[i]);
            ends[i] = bounds.end;
        }
    }
}

pub(crate) fn an_empty_log_is_empty<F: Fixture>() {
    let log = F::open(3);
    assert_eq!((log.append().partition_count(), log.log().partition_count()), (3, 3));
    for partition in 0..3 {
        let bounds = log.log().bounds(partition).unwrap();
        assert_eq!((bounds.start, bounds.end), (0, 0));
        assert_eq!(log.log().reader(partition, 0).unwrap().log_end(), 0);
    }
}

pub(crate) fn after_the_end_is_out_of_range<F: Fixture>() {
    let log = F::open(1);
    append(log.append().as_ref(), &numbered(5));
    let bounds = log.log().bounds(0).unwrap();
    match log.log().reader(0, bounds.end + 1).map(|_| "a reader") {
        Err(LogError::OutOfRange { partition: 0, wanted, bounds: said }) => {
            assert_eq!((wanted, said), (bounds.end + 1, bounds));
        }
        other => panic!("{other:?}"),
    }
    assert!(log.log().reader(0, bounds.end).is_ok());
}

pub(crate) fn a_partition_that_is_not_there_is_an_error<F: Fixture>() {
    let log = F::open(2);
    assert!(log.log().bounds(2).is_err());
    assert!(log.log().reader(2, 0).is_err());
}

pub(crate) fn large_and_empty_values<F: Fixture>() {
    let log = F::open(2);
    let value = |i: u8| -> Vec<u8> { (0..=250).cycle().map(|byte: u8| byte ^ i).take(60 << 10).collect() };
    let mut records: Vec<NewRecord> = (0..40).map(|i| record(format!("user-{i}"), value(i))).collect();
    records.insert(3, record("empty", ""));
    records.push(record("k".repeat(256), ""));
    records.push(record("zeros", vec![0; 4096]));
    let positions = append(log.append().as_ref(), &records);
    assert_read_back(log.log().as_ref(), &records, &positions);
}

pub(crate) fn a_batch_of_ten_thousand<F: Fixture>() {
    let log = F::open(4);
    let records = numbered(10_000);
    let positions = append(log.append().as_ref(), &records);
    assert_read_back(log.log().as_ref(), &records, &positions);
}

pub(crate) fn append_times_are_when_it_was_appended<F: Fixture>() {
    let log = F::open(1);
    for _ in 0..20 {
        append(log.append().as_ref(), &numbered(5));
    }
    let times: Vec<i64> = read_from(log.log().as_ref(), 0, 0, 100).iter().map(|r| r.append_time_ms).collect();
    // After this was written, and within the minutes that a test may take.
    assert!(times.iter().all(|time_ms| *time_ms >= 1_735_689_600_000), "{times:?}");
    assert!(times.iter().max().unwrap() - times.iter().min().unwrap() < 600_000, "{times:?}");
}

pub(crate) fn a_log_is_ready<F: Fixture>() {
    let log = F::open(1);
    append(log.append().as_ref(), &numbered(1));
    assert_eq!(log.append().check_ready(), Ok(()));
}

pub(crate) fn what_was_appended_is_there_after_a_reopen<F: Fixture>() {
    let log = F::open(2);
    let mut records = numbered(200);
    let mut positions = append(log.append().as_ref(), &records);
    let log = log.reopen();
    assert_read_back(log.log().as_ref(), &records, &positions);
    let more = numbered(50);
    positions.extend(append(log.append().as_ref(), &more));
    records.extend(more);
    assert_read_back(log.log().as_ref(), &records, &positions);
}
