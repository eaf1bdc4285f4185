//! The fields of `track.v1.Event` that a fold needs, read from its bytes.
//!
//! prost reads a message into values of its own: an allocation a string, several calls a number. This reads the same bytes by
//! the same rules (<https://protobuf.dev/programming-guides/encoding/>), borrows, and is several times as quick; a property test
//! holds the two together.

use prost::encoding::{DecodeContext, WireType, skip_field};
use std::str;

/// As they stand in the envelope; the last one of each number counts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields<'a> {
    pub(crate) event_id: &'a str,
    pub(crate) event: &'a str,
    pub(crate) user_id: &'a str,
    pub(crate) timestamp_ms: i64,
    pub(crate) client_event_id: bool,
    pub(crate) version: u32,
}

impl<'a> Fields<'a> {
    /// `None` where prost would have an error.
    pub(crate) fn read(mut rest: &'a [u8]) -> Option<Self> {
        let mut fields = Self::default();
        while !rest.is_empty() {
            let key = u32::try_from(varint(&mut rest)?).ok()?;
            let wire_type = WireType::try_from(u64::from(key & 7)).ok()?;
            match (key >> 3, wire_type) {
                (0, _) => return None,
                (1, WireType::LengthDelimited) => fields.event_id = text(&mut rest)?,
                (2, WireType::LengthDelimited) => fields.event = text(&mut rest)?,
                (3, WireType::LengthDelimited) => fields.user_id = text(&mut rest)?,
                (4, WireType::Varint) => fields.timestamp_ms = varint(&mut rest)?.cast_signed(),
                (5, WireType::Varint) => _ = varint(&mut rest)?,
                (6, WireType::LengthDelimited) => _ = bytes(&mut rest)?,
                (7, WireType::Varint) => fields.client_event_id = varint(&mut rest)? != 0,
                (8, WireType::Varint) => fields.version = low_half(varint(&mut rest)?),
                (1..=8, _) => return None,
                (tag, wire_type) => skip_field(wire_type, tag, &mut rest, DecodeContext::default()).ok()?,
            }
        }
        Some(fields)
    }
}

/// A number of at most ten bytes, seven bits each, the lowest first.
#[inline]
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let (first, behind) = rest.split_first()?;
    if *first < 0x80 {
        *rest = behind;
        return Some(u64::from(*first));
    }
    let mut number = 0;
    for (index, byte) in rest.iter().take(10).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            // Of the tenth byte one bit has room.
            let fits = index < 9 || *byte < 2;
            *rest = &rest[index + 1..];
            return fits.then_some(number);
        }
    }
    None
}

#[inline]
fn bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(varint(rest)?).ok()?;
    let (taken, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(taken)
}

#[inline]
fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    str::from_utf8(bytes(rest)?).ok()
}

/// A number too large for its 32 bits is cut, as protobuf has it.
#[allow(clippy::cast_possible_truncation)]
fn low_half(number: u64) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::Event;
    use proptest::prelude::*;
    use prost::Message as _;
    use prost::encoding::encode_varint;

    /// A field as some producer may write it: of any number and type, or noise.
    fn part() -> impl Strategy<Value = Vec<u8>> {
        let number = (0..12_u64, any::<u64>()).prop_map(|(tag, number)| {
            let mut part = Vec::new();
            encode_varint(tag << 3, &mut part);
            encode_varint(number, &mut part);
            part
        });
        let text = (0..12_u64, prop_oneof!["\\PC{0,9}".prop_map(String::into_bytes), any::<Vec<u8>>()]);
        let text = text.prop_map(|(tag, text)| {
            let mut part = Vec::new();
            encode_varint(tag << 3 | 2, &mut part);
            encode_varint(text.len() as u64, &mut part);
            part.extend(text);
            part
        });
        prop_oneof![4 => number, 8 => text, 1 => prop::collection::vec(any::<u8>(), 0..12)]
    }

    type Read = Option<(String, String, String, i64, bool, u32)>;

    fn ours(value: &[u8]) -> Read {
        let Fields { event_id, event, user_id, timestamp_ms, client_event_id, version } = Fields::read(value)?;
        Some((event_id.to_owned(), event.to_owned(), user_id.to_owned(), timestamp_ms, client_event_id, version))
    }

    fn prosts(value: &[u8]) -> Read {
        let Event { event_id, event, user_id, timestamp_ms, client_event_id, version, .. } =
            Event::decode(value).ok()?;
        Some((event_id, event, user_id, timestamp_ms, client_event_id, version))
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_prost_reads(parts in prop::collection::vec(part(), 0..12), cut in 0..400_usize) {
            let mut value = parts.concat();
            value.truncate(cut);
            prop_assert_eq!(ours(&value), prosts(&value));
        }
    }

    #[test]
    fn numbers_too_long_are_none() {
        for (last, fits) in [(1, true), (2, false)] {
            let value = [&[0x20][..], &[0xff; 9], &[last]].concat();
            assert_eq!(ours(&value).is_some(), fits);
            assert_eq!(ours(&value), prosts(&value));
        }
        let eleven = [&[0x20][..], &[0x80; 10], &[0]].concat();
        assert_eq!((ours(&eleven), prosts(&eleven)), (None, None));
    }
}
