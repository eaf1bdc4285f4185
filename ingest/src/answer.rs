//! Answers as JSON.

use crate::validate::Warnings;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response as HttpResponse, StatusCode};
use serde::Serialize;
use track_log::{Accepted, Position};
use warp::reply::Response;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Where the events went, for a query that must see them: `<partition>:<offset>`, one for each partition touched. Events
/// that are on their way to the log have no place yet, and their answer no such header.
const TRACK_POSITION: HeaderName = HeaderName::from_static("track-position");

/// An event of a batch that was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Rejected {
    /// Its place in the batch, from 0.
    pub(crate) index: usize,
    pub(crate) message: String,
}

/// An event of a batch that was changed before it was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Warned {
    /// Its place in the batch, from 0.
    pub(crate) index: usize,
    pub(crate) message: &'static str,
}

#[derive(Serialize)]
struct Logged<'a> {
    status: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<&'a [Rejected]>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: &'a [&'static str],
    #[serde(rename = "warnings", skip_serializing_if = "<[_]>::is_empty")]
    warned: &'a [Warned],
}

#[derive(Serialize)]
struct Refused<'a> {
    status: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    rejected: &'a [Rejected],
}

/// The event of `POST /track` is durable.
pub(crate) fn logged(accepted: &Accepted, warnings: Warnings) -> Response {
    let body = if warnings.is_empty() {
        Bytes::from_static(br#"{"status":"success","message":"Event logged."}"#)
    } else {
        let warnings: Vec<_> = warnings.texts().collect();
        let message = "Event logged.";
        json(&Logged { status: "success", message, accepted: None, rejected: None, warnings: &warnings, warned: &[] })
    };
    with_positions(body, accepted)
}

/// The good events of `POST /track/batch`, so many, are durable.
pub(crate) fn batch_logged(events: usize, accepted: &Accepted, rejected: &[Rejected], warned: &[Warned]) -> Response {
    let message = &if events == 1 { "1 event logged.".to_owned() } else { format!("{events} events logged.") };
    let rejected = Some(rejected);
    let body = json(&Logged { status: "success", message, accepted: Some(events), rejected, warnings: &[], warned });
    with_positions(body, accepted)
}

/// Nothing was accepted.
pub(crate) fn refused(status: StatusCode, message: &str, rejected: &[Rejected]) -> Response {
    respond(status, json(&Refused { status: "error", message, rejected }))
}

fn with_positions(body: Bytes, accepted: &Accepted) -> Response {
    let Accepted::OnLog(positions) = accepted else { return respond(StatusCode::OK, body) };
    let mut text = Vec::with_capacity(24);
    let mut add = |position: &Position| {
        if !text.is_empty() {
            text.push(b',');
        }
        text.extend_from_slice(itoa::Buffer::new().format(position.partition).as_bytes());
        text.push(b':');
        text.extend_from_slice(itoa::Buffer::new().format(position.offset).as_bytes());
    };
    if let [position] = &positions[..] {
        add(position);
    } else {
        // Partitions are few and positions are many.
        let mut highest: Vec<Position> = Vec::new();
        for position in positions {
            match highest.iter_mut().find(|known| known.partition == position.partition) {
                Some(known) => known.offset = known.offset.max(position.offset),
                None => highest.push(*position),
            }
        }
        highest.sort_unstable();
        highest.iter().for_each(add);
    }
    let mut response = respond(StatusCode::OK, body);
    let value = HeaderValue::try_from(text).expect("digits, colons and commas");
    response.headers_mut().insert(TRACK_POSITION, value);
    response
}

fn respond(status: StatusCode, body: Bytes) -> Response {
    let mut response = HttpResponse::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

fn json(body: &impl Serialize) -> Bytes {
    serde_json::to_vec(body).expect("strings and numbers are always JSON").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_names_the_highest_offset_of_each_partition() {
        let positions = [(3, 7), (0, 1), (3, 9), (0, 2), (3, 8)];
        let positions = positions.map(|(partition, offset)| Position { partition, offset });
        let told = |positions: &[Position]| {
            let response = with_positions(Bytes::new(), &Accepted::OnLog(positions.to_vec()));
            response.headers()[TRACK_POSITION].clone()
        };
        assert_eq!(told(&positions), "0:2,3:9");
        assert_eq!(told(&positions[..1]), "3:7");
    }

    #[test]
    fn what_is_not_on_the_log_yet_is_a_success_without_a_position() {
        let one = logged(&Accepted::Spooled, Warnings::default());
        let batch = batch_logged(3, &Accepted::Spooled, &[], &[]);
        for response in [&one, &batch] {
            assert_eq!((response.status(), response.headers().get(TRACK_POSITION)), (StatusCode::OK, None));
        }
    }
}
