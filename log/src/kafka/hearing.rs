//! Whether a member has heard what its group has told it.
//!
//! By KIP-848 a coordinator tells a member once what it is to have, in an answer to a heartbeat, and again only where the member
//! asks as one that knows nothing. librdkafka (2.12) asks so after an answer that it has seen fail, but not after one that came
//! too late for it. Then it goes on with what it had: what it should give up is read by nobody else until the group's time for a
//! rebalance is over (`max.poll.interval.ms`, 5 minutes) and throws it out, and what it was given is read by nobody at all. So when
//! answers were late the group is asked what it thinks that this member has. Where that is not what it has, and stays so, it
//! has to join again.

use super::share::Share;
use crate::Partition;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How often the group is asked while there is a doubt.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// How long nothing may move between what a group thinks and what a member has: by its heartbeats it hears of news within 5
/// seconds, or 15 at the most, unless the brokers are set to more (`group.consumer.heartbeat.interval.ms`, `group.consumer.max.heartbeat.interval.ms`).
const TOLD_WITHIN: Duration = Duration::from_secs(20);

/// What one member knows of its own hearing.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    /// Requests to the coordinator that had no answer in time, ever.
    late: u64,
    /// An answer was late; that all was heard counts only from then on.
    doubted_until: Option<Instant>,
    asked: Option<Instant>,
    differing: Option<Differing>,
}

#[derive(Debug)]
struct Differing {
    since: Instant,
    share: Share,
    owned: BTreeSet<Partition>,
}

impl Hearing {
    /// Takes in how many requests to the coordinator have had no answer in time until now.
    pub(super) fn notice(&mut self, late: u64, now: Instant) {
        if late > self.late {
            self.doubted_until = Some(now + TOLD_WITHIN);
        }
        self.late = late;
    }

    /// Whether the group is to be asked now.
    pub(super) fn asks(&mut self, now: Instant) -> bool {
        let is_due = self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= ASK_EVERY);
        let asks = self.doubted_until.is_some() && is_due;
        if asks {
            self.asked = Some(now);
        }
        asks
    }

    /// Takes in what the group thinks of a member that has `owned`, nothing where it does not say. True where the member has not
    /// heard what it was told, and will not.
    pub(super) fn is_deaf(&mut self, share: Option<Share>, owned: BTreeSet<Partition>, now: Instant) -> bool {
        // Between the two is what it is to have, but others have not given up yet.
        let has_heard = |share: &Share| share.given.is_subset(&owned) && owned.is_subset(&share.meant);
        match (share, &self.differing) {
            (Some(share), Some(differing)) if differing.share == share && differing.owned == owned => {
                return now.saturating_duration_since(differing.since) >= TOLD_WITHIN;
            }
            (Some(share), _) if !has_heard(&share) => self.differing = Some(Differing { since: now, share, owned }),
            (None, Some(_)) => {}
            (Some(_), _) | (None, None) => {
                self.differing = None;
                self.doubted_until = self.doubted_until.filter(|until| now < *until);
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share<const G: usize, const M: usize>(given: [Partition; G], meant: [Partition; M]) -> Option<Share> {
        Some(Share { given: given.into(), meant: meant.into() })
    }

    /// A member whose answer was late a moment ago.
    fn doubtful(now: Instant) -> Hearing {
        let mut hearing = Hearing::default();
        hearing.notice(1, now);
        hearing
    }

    #[test]
    fn nobody_is_asked_until_an_answer_was_late_and_then_every_other_second() {
        let (mut hearing, now) = (Hearing::default(), Instant::now());
        hearing.notice(0, now);
        assert!(!hearing.asks(now));
        hearing.notice(1, now);
        assert!(hearing.asks(now));
        assert!(!hearing.asks(now + ASK_EVERY / 2));
        assert!(hearing.asks(now + ASK_EVERY));
    }

    #[test]
    fn once_all_was_heard_for_a_while_nobody_is_asked_any_more() {
        let now = Instant::now();
        let mut hearing = doubtful(now);
        for (after, asks) in
            [(Duration::ZERO, true), (TOLD_WITHIN / 2, true), (TOLD_WITHIN, true), (TOLD_WITHIN * 2, false)]
        {
            assert_eq!(hearing.asks(now + after), asks, "{after:?}");
            assert!(!hearing.is_deaf(share([1], [1, 2]), [1].into(), now + after));
        }
        hearing.notice(1, now + TOLD_WITHIN * 3);
        assert!(!hearing.asks(now + TOLD_WITHIN * 3), "no answer was late since");
        hearing.notice(2, now + TOLD_WITHIN * 4);
        assert!(hearing.asks(now + TOLD_WITHIN * 4));
    }

    #[test]
    fn who_keeps_what_it_should_give_up_is_deaf_and_so_is_who_lacks_what_it_was_given() {
        for (share, owned) in [(share([1, 2], [1]), [1, 2].into()), (share([1, 2], [1, 2]), BTreeSet::from([1]))] {
            let now = Instant::now();
            let mut hearing = doubtful(now);
            assert!(!hearing.is_deaf(share.clone(), owned.clone(), now), "it may hear of it yet");
            assert!(!hearing.is_deaf(share.clone(), owned.clone(), now + TOLD_WITHIN / 2));
            assert!(hearing.asks(now + TOLD_WITHIN), "it is doubted as long as it differs");
            assert!(hearing.is_deaf(share, owned, now + TOLD_WITHIN));
        }
    }

    #[test]
    fn a_group_that_does_not_say_is_asked_no_longer_than_one_that_agrees_unless_it_has_differed() {
        let now = Instant::now();
        let mut hearing = doubtful(now);
        assert!(!hearing.is_deaf(None, [1].into(), now + TOLD_WITHIN / 2));
        assert!(hearing.asks(now + TOLD_WITHIN / 2));
        assert!(!hearing.is_deaf(None, [1].into(), now + TOLD_WITHIN));
        assert!(!hearing.asks(now + TOLD_WITHIN * 2));

        let mut hearing = doubtful(now);
        assert!(!hearing.is_deaf(share([1, 2], [1]), [1, 2].into(), now));
        assert!(!hearing.is_deaf(None, [1, 2].into(), now + TOLD_WITHIN / 2));
        assert!(hearing.asks(now + TOLD_WITHIN));
        assert!(hearing.is_deaf(share([1, 2], [1]), [1, 2].into(), now + TOLD_WITHIN));
    }

    #[test]
    fn who_does_as_it_was_told_is_not_deaf_however_often_that_changes() {
        let now = Instant::now();
        let mut hearing = doubtful(now);
        assert!(!hearing.is_deaf(share([1, 2, 3], [1]), [1, 2, 3].into(), now));
        // It has given something up.
        assert!(!hearing.is_deaf(share([1, 2, 3], [1]), [1, 2].into(), now + TOLD_WITHIN));
        // It is told something else.
        assert!(!hearing.is_deaf(share([1, 2], [1]), [1, 2].into(), now + TOLD_WITHIN * 2));
        assert!(!hearing.is_deaf(share([1], [1]), [1].into(), now + TOLD_WITHIN * 3));
        assert!(!hearing.is_deaf(share([1, 2], [1]), [1, 2].into(), now + TOLD_WITHIN * 4), "that has just begun");
    }
}
