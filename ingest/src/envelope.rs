//! Events as they lie on the log (`track.v1.Event`), written from borrowed fields straight into one buffer for all
//! events of a request; the records are slices of it.

use crate::validate::Event;
use bytes::Bytes;
use prost::encoding::WireType;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use track_log::NewRecord;
use track_proto::event::VERSION;

/// What an envelope may have beside what its producer wrote: an id of ours, our time, a warning, tags and lengths.
pub(crate) const OVERHEAD_BYTES: usize = 128;

/// The numbers of `proto/track/v1/event.proto`.
mod tag {
    pub(super) const EVENT_ID: u8 = 1;
    pub(super) const EVENT: u8 = 2;
    pub(super) const USER_ID: u8 = 3;
    pub(super) const TIMESTAMP_MS: u8 = 4;
    pub(super) const RECEIVED_AT_MS: u8 = 5;
    pub(super) const METADATA: u8 = 6;
    pub(super) const CLIENT_EVENT_ID: u8 = 7;
    pub(super) const VERSION: u8 = 8;
}

/// The envelopes of one request.
pub(crate) struct Envelopes {
    buffer: Vec<u8>,
    places: Vec<Place>,
}

/// Where an envelope, and in it the user_id, lies in the buffer.
struct Place {
    timestamp_ms: i64,
    value: Range<usize>,
    key: Range<usize>,
}

impl Envelopes {
    pub(crate) fn with_capacity(events: usize, bytes: usize) -> Self {
        Self { buffer: Vec::with_capacity(bytes), places: Vec::with_capacity(events) }
    }

    /// Adds an event that came in at `received_at_ms`.
    pub(crate) fn push(&mut self, event: &Event<'_>, received_at_ms: i64, ids: &Ids) {
        let start = self.buffer.len();
        match &event.event_id {
            Some(event_id) => self.field(tag::EVENT_ID, event_id.as_bytes()),
            None => self.field(tag::EVENT_ID, &ids.next(received_at_ms)),
        };
        self.field(tag::EVENT, event.name.as_bytes());
        let key = self.field(tag::USER_ID, event.user_id.as_bytes());
        self.number(tag::TIMESTAMP_MS, event.timestamp_ms.cast_unsigned());
        self.number(tag::RECEIVED_AT_MS, received_at_ms.cast_unsigned());
        if event.metadata.len() > 0 {
            self.length(tag::METADATA, event.metadata.len());
            event.metadata.write(&mut self.buffer);
        }
        if event.event_id.is_some() {
            self.number(tag::CLIENT_EVENT_ID, 1);
        }
        self.number(tag::VERSION, u64::from(VERSION));
        self.places.push(Place { timestamp_ms: event.timestamp_ms, value: start..self.buffer.len(), key });
    }

    /// Puts them in the order of the events' own times.
    pub(crate) fn sort_by_time(&mut self) {
        if !self.places.is_sorted_by_key(|place| place.timestamp_ms) {
            self.places.sort_by_key(|place| place.timestamp_ms);
        }
    }

    /// The records, in the order in which events were added unless they have been sorted.
    pub(crate) fn into_records(self) -> Vec<NewRecord> {
        let buffer = Bytes::from(self.buffer);
        let record = |place: Place| NewRecord { key: buffer.slice(place.key), value: buffer.slice(place.value) };
        self.places.into_iter().map(record).collect()
    }

    fn field(&mut self, tag: u8, value: &[u8]) -> Range<usize> {
        self.length(tag, value.len());
        let start = self.buffer.len();
        self.buffer.extend_from_slice(value);
        start..self.buffer.len()
    }

    fn length(&mut self, tag: u8, bytes: usize) {
        self.buffer.push(key(tag, WireType::LengthDelimited));
        self.varint(bytes as u64);
    }

    fn number(&mut self, tag: u8, value: u64) {
        self.buffer.push(key(tag, WireType::Varint));
        self.varint(value);
    }

    /// As prost encodes one, but in place: most are a byte or two.
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.buffer.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.buffer.push(value.to_le_bytes()[0]);
    }
}

/// What a field begins with; one byte, since no tag is above 15.
const fn key(tag: u8, wire_type: WireType) -> u8 {
    tag << 3 | wire_type as u8
}

/// Makes ids for events that have none: UUIDs of version 7 (RFC 9562). Nothing is looked up by them, and duplicates are found
/// by them only where track itself may append a record twice, so they need to differ, not to be secret: a seed of 128
/// random bits a process, and a counter.
pub(crate) struct Ids {
    seed: [u64; 2],
    made: AtomicU64,
}

