//! The parts that keys are made of: ordered days and NUL-terminated text.

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

/// Everything of one user in a family that begins with the user.
pub(crate) fn user_prefix(user_id: &str) -> Key {
    let mut key = Key::with_capacity(user_id.len() + 1);
    key.extend_from_slice(user_id.as_bytes());
    key.push(0);
    key
}

/// Day and what follows it, in a key that begins with a day.
pub(crate) fn split_day(key: &[u8]) -> Option<(i32, &[u8])> {
    let (day, subject) = key.split_first_chunk::<4>()?;
    Some((day_of_bytes(*day), subject))
}

/// What follows the user in a key of a family that begins with the user.
#[cfg(any(test, fuzzing))]
pub(crate) fn after_user(key: &[u8]) -> Option<&[u8]> {
    let end = key.iter().position(|byte| *byte == 0)?;
    key.get(end + 1..)
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
        fn no_user_is_another_ones_prefix(a in "[a-z€]{1,4}", b in "[a-z€]{1,4}", rest: Vec<u8>) {
            let mut key = user_prefix(&a);
            key.extend_from_slice(&rest);
            prop_assert_eq!(key.starts_with(&user_prefix(&b)), a == b);
            prop_assert_eq!(after_user(&key), Some(rest.as_slice()));
        }
    }
}
