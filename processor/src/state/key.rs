//! The parts that keys are made of: ordered days and NUL-terminated text.

use track_proto::calendar::{DAY_MS, date_of_day};

/// A key as it is built: short ones stay on the stack.
pub(crate) type Key = smallvec::SmallVec<[u8; 64]>;

/// A UTC day, ordered: big-endian with the sign flipped, 4 bytes.
pub(crate) fn day_bytes(day: i32) -> [u8; 4] {
    (day.cast_unsigned() ^ (1 << 31)).to_be_bytes()
}

/// The day behind [`day_bytes`].
fn day_of_bytes(bytes: [u8; 4]) -> i32 {
    (u32::from_be_bytes(bytes) ^ (1 << 31)).cast_signed()
}

/// Appends a day and what stands behind it, an event's name or a session pair.
pub(crate) fn push_day(key: &mut Key, day: i32, subject: &[u8]) {
    key.extend_from_slice(&day_bytes(day));
    key.extend_from_slice(subject);
}

/// The key of a row by day: of a user where `prefix` is theirs, over all where it is empty.
#[cfg(any(test, fuzzing))]
pub(crate) fn day_key(mut prefix: Key, day: i32, subject: &[u8]) -> Key {
    push_day(&mut prefix, day, subject);
    prefix
}

/// Everything of one user in a family that begins with the user.
pub(crate) fn user_prefix(user_id: impl AsRef<[u8]>) -> Key {
    let mut key = Key::from_slice(user_id.as_ref());
    key.push(0);
    key
}

/// Day and what follows it, in a key that begins with a day.
pub(crate) fn split_day(key: &[u8]) -> Option<(i32, &[u8])> {
    let (day, subject) = key.split_first_chunk::<4>()?;
    Some((day_of_bytes(*day), subject))
}

/// The user and what follows, in a key of a family that begins with the user.
pub(crate) fn split_user(key: &[u8]) -> Option<(&str, &[u8])> {
    let end = key.iter().position(|byte| *byte == 0)?;
    let (user_id, rest) = key.split_at(end);
    Some((std::str::from_utf8(user_id).ok()?, rest.get(1..)?))
}

/// An instant in milliseconds since 1970 UTC, for people.
pub(crate) fn show_instant(timestamp_ms: i64) -> String {
    let (day, ms) = (timestamp_ms.div_euclid(DAY_MS), timestamp_ms.rem_euclid(DAY_MS));
    let (seconds, ms) = (ms / 1000, ms % 1000);
    let day = i32::try_from(day).map_or_else(|_| format!("{day} days after 1970-01-01"), show_day);
    format!("{day}T{:02}:{:02}:{:02}.{ms:03}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// A day as a date, for people.
pub(crate) fn show_day(day: i32) -> String {
    date_of_day(day).map_or_else(|| format!("{day} days after 1970-01-01"), |date| date.to_string())
}

/// Rows in the order of their keys, so that the memtable is filled in order and the store is read in order. They are moved once, so
/// that whoever goes through them finds one beside the other.
pub(crate) fn in_order<V>(rows: impl IntoIterator<Item = (Key, V)>) -> Vec<(Key, V)> {
    let rows: Vec<_> = rows.into_iter().collect();
    // The first sixteen bytes of each key, which settle most comparisons without a look at the row, and its place.
    let mut order: Vec<_> = rows.iter().enumerate().map(|(place, (key, _))| (first_bytes(key), place)).collect();
    order.sort_unstable_by(|(a, a_place), (b, b_place)| a.cmp(b).then_with(|| rows[*a_place].0.cmp(&rows[*b_place].0)));
    let mut rows: Vec<_> = rows.into_iter().map(Some).collect();
    let mut ordered = Vec::with_capacity(rows.len());
    ordered.extend(order.into_iter().filter_map(|(_, place)| rows[place].take()));
    ordered
}

/// Big-endian, so that they order as the bytes do; a shorter key is filled up with zeros.
fn first_bytes(key: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    let length = key.len().min(bytes.len());
    bytes[..length].copy_from_slice(&key[..length]);
    u128::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn days_order_as_their_bytes(a: i32, b: i32) {
            prop_assert_eq!(a.cmp(&b), day_bytes(a).cmp(&day_bytes(b)));
            prop_assert_eq!(day_of_bytes(day_bytes(a)), a);
        }

        #[test]
        fn rows_come_in_the_order_of_their_keys(keys in prop::collection::vec("[a-b\0]{0,18}", 0..50)) {
            let rows = keys.iter().map(|key| (Key::from_slice(key.as_bytes()), ()));
            let sorted: Vec<_> = in_order(rows).iter().map(|(key, ())| key.to_vec()).collect();
            let mut expected: Vec<_> = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
            expected.sort_unstable();
            prop_assert_eq!(sorted, expected);
        }

        #[test]
        fn no_user_is_another_ones_prefix(a in "[a-z€]{1,4}", b in "[a-z€]{1,4}", rest: Vec<u8>) {
            let mut key = user_prefix(&a);
            key.extend_from_slice(&rest);
            prop_assert_eq!(key.starts_with(&user_prefix(&b)), a == b);
            prop_assert_eq!(split_user(&key), Some((a.as_str(), rest.as_slice())));
        }
    }
}