impl Ids {
    pub(crate) fn new() -> Self {
        // Each RandomState has keys of its own, first drawn from the system's random source.
        Self { seed: [1, 2].map(|n| RandomState::new().hash_one(n)), made: AtomicU64::new(0) }
    }

    /// The next id, in its usual form of 36 characters.
    fn next(&self, now_ms: i64) -> [u8; 36] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let count = self.made.fetch_add(1, Ordering::Relaxed);
        let [high, low] = self.seed.map(|seed| mix(seed.wrapping_add(count)));
        let now_ms = now_ms.cast_unsigned();
        let high = now_ms << 16 | 0x7000 | high & 0x0fff;
        let low = 0x8000_0000_0000_0000 | low & 0x3fff_ffff_ffff_ffff;
        let bytes = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
        let mut text = [b'-'; 36];
        let mut at = 0;
        for byte in bytes {
            if matches!(at, 8 | 13 | 18 | 23) {
                at += 1;
            }
            text[at] = HEX[usize::from(byte >> 4)];
            text[at + 1] = HEX[usize::from(byte & 15)];
            at += 2;
        }
        text
    }
}

/// The output function of SplitMix64 (Steele, Lea, Flood 2014): two counts never give the same 64 bits.
fn mix(count: u64) -> u64 {
    let mut z = count.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode;
    use crate::testing::NOW_MS;
    use crate::validate::validate;
    use proptest::prelude::*;
    use std::collections::HashSet;
    use track_proto::event::{self, TIMESTAMP_MS_RANGE};

    fn json(members: &[(&str, Option<&str>)], metadata: Option<&str>) -> String {
        let texts = members.iter().filter_map(|(name, value)| {
            value.map(|value| format!("\"{name}\":{}", serde_json::to_string(value).unwrap()))
        });
        let metadata = metadata.map(|metadata| format!("\"metadata\":{metadata}"));
        format!("{{{}}}", texts.chain(metadata).collect::<Vec<_>>().join(","))
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_the_rest_of_track_reads(
            events in prop::collection::vec((
                "[a-zé😀:\"\\\\]{1,20}", "\\PC{1,40}", proptest::option::of("[a-z]{1,30}"), TIMESTAMP_MS_RANGE,
                proptest::option::of(prop::sample::select(vec!["{}", "{ \"a\" : 1 }", "{\"a\":[1,2]}"])),
            ), 1..6),
            received_at_ms in TIMESTAMP_MS_RANGE,
        ) {
            let ids = Ids::new();
            let mut envelopes = Envelopes::with_capacity(0, 0);
            for (name, user_id, event_id, timestamp_ms, metadata) in &events {
                let event_id = ("event_id", event_id.as_deref());
                let texts = [("event", Some(name.as_str())), ("user_id", Some(user_id)), event_id];
                let body = json(&texts, *metadata);
                let mut event = validate(decode::one(body.as_bytes()).unwrap(), NOW_MS).unwrap();
                event.timestamp_ms = *timestamp_ms;
                envelopes.push(&event, received_at_ms, &ids);
            }
            let records = envelopes.into_records();
            prop_assert_eq!(records.len(), events.len());
            for (record, (name, user_id, event_id, timestamp_ms, metadata)) in records.iter().zip(&events) {
                let read = event::decode(Some(&record.key), &record.value).unwrap();
                let expected = event::Event {
                    event_id: event_id.clone().unwrap_or_else(|| read.event_id.clone()),
                    event: name.clone(),
                    user_id: user_id.clone(),
                    timestamp_ms: *timestamp_ms,
                    received_at_ms,
                    metadata: metadata.map(|metadata| metadata.replace(' ', "")).unwrap_or_default().into(),
                    client_event_id: event_id.is_some(),
                    version: VERSION,
                };
                prop_assert!(!read.event_id.is_empty());
                prop_assert_eq!(read, expected);
            }
        }
    }

    #[test]
    fn ids_are_uuids_that_differ() {
        let (a, b) = (Ids::new(), Ids::new());
        let ids: HashSet<_> = (0..10_000).flat_map(|_| [a.next(NOW_MS), b.next(NOW_MS)]).collect();
        assert_eq!(ids.len(), 20_000);
        let id = String::from_utf8(a.next(NOW_MS).to_vec()).unwrap();
        assert!(id.starts_with(&format!("{:08x}-{:04x}-7", NOW_MS >> 16, NOW_MS & 0xffff)), "{id}");
        assert!(matches!(id.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{id}");
        assert_eq!(id.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
    }
}
