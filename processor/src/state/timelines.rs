//! The session edges of a user, kept by [`crate::sessions`].
//!
//! | family | key | value |
//! |---|---|---|
//! | `timelines` | user, NUL, pair (1), row ([`RowId`]) | stamp (4), the row as [`crate::sessions`] lays it out |
//!
//! The stamp is the arrival of the row's youngest edge or of a partner of one.

use super::key::{Key, show_instant, split_user};
use crate::sessions::RowId;

/// The key of one row of the timeline of `user_and_pair`: the user, a NUL and the pair.
pub(crate) fn key(user_and_pair: &Key, row: RowId) -> Key {
    let mut key = user_and_pair.clone();
    row.write_key(&mut key);
    key
}

/// A row, for people.
pub(crate) fn describe_key(key: &[u8]) -> Option<String> {
    let (user_id, pair_and_row) = split_user(key)?;
    let (pair, row) = pair_and_row.split_first()?;
    let row = match RowId::read_key(row)? {
        RowId::Tail => "the latest edges".to_owned(),
        RowId::Directory => "the directory of earlier edges".to_owned(),
        RowId::Chunk(from_ms) => format!("the edges from {}", show_instant(from_ms)),
    };
    Some(format!("user {user_id:?}, session pair {pair}, {row}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::key::user_prefix;
    use proptest::prelude::*;

    fn key_of(row: RowId) -> Key {
        let mut user_and_pair = user_prefix("ann");
        user_and_pair.push(0);
        key(&user_and_pair, row)
    }

    proptest! {
        #[test]
        fn rows_give_back_what_their_keys_are_made_of(from_ms: i64) {
            for row in [RowId::Tail, RowId::Directory, RowId::Chunk(from_ms)] {
                let key = key_of(row);
                prop_assert_eq!(RowId::read_key(&key[b"ann\0p".len()..]), Some(row));
            }
        }
    }

    #[test]
    fn keys_are_told_to_people() {
        let described = |row| describe_key(&key_of(row)).unwrap();
        assert_eq!(described(RowId::Tail), r#"user "ann", session pair 0, the latest edges"#);
        let chunk = described(RowId::Chunk(1_735_689_600_001));
        assert_eq!(chunk, r#"user "ann", session pair 0, the edges from 2025-01-01T00:00:00.001Z"#);
        assert_eq!(describe_key(b"ann\0\0\x03"), None);
    }
}
