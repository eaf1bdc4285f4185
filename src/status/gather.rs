//! What processors say, and what the log of events holds meanwhile.

use super::board::{Board, Heard};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use track_log::kafka::{Config, KafkaLog, KafkaTimes};
use track_log::{Bounds, Offset, Partition, ReadLog as _};
use track_proto::clock::Clock;
use track_proto::topics::{EVENTS, OWNERS};

/// How long the log may take to show records; what has not come by then is not known.
const SHOWN_WITHIN: Duration = Duration::from_secs(5);

/// Where to look.
pub(super) struct Sources {
    pub(super) board: Board,
    events: KafkaLog,
    times: KafkaTimes,
    clock: Clock,
}

/// What was seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Gathered {
    pub(super) heard: Vec<Heard>,
    /// What each partition of the log holds, by its number. Asked after the board was read: nobody is ahead of it.
    pub(super) bounds: Vec<Bounds>,
    /// For who has applied so much of a partition: when the first record that it has not was appended, in milliseconds
    /// since 1970, or `None` where no record is left. What is not known is not in it.
    pub(super) waiting: HashMap<(Partition, Offset), Option<i64>>,
    /// The wall clock.
    pub(super) now_ms: i64,
}

impl Sources {
    /// Connects, and reads the board.
    ///
    /// # Errors
    /// Where the brokers or one of the topics are not there.
    pub(super) fn open(config: &Config, clock: Clock) -> anyhow::Result<Self> {
        let events = KafkaLog::open(config)?;
        let board = Board::read(&KafkaLog::open_topic(config, OWNERS)?)?;
        Ok(Self { board, events, times: KafkaTimes::open(config, EVENTS)?, clock })
    }

    /// What time it is.
    pub(super) fn now_ms(&self) -> i64 {
        (self.clock)()
    }

    /// Looks at everything once.
    ///
    /// # Errors
    /// Where the brokers do not answer.
    pub(super) fn gather(&self) -> anyhow::Result<Gathered> {
        let heard = self.board.heard(self.now_ms());
        let bounds = (0..self.events.partition_count()).map(|partition| self.events.bounds(partition));
        let bounds = bounds.collect::<Result<Vec<_>, _>>()?;
        let waiting = self.waiting(&heard, &bounds)?;
        Ok(Gathered { heard, bounds, waiting, now_ms: self.now_ms() })
    }

    fn waiting(&self, heard: &[Heard], bounds: &[Bounds]) -> anyhow::Result<HashMap<(Partition, Offset), Option<i64>>> {
        let mut waiting = HashMap::new();
        for round in rounds(heard, bounds) {
            // From where the log begins, for who is behind even that.
            let from = round.iter().filter_map(|(partition, applied)| {
                let start = bounds.get(usize::try_from(*partition).ok()?)?.start;
                Some((*partition, start.max(*applied)))
            });
            for (partition, time) in self.times.append_times(&from.collect(), SHOWN_WITHIN)? {
                waiting.extend(round.get(&partition).map(|applied| ((partition, *applied), time)));
            }
        }
        Ok(waiting)
    }
}

/// The offsets at which somebody is behind, each round with one of a partition: as many rounds as replicas lag.
fn rounds(heard: &[Heard], bounds: &[Bounds]) -> Vec<BTreeMap<Partition, Offset>> {
    let mut rounds: Vec<BTreeMap<Partition, Offset>> = Vec::new();
    for status in heard.iter().filter(|heard| !heard.is_gone).flat_map(|heard| &heard.owner.partitions) {
        let applied = status.as_of.as_ref().map_or(0, |as_of| as_of.next_offset);
        let bounds = usize::try_from(status.partition).ok().and_then(|number| bounds.get(number));
        if bounds.is_none_or(|bounds| applied >= bounds.end)
            || rounds.iter().any(|round| round.get(&status.partition) == Some(&applied))
        {
            continue;
        }
        match rounds.iter_mut().find(|round| !round.contains_key(&status.partition)) {
            Some(round) => {
                round.insert(status.partition, applied);
            }
            None => rounds.push(BTreeMap::from([(status.partition, applied)])),
        }
    }
    rounds
}

#[cfg(test)]
mod tests {
    use super::*;
    use track_proto::v1::{AsOf, Owner, PartitionStatus};

    fn at(applied: &[(Partition, Offset)]) -> Heard {
        let status = |(partition, next_offset): &(Partition, Offset)| {
            let as_of = Some(AsOf { next_offset: *next_offset, ..AsOf::default() });
            PartitionStatus { partition: *partition, as_of, ..PartitionStatus::default() }
        };
        let partitions = applied.iter().map(status).collect();
        Heard { owner: Owner { partitions, ..Owner::default() }, ms_ago: 0, is_gone: false }
    }

    #[test]
    fn one_offset_of_a_partition_is_looked_at_in_a_round() {
        let bounds = [Bounds { start: 0, end: 10 }; 3];
        let heard = [at(&[(0, 4), (1, 10), (2, 7)]), at(&[(0, 5), (2, 7), (9, 1)])];
        let expected = [BTreeMap::from([(0, 4), (2, 7)]), BTreeMap::from([(0, 5)])];
        assert_eq!(rounds(&heard, &bounds), expected);
        let gone = Heard { is_gone: true, ..at(&[(0, 4)]) };
        assert!(rounds(&[gone], &bounds).is_empty());
    }
}
