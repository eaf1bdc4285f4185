//! Which event_ids a user has sent: the memory behind "counts once".
//!
//! | family | key | value |
//! |---|---|---|
//! | `marks` | user, NUL, event_id | stamp (4): when the first one arrived |

use super::key::{Key, user_prefix};

/// The key of a mark.
pub(crate) fn key(user_id: &str, event_id: &str) -> Key {
    let mut key = user_prefix(user_id);
    key.extend_from_slice(event_id.as_bytes());
    key
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
}
