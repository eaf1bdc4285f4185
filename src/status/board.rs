//! What processors say of themselves: the topic `track.owners`, read from its beginning, and then listened to.

use anyhow::ensure;
use prost::Message as _;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use track_log::{Offset, PartitionReader, ReadLog, Record};
use track_proto::v1::Owner;

/// Records that are read together; a processor's are some hundred bytes long.
const READ_AT_ONCE: usize = 1_000;
/// How long one read waits; also how late the end of listening is noticed.
const READ_WAIT: Duration = Duration::from_millis(100);
/// How long the brokers may be silent before the end of what is there.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Who has been silent for so long is not listened for: the board keeps everybody who left without saying so.
const GONE_AFTER_MS: i64 = 24 * 60 * 60 * 1000;

/// The board, as far as it was read.
pub(super) struct Board {
    reader: Box<dyn PartitionReader>,
    said: HashMap<String, Said>,
    /// What comes from here on was sent while we listened.
    live_from: Offset,
    listening_since: Instant,
}

/// What a processor said last.
struct Said {
    owner: Owner,
    received: Instant,
    is_live: bool,
}

/// What a processor said last, and when.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub(super) owner: Owner,
    pub(super) ms_ago: u64,
    /// Silent for a day or longer: it will hardly come back.
    pub(super) is_gone: bool,
}

impl Board {
    /// Reads what is on the board.
    ///
    /// # Errors
    /// Where it can't be read.
    pub(super) fn read(log: &dyn ReadLog) -> anyhow::Result<Self> {
        let bounds = log.bounds(0)?;
        let reader = log.reader(0, bounds.start)?;
        let now = Instant::now();
        let mut board = Self { reader, said: HashMap::new(), live_from: bounds.end, listening_since: now };
        let (mut next, mut heard) = (bounds.start, now);
        // What lies before the end may have been compacted away; the reader notices.
        while next < Offset::min(bounds.end, board.reader.log_end()) {
            ensure!(heard.elapsed() < SILENCE_MAX, "the board of owners gave nothing for {} s", SILENCE_MAX.as_secs());
            if let Some(last) = board.take_in()? {
                (next, heard) = (last + 1, Instant::now());
            }
        }
        board.listening_since = Instant::now();
        Ok(board)
    }

    /// Takes in what is said within this time.
    ///
    /// # Errors
    /// Where the board can't be read any more.
    pub(super) fn listen(&mut self, within: Duration) -> anyhow::Result<()> {
        let began = Instant::now();
        while began.elapsed() < within {
            self.take_in()?;
        }
        Ok(())
    }

    /// Takes in what is said until everybody has spoken who may still be there, or for so long.
    ///
    /// # Errors
    /// Where the board can't be read any more.
    pub(super) fn listen_to_everybody(&mut self, within: Duration, now_ms: i64) -> anyhow::Result<()> {
        let began = Instant::now();
        let is_missed = |said: &Said| !said.is_live && now_ms.saturating_sub(said.owner.sent_at_ms) < GONE_AFTER_MS;
        while began.elapsed() < within && self.said.values().any(is_missed) {
            self.take_in()?;
        }
        Ok(())
    }

    /// Everybody who has not said goodbye, at the wall clock's `now_ms`.
    pub(super) fn heard(&self, now_ms: i64) -> Vec<Heard> {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let listened_ms = ms(self.listening_since.elapsed());
        let heard = |said: &Said| {
            // Only the sender's clock says how old history is: at least as old as we have heard nothing since.
            let age_ms = u64::try_from(now_ms.saturating_sub(said.owner.sent_at_ms)).unwrap_or(0);
            let ms_ago = if said.is_live { ms(said.received.elapsed()) } else { age_ms.max(listened_ms) };
            let is_gone = i64::try_from(ms_ago).unwrap_or(i64::MAX) >= GONE_AFTER_MS;
            Heard { owner: said.owner.clone(), ms_ago, is_gone }
        };
        self.said.values().map(heard).collect()
    }

