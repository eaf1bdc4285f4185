//! An event in each of its forms: a line of JSON, an envelope on the log, a row of CSV.

use super::events::{Event, NAMES};
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};
use std::fmt::Write as _;
use track_log::NewRecord;
use track_proto::event::{self, VERSION};

const COUNTRIES: [&str; 8] = ["DE", "FR", "US", "JP", "BR", "IN", "GB", "ZA"];

/// Writes events for one run; ids of different runs differ, so that no run's events are another's duplicates.
#[derive(Debug, Clone)]
pub(crate) struct Words {
    run: String,
}

impl Words {
    /// For the run that ends at `until_ms` and has this seed.
    pub(crate) fn new(until_ms: i64, seed: u64) -> Self {
        Self { run: format!("{until_ms:x}-{seed:x}") }
    }

    /// `{"event":…}` without an end of line.
    pub(crate) fn json(&self, event: &Event, into: &mut String) {
        let (name, user) = (NAMES[usize::from(event.name)], event.user);
        let _ = write!(into, r#"{{"event":"{name}","user_id":"user-{user}","timestamp":"{}""#, rfc3339(event));
        if let Some(id) = event.id {
            let _ = write!(into, r#","event_id":"{}-{id:x}""#, self.run);
        }
        into.push_str(r#","metadata":"#);
        metadata(event, into);
        into.push('}');
    }

    /// As ingest would append it, taken in at `received_at_ms`.
    pub(crate) fn record(&self, event: &Event, received_at_ms: i64) -> NewRecord {
        let mut text = String::new();
        metadata(event, &mut text);
        let user_id = event.user_id();
        // One without an id of its client gets one of ours, of the length of a UUID.
        let event_id = match event.id {
            Some(id) => format!("{}-{id:x}", self.run),
            None => format!("{:036x}", event.detail),
        };
        let envelope = event::Event {
            event_id,
            event: NAMES[usize::from(event.name)].to_owned(),
            user_id: user_id.clone(),
            timestamp_ms: event.timestamp_ms,
            received_at_ms,
            metadata: Bytes::from(text),
            client_event_id: event.id.is_some(),
            version: VERSION,
        };
        NewRecord { key: Bytes::from(user_id), value: event::encode(&envelope) }
    }

    /// `event_id,event,user_id,timestamp_ms` without an end of line; the id is empty where there is none.
    pub(crate) fn csv(&self, event: &Event, into: &mut String) {
        if let Some(id) = event.id {
            let _ = write!(into, "{}-{id:x}", self.run);
        }
        let (name, user) = (NAMES[usize::from(event.name)], event.user);
        let _ = write!(into, ",{name},user-{user},{}", event.timestamp_ms);
    }
}

/// The first line of a file of [`Words::csv`].
pub(crate) const CSV_HEADER: &str = "event_id,event,user_id,timestamp_ms";

fn rfc3339(event: &Event) -> String {
    let time = DateTime::from_timestamp_millis(event.timestamp_ms).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// About 120 bytes.
fn metadata(event: &Event, into: &mut String) {
    let detail = event.detail;
    let country = usize::try_from(detail % 8).map_or("", |at| COUNTRIES[at]);
    let _ = write!(
        into,
        r#"{{"source":"web","country":"{country}","app":"4.{}.{}","page":"/videos/{:07}","device":"{detail:016x}","quality":"1080p"}}"#,
        detail % 20,
        detail % 7,
        detail % 10_000_000,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::events::{Events, tests::shape};

    #[test]
    fn every_form_says_the_same() {
        let words = Words::new(1, 2);
        for event in Events::new(shape(1_000)).unwrap() {
            let mut line = String::new();
            words.json(&event, &mut line);
            let json: serde_json::Value = serde_json::from_str(&line).unwrap();
            let record = words.record(&event, 5);
            let envelope = event::decode(Some(&record.key), &record.value).unwrap();
            assert_eq!(json["event"], envelope.event);
            assert_eq!(json["user_id"], envelope.user_id);
            assert_eq!(event::parse_timestamp(json["timestamp"].as_str().unwrap()), Some(envelope.timestamp_ms));
            assert_eq!(json.get("event_id").is_some(), envelope.client_event_id);
            assert_eq!(json["metadata"].to_string().len(), envelope.metadata.len());
            assert!((110..130).contains(&envelope.metadata.len()), "{}", envelope.metadata.len());
            let mut row = String::new();
            words.csv(&event, &mut row);
            let id = if envelope.client_event_id { envelope.event_id.as_str() } else { "" };
            assert_eq!(row, format!("{id},{},{},{}", envelope.event, envelope.user_id, envelope.timestamp_ms));
        }
    }
}
