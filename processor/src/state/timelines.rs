//! The session edges of a user, kept by [`crate::sessions`].
//!
//! | family | key | value |
//! |---|---|---|
//! | `timelines` | user, NUL, pair (1), row ([`RowId`]) | stamp (4), the row as [`crate::sessions`] lays it out |
//!
//! The stamp is the arrival of the row's youngest edge or of a partner of one.

use super::key::Key;
use crate::sessions::RowId;

/// The key of one row of the timeline of `user_and_pair`: the user, a NUL and the pair.
pub(crate) fn key(user_and_pair: &Key, row: RowId) -> Key {
    let mut key = user_and_pair.clone();
    row.write_key(&mut key);
    key
}
