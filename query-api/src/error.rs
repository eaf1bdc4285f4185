//! What a client sees when there is no answer: the one place that maps to HTTP.

use crate::params::ParamError;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use warp::reply::Response;

/// Ownership is told about once a second: by then a partition that moved has its new owner.
const RETRY_AFTER_SECONDS: &str = "1";

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QueryError {
    #[error(transparent)]
    Params(#[from] ParamError),
    /// These partitions gave no answer; none named where it is not even known which there are.
    #[error("{message}")]
    Unavailable { message: &'static str, partitions: Vec<u32> },
}

impl QueryError {
    pub(crate) fn into_response(self) -> Response {
        #[derive(serde::Serialize)]
        struct Body {
            status: &'static str,
            message: String,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            partitions: Vec<u32>,
        }
        let message = self.to_string();
        let (code, partitions) = match self {
            Self::Params(_) => (StatusCode::BAD_REQUEST, vec![]),
            Self::Unavailable { partitions, .. } => (StatusCode::SERVICE_UNAVAILABLE, partitions),
        };
        let body = serde_json::to_vec(&Body { status: "error", message, partitions });
        let mut response = Response::new(body.expect("strings and numbers are JSON").into());
        *response.status_mut() = code;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if code == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        response
    }
}
