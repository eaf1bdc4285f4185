//! What must hold of any bytes in the state. Run by `fuzz/` with what libFuzzer thinks of, and below with proptest.

use crate::sessions::RowId;
use crate::sessions::fuzzing::timeline_row;
use crate::state::counts::{self, Count};
use crate::state::identity::Identity;
use crate::state::key::{split_day, split_user};
use crate::state::progress::Progress;
use crate::state::quarters::{Quarters, Sums};
use crate::state::session_sums::{self, SessionSum};
use crate::state::stretches::Stretch;
use crate::state::{marks, ttl::Stamp};

fn after_user(key: &[u8]) -> Option<&[u8]> {
    split_user(key).map(|(_, rest)| rest)
}

/// The first byte says of which kind the rest is: `q` quarters of counts, `s` quarters of sessions, `m` the days of a stretch,
/// `c` `t` `d` the rows of a timeline, `p` progress, `i` identity, anything else the parts of a key.
///
/// # Panics
/// Where decoding panics, or what was decoded does not come back from its encoding.
pub fn keys_and_rows(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind {
        b'q' => quarters::<Count>(bytes),
        b's' => quarters::<SessionSum>(bytes),
        b'm' => {
            stretch::<Count>(bytes);
            stretch::<SessionSum>(bytes);
        }
        b'c' | b't' | b'd' => timeline_row(*kind, bytes),
        b'p' => {
            if let Ok(progress) = Progress::decode(bytes) {
                assert_eq!(progress.encode(), bytes);
            }
        }
        b'i' => identity(bytes),
        _ => keys(bytes),
    }
}

fn quarters<S: Sums>(bytes: &[u8]) {
    let Some((touched, row)) = Stamp::split(bytes) else { return };
    let Some(decoded) = Quarters::<S>::decode(row) else { return };
    let mut encoded = Vec::new();
    Stamp::write(touched, &mut encoded);
    decoded.encode(&mut encoded);
    // An empty quarter is read where one is written, and never written.
    let mut stored = Quarters::default();
    decoded.iter().filter(|(_, sums)| !sums.is_empty()).for_each(|(quarter, sums)| stored.add(quarter, sums));
    let again = Stamp::split(&encoded).and_then(|(touched, row)| Some((touched, Quarters::decode(row)?)));
    assert_eq!(again, Some((touched, stored)));
    assert!(encoded.len() <= bytes.len());
    let _ = decoded.total();
}

fn stretch<S: Sums>(bytes: &[u8]) {
    if let Some(stretch) = Stretch::<S>::read(bytes) {
        let mut encoded = Vec::new();
        stretch.write(&mut encoded);
        assert_eq!(Stretch::read(&encoded), Some(stretch));
        assert!(encoded.len() <= bytes.len());
    }
}

fn identity(bytes: &[u8]) {
    let identity = Identity {
        partition: 3,
        partition_count: 12,
        session_pairs: Vec::new(),
        session_duration_ms_max: 1_000,
        retention_seconds: 86_400,
    };
    let is_same = String::from_utf8_lossy(bytes).lines().eq(identity.encode().lines());
    match identity.check(bytes) {
        Ok(()) => assert!(is_same),
        Err(refusal) => assert!(!is_same && !refusal.to_string().is_empty()),
    }
}

/// The day and the pair, then the user up to a NUL, then the name.
fn keys(bytes: &[u8]) {
    let Some((day, rest)) = bytes.split_first_chunk::<4>() else { return };
    let Some((pair, rest)) = rest.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    let (user, name) = text.split_once('\0').unwrap_or((&text, "play"));
    let (day, name) = (i32::from_be_bytes(*day), name.replace('\0', ""));

    let parts = |key: &[u8]| split_day(key).map(|(day, rest)| (day, rest.to_vec()));
    let named = Some((day, name.clone().into_bytes()));
    assert_eq!(after_user(&counts::user_key(user, day, &name)).and_then(parts), named);
    assert_eq!(parts(&counts::total_key(day, &name)), named);
    assert_eq!(parts(&counts::stretch_key(day, &name)), named);
    let paired = Some((day, vec![*pair]));
    assert_eq!(after_user(&session_sums::user_key(user, day, *pair)).and_then(parts), paired);
    assert_eq!(parts(&session_sums::total_key(day, *pair)), paired);
    assert_eq!(parts(&session_sums::stretch_key(day, *pair)), paired);
    assert_eq!(after_user(&marks::key(user, &name)), Some(name.as_bytes()));

    // Rows of one timeline order as the instants that they begin at.
    let row_key = |row: RowId| {
        let mut key = Vec::new();
        row.write_key(&mut key);
        key
    };
    let (earlier, later) = (i64::from(day) * 1_000, i64::from(day) * 1_000 + i64::from(*pair));
    assert_eq!(row_key(RowId::Chunk(earlier)).cmp(&row_key(RowId::Chunk(later))), earlier.cmp(&later));
    // Whatever is no key has no parts, or some.
    let _ = after_user(rest).and_then(split_day);
}

#[cfg(test)]
mod tests {
    use super::keys_and_rows;
    use proptest::prelude::*;

    #[test]
    fn the_corpus_holds() {
        for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/keys_and_rows")).unwrap() {
            keys_and_rows(&std::fs::read(file.unwrap().path()).unwrap());
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_hold(kind in "[qsmctdpi.]", bytes: Vec<u8>) {
            keys_and_rows(&[kind.as_bytes(), &bytes].concat());
        }

        /// Small numbers, which is what rows are made of.
        #[test]
        fn rows_of_small_numbers_hold(kind in "[qsmctd]", bytes in prop::collection::vec(0..64_u8, 0..60)) {
            keys_and_rows(&[kind.as_bytes(), &bytes].concat());
        }
    }
}