    /// Takes in what comes next, if something does soon. Returns the offset of the last of it.
    fn take_in(&mut self) -> anyhow::Result<Option<Offset>> {
        let mut records = Vec::new();
        self.reader.read(&mut records, READ_AT_ONCE, READ_WAIT)?;
        for Record { offset, key, value, .. } in &records {
            let instance = String::from_utf8_lossy(key.as_deref().unwrap_or_default()).into_owned();
            if value.is_empty() {
                self.said.remove(&instance);
                continue;
            }
            match Owner::decode(value.clone()) {
                Ok(owner) => {
                    let said = Said { owner, received: Instant::now(), is_live: *offset >= self.live_from };
                    self.said.insert(instance, said);
                }
                Err(error) => tracing::warn!(instance, %error, "what a processor says of itself can't be read"),
            }
        }
        Ok(records.last().map(|record| record.offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::collections::VecDeque;
    use track_log::{Bounds, LogError, Partition};

    const NOW_MS: i64 = 1_700_000_000_000;

    /// A board with these records, of which the first `old` are there when it is read.
    struct Written(Vec<Record>, Offset);

    struct Reading(VecDeque<Record>, Offset);

    impl ReadLog for Written {
        fn partition_count(&self) -> u32 {
            1
        }

        fn bounds(&self, _: Partition) -> Result<Bounds, LogError> {
            Ok(Bounds { start: 0, end: self.1 })
        }

        fn reader(&self, _: Partition, _: Offset) -> Result<Box<dyn PartitionReader>, LogError> {
            Ok(Box::new(Reading(self.0.clone().into(), self.1)))
        }
    }

    impl PartitionReader for Reading {
        fn read(&mut self, into: &mut Vec<Record>, _: usize, _: Duration) -> Result<(), LogError> {
            into.extend(self.0.pop_front());
            Ok(())
        }

        fn log_end(&self) -> Offset {
            self.1
        }

        fn log_end_age(&self) -> Option<Duration> {
            Some(Duration::ZERO)
        }
    }

    fn record(offset: Offset, instance: &str, sent_at_ms: Option<i64>) -> Record {
        let owner = |sent_at_ms| Owner { instance: instance.to_owned(), sent_at_ms, ..Owner::default() };
        let value = sent_at_ms.map(|at| Bytes::from(owner(at).encode_to_vec())).unwrap_or_default();
        Record { offset, append_time_ms: 0, key: Some(Bytes::copy_from_slice(instance.as_bytes())), value }
    }

    #[test]
    fn who_speaks_is_there_whatever_its_clock_says_and_who_says_goodbye_is_not() {
        let an_hour_ms = 3_600_000;
        let records = vec![
            record(0, "left", Some(NOW_MS)),
            record(1, "silent", Some(NOW_MS - 60_000)),
            record(2, "ahead-and-silent", Some(NOW_MS + an_hour_ms)),
            record(3, "behind-and-there", Some(NOW_MS - an_hour_ms)),
            record(4, "of-last-week", Some(NOW_MS - 7 * 24 * an_hour_ms)),
            record(5, "left", None),
            record(6, "behind-and-there", Some(NOW_MS - an_hour_ms)),
        ];
        let mut board = Board::read(&Written(records, 6)).unwrap();
        board.listen_to_everybody(Duration::from_millis(50), NOW_MS).unwrap();
        let heard: HashMap<_, _> =
            board.heard(NOW_MS).into_iter().map(|heard| (heard.owner.instance.clone(), heard)).collect();
        assert_eq!(heard.len(), 4);
        assert!(heard["silent"].ms_ago >= 60_000 && !heard["silent"].is_gone);
        assert!(heard["ahead-and-silent"].ms_ago >= 50, "as long as we have listened");
        assert!(heard["behind-and-there"].ms_ago < 60_000);
        assert!(heard["of-last-week"].is_gone);
    }

    #[test]
    fn nobody_is_waited_for_who_has_spoken_or_is_long_gone() {
        let a_week_ms = 7 * 24 * 3_600_000;
        let records = vec![
            record(0, "a", Some(NOW_MS)),
            record(1, "old", Some(NOW_MS - a_week_ms)),
            record(2, "a", Some(NOW_MS)),
        ];
        let mut board = Board::read(&Written(records, 2)).unwrap();
        // Ends by itself: a test that waits for a day fails.
        board.listen_to_everybody(Duration::from_secs(24 * 3_600), NOW_MS).unwrap();
        assert_eq!(board.heard(NOW_MS).iter().filter(|heard| !heard.is_gone).count(), 1);
    }
}
