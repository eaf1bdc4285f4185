//! Takes records out of librdkafka's memory: many into one buffer, since two allocations a record cost more than the copy.

use crate::{Offset, Record};
use bytes::Bytes;
use parking_lot::Mutex;
use rdkafka::message::{BorrowedMessage, Message as _};
use std::sync::Arc;

/// What buffers that wait for their next chunk may hold together, in bytes: about what the readers of twelve partitions give back
/// between two rounds.
const FREE_BYTES_MAX: usize = 8 << 20;
/// What is smaller is soon made anew, and would be in the way of others.
const BUFFER_BYTES_MIN: usize = 16 << 10;
/// A chunk that fills less than one part in so many of its buffer is copied out of it: what waits for a reader is bounded by what is
/// in it.
const BUFFER_PARTS: usize = 4;

/// Buffers that have been read, for the chunks that come: memory that is new to a process costs it more than the copy into it.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    free: Mutex<Vec<Vec<u8>>>,
}

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
pub(super) struct ChunkBuilder {
    buffers: Arc<Buffers>,
    data: Vec<u8>,
    entries: Vec<Entry>,
}

/// The bytes of a chunk, in a buffer that goes back when the last of its records is dropped.
struct Filled {
    data: Vec<u8>,
    buffers: Arc<Buffers>,
}

impl Buffers {
    fn take(&self) -> Vec<u8> {
        self.free.lock().pop().unwrap_or_default()
    }

    fn give_back(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() < BUFFER_BYTES_MIN {
            return;
        }
        buffer.clear();
        let mut free = self.free.lock();
        if free.iter().map(Vec::capacity).sum::<usize>() + buffer.capacity() <= FREE_BYTES_MAX {
            free.push(buffer);
        }
    }
}

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        self.buffers.give_back(std::mem::take(&mut self.data));
    }
}

impl ChunkBuilder {
    pub(super) fn new(buffers: &Arc<Buffers>) -> Self {
        Self { buffers: Arc::clone(buffers), data: Vec::new(), entries: Vec::new() }
    }

    pub(super) fn push(&mut self, message: &BorrowedMessage<'_>) {
        let append_time_ms = message.timestamp().to_millis().unwrap_or(0);
        self.add(offset_of(message), append_time_ms, message.key(), message.payload().unwrap_or_default());
    }

    fn add(&mut self, offset: Offset, append_time_ms: i64, key: Option<&[u8]>, value: &[u8]) {
        if self.is_empty() {
            self.data = self.buffers.take();
        }
        self.data.extend_from_slice(key.unwrap_or_default());
        self.data.extend_from_slice(value);
        self.entries.push(Entry { offset, append_time_ms, key_len: key.map(<[u8]>::len), value_len: value.len() });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Hands over what was pushed and begins anew.
    pub(super) fn take(&mut self) -> Chunk {
        let records = self.entries.len();
        let entries = std::mem::replace(&mut self.entries, Vec::with_capacity(records));
        let filled = Filled { data: std::mem::take(&mut self.data), buffers: Arc::clone(&self.buffers) };
        let is_mostly_empty = filled.data.len() < filled.data.capacity() / BUFFER_PARTS;
        let data = if is_mostly_empty { Bytes::copy_from_slice(&filled.data) } else { Bytes::from_owner(filled) };
        Chunk { data, at: 0, entries: entries.into_iter() }
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
        if self.is_empty() {
            // From here on the buffer is its records' alone.
            self.data = Bytes::new();
        }
    }
}

/// The offset of a record that was read.
pub(super) fn offset_of(message: &BorrowedMessage<'_>) -> Offset {
    Offset::try_from(message.offset()).expect("the offsets of records begin at 0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// In a buffer that has held others, too.
        #[test]
        fn records_come_out_as_they_went_in(
            records in prop::collection::vec((any::<Option<Vec<u8>>>(), prop::collection::vec(any::<u8>(), 0..40_000)), 1..8),
            records_max in 1..8_usize,
        ) {
            let buffers = Arc::default();
            let mut builder = ChunkBuilder::new(&buffers);
            for rotated in 0..3 {
                let mut records = records.clone();
                let count = records.len();
                records.rotate_left(rotated % count);
                let mut expected = Vec::new();
                for (at, (key, value)) in (7_u32..).zip(records) {
                    builder.add(at.into(), at.into(), key.as_deref(), &value);
                    let (key, value) = (key.map(Bytes::from), value.into());
                    expected.push(Record { offset: at.into(), append_time_ms: at.into(), key, value });
                }
                let (mut chunk, mut read) = (builder.take(), Vec::new());
                while !chunk.is_empty() {
                    chunk.move_into(&mut read, records_max);
                }
                prop_assert_eq!(read, expected);
            }
        }
    }

    static LARGE: [u8; 100_000] = [1; 100_000];

    fn free(buffers: &Buffers) -> Vec<usize> {
        buffers.free.lock().iter().map(Vec::capacity).collect()
    }

    #[test]
    fn a_buffer_comes_back_with_the_last_of_its_records() {
        let buffers = Arc::default();
        let mut builder = ChunkBuilder::new(&buffers);
        builder.add(0, 0, Some(b"u"), &LARGE);
        builder.add(1, 0, None, b"2");
        let (mut chunk, mut read) = (builder.take(), Vec::new());
        chunk.move_into(&mut read, usize::MAX);
        read.remove(0);
        assert!(free(&buffers).is_empty());
        read.clear();
        let came_back = free(&buffers);
        assert!(came_back.len() == 1 && came_back[0] > LARGE.len(), "{came_back:?}");
        builder.add(2, 0, None, &LARGE);
        assert!(free(&buffers).is_empty(), "it is in use again");
        drop(builder.take());
        assert_eq!(free(&buffers), came_back, "and as large as it was");
    }

    #[test]
    fn a_small_chunk_keeps_no_large_buffer() {
        let buffers = Arc::default();
        let mut builder = ChunkBuilder::new(&buffers);
        builder.add(0, 0, None, &LARGE);
        drop(builder.take());
        let came_back = free(&buffers);
        builder.add(1, 0, None, b"2");
        let small = builder.take();
        assert_eq!(free(&buffers), came_back);
        assert_eq!(small.bytes(), 1 + size_of::<Entry>());
        drop(builder.take());
        assert_eq!(free(&buffers), came_back, "nothing comes of nothing");
    }

    #[test]
    fn what_waits_is_bounded() {
        let buffers = Buffers::default();
        (0..100).for_each(|_| buffers.give_back(Vec::with_capacity(BUFFER_BYTES_MIN - 1)));
        buffers.give_back(Vec::with_capacity(FREE_BYTES_MAX + 1));
        assert!(free(&buffers).is_empty());
        (0..100).for_each(|_| buffers.give_back(Vec::with_capacity(FREE_BYTES_MAX / 10)));
        assert_eq!(free(&buffers).len(), 10);
    }
}
