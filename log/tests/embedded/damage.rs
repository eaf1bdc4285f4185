//! Torn writes are cut; damage to what was once durable is refused, wherever it is met.

use crate::conformance::{append, read, read_from, record};
use crate::{Time, open_one, segments};
use std::path::Path;
use std::time::Duration;
use track_log::embedded::{Config, EmbeddedLog};
use track_log::{LogError, ReadLog};

const HEADER_BYTES: usize = 40;
const SEGMENT_BYTES: u64 = 1 << 20;

/// Appends each group with one write, and returns what the segment then holds, without the zeros, and where the
/// groups begin and end.
fn written(dir: &Path, groups: &[Vec<String>]) -> (Vec<u8>, Vec<usize>) {
    let log = open_one(dir, SEGMENT_BYTES, &Time::at(1));
    let mut bounds = vec![HEADER_BYTES];
    for group in groups {
        let records: Vec<_> = group.iter().map(|value| record("key", value.clone())).collect();
        append(log.as_ref(), &records);
        bounds.push(bounds.last().unwrap() + records.iter().map(|r| 32 + r.key.len() + r.value.len()).sum::<usize>());
    }
    drop(log);
    let mut bytes = std::fs::read(&segments(dir)[0]).unwrap();
    assert!(bytes[*bounds.last().unwrap()..].iter().all(|byte| *byte == 0));
    bytes.truncate(*bounds.last().unwrap());
    (bytes, bounds)
}

fn values(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|i| format!("value {i}")).collect()
}

fn corrupt_at_open(dir: &Path) -> String {
    match EmbeddedLog::open(Config::new(dir, 1), Time::at(1).clock()).map(|_| "a log") {
        Err(LogError::Corrupt(message)) => message,
        other => panic!("{other:?}"),
    }
}

/// The log goes on after `whole` records as if nothing had been behind them.
fn assert_goes_on_after(dir: &Path, whole: usize, case: &str) {
    let log = open_one(dir, SEGMENT_BYTES, &Time::at(1));
    assert_eq!(log.bounds(0).unwrap().end, whole as u64, "{case}");
    assert_eq!(append(log.as_ref(), &[record("key", "after")])[0].offset, whole as u64, "{case}");
    let got = read_from(log.as_ref(), 0, 0, whole + 1);
    for (i, got) in got[..whole].iter().enumerate() {
        assert_eq!(got.value, format!("value {i}"), "{case}");
    }
    assert_eq!(got[whole].value, "after", "{case}");
    drop(log);
    let log = open_one(dir, SEGMENT_BYTES, &Time::at(1));
    assert_eq!(log.bounds(0).unwrap().end, whole as u64 + 1, "{case}");
}

#[test]
fn a_tail_torn_at_any_byte_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let (bytes, bounds) = written(dir.path(), &[values(0..3), values(3..4), values(4..5)]);
    let segment = segments(dir.path())[0].clone();
    for cut in bounds[2]..bounds[3] {
        std::fs::write(&segment, &bytes[..cut]).unwrap();
        assert_goes_on_after(dir.path(), 4, &format!("cut to {cut} bytes"));

        let mut zeroed = bytes.clone();
        zeroed[cut..].fill(0);
        zeroed.resize(bytes.len() + 5_000, 0);
        std::fs::write(&segment, &zeroed).unwrap();
        // The last byte of the record may have been a zero already: then nothing is torn.
        let whole = if zeroed[..bytes.len()] == bytes { 5 } else { 4 };
        assert_goes_on_after(dir.path(), whole, &format!("zeros from byte {cut}"));
    }
}

#[test]
fn a_write_whose_sectors_came_in_any_order_is_cut_where_the_first_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let (bytes, bounds) = written(dir.path(), &[values(0..3), values(3..200)]);
    let segment = segments(dir.path())[0].clone();
    for sector in (1..bounds[2] / 512).step_by(3) {
        let mut torn = bytes.clone();
        torn[sector * 512..(sector + 1) * 512].fill(0);
        std::fs::write(&segment, &torn).unwrap();
        let log = open_one(dir.path(), SEGMENT_BYTES, &Time::at(1));
        let end = usize::try_from(log.bounds(0).unwrap().end).unwrap();
        drop(log);
        assert!((3..200).contains(&end), "{end}");
        assert_goes_on_after(dir.path(), end, &format!("sector {sector}"));
    }
}

