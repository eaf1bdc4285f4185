//! `GET /digest`: what the states of this process's partitions are, for comparing them with another fold of the same log.

use crate::api::answer;
use http::StatusCode;
use parking_lot::Mutex;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use track_log::{Offset, Partition};
use track_processor::{InspectError, Processor, StateDigest};
use warp::reply::Response;

/// The processor whose states are told, while there is one.
#[derive(Clone, Default)]
pub(crate) struct States(Arc<Mutex<Option<Processor>>>);

impl States {
    /// From now on these are told.
    pub(crate) fn open(&self, processor: &Processor) {
        *self.0.lock() = Some(processor.clone());
    }

    /// From now on nothing is told: the log closes when its last user is gone, and this is not to be it.
    pub(crate) fn close(&self) {
        *self.0.lock() = None;
    }
}

/// What is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Question {
    partition: Option<Partition>,
    at_offset: Option<Offset>,
}

/// Answers `?partition=N&at_offset=N`, both of which may be left out.
pub(super) async fn tell(states: States, parameters: HashMap<String, String>) -> Response {
    let question = match parse(&parameters) {
        Ok(question) => question,
        Err(message) => return answer::error(StatusCode::BAD_REQUEST, &message),
    };
    let Some(processor) = states.0.lock().clone() else {
        return answer::error(StatusCode::SERVICE_UNAVAILABLE, "starting or stopping");
    };
    match processor.digests(question.partition, question.at_offset).await {
        Ok(digests) => {
            let data: Vec<_> = digests.iter().map(row).collect();
            answer::json(StatusCode::OK, &json!({ "status": "success", "data": data }))
        }
        Err(error) => answer::error(code(&error), &error.to_string()),
    }
}

fn parse(parameters: &HashMap<String, String>) -> Result<Question, String> {
    fn number<N: std::str::FromStr>(name: &str, value: &str) -> Result<Option<N>, String> {
        value.parse().map(Some).map_err(|_| format!("{name} must be a number, and is \"{value}\""))
    }
    let mut question = Question::default();
    for (name, value) in parameters {
        match name.as_str() {
            "partition" => question.partition = number(name, value)?,
            "at_offset" => question.at_offset = number(name, value)?,
            _ => return Err(format!("unknown parameter \"{name}\": there are partition and at_offset")),
        }
    }
    if question.at_offset.is_some() && question.partition.is_none() {
        return Err("at_offset needs a partition: each has offsets of its own".to_owned());
    }
    Ok(question)
}

fn row(digest: &StateDigest) -> serde_json::Value {
    json!({
        "partition": digest.partition,
        "nextOffset": digest.next_offset,
        "streamTime": digest.stream_time_s,
        "rows": digest.rows,
        "digest": digest.hex(),
    })
}

fn code(error: &InspectError) -> StatusCode {
    match error {
        InspectError::NotHere { .. } => StatusCode::NOT_FOUND,
        InspectError::Passed { .. } => StatusCode::CONFLICT,
        InspectError::Moving { .. } | InspectError::NotReached { .. } => StatusCode::SERVICE_UNAVAILABLE,
        InspectError::Unreadable { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(parameters: &[(&str, &str)]) -> Result<Question, String> {
        parse(&parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn a_question_names_a_partition_and_an_offset_of_it() {
        assert_eq!(parsed(&[]), Ok(Question::default()));
        let both = Question { partition: Some(3), at_offset: Some(0) };
        assert_eq!(parsed(&[("partition", "3"), ("at_offset", "0")]), Ok(both));
        for (wrong, says) in [
            (("partition", "-1"), "partition must be a number"),
            (("partition", ""), "partition must be a number"),
            (("at_offset", "1"), "needs a partition"),
            (("offset", "1"), "unknown parameter \"offset\""),
        ] {
            let message = parsed(&[wrong]).unwrap_err();
            assert!(message.contains(says), "{wrong:?}: {message}");
        }
    }

    #[tokio::test]
    async fn before_the_processor_is_open_there_is_nothing_to_tell() {
        let answer = tell(States::default(), HashMap::new()).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        let wrong = HashMap::from([("partition".to_owned(), "x".to_owned())]);
        assert_eq!(tell(States::default(), wrong).await.status(), StatusCode::BAD_REQUEST);
    }
}
