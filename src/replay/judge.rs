//! What becomes of a dead letter, by the rules of this version: the record that goes back to the log, or why none does.

use prost::Message as _;
use thiserror::Error;
use track_log::{NewRecord, Record};
use track_proto::event::{self, Event, Malformed};
use track_proto::topics::EVENTS_RETENTION_MS;
use track_proto::v1::DeadLetter;

/// How old a record may be that is put back. It counts once since its event_id is remembered, which is for 30 days from
/// the first time on; that it is a day younger makes up for clocks that differ.
const AGE_MS_MAX: i64 = EVENTS_RETENTION_MS - 24 * 60 * 60 * 1000;

/// A dead letter, judged.
#[derive(Debug)]
pub(super) struct Judged {
    /// Where the record lies on the log of events; where the letter itself can't be read, what can be said of it.
    pub(super) place: String,
    /// Why it was put aside.
    pub(super) reason: String,
    pub(super) verdict: Result<NewRecord, Stays>,
}

/// Why a letter stays where it is.
#[derive(Debug, PartialEq, Error)]
pub(super) enum Stays {
    #[error("it is no dead letter")]
    NotALetter,
    #[error("{0}")]
    Malformed(#[from] Malformed),
    #[error("of its {value_bytes} bytes only the first {held} are in the letter")]
    Cut { value_bytes: u64, held: usize },
    #[error("it is older than 29 days, and could count twice")]
    TooOld,
}

/// Judges what lies on the log of dead letters.
pub(super) fn judge(record: &Record, now_ms: i64) -> Judged {
    let Ok(letter) = DeadLetter::decode(&*record.value) else {
        let place = format!("letter {}", record.offset);
        return Judged { place, reason: String::new(), verdict: Err(Stays::NotALetter) };
    };
    let place = format!("{}:{}", letter.partition, letter.offset);
    // For a terminal: anything may write to the topic of letters, too.
    let reason = letter.reason.replace(char::is_control, " ");
    Judged { place, reason, verdict: record_of(&letter, now_ms) }
}

fn record_of(letter: &DeadLetter, now_ms: i64) -> Result<NewRecord, Stays> {
    let held = letter.value.len();
    if letter.value_bytes > held as u64 {
        return Err(Stays::Cut { value_bytes: letter.value_bytes, held });
    }
    let event = event::decode_value(&letter.value)?;
    if now_ms.saturating_sub(letter.append_time_ms) >= AGE_MS_MAX {
        return Err(Stays::TooOld);
    }
    let mut value = letter.value.to_vec();
    if !event.client_event_id {
        let DeadLetter { partition, offset, append_time_ms, .. } = letter;
        // The record's own place names it, in every letter about it: a topic that was made anew has other times.
        let event_id = format!("dead-letter:{partition}:{offset}:{append_time_ms}");
        // A field that comes again counts; what else the producer wrote stays to the letter.
        value.extend(event::encode(&Event { event_id, client_event_id: true, ..Event::default() }));
    }
    Ok(NewRecord { key: event.user_id.into(), value: value.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const NOW_MS: i64 = 1_748_779_200_000;
    const DAY_MS: i64 = 24 * 60 * 60 * 1000;

    fn event() -> Event {
        Event {
            event: "play".into(),
            user_id: "u1".into(),
            timestamp_ms: 1_735_689_600_000,
            event_id: "ours".into(),
            ..Event::default()
        }
    }

    fn letter(value: Bytes) -> DeadLetter {
        DeadLetter {
            reason: "the record has no key".into(),
            partition: 3,
            offset: 7,
            append_time_ms: NOW_MS - DAY_MS,
            key: None,
            value_bytes: value.len() as u64,
            value,
        }
    }

    fn judged(letter: &DeadLetter) -> Judged {
        let value = letter.encode_to_vec().into();
        judge(&Record { offset: 1, append_time_ms: NOW_MS, key: None, value }, NOW_MS)
    }

    fn put_back(letter: &DeadLetter) -> Event {
        let record = judged(letter).verdict.unwrap();
        event::decode(Some(&record.key), &record.value).unwrap()
    }

    #[test]
    fn what_only_the_key_was_wrong_with_goes_to_its_user() {
        let found = put_back(&letter(event::encode(&event())));
        let event_id = format!("dead-letter:3:7:{}", NOW_MS - DAY_MS);
        assert_eq!(found, Event { event_id, client_event_id: true, ..event() });
    }

    #[test]
    fn an_id_that_its_producer_chose_is_kept() {
        let named = Event { event_id: "mine".into(), client_event_id: true, ..event() };
        assert_eq!(put_back(&letter(event::encode(&named))), named);
    }

    #[test]
    fn fields_that_this_version_does_not_know_are_kept() {
        let mut value = event::encode(&event()).to_vec();
        let unknown = [0x9a, 0x06, 1, b'x']; // field 99, one byte
        value.extend(unknown);
        let record = judged(&letter(value.into())).verdict.unwrap();
        assert!(record.value.windows(unknown.len()).any(|window| window == unknown));
    }

    #[test]
    fn what_is_no_event_stays() {
        let stays = |value: Bytes| judged(&letter(value)).verdict.unwrap_err();
        assert_eq!(stays(Bytes::new()), Stays::Malformed(Malformed::NoValue));
        assert!(matches!(stays(Bytes::from_static(b"\xff")), Stays::Malformed(Malformed::Envelope(_))));
        assert_eq!(stays(event::encode(&Event { version: 99, ..event() })), Stays::Malformed(Malformed::Version(99)));
        let cut = DeadLetter { value_bytes: 1_000, ..letter(event::encode(&event())) };
        assert!(matches!(judged(&cut).verdict, Err(Stays::Cut { value_bytes: 1_000, .. })));
    }

    #[test]
    fn what_could_count_twice_stays() {
        let aged = |days: i64| DeadLetter { append_time_ms: NOW_MS - days * DAY_MS, ..letter(event::encode(&event())) };
        assert!(judged(&aged(28)).verdict.is_ok());
        assert_eq!(judged(&aged(29)).verdict.unwrap_err(), Stays::TooOld);
    }

    #[test]
    fn what_is_no_letter_is_named_by_its_own_place() {
        let record = Record { offset: 5, append_time_ms: NOW_MS, key: None, value: Bytes::from_static(b"\xff") };
        let judged = judge(&record, NOW_MS);
        assert_eq!((judged.place.as_str(), judged.verdict.unwrap_err()), ("letter 5", Stays::NotALetter));
    }

    #[test]
    fn a_reason_cannot_speak_to_the_terminal() {
        let loud = DeadLetter { reason: "a\u{1b}[2Jb\nc".into(), ..letter(event::encode(&event())) };
        assert_eq!(judged(&loud).reason, "a [2Jb c");
    }
}