#[test]
fn a_sector_missing_from_a_write_before_the_last_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (mut bytes, _) = written(dir.path(), &[values(0..100), values(100..101)]);
    bytes[1024..1536].fill(0);
    std::fs::write(&segments(dir.path())[0], &bytes).unwrap();
    assert!(corrupt_at_open(dir.path()).contains("is damaged"));
}

#[test]
fn a_flipped_bit_in_the_middle_is_damage_at_open() {
    let dir = tempfile::tempdir().unwrap();
    let (bytes, bounds) = written(dir.path(), &[values(0..3), values(3..6)]);
    let segment = segments(dir.path())[0].clone();
    // Up to the last record: behind that nothing tells damage from a torn write.
    for at in bounds[0]..bounds[2] - (32 + 3 + 7) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        std::fs::write(&segment, &flipped).unwrap();
        let message = corrupt_at_open(dir.path());
        assert!(message.contains("00000000000000000000.log: the record of offset"), "byte {at}: {message}");
    }
    std::fs::write(&segment, &bytes).unwrap();
    assert_goes_on_after(dir.path(), 6, "the bytes as they were");
}

#[test]
fn damage_in_an_earlier_segment_is_met_by_its_reader_and_never_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_one(dir.path(), 4096, &Time::at(1));
    for value in values(0..300) {
        append(log.as_ref(), &[record("key", value)]);
    }
    drop(log);
    let files = segments(dir.path());
    assert!(files.len() > 2);
    let whole = std::fs::read(&files[0]).unwrap();
    // The eleventh record.
    let damaged_at = HEADER_BYTES + 10 * (32 + 3 + 7);
    let mut flipped = whole.clone();
    flipped[damaged_at + 20] ^= 1;
    let short = whole[..whole.len() - 20].to_vec();
    let fewer = whole[..damaged_at].to_vec();

    for (bytes, good) in [(flipped, 10), (fewer, 10), (short, 0)] {
        std::fs::write(&files[0], &bytes).unwrap();
        let log = open_one(dir.path(), 4096, &Time::at(1));
        let mut reader = log.reader(0, 0).unwrap();
        let mut records = Vec::new();
        let error = loop {
            if let Err(error) = reader.read(&mut records, 1_000, Duration::ZERO) {
                break error;
            }
        };
        assert!(matches!(&error, LogError::Corrupt(_)), "{error}");
        assert!(records.len() >= good && records.len() < 200, "{}", records.len());
        assert!(matches!(reader.read(&mut records, 1_000, Duration::ZERO), Err(LogError::Corrupt(_))));
        // What lies in whole segments is there.
        assert_eq!(read_from(log.as_ref(), 0, 290, 10)[9].value, "value 299");
    }
    std::fs::write(&files[0], &whole).unwrap();
    let log = open_one(dir.path(), 4096, &Time::at(1));
    assert_eq!(read_from(log.as_ref(), 0, 0, 300).len(), 300);
}

#[test]
fn a_missing_segment_in_the_middle_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_one(dir.path(), 4096, &Time::at(1));
    for value in values(0..300) {
        append(log.as_ref(), &[record("key", value)]);
    }
    drop(log);
    let files = segments(dir.path());
    std::fs::remove_file(&files[1]).unwrap();
    let log = open_one(dir.path(), 4096, &Time::at(1));
    let base = |i: usize| files[i].file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap();
    let mut reader = log.reader(0, 0).unwrap();
    let first_segment = usize::try_from(base(1)).unwrap();
    assert_eq!(read(reader.as_mut(), first_segment).len(), first_segment);
    let error = reader.read(&mut Vec::new(), 1, Duration::ZERO).unwrap_err();
    assert!(matches!(&error, LogError::Corrupt(message) if message.contains("missing")), "{error}");
    assert_eq!(read_from(log.as_ref(), 0, base(2), 1)[0].offset, base(2));
}

#[test]
fn a_segment_under_another_name_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    drop(open_one(dir.path(), 4096, &Time::at(1)));
    std::fs::rename(&segments(dir.path())[0], dir.path().join("partition-0000/00000000000000000007.log")).unwrap();
    assert!(corrupt_at_open(dir.path()).contains("moved or renamed"));
}
