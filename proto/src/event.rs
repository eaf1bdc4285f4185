//! The rules an event obeys, whoever wrote it to the log, and the codec of its envelope.
//!
//! Ingest refuses what breaks them before the log; the processor checks again, since anything may write to Kafka.

use crate::fields::Fields;
use crate::{timestamp, v1};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use prost::Message as _;

/// One event as it lies on the log.
pub use v1::Event;

/// The envelope version that [`encode`] writes.
pub const VERSION: u32 = 1;

/// Largest length of an event's name, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 128;
/// Largest length of a user_id, in bytes of UTF-8.
pub const USER_ID_BYTES_MAX: usize = 256;
/// Largest length of an event_id, in bytes of UTF-8.
pub const EVENT_ID_BYTES_MAX: usize = 128;
/// Largest metadata, in bytes of compact JSON; ingest replaces larger ones.
pub const METADATA_BYTES_MAX: usize = 4_096;
/// First and last instant an event may carry: the years 0001 to 9999, in milliseconds since 1970 UTC.
pub const TIMESTAMP_MS_RANGE: std::ops::RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;
/// The name that no event may have: it is the label of a row in an answer.
pub const NAME_RESERVED: &str = "date";

/// Why something is not an event. The text is fit for a client and for a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A field is empty.
    #[error("{field} must not be empty")]
    Empty {
        /// Which field.
        field: &'static str,
    },
    /// A field is longer than it may be.
    #[error("{field} must be at most {bytes_max} bytes")]
    TooLong {
        /// Which field.
        field: &'static str,
        /// How long it may be.
        bytes_max: usize,
    },
    /// A field has a control character (Unicode category Cc), a NUL for example.
    #[error("{field} must not contain control characters")]
    ControlCharacter {
        /// Which field.
        field: &'static str,
    },
    /// The event is named [`NAME_RESERVED`].
    #[error("event must not be named \"{NAME_RESERVED}\"")]
    Reserved,
    /// The time is outside [`TIMESTAMP_MS_RANGE`].
    #[error("timestamp must be within the years 0001 and 9999")]
    Timestamp,
    /// The bytes are not a protobuf message of this type.
    #[error("not an event envelope: {0}")]
    Envelope(String),
    /// The envelope is newer than this program.
    #[error("event envelope version {0} is newer than {VERSION}")]
    Version(u32),
    /// The record has no value, or an empty one: on a log whose records are never taken back, both say nothing.
    #[error("the record has no value")]
    NoValue,
    /// The record has no key.
    #[error("the record has no key")]
    NoKey,
    /// The record's key is not the event's user.
    #[error("the record's key is not its user_id")]
    KeyMismatch,
}

/// Checks an event's name.
///
/// # Errors
/// [`Malformed`] where it is empty, longer than [`NAME_BYTES_MAX`], has control characters or is [`NAME_RESERVED`].
pub fn check_name(name: &str) -> Result<(), Malformed> {
    check_text("event", name, NAME_BYTES_MAX)?;
    if name == NAME_RESERVED { Err(Malformed::Reserved) } else { Ok(()) }
}

/// Checks a user_id.
///
/// # Errors
/// [`Malformed`] where it is empty, longer than [`USER_ID_BYTES_MAX`] or has control characters.
pub fn check_user_id(user_id: &str) -> Result<(), Malformed> {
    check_text("user_id", user_id, USER_ID_BYTES_MAX)
}

/// Checks an event_id.
///
/// # Errors
/// [`Malformed`] where it is empty, longer than [`EVENT_ID_BYTES_MAX`] or has control characters.
pub fn check_event_id(event_id: &str) -> Result<(), Malformed> {
    check_text("event_id", event_id, EVENT_ID_BYTES_MAX)
}

/// Checks an event's own time.
///
/// # Errors
/// [`Malformed::Timestamp`] outside [`TIMESTAMP_MS_RANGE`].
pub fn check_timestamp(timestamp_ms: i64) -> Result<(), Malformed> {
    if TIMESTAMP_MS_RANGE.contains(&timestamp_ms) { Ok(()) } else { Err(Malformed::Timestamp) }
}

fn check_text(field: &'static str, text: &str, bytes_max: usize) -> Result<(), Malformed> {
    if text.is_empty() {
        return Err(Malformed::Empty { field });
    }
    if text.len() > bytes_max {
        return Err(Malformed::TooLong { field, bytes_max });
    }
    if !is_printable_ascii(text.as_bytes()) && text.chars().any(char::is_control) {
        return Err(Malformed::ControlCharacter { field });
    }
    Ok(())
}

