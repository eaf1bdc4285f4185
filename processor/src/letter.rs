//! A dead letter: a record that could not be folded, with the reason, where it lay, and as much of it as fits.

use bytes::Bytes;
use track_log::{NewRecord, Partition, Record};
use track_proto::event::Malformed;
use track_proto::v1::DeadLetter;

/// How much of a value a letter holds. A record may be compressed to a thousandth, so its letter could be too long for
/// any topic, and its partition would wait for it for ever. An event is a hundredth of this.
const VALUE_BYTES_MAX: usize = 1024 * 1024;
/// How much of a key a letter holds; a user_id is a hundredth of this.
const KEY_BYTES_MAX: usize = 32 * 1024;

/// The letter about `record` of `partition`. Its key is the record's position, so that two letters about one record are
/// told for what they are.
pub(crate) fn write(partition: Partition, record: &Record, reason: &Malformed) -> NewRecord {
    let letter = DeadLetter {
        reason: reason.to_string(),
        partition,
        offset: record.offset,
        append_time_ms: record.append_time_ms,
        key: record.key.as_ref().map(|key| first(key, KEY_BYTES_MAX)),
        value: first(&record.value, VALUE_BYTES_MAX),
        value_bytes: record.value.len() as u64,
    };
    let value = Bytes::from(prost::Message::encode_to_vec(&letter));
    NewRecord { key: Bytes::from(format!("{partition}:{}", record.offset)), value }
}

fn first(bytes: &Bytes, bytes_max: usize) -> Bytes {
    bytes.slice(..bytes.len().min(bytes_max))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(key: Option<&'static [u8]>, value: Vec<u8>) -> DeadLetter {
        let key = key.map(Bytes::from_static);
        let record = Record { offset: 7, append_time_ms: 9, key, value: value.into() };
        let written = write(3, &record, &Malformed::NoKey);
        assert_eq!(written.key, "3:7");
        prost::Message::decode(written.value).unwrap()
    }

    #[test]
    fn it_says_where_the_record_lay_and_why_it_is_none() {
        let written = letter(Some(b"k"), b"value".to_vec());
        assert_eq!((written.partition, written.offset, written.append_time_ms), (3, 7, 9));
        assert_eq!((written.reason.as_str(), &written.value[..]), ("the record has no key", &b"value"[..]));
        assert_eq!((written.key.as_deref(), written.value_bytes), (Some(&b"k"[..]), 5));
    }

    #[test]
    fn no_key_is_not_an_empty_one() {
        assert_eq!(letter(None, vec![1]).key, None);
        assert_eq!(letter(Some(b""), vec![1]).key.as_deref(), Some(&b""[..]));
    }

    #[test]
    fn what_is_too_long_is_cut_and_said_to_be() {
        let written = letter(Some(&[b'k'; 40_000]), vec![b'v'; 3_000_000]);
        assert_eq!(written.key.unwrap().len(), KEY_BYTES_MAX);
        assert_eq!((written.value.len(), written.value_bytes), (VALUE_BYTES_MAX, 3_000_000));
    }
}
