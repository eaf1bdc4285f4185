//! The JSON of answers that no room gives.

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use warp::reply::Response;

/// `{"status":"error","message":…}`, as every error of the API looks.
pub(crate) fn error(code: StatusCode, message: &str) -> Response {
    json(code, &serde_json::json!({ "status": "error", "message": message }))
}

/// Any JSON.
pub(crate) fn json(code: StatusCode, body: &serde_json::Value) -> Response {
    with_type(code, "application/json", body.to_string().into())
}

/// Any text.
pub(crate) fn with_type(code: StatusCode, content_type: &'static str, body: bytes::Bytes) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
