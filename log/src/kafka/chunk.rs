//! Takes records out of librdkafka's memory: many into one buffer, since two allocations a record cost more than the copy.

use crate::{Offset, Record};
use bytes::Bytes;
use rdkafka::message::{BorrowedMessage, Message as _};

/// Records that were read together; each shares the one buffer.
#[derive(Default)]
pub(super) struct Chunk {
    data: Bytes,
    /// Where the next record's bytes begin.
    at: usize,
    entries: std::vec::IntoIter<Entry>,
}

/// A record short of its bytes, which lie one after the other: key, value.
struct Entry {
    offset: Offset,
    append_time_ms: i64,
    key_len: Option<usize>,
    value_len: usize,
}

/// A chunk in the making.
#[derive(Default)]
pub(super) struct ChunkBuilder {
    data: Vec<u8>,
    entries: Vec<Entry>,
}

impl ChunkBuilder {
    pub(super) fn push(&mut self, message: &BorrowedMessage<'_>) {
        let (key, value) = (message.key(), message.payload().unwrap_or_default());
        self.data.extend_from_slice(key.unwrap_or_default());
        self.data.extend_from_slice(value);
        self.entries.push(Entry {
            offset: offset_of(message),
            append_time_ms: message.timestamp().to_millis().unwrap_or(0),
            key_len: key.map(<[u8]>::len),
            value_len: value.len(),
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Hands over what was pushed and begins anew.
    pub(super) fn take(&mut self) -> Chunk {
        let (bytes, records) = (self.data.len(), self.entries.len());
        let entries = std::mem::replace(&mut self.entries, Vec::with_capacity(records));
        let data = std::mem::replace(&mut self.data, Vec::with_capacity(bytes));
        Chunk { data: data.into(), at: 0, entries: entries.into_iter() }
    }
}

impl Chunk {
    /// What it holds of memory, in bytes, about.
    pub(super) fn bytes(&self) -> usize {
        self.data.len() + self.entries.len() * size_of::<Entry>()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.len() == 0
    }

    /// Moves the first records, at most `records_max`, to the end of `into`.
    pub(super) fn move_into(&mut self, into: &mut Vec<Record>, records_max: usize) {
        let records = self.entries.len().min(records_max);
        into.reserve(records);
        for entry in self.entries.by_ref().take(records) {
            let key_end = self.at + entry.key_len.unwrap_or(0);
            let value_end = key_end + entry.value_len;
            into.push(Record {
                offset: entry.offset,
                append_time_ms: entry.append_time_ms,
                key: entry.key_len.map(|_| self.data.slice(self.at..key_end)),
                value: self.data.slice(key_end..value_end),
            });
            self.at = value_end;
        }
    }
}

/// The offset of a record that was read.
pub(super) fn offset_of(message: &BorrowedMessage<'_>) -> Offset {
    Offset::try_from(message.offset()).expect("the offsets of records begin at 0")
}
