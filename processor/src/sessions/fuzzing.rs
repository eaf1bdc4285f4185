//! What must hold of any row of a timeline.

use super::chunk::Entry;
use super::row;

/// A row of the kind that `kind` names: `c` a chunk, `t` a tail, anything else a directory.
///
/// # Panics
/// Where decoding or encoding panics, or what was decoded does not come back from its encoding.
pub(crate) fn timeline_row(kind: u8, bytes: &[u8]) {
    match kind {
        b'c' => {
            let Ok(chunk) = row::decode_chunk(bytes) else { return };
            let encoded = row::encode_chunk(&chunk);
            if are_a_row(chunk.entries()) {
                assert_eq!(row::decode_chunk(&encoded), Ok(chunk));
            }
        }
        b't' => {
            let Ok((tail, sealed)) = row::decode_tail(bytes) else { return };
            let encoded = row::encode_tail(&tail, sealed.as_ref());
            if are_a_row(tail.entries()) {
                let (again, sealed_again) = row::decode_tail(&encoded).expect("what was encoded");
                assert_eq!(again, tail);
                let fields = |sealed: super::timeline::Sealed| (sealed.from_ms, sealed.summary);
                assert_eq!(sealed_again.map(fields), sealed.map(fields));
            }
        }
        _ => {
            let Ok(directory) = row::decode_directory(bytes) else { return };
            let again = row::decode_directory(&row::encode_directory(&directory)).expect("what was encoded");
            let fields = |slot: &super::directory::Slot| (slot.key_ms, slot.summary);
            assert!(directory.slots.iter().map(fields).eq(again.slots.iter().map(fields)));
        }
    }
}

/// Whether a timeline could have made this row: entries in order, none twice, and each session within it whole. The
/// decoder does not look: it would cost what reading costs, and RocksDB's checksums find what is no longer as written.
fn are_a_row(entries: &[Entry]) -> bool {
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return true };
    let within = first.edge.time_ms..=last.edge.time_ms;
    entries.is_sorted_by(|a, b| a.order(b).is_lt())
        && entries
            .iter()
            .filter_map(Entry::mirror)
            .filter(|mirror| within.contains(&mirror.edge.time_ms))
            .all(|mirror| entries.binary_search_by(|other| other.order(&mirror)).is_ok_and(|at| entries[at] == mirror))
}
