//! Sessions by the quarter of an hour in which they started: how many, and how long together.
//!
//! | family | key | value |
//! |---|---|---|
//! | `user-sessions` | user, NUL, day (4), pair (1) | stamp (4), quarters of [`SessionSum`] |
//! | `day-sessions` | day (4), pair (1) | stamp (4), [`SessionSum`] |
//! | `quarter-sessions` | day (4), pair (1) | stamp (4), quarters of [`SessionSum`] |
//!
//! The pair is its index among the configured session pairs, which [`super::identity`] pins.

use super::key::{Key, day_bytes, user_prefix};
use super::quarters::Sums;

/// A number of sessions and their total length. Negative only as a change; a stored one never is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SessionSum {
    pub(crate) count: i64,
    pub(crate) duration_ms: i64,
}

impl SessionSum {
    /// One session more.
    pub(crate) fn one(duration_ms: u64) -> Self {
        Self { count: 1, duration_ms: i64::try_from(duration_ms).unwrap_or(i64::MAX) }
    }

    /// The same sessions taken out.
    pub(crate) fn negated(self) -> Self {
        Self { count: -self.count, duration_ms: -self.duration_ms }
    }
}

impl Sums for SessionSum {
    type Numbers = [u64; 2];

    /// A retraction takes out only what was put in, so a negative sum can't be stored.
    fn numbers(self) -> [u64; 2] {
        #[cfg(test)]
        assert!(self.count >= 0 && self.duration_ms >= 0, "a session was taken out that was never put in");
        [self.count.max(0).unsigned_abs(), self.duration_ms.max(0).unsigned_abs()]
    }

    fn read(mut next: impl FnMut() -> Option<u64>) -> Option<Self> {
        Some(Self { count: i64::try_from(next()?).ok()?, duration_ms: i64::try_from(next()?).ok()? })
    }

    fn add(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.duration_ms = self.duration_ms.saturating_add(other.duration_ms);
    }

    fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// The key of a user's row.
pub(crate) fn user_key(user_id: &str, day: i32, pair: u8) -> Key {
    let mut key = user_prefix(user_id);
    key.extend_from_slice(&day_bytes(day));
    key.push(pair);
    key
}

/// The key of a row over all users.
pub(crate) fn total_key(day: i32, pair: u8) -> Key {
    let mut key = Key::new();
    key.extend_from_slice(&day_bytes(day));
    key.push(pair);
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::key::{after_user, split_day};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_give_back_what_they_are_made_of(user in "\\PC{1,20}", day: i32, pair: u8) {
            let (own, total, subject) = (user_key(&user, day, pair), total_key(day, pair), [pair]);
            prop_assert_eq!(after_user(&own).and_then(split_day), Some((day, subject.as_slice())));
            prop_assert_eq!(split_day(&total), Some((day, subject.as_slice())));
        }
    }
}
