//! The bytes of rows: what goes in comes out, and what did not go in is an error or at least no panic.

use super::super::directory::{Directory, Slot};
use super::super::timeline::Sealed;
use super::*;
use proptest::prelude::*;

fn summary() -> impl Strategy<Value = Summary> {
    (any::<bool>(), any::<Option<i64>>(), any::<bool>(), any::<Option<i64>>(), any::<i64>()).prop_map(
        |(has_spare_close, reaches_back_ms, has_open, reaches_on_ms, touched_ms)| Summary {
            has_spare_close,
            reaches_back_ms,
            has_open,
            reaches_on_ms,
            touched_ms,
        },
    )
}

/// A chunk as pairing makes them: halves within it have their others in it, the others lie before or after it.
fn chunk() -> impl Strategy<Value = Chunk> {
    let time = prop_oneof![-20..20_i64, -10_000_000..10_000_000_i64];
    let arrival = prop_oneof![Just(1_700_000_000_000_i64), 0..5_000_i64, any::<i64>()];
    let pairing = (0..4_u8, any::<bool>(), time.clone(), time, 1..4_u64);
    let base =
        prop_oneof![Just(0), Just(1_700_000_000_000_i64), Just(i64::MAX - 100_000_000), Just(i64::MIN + 100_000_000)];
    (base, prop::collection::vec((pairing, arrival.clone(), arrival), 0..40)).prop_map(|(base, parts)| {
        let mut chunk = Chunk::new(Vec::new());
        for ((kind, opens, a, b, count), arrival_ms, partner_arrival_ms) in parts {
            let (start_ms, end_ms) = (base + a.min(b), base + a.max(b));
            match (kind, opens) {
                (0, _) => {
                    let edge = if opens { open(start_ms, arrival_ms) } else { close(start_ms, arrival_ms) };
                    chunk.put(Entry { count, ..Entry::loose(edge) });
                }
                (1, true) => {
                    let end = close(base + 50_000_000 + b, partner_arrival_ms);
                    chunk.put(Entry::paired(open(start_ms, arrival_ms), end, count));
                }
                (1, false) => {
                    let start = open(base - 50_000_000 + b, partner_arrival_ms);
                    chunk.put(Entry::paired(close(start_ms, arrival_ms), start, count));
                }
                _ => {
                    let half = Entry::paired(open(start_ms, arrival_ms), close(end_ms, partner_arrival_ms), count);
                    chunk.put(half);
                    chunk.put(half.mirror().unwrap());
                }
            }
        }
        chunk
    })
}

proptest! {
    #[test]
    fn chunks_come_back(chunk in chunk()) {
        prop_assert_eq!(row::decode_chunk(&row::encode_chunk(&chunk)).unwrap(), chunk);
    }

    #[test]
    fn tails_come_back(chunk in chunk(), sealed in prop::option::of((any::<i64>(), summary()))) {
        let sealed = sealed.map(|(from_ms, summary)| Sealed { from_ms, summary, directory: None });
        let (tail, header) = row::decode_tail(&row::encode_tail(&chunk, sealed.as_ref())).unwrap();
        prop_assert_eq!(tail, chunk);
        let fields = |sealed: Sealed| (sealed.from_ms, sealed.summary);
        prop_assert_eq!(header.map(fields), sealed.map(fields));
    }

    #[test]
    fn directories_come_back(slots in prop::collection::btree_map(any::<i64>(), summary(), 0..40)) {
        let directory = Directory::new(slots.iter().map(|(key_ms, summary)| Slot::unread(*key_ms, *summary)).collect());
        let decoded = row::decode_directory(&row::encode_directory(&directory)).unwrap();
        let decoded: BTreeMap<i64, Summary> = decoded.slots.iter().map(|slot| (slot.key_ms, slot.summary)).collect();
        prop_assert_eq!(decoded, slots);
    }

    #[test]
    fn noise_is_no_panic(bytes: Vec<u8>) {
        let _ = row::decode_chunk(&bytes);
        let _ = row::decode_tail(&bytes);
        let _ = row::decode_directory(&bytes);
    }

    #[test]
    fn a_row_cut_within_its_last_entry_is_an_error(chunk in chunk()) {
        let bytes = row::encode_chunk(&chunk);
        let without_last = Chunk::new(chunk.entries().split_last().map_or(Vec::new(), |(_, rest)| rest.to_vec()));
        let end = row::encode_chunk(&without_last).len();
        for cut in end + 1..bytes.len() {
            prop_assert!(row::decode_chunk(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn keys_order_as_instants(a: i64, b: i64) {
        let key = |row: RowId| {
            let mut key = Vec::new();
            row.write_key(&mut key);
            key
        };
        prop_assert_eq!(key(RowId::Chunk(a)).cmp(&key(RowId::Chunk(b))), a.cmp(&b));
        prop_assert!(key(RowId::Tail) < key(RowId::Directory) && key(RowId::Directory) < key(RowId::Chunk(a)));
    }
}

#[test]
fn an_edge_takes_few_bytes() {
    const START: i64 = 1_700_000_000_000;
    let rules = Rules::new(i64::MAX, i64::MAX);
    let bytes_per_edge = |edges: &[Edge]| {
        let mut rows = Rows::default();
        for edge in edges {
            rows.insert(*edge, &rules);
        }
        assert_eq!(rows.rows.len(), 1);
        rows.rows[&RowId::Tail].0.len() / edges.len()
    };
    let hour = 3_600_000;
    let live = |index: i64| START + index * hour + index * 7_919 % 1_000 * 1_000;
    let opens: Vec<Edge> = (0..100).map(|index| open(live(index), live(index) + index * 31 % 2_000)).collect();
    assert!(bytes_per_edge(&opens) <= 8);
    let pairs: Vec<Edge> = opens
        .iter()
        .flat_map(|edge| [*edge, close(edge.time_ms + 240_000, edge.arrival_ms + 240_100)])
        .take(100)
        .collect();
    assert!(bytes_per_edge(&pairs) <= 8);
    let imported: Vec<Edge> = pairs.iter().map(|edge| Edge { arrival_ms: START + 400 * 24 * hour, ..*edge }).collect();
    assert!(bytes_per_edge(&imported) <= 8);
}
