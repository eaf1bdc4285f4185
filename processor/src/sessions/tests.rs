//! What the proofs share: rows that count, a naive scan, and a look into everything that is stored.

mod cost;
mod examples;
mod expiry;
mod order;
mod rows;

use super::chunk::{Chunk, Entry, Summary};
use super::{Damaged, Edge, ReadRows, Role, RowId, Rules, Session, SessionChange, Timeline, WriteRows, row};
use std::collections::BTreeMap;

impl Rules {
    fn small(duration_ms_max: i64, ttl_ms: i64, chunk_entries_max: usize, arrivals_max: usize) -> Self {
        Self { duration_ms_max, ttl_ms, chunk_entries_max, arrivals_max }
    }
}

fn open(time_ms: i64, arrival_ms: i64) -> Edge {
    Edge { time_ms, role: Role::Open, arrival_ms }
}

fn close(time_ms: i64, arrival_ms: i64) -> Edge {
    Edge { time_ms, role: Role::Close, arrival_ms }
}

/// Rows in memory.
#[derive(Debug, Clone, Default)]
struct Rows {
    rows: BTreeMap<RowId, (Vec<u8>, i64)>,
    reads: usize,
    writes: usize,
}

impl ReadRows for Rows {
    type Row<'a> = &'a [u8];
    type Error = Damaged;

    fn get(&mut self, row: RowId) -> Result<Option<&[u8]>, Damaged> {
        self.reads += 1;
        Ok(self.rows.get(&row).map(|(value, _)| value.as_slice()))
    }
}

impl WriteRows for Rows {
    fn put(&mut self, row: RowId, value: Vec<u8>, last_touched_ms: i64) {
        self.writes += 1;
        self.rows.insert(row, (value, last_touched_ms));
    }

    fn delete(&mut self, row: RowId) {
        self.writes += 1;
        self.rows.remove(&row);
    }
}

impl Rows {
    /// Loads, inserts and stores.
    fn insert(&mut self, edge: Edge, rules: &Rules) -> SessionChange {
        self.insert_at(edge, edge.arrival_ms, rules)
    }

    /// The same at a stream time that the arrival is ahead of.
    fn insert_at(&mut self, edge: Edge, now_ms: i64, rules: &Rules) -> SessionChange {
        let mut timeline = Timeline::load(self).unwrap();
        let change = timeline.insert(self, edge, now_ms, rules).unwrap();
        timeline.store(self);
        change
    }

    /// Inserts and counts the reads and writes of it.
    fn insert_counted(&mut self, edge: Edge, rules: &Rules) -> (SessionChange, usize, usize) {
        (self.reads, self.writes) = (0, 0);
        let change = self.insert(edge, rules);
        (change, self.reads, self.writes)
    }

    /// Takes away what is past its life, as compaction does.
    fn expire(&mut self, now_ms: i64, rules: &Rules) {
        self.rows.retain(|_, (_, touched_ms)| !rules.is_over(*touched_ms, now_ms));
    }

