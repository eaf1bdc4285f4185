//! Stream time: the clock that expiry goes by, told by the append times of the log alone.
//!
//! It is the largest append time so far that is to be believed. One record with a time far ahead, from a broker or a machine
//! whose clock was wrong for a moment, must not make everything before it look old. So:
//!
//! - an append time at most [`LEAP_SECONDS`] ahead of stream time moves it there, or nowhere if it is behind;
//! - one further ahead is only *suspected*, and the earliest of those in a row is remembered. Stream time moves to it when
//!   another one, [`CONFIRM_SECONDS`] later or more, says that time did go on there; a record that is not
//!   ahead clears the suspicion.
//!
//! After a silence of 40 days stream time so stands still for an hour longer. No data is the worse for it: what a suspected
//! record brings is stamped with its own append time ([`Moment::arrival`]), and what is over is answered for an hour more.
//! If the suspicion was right, what that record touched lives longer by as much as its time was wrong, and nothing
//! else is touched.
//!
//! A partition begins without a stream time (0): its first record is ahead like any other, and until one an hour later comes nothing
//! is over.

use super::ttl::StreamSeconds;

/// How far one record may move stream time by itself: a day.
const LEAP_SECONDS: u32 = 24 * 60 * 60;
/// How much later than the suspect a second record must be: longer than a clock is wrong until it is set, an hour.
const CONFIRM_SECONDS: u32 = 60 * 60;

/// Where the log's time has got to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct StreamTime {
    /// What expiry is judged by; 0 where nothing is known yet. Never falls.
    pub(crate) now: StreamSeconds,
    /// The earliest append time of those far ahead, since the last one that was not.
    pub(crate) suspect: Option<StreamSeconds>,
}

/// The two times of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// What is over is judged by this.
    pub(crate) now: StreamSeconds,
    /// What the record brings is stamped with this; not before `now`.
    pub(crate) arrival: StreamSeconds,
}

impl StreamTime {
    /// The time after a record that was appended at `appended`.
    pub(crate) fn after(self, appended: StreamSeconds) -> Self {
        let Self { now, suspect } = self;
        if !is_later(appended, now, LEAP_SECONDS + 1) {
            return Self { now: now.max(appended), suspect: None };
        }
        match suspect {
            Some(suspect) if is_later(appended, suspect, CONFIRM_SECONDS) => {
                Self { now: suspect, suspect: None }.after(appended)
            }
            suspect => Self { now, suspect: Some(suspect.map_or(appended, |suspect| suspect.min(appended))) },
        }
    }

    /// The times of that record, where this is the time after it.
    pub(crate) fn moment(self, appended: StreamSeconds) -> Moment {
        Moment { now: self.now, arrival: self.now.max(appended) }
    }
}

/// Whether a time is later by so many seconds or more.
fn is_later(time: StreamSeconds, than: StreamSeconds, by_seconds: u32) -> bool {
    u64::from(time) >= u64::from(than) + u64::from(by_seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: u32 = LEAP_SECONDS;
    const HOUR: u32 = CONFIRM_SECONDS;
    /// 2026-01-01 and 2100-01-01.
    const TODAY: u32 = 1_767_225_600;
    const FAR: u32 = 4_102_444_800;

    fn at(now: StreamSeconds) -> StreamTime {
        StreamTime { now, suspect: None }
    }

    fn after(start: StreamTime, appended: &[StreamSeconds]) -> StreamTime {
        appended.iter().fold(start, |time, appended| time.after(*appended))
    }

    #[test]
    fn a_day_is_believed_and_nothing_moves_back() {
        assert_eq!(after(at(TODAY), &[TODAY + DAY]), at(TODAY + DAY));
        assert_eq!(after(at(TODAY), &[TODAY - 1, 0]), at(TODAY));
    }

    #[test]
    fn one_wild_record_moves_nothing() {
        assert_eq!(after(at(TODAY), &[FAR]).now, TODAY);
        assert_eq!(after(at(TODAY), &[FAR, FAR, FAR + HOUR - 1]).now, TODAY, "a batch, and a clock wrong for a while");
        assert_eq!(after(at(TODAY), &[FAR, TODAY + 1]), at(TODAY + 1), "the next right one clears it");
        assert_eq!(after(at(TODAY), &[FAR, TODAY + 1, FAR + HOUR]).now, TODAY + 1, "and it counts for nothing later");
    }

    #[test]
    fn a_silence_is_believed_when_time_goes_on_behind_it() {
        let later = TODAY + 40 * DAY;
        assert_eq!(after(at(TODAY), &[later, later + 5]).now, TODAY);
        assert_eq!(after(at(TODAY), &[later, later + 5, later + HOUR]), at(later + HOUR));
        let much_later = later + 40 * DAY;
        assert_eq!(after(at(TODAY), &[later, much_later]), StreamTime { now: later, suspect: Some(much_later) });
    }

    #[test]
    fn a_wild_record_first_after_a_silence_or_first_of_all_is_seen_through() {
        for start in [StreamTime::default(), at(TODAY - 40 * DAY)] {
            assert_eq!(after(start, &[FAR, TODAY]), StreamTime { now: start.now, suspect: Some(TODAY) });
            assert_eq!(after(start, &[FAR, TODAY, TODAY + HOUR]), at(TODAY + HOUR));
            assert_eq!(after(start, &[TODAY, FAR]), StreamTime { now: TODAY, suspect: Some(FAR) });
        }
    }

    #[test]
    fn what_a_suspected_record_brings_has_its_own_time() {
        let time = at(TODAY).after(FAR);
        assert_eq!(time.moment(FAR), Moment { now: TODAY, arrival: FAR });
        assert_eq!(time.moment(TODAY - 9), Moment { now: TODAY, arrival: TODAY }, "never before now");
    }

    proptest! {
        #[test]
        fn never_falls_and_leaps_only_to_an_append_time_that_another_one_confirms(
            appended in prop::collection::vec(prop_oneof![0..10 * DAY, Just(FAR), TODAY..TODAY + 100 * DAY], 0..40),
        ) {
            let mut time = StreamTime::default();
            for (index, second) in appended.iter().enumerate() {
                let next = time.after(*second);
                prop_assert!(next.now >= time.now);
                if next.now > time.now.saturating_add(LEAP_SECONDS) {
                    let leapt_to = appended[..index].iter().filter(|before| *before + HOUR <= *second).max_by_key(|before| {
                        // The suspect itself, or where the record that confirmed it went on from there.
                        (**before <= next.now, **before)
                    });
                    prop_assert!(leapt_to.is_some_and(|before| next.now - before <= LEAP_SECONDS));
                }
                prop_assert!(next.suspect.is_none_or(|suspect| suspect > next.now.saturating_add(LEAP_SECONDS)));
                time = next;
            }
        }

        /// Wild records, each far from the others and between two right ones, change nothing.
        #[test]
        fn wild_records_among_right_ones_change_nothing(
            steps in prop::collection::vec((0..DAY, any::<Option<u16>>()), 1..40),
        ) {
            let (mut right, mut disturbed, mut second) = (at(TODAY), at(TODAY), TODAY);
            for (step, wild) in steps {
                if let Some(wild) = wild {
                    disturbed = disturbed.after(FAR + 1_000 * u32::from(wild));
                }
                second += step;
                right = right.after(second);
                disturbed = disturbed.after(second);
                prop_assert_eq!(disturbed, right);
            }
        }
    }
}