/// As nearly every name is. Looks at every byte, whatever it finds: that way the compiler takes many at once.
fn is_printable_ascii(text: &[u8]) -> bool {
    text.iter().fold(true, |printable, byte| printable & (b' '..=b'~').contains(byte))
}

/// What a fold needs of an event, borrowed from its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventView<'a> {
    /// The event's name.
    pub event: &'a str,
    /// Whose event it is.
    pub user_id: &'a str,
    /// When it happened, in milliseconds since 1970 UTC.
    pub timestamp_ms: i64,
    /// The id by which it counts once; `None` where the producer gave none.
    pub client_event_id: Option<&'a str>,
}

/// The record value of `event`.
#[must_use]
pub fn encode(event: &Event) -> Bytes {
    event.encode_to_vec().into()
}

/// The event in a record, checked against every rule of this page. The key is judged last: where that is the reason,
/// nothing else is wrong with the record.
///
/// # Errors
/// [`Malformed`]: the reason for the dead letter.
pub fn decode(key: Option<&[u8]>, value: &[u8]) -> Result<Event, Malformed> {
    view(key, value)?;
    whole(value)
}

/// The event in a record's value, whatever its key says: the envelope names its user itself.
///
/// # Errors
/// [`Malformed`], but never for the key.
pub fn decode_value(value: &[u8]) -> Result<Event, Malformed> {
    view_value(value)?;
    whole(value)
}

/// Like [`decode`], without a copy of anything: the way of every event through the fold.
///
/// # Errors
/// [`Malformed`]: the reason for the dead letter.
pub fn view<'a>(key: Option<&[u8]>, value: &'a [u8]) -> Result<EventView<'a>, Malformed> {
    let event = view_value(value)?;
    match key {
        None => Err(Malformed::NoKey),
        Some(key) if key != event.user_id.as_bytes() => Err(Malformed::KeyMismatch),
        Some(_) => Ok(event),
    }
}

/// Whether the event in a record's value counts once, however often the record is appended: its id is remembered.
#[must_use]
pub fn counts_once(value: &[u8]) -> bool {
    Fields::read(value).is_some_and(|fields| fields.client_event_id)
}

/// The same event as one that counts once, by the id that it has, whoever chose it. For a record that may have to be
/// appended a second time; what is no event, or one without any id, stays as it is.
#[must_use]
pub fn made_to_count_once(value: &Bytes) -> Bytes {
    match Fields::read(value) {
        Some(fields) if !fields.client_event_id && !fields.event_id.is_empty() => {
            // A field that comes again counts; what else the producer wrote stays to the letter.
            let field = encode(&Event { client_event_id: true, ..Event::default() });
            [&value[..], &field[..]].concat().into()
        }
        _ => value.clone(),
    }
}

fn view_value(value: &[u8]) -> Result<EventView<'_>, Malformed> {
    if value.is_empty() {
        return Err(Malformed::NoValue);
    }
    let fields = Fields::read(value).ok_or_else(|| not_an_envelope(value))?;
    if fields.version > VERSION {
        return Err(Malformed::Version(fields.version));
    }
    check_name(fields.event)?;
    check_user_id(fields.user_id)?;
    check_timestamp(fields.timestamp_ms)?;
    if fields.client_event_id {
        check_event_id(fields.event_id)?;
    }
    Ok(EventView {
        event: fields.event,
        user_id: fields.user_id,
        timestamp_ms: fields.timestamp_ms,
        client_event_id: fields.client_event_id.then_some(fields.event_id),
    })
}

fn whole(value: &[u8]) -> Result<Event, Malformed> {
    Event::decode(value).map_err(|error| Malformed::Envelope(error.to_string()))
}

fn not_an_envelope(value: &[u8]) -> Malformed {
    whole(value).err().unwrap_or_else(|| Malformed::Envelope("unreadable".to_owned()))
}

