//! How a segment lies on disk: a header, then one frame a record, then zeros. All integers are little-endian.
//!
//! The header, [`HEADER_BYTES`] long:
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 8 | the magic, `TRACKLOG` |
//! | 8 | 4 | the format's version, [`VERSION`] |
//! | 12 | 4 | the partition |
//! | 16 | 8 | the base offset: that of the first record here, and the file's name |
//! | 24 | 8 | the latest append time of the segment before, in milliseconds; `i64::MIN` where there is none |
//! | 32 | 4 | zero |
//! | 36 | 4 | CRC-32 of the 36 bytes before |
//!
//! A frame:
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 4 | CRC-32 of all that follows in the frame |
//! | 4 | 4 | the frame's length in bytes, these eight included; zero marks the end of the records |
//! | 8 | 8 | the offset |
//! | 16 | 8 | the append time in milliseconds since 1970 UTC |
//! | 24 | 4 | how many records went to disk before this one in the same write |
//! | 28 | 4 | the key's length |
//! | 32 | | the key, then the value |
//!
//! The place in the write is what tells a write that a power failure tore (its sectors reach the disk in any order)
//! from damage to records that were once durable: a write begins only when the one before it is on disk.

use crate::Offset;

/// The version that this program writes and reads.
pub(super) const VERSION: u32 = 1;
/// Where the first frame begins.
pub(super) const HEADER_BYTES: usize = 40;
/// What a frame holds besides key and value.
pub(super) const FRAME_BYTES: usize = 32;
/// No frame is longer, so that a damaged length can't ask for all of memory.
pub(super) const FRAME_BYTES_MAX: usize = 64 << 20;

const MAGIC: [u8; 8] = *b"TRACKLOG";

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) partition: u32,
    pub(super) base: Offset,
    pub(super) newest_ms_before: i64,
}

/// Why a header is not one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotAHeader {
    Damaged,
    Version(u32),
}

impl Header {
    pub(super) fn encode(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.partition.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.base.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.newest_ms_before.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..36]);
        bytes[36..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, NotAHeader> {
        if bytes[..8] != MAGIC {
            return Err(NotAHeader::Damaged);
        }
        // The version comes before the checksum: another version may have another header.
        match u32_at(bytes, 8) {
            VERSION => {}
            version => return Err(NotAHeader::Version(version)),
        }
        if crc32fast::hash(&bytes[..36]) != u32_at(bytes, 36) {
            return Err(NotAHeader::Damaged);
        }
        Ok(Self {
            partition: u32_at(bytes, 12),
            base: u64_at(bytes, 16),
            newest_ms_before: u64_at(bytes, 24).cast_signed(),
        })
    }
}

/// A frame without its key and value, which stay where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// All of it, in bytes.
    pub(super) length: usize,
    pub(super) offset: Offset,
    pub(super) append_time_ms: i64,
    /// How many records went to disk before this one in the same write.
    pub(super) place_in_write: u32,
    /// The key lies at [`FRAME_BYTES`], the value behind it.
    pub(super) key_length: usize,
}

/// What the bytes at a frame's place are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    Whole(Frame),
    /// No record: here the records end.
    End,
    /// Whole only with so many bytes, or with more.
    Short(usize),
    /// Not what was written.
    Damaged,
}

/// How many bytes the record takes on disk.
pub(crate) fn frame_length(key: &[u8], value: &[u8]) -> usize {
    FRAME_BYTES + key.len() + value.len()
}

/// Writes a record behind what `into` holds. The frame must not be longer than [`FRAME_BYTES_MAX`].
pub(super) fn encode(
    into: &mut Vec<u8>,
    offset: Offset,
    append_time_ms: i64,
    place_in_write: u32,
    key: &[u8],
    value: &[u8],
) {
    let start = into.len();
    let length = u32::try_from(frame_length(key, value)).expect("no frame is longer than FRAME_BYTES_MAX");
    let key_length = u32::try_from(key.len()).expect("a key is shorter than its frame");
    let mut head = [0; FRAME_BYTES];
    head[4..8].copy_from_slice(&length.to_le_bytes());
    head[8..16].copy_from_slice(&offset.to_le_bytes());
    head[16..24].copy_from_slice(&append_time_ms.to_le_bytes());
    head[24..28].copy_from_slice(&place_in_write.to_le_bytes());
    head[28..32].copy_from_slice(&key_length.to_le_bytes());
    into.extend_from_slice(&head);
    into.extend_from_slice(key);
    into.extend_from_slice(value);
    let crc = crc32fast::hash(&into[start + 4..]);
    into[start..start + 4].copy_from_slice(&crc.to_le_bytes());
}

