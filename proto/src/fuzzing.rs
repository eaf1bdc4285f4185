//! What must hold of any bytes on the log. Run by `fuzz/` with what libFuzzer thinks of, and below with proptest.

use crate::event::{self, Malformed, TIMESTAMP_MS_RANGE};
use crate::fields::Fields;
use crate::partitioner::partition_for;
use crate::v1::{DeadLetter, Event};
use prost::Message as _;

/// A record of the log of events. The first byte says what its key is: `-` none, `u` the user that the envelope names,
/// `e` empty, anything else the first eight bytes of the value. The rest is the value.
///
/// # Panics
/// Where decoding panics, what is decoded is no event by its own rules, or does not come back from its encoding.
pub fn envelope(data: &[u8]) {
    let Some((how, value)) = data.split_first() else { return };
    let decoded = event::decode_value(value);
    let user_id = decoded.as_ref().map(|event| event.user_id.clone()).unwrap_or_default();
    let key = match how {
        b'-' => None,
        b'u' => Some(user_id.as_bytes()),
        b'e' => Some(&[][..]),
        _ => Some(&value[..value.len().min(8)]),
    };
    let record = event::decode(key, value);
    match (&decoded, key) {
        (Err(reason), _) => assert_eq!(record.as_ref(), Err(reason), "the key is judged last"),
        (Ok(_), None) => assert_eq!(record, Err(Malformed::NoKey)),
        (Ok(event), Some(key)) if key == event.user_id.as_bytes() => assert_eq!(record.as_ref(), Ok(event)),
        (Ok(_), Some(_)) => assert_eq!(record, Err(Malformed::KeyMismatch)),
    }
    if let Ok(event) = decoded {
        assert_eq!(event::check_name(&event.event), Ok(()));
        assert_eq!(event::check_user_id(&event.user_id), Ok(()));
        assert!(TIMESTAMP_MS_RANGE.contains(&event.timestamp_ms) && event.version <= event::VERSION);
        assert_eq!(event::decode_value(&event::encode(&event)).as_ref(), Ok(&event));
        assert!(partition_for(event.user_id.as_bytes(), 12) < 12);
    }
    let read = Fields::read(value).map(|fields| (fields.event.to_owned(), fields.timestamp_ms, fields.version));
    let prost_reads = Event::decode(value).ok().map(|event| (event.event, event.timestamp_ms, event.version));
    assert_eq!(read, prost_reads, "the two readers agree");
    if let Ok(letter) = DeadLetter::decode(value) {
        assert_eq!(DeadLetter::decode(&*letter.encode_to_vec()), Ok(letter));
    }
    if let Some(timestamp_ms) = str::from_utf8(value).ok().and_then(event::parse_timestamp) {
        assert!(TIMESTAMP_MS_RANGE.contains(&timestamp_ms));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_corpus_holds() {
        for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/envelope")).unwrap() {
            envelope(&std::fs::read(file.unwrap().path()).unwrap());
        }
    }

    prop_compose! {
        fn events()(
            event in "\\PC{0,140}|date|[a-z]{1,8}", user_id in "\\PC{0,270}|[a-z\u{0}-\u{1f}]{1,8}", event_id in "\\PC{0,140}",
            timestamp_ms in prop_oneof![any::<i64>(), -100..100_i64], client_event_id: bool, version in 0..3_u32,
            metadata: Vec<u8>,
        ) -> Event {
            let metadata = metadata.into();
            Event { event_id, event, user_id, timestamp_ms, received_at_ms: 0, metadata, client_event_id, version }
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_hold(how in "[-ue.]", value: Vec<u8>) {
            envelope(&[how.as_bytes(), &value].concat());
        }

        #[test]
        fn events_hold_whole_and_damaged(how in "[-ue.]", event in events(), at: prop::sample::Index, byte: u8) {
            let mut data = [how.as_bytes(), &event.encode_to_vec()].concat();
            envelope(&data);
            let at = at.index(data.len());
            envelope(&data[..at]);
            data[at] = byte;
            envelope(&data);
        }
    }
}
