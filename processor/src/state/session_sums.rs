//! Sessions by the quarter of an hour in which they started: how many, and how long together.
//!
//! | family | key | value |
//! |---|---|---|
//! | `user-sessions` | user, NUL, day (4), pair (1) | stamp (4), quarters of [`SessionSum`] |
//! | `stretch-sessions` | stretch (4), pair (1) | [days](super::stretches) of [`SessionSum`] |
//! | `quarter-sessions` | day (4), pair (1) | stamp (4), quarters of [`SessionSum`] |
//!
//! The pair is its index among the configured session pairs, which [`super::identity`] pins.

#[cfg(any(test, fuzzing))]
use super::key::{Key, day_key, user_prefix};
use super::key::{show_day, split_day, split_user};
use super::quarters::Sums;
use super::stretches::show_stretch;

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
#[cfg(any(test, fuzzing))]
pub(crate) fn user_key(user_id: &str, day: i32, pair: u8) -> Key {
    day_key(user_prefix(user_id), day, &[pair])
}

/// The key of a row over all users.
#[cfg(any(test, fuzzing))]
pub(crate) fn total_key(day: i32, pair: u8) -> Key {
    day_key(Key::new(), day, &[pair])
}

/// A user's row, for people.
pub(crate) fn describe_user_key(key: &[u8]) -> Option<String> {
    let (user_id, total) = split_user(key)?;
    Some(format!("user {user_id:?}, {}", describe_total_key(total)?))
}

/// The key of a row of many days over all users.
#[cfg(any(test, fuzzing))]
pub(crate) fn stretch_key(stretch: i32, pair: u8) -> Key {
    day_key(Key::new(), stretch, &[pair])
}

/// A row of many days over all users, for people.
pub(crate) fn describe_stretch_key(key: &[u8]) -> Option<String> {
    match split_day(key)? {
        (stretch, [pair]) => Some(format!("{}, session pair {pair}", show_stretch(stretch))),
        _ => None,
    }
}

/// A row of a day over all users, for people.
pub(crate) fn describe_total_key(key: &[u8]) -> Option<String> {
    match split_day(key)? {
        (day, [pair]) => Some(format!("day {}, session pair {pair}", show_day(day))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_give_back_what_they_are_made_of(user in "\\PC{1,20}", day: i32, pair: u8) {
            let (own, total, subject) = (user_key(&user, day, pair), total_key(day, pair), [pair]);
            let (of, rest) = split_user(&own).unwrap();
            prop_assert_eq!((of, split_day(rest)), (user.as_str(), Some((day, subject.as_slice()))));
            prop_assert_eq!(split_day(&total), Some((day, subject.as_slice())));
        }
    }

    #[test]
    fn keys_are_told_to_people() {
        let described = describe_user_key(&user_key("ann", 20_089, 1));
        assert_eq!(described.as_deref(), Some(r#"user "ann", day 2025-01-01, session pair 1"#));
        assert_eq!(describe_total_key(&total_key(0, 0)).as_deref(), Some("day 1970-01-01, session pair 0"));
        assert_eq!(describe_total_key(&[0; 6]), None);
        let described = describe_stretch_key(&stretch_key(0, 1));
        assert_eq!(described.as_deref(), Some("days 1970-01-01 to 1970-02-01, session pair 1"));
        assert_eq!(describe_stretch_key(&[0; 6]), None);
    }
}
