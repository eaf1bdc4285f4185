//! Why a request, or one event of a batch, is not accepted; and the one place that turns it into HTTP.

use crate::answer::{self, Rejected};
use crate::decode::EVENTS_MAX;
use crate::unpack::Encoding;
use http::StatusCode;
use http::header::{ACCEPT_ENCODING, HeaderValue, RETRY_AFTER};
use std::fmt;
use track_log::AppendError;
use track_proto::event::Malformed;
use warp::reply::Response;

/// Seconds after which a client may come back when there is too much to do, or the log is not there.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");

/// A field of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Event,
    UserId,
    EventId,
    Timestamp,
    Metadata,
}

impl Field {
    /// Its name in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::UserId => "user_id",
            Self::EventId => "event_id",
            Self::Timestamp => "timestamp",
            Self::Metadata => "metadata",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is wrong with one event. The text is for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Flaw {
    #[error("invalid UTF-8")]
    Utf8,
    #[error("invalid JSON: {0}")]
    Json(String),
    /// JSON by its grammar, but a value that no program could hold: half a surrogate pair, a number beyond all floats.
    #[error("{0}")]
    Undecodable(String),
    #[error("an event must be a JSON object")]
    NotAnObject,
    #[error("{0} appears more than once")]
    Duplicate(Field),
    #[error("{0} must be a string")]
    NotAString(Field),
    #[error("metadata must be an object")]
    NotMetadata,
    #[error("{0} is required")]
    Missing(Field),
    #[error("timestamp must be an RFC 3339 date-time of the years 0001 to 9999, such as 2025-01-31T12:00:00Z")]
    Timestamp,
    #[error(transparent)]
    Rule(#[from] Malformed),
}

/// Why a request is not answered with success. The text is for the client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Flaw(#[from] Flaw),
    #[error("the body is empty")]
    Empty,
    #[error("no event was accepted")]
    NoneGood { rejected: Vec<Rejected> },
    #[error("the body ended before it was complete")]
    Cut,
    #[error("the body did not arrive in time")]
    BodyTimeout,
    #[error("the body must be at most {bytes_max} bytes, also when unpacked")]
    TooLarge { bytes_max: usize },
    #[error("a batch must have at most {EVENTS_MAX} events")]
    TooManyEvents,
    #[error("Content-Encoding: {named} is not supported; allowed: {}", names(.allowed))]
    Encoding { named: String, allowed: &'static [Encoding] },
    #[error("the body is not valid {encoding}: {detail}")]
    Corrupt { encoding: &'static str, detail: String },
    #[error("too many requests are under way")]
    Overload,
    #[error("Failed to log event")]
    Append { error: AppendError, events: u64 },
    #[error("Failed to log event")]
    AppendTimeout { events: u64 },
}

/// Why events were rejected, as the metric `track_events_rejected_total` names it: a set that no client can enlarge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Cut short, late or damaged.
    Body,
    TooLarge,
    Encoding,
    Json,
    Event,
    UserId,
    EventId,
    Timestamp,
    Metadata,
    Overload,
    LogBusy,
    LogUnavailable,
    LogTimeout,
}

impl Reason {
    pub(crate) const ALL: [(Self, &'static str); 13] = [
        (Self::Body, "body"),
        (Self::TooLarge, "too_large"),
        (Self::Encoding, "encoding"),
        (Self::Json, "json"),
        (Self::Event, "event"),
        (Self::UserId, "user_id"),
        (Self::EventId, "event_id"),
        (Self::Timestamp, "timestamp"),
        (Self::Metadata, "metadata"),
        (Self::Overload, "overload"),
        (Self::LogBusy, "log_busy"),
        (Self::LogUnavailable, "log_unavailable"),
        (Self::LogTimeout, "log_timeout"),
    ];
}

impl From<Field> for Reason {
    fn from(field: Field) -> Self {
        match field {
            Field::Event => Self::Event,
            Field::UserId => Self::UserId,
            Field::EventId => Self::EventId,
            Field::Timestamp => Self::Timestamp,
            Field::Metadata => Self::Metadata,
        }
    }
}

impl From<&Flaw> for Reason {
    fn from(flaw: &Flaw) -> Self {
        match flaw {
            Flaw::Utf8 | Flaw::Json(_) | Flaw::Undecodable(_) | Flaw::NotAnObject => Self::Json,
            Flaw::Duplicate(field) | Flaw::NotAString(field) | Flaw::Missing(field) => Self::from(*field),
            Flaw::NotMetadata => Self::Metadata,
            Flaw::Timestamp => Self::Timestamp,
            Flaw::Rule(malformed) => match malformed {
                Malformed::Empty { field }
                | Malformed::TooLong { field, .. }
                | Malformed::ControlCharacter { field } => match *field {
                    "user_id" => Self::UserId,
                    "event_id" => Self::EventId,
                    _ => Self::Event,
                },
                Malformed::Timestamp => Self::Timestamp,
                _ => Self::Event,
            },
        }
    }
}

impl Refusal {
    /// Whether more of the body may be on its way when this is known.
    pub(crate) fn leaves_body_unread(&self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::Encoding { .. } | Self::Corrupt { .. } | Self::Overload)
    }

    /// The reason to count, and for how many events. A request whose events are not known counts as one.
    /// `None` where each event was counted already.
    pub(crate) fn counted(&self) -> Option<(Reason, u64)> {
        Some(match self {
            Self::NoneGood { .. } => return None,
            Self::Flaw(flaw) => (Reason::from(flaw), 1),
            Self::Empty => (Reason::Json, 1),
            Self::Cut | Self::BodyTimeout | Self::Corrupt { .. } => (Reason::Body, 1),
            Self::TooLarge { .. } | Self::TooManyEvents => (Reason::TooLarge, 1),
            Self::Encoding { .. } => (Reason::Encoding, 1),
            Self::Overload => (Reason::Overload, 1),
            Self::Append { error: AppendError::Busy, events } => (Reason::LogBusy, *events),
            Self::Append { error: AppendError::NotAppended(_) | AppendError::Unavailable(_), events } => {
                (Reason::LogUnavailable, *events)
            }
            Self::AppendTimeout { events } => (Reason::LogTimeout, *events),
        })
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Flaw(_) | Self::Empty | Self::NoneGood { .. } | Self::Cut | Self::Corrupt { .. } => {
                StatusCode::BAD_REQUEST
            }
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge { .. } | Self::TooManyEvents => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Encoding { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Overload => StatusCode::TOO_MANY_REQUESTS,
            Self::Append { .. } | Self::AppendTimeout { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The answer to the request.
    pub(crate) fn response(&self) -> Response {
        let rejected = if let Self::NoneGood { rejected } = self { &rejected[..] } else { &[] };
        let mut response = answer::refused(self.status(), &self.to_string(), rejected);
        let headers = response.headers_mut();
        match self {
            Self::Overload | Self::Append { .. } | Self::AppendTimeout { .. } => {
                headers.insert(RETRY_AFTER, RETRY_AFTER_S);
            }
            // RFC 9110, 15.5.16: says what would have been taken.
            Self::Encoding { allowed, .. } => {
                if let Ok(names) = HeaderValue::from_str(&names(allowed)) {
                    headers.insert(ACCEPT_ENCODING, names);
                }
            }
            _ => {}
        }
        response
    }
}

fn names(allowed: &[Encoding]) -> String {
    allowed.iter().map(|encoding| encoding.name()).chain(["identity"]).collect::<Vec<_>>().join(", ")
}