/// Reads an RFC 3339 timestamp with any offset, as milliseconds since 1970 UTC. A leap second is the next second's first.
///
/// Returns `None` where it is not one or lies outside [`TIMESTAMP_MS_RANGE`].
#[must_use]
pub fn parse_timestamp(text: &str) -> Option<i64> {
    let timestamp_ms = timestamp::parse_utc(text.as_bytes())
        .or_else(|| Some(DateTime::parse_from_rfc3339(text).ok()?.with_timezone(&Utc).timestamp_millis()))?;
    TIMESTAMP_MS_RANGE.contains(&timestamp_ms).then_some(timestamp_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event() -> Event {
        Event {
            event_id: "e1".into(),
            event: "play".into(),
            user_id: "u1".into(),
            timestamp_ms: 1_735_689_600_000,
            received_at_ms: 1_735_689_600_001,
            metadata: Bytes::from_static(b"{}"),
            client_event_id: true,
            version: VERSION,
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        assert_eq!(decode(Some(b"u1"), &encode(&event())), Ok(event()));
    }

    #[test]
    fn each_rule_has_its_reason() {
        let broken = |change: fn(&mut Event)| {
            let mut event = event();
            change(&mut event);
            decode(Some(event.user_id.as_bytes()), &encode(&event)).unwrap_err()
        };
        assert_eq!(broken(|e| e.event.clear()), Malformed::Empty { field: "event" });
        assert_eq!(broken(|e| e.event = "date".into()), Malformed::Reserved);
        assert_eq!(broken(|e| e.event = "x".repeat(129)), Malformed::TooLong { field: "event", bytes_max: 128 });
        assert_eq!(broken(|e| e.user_id = "é".repeat(129)), Malformed::TooLong { field: "user_id", bytes_max: 256 });
        assert_eq!(broken(|e| e.user_id = "a\0b".into()), Malformed::ControlCharacter { field: "user_id" });
        assert_eq!(broken(|e| e.event = "é\u{85}".into()), Malformed::ControlCharacter { field: "event" });
        assert_eq!(broken(|e| e.timestamp_ms = i64::MAX), Malformed::Timestamp);
        assert_eq!(broken(|e| e.event_id.clear()), Malformed::Empty { field: "event_id" });
        assert_eq!(broken(|e| e.version = 2), Malformed::Version(2));
        assert_eq!(decode(None, &encode(&event())), Err(Malformed::NoKey));
        assert_eq!(decode(Some(b""), &encode(&event())), Err(Malformed::KeyMismatch));
        assert_eq!(decode(Some(b"u2"), &encode(&event())), Err(Malformed::KeyMismatch));
        assert_eq!(decode(Some(b"u1"), b""), Err(Malformed::NoValue));
        assert_eq!(decode_value(&encode(&event())), Ok(event()));
        assert!(matches!(decode(Some(b"u1"), &encode(&event())[..9]), Err(Malformed::Envelope(_))));
    }

    #[test]
    fn an_event_is_made_to_count_once_by_the_id_it_has() {
        let ours = encode(&Event { client_event_id: false, ..event() });
        assert!(!counts_once(&ours));
        let once = made_to_count_once(&ours);
        assert_eq!((counts_once(&once), decode(Some(b"u1"), &once)), (true, Ok(event())));
        assert_eq!(made_to_count_once(&once), once);
        // An id of no length is none, and would be refused.
        let without = encode(&Event { event_id: String::new(), client_event_id: false, ..event() });
        for value in [without, Bytes::from_static(b"no event"), Bytes::new()] {
            assert_eq!(made_to_count_once(&value), value);
        }
    }

    #[test]
    fn timestamps_of_every_kind() {
        assert_eq!(parse_timestamp("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(parse_timestamp("1970-01-01T14:00:00.5+14:00"), Some(500));
        assert_eq!(parse_timestamp("2016-12-31T23:59:60Z"), Some(1_483_228_800_000));
        assert_eq!(parse_timestamp("0001-01-01T00:00:00Z"), Some(*TIMESTAMP_MS_RANGE.start()));
        assert_eq!(parse_timestamp("0001-01-01T00:00:00+14:00"), None);
        assert_eq!(parse_timestamp("9999-12-31T23:59:59.999Z"), Some(*TIMESTAMP_MS_RANGE.end()));
        assert_eq!(parse_timestamp("9999-12-31T23:59:59.999-12:00"), None);
        for not in
            ["", "yesterday", "2025-02-30T00:00:00Z", "2025-01-01", "2025-01-01T00:00:00", "2025-01-01T25:00:00Z"]
        {
            assert_eq!(parse_timestamp(not), None, "{not}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(key in proptest::option::of(any::<Vec<u8>>()), value: Vec<u8>) {
            let _ = decode(key.as_deref(), &value);
        }
    }
}
