//! The sealed chunks of a timeline: where an instant belongs, and which chunks a search can skip unread.

use super::chunk::{Chunk, Summary};
use super::{RowId, Rules};

/// One sealed chunk.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    /// Names the row. No edge of the chunk is earlier, but for the first chunk, which takes whatever is before it too.
    pub(super) key_ms: i64,
    /// As it was before the edge that is being inserted. That misses nothing: the chain of changes runs one way, and what it
    /// left behind can only have become of less use to it.
    pub(super) summary: Summary,
    /// The row, once it was read.
    pub(super) chunk: Option<Chunk>,
    /// Not stored yet.
    pub(super) is_changed: bool,
    /// `summary` no longer tells.
    pub(super) is_stale: bool,
}

impl Slot {
    pub(super) fn unread(key_ms: i64, summary: Summary) -> Self {
        Self { key_ms, summary, chunk: None, is_changed: false, is_stale: false }
    }

    pub(super) fn sealed(key_ms: i64, chunk: Chunk) -> Self {
        Self { key_ms, summary: chunk.summary(), chunk: Some(chunk), is_changed: true, is_stale: false }
    }
}

/// All sealed chunks, in order of time.
#[derive(Debug, Clone)]
pub(super) struct Directory {
    pub(super) slots: Vec<Slot>,
    /// Not stored yet.
    pub(super) is_changed: bool,
}

impl Directory {
    pub(super) fn new(slots: Vec<Slot>) -> Self {
        Self { slots, is_changed: false }
    }

    pub(super) fn summary(&self) -> Summary {
        self.slots.iter().fold(Summary::EMPTY, |all, slot| all.and(slot.summary))
    }

    /// The chunk that an instant before the tail belongs to.
    pub(super) fn index_of(&self, time_ms: i64) -> usize {
        self.slots.partition_point(|slot| slot.key_ms <= time_ms).saturating_sub(1)
    }

    /// The next chunk from `index` on with a close for an open at `open_ms`, so far as can be told unread.
    pub(super) fn next_to_close(&self, index: usize, open_ms: i64, rules: &Rules) -> Option<usize> {
        let later = self.slots.get(index..)?;
        let offset = later
            .iter()
            .take_while(|slot| rules.is_in_reach(open_ms, slot.key_ms))
            .position(|slot| slot.summary.may_close(open_ms))?;
        Some(index + offset)
    }

    /// The next chunk back from before `index` with an open for a close at `close_ms`. Chunks end where the next one
    /// begins, the last one at `end_ms`.
    pub(super) fn next_to_open(&self, index: usize, close_ms: i64, end_ms: i64, rules: &Rules) -> Option<usize> {
        let mut end_ms = self.slots.get(index).map_or(end_ms, |slot| slot.key_ms);
        for (index, slot) in self.slots[..index].iter().enumerate().rev() {
            if !rules.is_in_reach(end_ms.saturating_sub(1), close_ms) {
                return None;
            }
            if slot.summary.may_open(close_ms) {
                return Some(index);
            }
            end_ms = slot.key_ms;
        }
        None
    }

    /// Drops the chunks of which everything is forgotten; whether there were any.
    pub(super) fn forget(&mut self, now_ms: i64, rules: &Rules, dropped: &mut Vec<RowId>) -> bool {
        let before = self.slots.len();
        self.slots.retain(|slot| {
            let is_over = rules.is_over(slot.summary.touched_ms, now_ms);
            if is_over {
                dropped.push(RowId::Chunk(slot.key_ms));
            }
            !is_over
        });
        self.slots.len() != before
    }

    /// Brings summary and size of the chunk at `index` in order after an edge changed it; whether that changes what the
    /// directory says.
    pub(super) fn settle(&mut self, index: usize, rules: &Rules, dropped: &mut Vec<RowId>) -> bool {
        let Some(slot) = self.slots.get_mut(index).filter(|slot| slot.is_stale) else { return false };
        let Some(chunk) = slot.chunk.as_mut() else { return false };
        slot.is_stale = false;
        if chunk.entries().is_empty() {
            dropped.push(RowId::Chunk(slot.key_ms));
            self.slots.remove(index);
            return true;
        }
        let entries = chunk.entries().len();
        let later = if entries > rules.chunk_entries_max { chunk.split_off(entries / 2) } else { None };
        let was = std::mem::replace(&mut slot.summary, chunk.summary());
        let Some((later_ms, later)) = later.and_then(|later| Some((later.first_ms()?, later))) else {
            return slot.summary != was;
        };
        // The first chunk may hold edges from before its key, and its key must be before the next one's.
        if slot.key_ms >= later_ms
            && let Some(first_ms) = chunk.first_ms()
        {
            dropped.push(RowId::Chunk(slot.key_ms));
            slot.key_ms = first_ms;
        }
        self.slots.insert(index + 1, Slot::sealed(later_ms, later));
        true
    }
}
