//! Whether an offset is in the log, where brokers may not know better: one that was frozen, or has just become the leader, may be
//! behind the others and say that the log ends before what was read of it.

use crate::{Bounds, Offset};
use std::time::{Duration, Instant};

/// For how long a log that ends before a wanted offset may be a broker that is behind.
const DOUBTED_FOR: Duration = Duration::from_secs(10);

/// Where a wanted offset is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Inside,
    /// The same, after it was doubtful: who refused the offset has ended its being fetched.
    InsideAgain,
    /// Beyond what a broker says is the end, for the first time.
    NewlyDoubtful,
    /// The same, for a while.
    Doubtful,
    Outside,
}

/// What is doubted of one partition.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    since: Option<Instant>,
}

impl Doubt {
    /// Where an offset is, as far as the brokers are to be believed by now.
    pub(super) fn find_place(&mut self, wanted: Offset, bounds: Bounds, now: Instant) -> Place {
        if (bounds.start..=bounds.end).contains(&wanted) {
            return if self.since.take().is_some() { Place::InsideAgain } else { Place::Inside };
        }
        if wanted < bounds.start {
            return Place::Outside;
        }
        match self.since {
            None => {
                self.since = Some(now);
                Place::NewlyDoubtful
            }
            Some(since) if now.saturating_duration_since(since) < DOUBTED_FOR => Place::Doubtful,
            Some(_) => Place::Outside,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { start: 10, end: 20 };

    #[test]
    fn what_is_gone_is_gone_and_the_end_is_where_more_comes() {
        let (mut doubt, now) = (Doubt::default(), Instant::now());
        for (wanted, place) in [(9, Place::Outside), (10, Place::Inside), (20, Place::Inside)] {
            assert_eq!(doubt.find_place(wanted, BOUNDS, now), place, "{wanted}");
        }
    }

    #[test]
    fn an_end_that_is_too_early_is_believed_after_a_while() {
        let (mut doubt, now) = (Doubt::default(), Instant::now());
        assert_eq!(doubt.find_place(21, BOUNDS, now), Place::NewlyDoubtful);
        assert_eq!(doubt.find_place(21, BOUNDS, now + DOUBTED_FOR / 2), Place::Doubtful);
        assert_eq!(doubt.find_place(21, BOUNDS, now + DOUBTED_FOR), Place::Outside);
    }

    #[test]
    fn an_end_that_was_too_early_is_forgotten() {
        let (mut doubt, now) = (Doubt::default(), Instant::now());
        assert_eq!(doubt.find_place(21, BOUNDS, now), Place::NewlyDoubtful);
        let later = Bounds { end: 30, ..BOUNDS };
        assert_eq!(doubt.find_place(21, later, now + DOUBTED_FOR / 2), Place::InsideAgain);
        assert_eq!(doubt.find_place(21, later, now + DOUBTED_FOR / 2), Place::Inside);
        assert_eq!(doubt.find_place(31, later, now + DOUBTED_FOR), Place::NewlyDoubtful);
    }
}