    /// Every entry that is not forgotten, in order, after the rows were found to be as they must.
    fn entries(&self, now_ms: i64, rules: &Rules) -> Vec<Entry> {
        let mut alive = self.clone();
        alive.expire(now_ms, rules);
        let Some((tail, _)) = alive.rows.remove(&RowId::Tail) else {
            assert!(alive.rows.is_empty(), "rows that no tail leads to: {:?}", alive.rows.keys());
            return Vec::new();
        };
        let (tail, sealed) = row::decode_tail(&tail).unwrap();
        let mut chunks: Vec<Chunk> = Vec::new();
        if let Some(sealed) = sealed.filter(|sealed| !rules.is_over(sealed.summary.touched_ms, now_ms)) {
            let (directory, directory_touched_ms) = alive.rows.remove(&RowId::Directory).expect("a directory");
            let directory = row::decode_directory(&directory).unwrap();
            assert_eq!(directory.summary(), sealed.summary);
            assert_eq!(directory_touched_ms, sealed.summary.touched_ms);
            for (index, slot) in directory.slots.iter().enumerate() {
                if rules.is_over(slot.summary.touched_ms, now_ms) {
                    continue;
                }
                let (chunk, touched_ms) = alive.rows.remove(&RowId::Chunk(slot.key_ms)).expect("a chunk");
                let chunk = row::decode_chunk(&chunk).unwrap();
                assert_eq!(chunk.summary(), slot.summary);
                assert_eq!(touched_ms, slot.summary.touched_ms);
                let end_ms = directory.slots.get(index + 1).map_or(sealed.from_ms, |slot| slot.key_ms);
                assert!(!chunk.entries().is_empty());
                assert!(chunk.entries().iter().all(|entry| entry.edge.time_ms < end_ms));
                assert!(index == 0 || chunk.entries().iter().all(|entry| entry.edge.time_ms >= slot.key_ms));
                chunks.push(chunk);
            }
            assert!(tail.entries().iter().all(|entry| entry.edge.time_ms >= sealed.from_ms));
        }
        assert!(alive.rows.is_empty(), "rows that nothing leads to: {:?}", alive.rows.keys());
        chunks.push(tail);
        let entries: Vec<Entry> = chunks.iter().flat_map(Chunk::entries).copied().collect();
        assert!(entries.is_sorted_by(|a, b| a.order(b).is_lt()), "entries in order, no two alike");
        let alive: Vec<Entry> =
            entries.into_iter().filter(|entry| !rules.is_over(entry.touched_ms(), now_ms)).collect();
        for entry in &alive {
            assert!(entry.count > 0);
            if let Some(mirror) = entry.mirror() {
                let found = alive.binary_search_by(|other| other.order(&mirror)).expect("the other half");
                assert_eq!(alive[found].count, entry.count, "as many halves on both sides");
            }
        }
        alive
    }
}

/// The pairs of a scan over sorted edges: which open, which close. Among edges of one instant and role, the first to
/// arrive is the first to be taken.
fn scan(edges: &[Edge], duration_ms_max: i64) -> Vec<(usize, usize)> {
    let mut instants: BTreeMap<i64, (Vec<usize>, Vec<usize>)> = BTreeMap::new();
    for (index, edge) in edges.iter().enumerate() {
        let (closes, opens) = instants.entry(edge.time_ms).or_default();
        match edge.role {
            Role::Close => closes.push(index),
            Role::Open => opens.push(index),
        }
    }
    let mut pairs = Vec::new();
    let mut stack: Vec<usize> = Vec::new();
    for (time_ms, (closes, mut opens)) in instants {
        let mut left = Vec::new();
        for close in closes {
            match stack.last() {
                Some(open) if time_ms - edges[*open].time_ms <= duration_ms_max => {
                    pairs.push((*open, close));
                    stack.pop();
                }
                _ => left.push(close),
            }
        }
        for close in left {
            if let Some(open) = opens.pop() {
                pairs.push((open, close));
            }
        }
        stack.append(&mut opens);
    }
    pairs
}

/// The sessions of a scan, in order.
fn sessions(edges: &[Edge], duration_ms_max: i64) -> Vec<Session> {
    let mut sessions: Vec<Session> = scan(edges, duration_ms_max)
        .into_iter()
        .map(|(open, close)| Session { start_ms: edges[open].time_ms, end_ms: edges[close].time_ms })
        .collect();
    sessions.sort_unstable();
    sessions
}

/// What is in `these`, in order, and not in `those`, as often as it is there more often.
fn without<T: Ord + Copy>(these: &[T], those: &[T]) -> Vec<T> {
    let mut counts: BTreeMap<T, isize> = BTreeMap::new();
    for value in these {
        *counts.entry(*value).or_default() += 1;
    }
    for value in those {
        *counts.entry(*value).or_default() -= 1;
    }
    let more = counts.into_iter().filter_map(|(value, count)| Some((value, usize::try_from(count).ok()?)));
    more.flat_map(|(value, count)| std::iter::repeat_n(value, count)).collect()
}

/// The same change, in order, whenever its edges arrived.
fn sorted(mut change: SessionChange) -> SessionChange {
    change.removed.sort_unstable();
    change.added.sort_unstable();
    change.youngest_arrival_ms = 0;
    change
}

/// What takes the sessions `before` to those `after`, and nothing twice.
fn difference(before: &[Session], after: &[Session]) -> SessionChange {
    SessionChange {
        removed: without(before, after).into(),
        added: without(after, before).into(),
        youngest_arrival_ms: 0,
    }
}
