//! Whether librdkafka still fetches a partition. Leaders that go and come, one after the other, may leave it with nothing under
//! way and nobody told: seen with brokers that were frozen and one of which was then stopped.

use super::tail::{Tail, broker};
use rdkafka::statistics::{Partition, Statistics};

/// A leader that was heard so lately answers what it is asked: a fetch takes half a second at the most.
const HEARD_US_MAX: i64 = 2_000_000;
/// So many statistics in a row, each half a second after the one before.
const SOUGHT_AFTER: u32 = 20;
const GIVEN_UP_AFTER: u32 = 40;

/// What may begin the fetching again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nudge {
    /// Of the partition alone.
    Seek,
    /// Of all of them, in a new membership: the seek was of no use.
    Rejoin,
}

/// For how many statistics nothing has come of a partition that has more.
#[derive(Debug, Default)]
pub(super) struct Stall {
    counted: u32,
}

impl Stall {
    /// A record has come.
    pub(super) fn end(&mut self) {
        self.counted = 0;
    }

    /// Takes in statistics of a partition that is read, and says what is to be done.
    pub(super) fn observe(&mut self, statistics: &Statistics, partition: &Partition, tail: &Tail) -> Option<Nudge> {
        let leader = broker(statistics, partition.leader);
        let has_leader = leader.is_some_and(|leader| (0..HEARD_US_MAX).contains(&leader.rxidle));
        let wants_more = tail.end() > tail.next() || partition.fetch_state != "active";
        if !has_leader || !wants_more || partition.fetchq_cnt > 0 {
            self.end();
            return None;
        }
        self.counted += 1;
        match self.counted {
            SOUGHT_AFTER => Some(Nudge::Seek),
            GIVEN_UP_AFTER => Some(Nudge::Rejoin),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::statistics::Broker;

    fn statistics(rxidle: i64) -> Statistics {
        let leader = Broker { nodeid: 2, rxidle, ..Broker::default() };
        Statistics { brokers: [("leader".to_owned(), leader)].into(), ..Statistics::default() }
    }

    fn partition(fetch_state: &str) -> Partition {
        Partition { leader: 2, fetch_state: fetch_state.to_owned(), ..Partition::default() }
    }

    fn nudges(rxidle: i64, partition: &Partition, tail: &Tail) -> Vec<Nudge> {
        let mut stall = Stall::default();
        (0..2 * GIVEN_UP_AFTER).filter_map(|_| stall.observe(&statistics(rxidle), partition, tail)).collect()
    }

    #[test]
    fn what_has_more_and_gets_none_is_nudged() {
        let (behind, at_end) = (Tail::new(5, 8), Tail::new(8, 8));
        assert_eq!(nudges(0, &partition("active"), &behind), [Nudge::Seek, Nudge::Rejoin]);
        assert_eq!(nudges(0, &partition("validate-epoch-wait"), &at_end), [Nudge::Seek, Nudge::Rejoin]);
    }

    #[test]
    fn what_is_at_its_end_has_no_leader_or_is_still_handed_on_is_left_alone() {
        let (behind, at_end) = (Tail::new(5, 8), Tail::new(8, 8));
        assert_eq!(nudges(0, &partition("active"), &at_end), []);
        for silent in [-1, HEARD_US_MAX] {
            assert_eq!(nudges(silent, &partition("active"), &behind), []);
        }
        for leader in [-1, 3] {
            assert_eq!(nudges(0, &Partition { leader, ..partition("active") }, &behind), []);
        }
        assert_eq!(nudges(0, &Partition { fetchq_cnt: 1, ..partition("active") }, &behind), []);
    }

    #[test]
    fn a_record_ends_it() {
        let (mut stall, behind) = (Stall::default(), Tail::new(5, 8));
        let observe = |stall: &mut Stall| stall.observe(&statistics(0), &partition("active"), &behind);
        assert!((1..SOUGHT_AFTER).all(|_| observe(&mut stall).is_none()));
        stall.end();
        assert_eq!(observe(&mut stall), None);
    }
}
