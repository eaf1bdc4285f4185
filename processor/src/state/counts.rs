//! How often an event happened: per user and day, and per day over all users of the partition.
//!
//! | family | key | value |
//! |---|---|---|
//! | `user-counts` | user, NUL, day (4), event | stamp (4), quarters of [`Count`] |
//! | `stretch-counts` | stretch (4), event | [days](super::stretches) of [`Count`] |
//! | `quarter-counts` | day (4), event | stamp (4), quarters of [`Count`] |
//!
//! `stretch-counts` and `quarter-counts` are written together; the first exists so that a year is a dozen rows an event.

#[cfg(any(test, fuzzing))]
use super::key::{Key, day_key, user_prefix};
use super::key::{show_day, split_day, split_user};
use super::quarters::Sums;
use super::stretches::show_stretch;

/// A number of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Count(u64);

impl Count {
    pub(crate) const ONE: Self = Self(1);

    #[cfg(test)]
    pub(crate) const fn of(count: u64) -> Self {
        Self(count)
    }

    pub(crate) const fn get(self) -> u64 {
        self.0
    }
}

impl Sums for Count {
    type Numbers = [u64; 1];

    fn numbers(self) -> [u64; 1] {
        [self.0]
    }

    fn read(mut next: impl FnMut() -> Option<u64>) -> Option<Self> {
        next().map(Self)
    }

    fn add(&mut self, other: Self) {
        self.0 = self.0.saturating_add(other.0);
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// The key of a user's row.
#[cfg(any(test, fuzzing))]
pub(crate) fn user_key(user_id: &str, day: i32, event: &str) -> Key {
    day_key(user_prefix(user_id), day, event.as_bytes())
}

/// The key of a row over all users.
#[cfg(any(test, fuzzing))]
pub(crate) fn total_key(day: i32, event: &str) -> Key {
    day_key(Key::new(), day, event.as_bytes())
}

/// A user's row, for people.
pub(crate) fn describe_user_key(key: &[u8]) -> Option<String> {
    let (user_id, total) = split_user(key)?;
    Some(format!("user {user_id:?}, {}", describe_total_key(total)?))
}

/// The key of a row of many days over all users.
#[cfg(any(test, fuzzing))]
pub(crate) fn stretch_key(stretch: i32, event: &str) -> Key {
    day_key(Key::new(), stretch, event.as_bytes())
}

/// A row of many days over all users, for people.
pub(crate) fn describe_stretch_key(key: &[u8]) -> Option<String> {
    let (stretch, event) = split_day(key)?;
    Some(format!("{}, event {:?}", show_stretch(stretch), std::str::from_utf8(event).ok()?))
}

/// A row of a day over all users, for people.
pub(crate) fn describe_total_key(key: &[u8]) -> Option<String> {
    let (day, event) = split_day(key)?;
    Some(format!("day {}, event {:?}", show_day(day), std::str::from_utf8(event).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_give_back_what_they_are_made_of(user in "\\PC{1,20}", day: i32, event in "\\PC{1,20}") {
            let own = user_key(&user, day, &event);
            let (of, rest) = split_user(&own).unwrap();
            prop_assert_eq!((of, split_day(rest)), (user.as_str(), Some((day, event.as_bytes()))));
            let total = total_key(day, &event);
            prop_assert_eq!(split_day(&total), Some((day, event.as_bytes())));
        }
    }

    #[test]
    fn keys_are_told_to_people() {
        let key = user_key("ann \"the\" one", 20_089, "play");
        assert_eq!(describe_user_key(&key).as_deref(), Some(r#"user "ann \"the\" one", day 2025-01-01, event "play""#));
        assert_eq!(describe_total_key(&total_key(-1, "é")).as_deref(), Some(r#"day 1969-12-31, event "é""#));
        assert_eq!(describe_user_key(b"ann"), None);
        assert_eq!(describe_total_key(&[0; 3]), None);
        let described = describe_stretch_key(&stretch_key(-1, "é"));
        assert_eq!(described.as_deref(), Some(r#"days 1969-11-30 to 1969-12-31, event "é""#));
        assert_eq!(describe_stretch_key(&[0; 3]), None);
    }
}
