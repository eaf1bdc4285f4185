//! What a fold of the log has led to: which records are counted, and the offset that says so.

use crate::Mutation;

/// A place in a partition's log.
pub(crate) type Offset = usize;

/// The longest log of one partition that is looked at.
pub(crate) const RECORDS_MAX: usize = 3;

/// A partition's state. The offset is kept apart from the counts, so that they can disagree where the protocol is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Folded {
    /// Where it goes on.
    pub next_offset: Offset,
    /// How often each record of the log is counted.
    counted: [u8; RECORDS_MAX],
}

impl Folded {
    /// Counts the next record.
    pub(crate) fn fold(&mut self) {
        self.counted[self.next_offset] = self.counted[self.next_offset].saturating_add(1);
        self.next_offset += 1;
    }

    /// Brings to disk, over `self`, what is in memory: counts and offset in one.
    pub(crate) fn flush(&mut self, memory: Folded, mutation: Option<Mutation>) {
        if mutation == Some(Mutation::OffsetWrittenApart) && self.counted != memory.counted {
            self.counted = memory.counted;
        } else {
            *self = memory;
        }
    }

    /// Whether each record before the offset is counted once, and no other is.
    pub(crate) fn is_prefix(&self, log_end: Offset) -> bool {
        let (before, after) = self.counted.split_at(self.next_offset);
        self.next_offset <= log_end && before.iter().all(|count| *count == 1) && after.iter().all(|count| *count == 0)
    }
}
