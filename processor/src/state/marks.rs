//! Which event_ids a user has sent: the memory behind "counts once".
//!
//! | family | key | value |
//! |---|---|---|
//! | `marks` | user, NUL, event_id | stamp (4): when the first one arrived |

use super::key::{Key, split_user, user_prefix};

/// The key of a mark.
pub(crate) fn key(user_id: &str, event_id: &str) -> Key {
    let mut key = user_prefix(user_id);
    key.extend_from_slice(event_id.as_bytes());
    key
}

/// A mark, for people.
pub(crate) fn describe_key(key: &[u8]) -> Option<String> {
    let (user_id, event_id) = split_user(key)?;
    Some(format!("user {user_id:?}, event_id {:?}", std::str::from_utf8(event_id).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn two_marks_are_one_only_for_one_user_and_one_id(
            a in ("[ab€]{1,3}", "[ab€]{1,3}"),
            b in ("[ab€]{1,3}", "[ab€]{1,3}"),
        ) {
            prop_assert_eq!(key(&a.0, &a.1) == key(&b.0, &b.1), a == b);
        }
    }

    #[test]
    fn keys_are_told_to_people() {
        assert_eq!(describe_key(&key("ann", "7")).as_deref(), Some(r#"user "ann", event_id "7""#));
        assert_eq!(describe_key(b"ann\0\xff"), None);
    }
}
