//! From the fields that a producer wrote to an event that may go on the log.

use crate::decode::Fields;
use crate::error::{Field, Flaw};
use crate::metadata::{Metadata, TRUNCATED};
use std::borrow::Cow;
use track_proto::event::{check_event_id, check_name, check_user_id, parse_timestamp};

/// Said where the producer's clock is ahead of ours.
const FUTURE: &str = "Future timestamp replaced with server time";

/// An event that obeys every rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) user_id: Cow<'a, str>,
    /// The producer's own; `None` has us make one.
    pub(crate) event_id: Option<Cow<'a, str>>,
    pub(crate) timestamp_ms: i64,
    pub(crate) metadata: Metadata<'a>,
    pub(crate) warnings: Warnings,
}

/// What was changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Warnings {
    future: bool,
    truncated: bool,
}

impl Warnings {
    pub(crate) fn is_empty(self) -> bool {
        !self.future && !self.truncated
    }

    pub(crate) fn texts(self) -> impl Iterator<Item = &'static str> {
        self.future.then_some(FUTURE).into_iter().chain(self.truncated.then_some(TRUNCATED))
    }
}

/// Checks `fields`, which came in at `now_ms`.
///
/// # Errors
/// [`Flaw`]: the first field that breaks a rule.
pub(crate) fn validate(fields: Fields<'_>, now_ms: i64) -> Result<Event<'_>, Flaw> {
    let name = fields.event.ok_or(Flaw::Missing(Field::Event))?;
    check_name(&name)?;
    let user_id = fields.user_id.ok_or(Flaw::Missing(Field::UserId))?;
    check_user_id(&user_id)?;
    if let Some(event_id) = &fields.event_id {
        check_event_id(event_id)?;
    }
    let claimed_ms = match &fields.timestamp {
        Some(timestamp) => parse_timestamp(timestamp).ok_or(Flaw::Timestamp)?,
        None => now_ms,
    };
    let future = claimed_ms > now_ms;
    let (metadata, truncated) = Metadata::take(fields.metadata, future.then_some(FUTURE))?;
    let timestamp_ms = claimed_ms.min(now_ms);
    let warnings = Warnings { future, truncated };
    Ok(Event { name, user_id, event_id: fields.event_id, timestamp_ms, metadata, warnings })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode;
    use crate::testing::NOW_MS;

    fn valid(body: &str) -> Result<Event<'_>, Flaw> {
        validate(decode::one(body.as_bytes()).unwrap(), NOW_MS)
    }

    #[test]
    fn an_absent_timestamp_is_now_and_a_past_one_stays() {
        assert_eq!(valid(r#"{"event":"a","user_id":"b"}"#).unwrap().timestamp_ms, NOW_MS);
        let past = valid(r#"{"event":"a","user_id":"b","timestamp":"1970-01-01T02:00:01+02:00"}"#).unwrap();
        assert_eq!((past.timestamp_ms, past.warnings.is_empty()), (1_000, true));
    }

    #[test]
    fn only_what_is_after_now_is_future() {
        for (timestamp, future) in [("2025-06-01T12:00:00.000Z", false), ("2025-06-01T12:00:00.001Z", true)] {
            let body = format!(r#"{{"event":"a","user_id":"b","timestamp":"{timestamp}"}}"#);
            let event = valid(&body).unwrap();
            assert_eq!((event.timestamp_ms, event.warnings.future), (NOW_MS, future), "{timestamp}");
        }
    }

    #[test]
    fn both_changes_are_told() {
        let body = format!(
            r#"{{"event":"a","user_id":"b","timestamp":"2999-01-01T00:00:00Z","metadata":{{"a":"{}"}}}}"#,
            "x".repeat(4_080)
        );
        let event = valid(&body).unwrap();
        assert_eq!(event.warnings.texts().collect::<Vec<_>>(), [FUTURE, TRUNCATED]);
        assert!(event.metadata.len() <= track_proto::event::METADATA_BYTES_MAX);
    }
}
