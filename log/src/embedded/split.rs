//! One append, apart by partition: what goes into which queue.

use super::frame;
use crate::{NewRecord, Position};
use smallvec::{SmallVec, smallvec};
use std::ops::Range;
use track_proto::partitioner::partition_for;

/// A log of so many partitions needs no memory for parts beside the stack: a single record is split too.
const PARTITIONS_USUAL: usize = 4;

/// The records of one append, apart by partition.
pub(super) struct Split {
    /// Where each record goes, in the order given; the offsets are still to be told.
    pub(super) positions: Vec<Position>,
    /// The records' places in the append, by partition and within it in the order given.
    pub(super) order: SmallVec<[usize; 1]>,
    /// The partitions that get any, ascending.
    pub(super) parts: SmallVec<[Part; PARTITIONS_USUAL]>,
    /// The longest frame, in bytes.
    pub(super) longest: usize,
}

/// What one partition gets.
#[derive(Clone, Default)]
pub(super) struct Part {
    pub(super) partition: usize,
    /// Where in [`Split::order`] its records stand.
    pub(super) places: Range<usize>,
    /// Of all its frames.
    pub(super) bytes: usize,
}

impl Split {
    /// Into `partition_count` partitions.
    pub(super) fn of(records: &[NewRecord], partition_count: u32) -> Self {
        let mut parts: SmallVec<[Part; PARTITIONS_USUAL]> = smallvec![Part::default(); partition_count as usize];
        let mut positions = Vec::with_capacity(records.len());
        let mut longest = 0;
        for record in records {
            let partition = partition_for(&record.key, partition_count);
            let bytes = frame::frame_length(&record.key, &record.value);
            let part = &mut parts[partition as usize];
            part.places.end += 1;
            part.bytes += bytes;
            longest = longest.max(bytes);
            positions.push(Position { partition, offset: 0 });
        }
        let mut start = 0;
        for (partition, part) in parts.iter_mut().enumerate() {
            let records = part.places.end;
            // Ends where it starts until the records are put in.
            (part.partition, part.places) = (partition, start..start);
            start += records;
        }
        let mut order = smallvec![0; records.len()];
        for (i, position) in positions.iter().enumerate() {
            let end = &mut parts[position.partition as usize].places.end;
            order[*end] = i;
            *end += 1;
        }
        parts.retain(|part| part.bytes > 0);
        Self { positions, order, parts, longest }
    }
}