/// Reads the frame that begins with `bytes`.
pub(super) fn decode(bytes: &[u8]) -> Decoded {
    if bytes.len() < 8 {
        return Decoded::Short(8);
    }
    let length = u32_at(bytes, 4) as usize;
    if length == 0 {
        return if u32_at(bytes, 0) == 0 { Decoded::End } else { Decoded::Damaged };
    }
    if !(FRAME_BYTES..=FRAME_BYTES_MAX).contains(&length) {
        return Decoded::Damaged;
    }
    if bytes.len() < length {
        return Decoded::Short(length);
    }
    if crc32fast::hash(&bytes[4..length]) != u32_at(bytes, 0) {
        return Decoded::Damaged;
    }
    let key_length = u32_at(bytes, 28) as usize;
    if key_length > length - FRAME_BYTES {
        return Decoded::Damaged;
    }
    Decoded::Whole(Frame {
        length,
        offset: u64_at(bytes, 8),
        append_time_ms: u64_at(bytes, 16).cast_signed(),
        place_in_write: u32_at(bytes, 24),
        key_length,
    })
}

/// The offset that a frame here would have; for telling cheaply that there is none.
pub(super) fn offset_if_frame(bytes: &[u8]) -> Option<Offset> {
    (bytes.len() >= FRAME_BYTES).then(|| u64_at(bytes, 8))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            offset: u64, append_time_ms: i64, place_in_write: u32,
            key in proptest::collection::vec(any::<u8>(), 0..300),
            value in proptest::collection::vec(any::<u8>(), 0..5_000),
            before in proptest::collection::vec(any::<u8>(), 0..9),
            behind in proptest::collection::vec(any::<u8>(), 0..9),
        ) {
            let mut bytes = before.clone();
            encode(&mut bytes, offset, append_time_ms, place_in_write, &key, &value);
            bytes.extend(behind);
            let length = frame_length(&key, &value);
            let frame = Frame { length, offset, append_time_ms, place_in_write, key_length: key.len() };
            let bytes = &bytes[before.len()..];
            prop_assert_eq!(decode(bytes), Decoded::Whole(frame));
            prop_assert_eq!(&bytes[FRAME_BYTES..][..key.len()], &key[..]);
            prop_assert_eq!(&bytes[FRAME_BYTES + key.len()..length], &value[..]);
        }

        #[test]
        fn a_flipped_bit_is_never_a_whole_frame(
            key in proptest::collection::vec(any::<u8>(), 0..20),
            value in proptest::collection::vec(any::<u8>(), 0..200),
            bit: proptest::sample::Index,
        ) {
            let mut bytes = Vec::new();
            encode(&mut bytes, 7, 1_735_689_600_000, 3, &key, &value);
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!matches!(decode(&bytes), Decoded::Whole(_)));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }

        #[test]
        fn a_header_is_read_back_and_its_damage_seen(
            partition: u32, base: u64, newest_ms_before: i64, bit in 0..HEADER_BYTES * 8,
        ) {
            let header = Header { partition, base, newest_ms_before };
            let mut bytes = header.encode();
            prop_assert_eq!(Header::decode(&bytes), Ok(header));
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Header::decode(&bytes).is_err());
        }
    }

    #[test]
    fn zeros_are_the_end_and_a_part_is_short() {
        assert_eq!(decode(&[0; 64]), Decoded::End);
        assert_eq!(decode(&[0; 7]), Decoded::Short(8));
        let mut bytes = Vec::new();
        encode(&mut bytes, 0, 0, 0, b"key", b"value");
        assert_eq!(decode(&bytes[..bytes.len() - 1]), Decoded::Short(bytes.len()));
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let mut bytes = Header { partition: 0, base: 0, newest_ms_before: 0 }.encode();
        bytes[8] = 2;
        assert_eq!(Header::decode(&bytes), Err(NotAHeader::Version(2)));
    }
}
