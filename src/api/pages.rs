//! The API's description, for programs and for people.

use super::answer;
use super::endpoints::Endpoint;
use bytes::Bytes;
use http::header::{CONTENT_SECURITY_POLICY, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Method, StatusCode};
use warp::reply::Response;
use warp::{Filter, Rejection};

const OPENAPI: &str = include_str!("../openapi/openapi.json");
const DOCS: &str = include_str!("../openapi/docs.html");
/// The page loads nothing from elsewhere, and its reader's browser holds it to that.
const NOTHING_FROM_ELSEWHERE: HeaderValue =
    HeaderValue::from_static("default-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'");

pub(super) const ENDPOINTS: &[Endpoint] =
    &[Endpoint { path: "/openapi.json", method: Method::GET }, Endpoint { path: "/docs", method: Method::GET }];

pub(super) fn routes() -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + Send + Sync + 'static {
    let openapi = warp::path!("openapi.json").and(warp::get());
    let openapi =
        openapi.map(|| answer::with_type(StatusCode::OK, "application/json", Bytes::from_static(OPENAPI.as_bytes())));
    let docs = warp::path!("docs").and(warp::get()).map(|| {
        let page = Bytes::from_static(DOCS.as_bytes());
        let mut response = answer::with_type(StatusCode::OK, "text/html; charset=utf-8", page);
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, NOTHING_FROM_ELSEWHERE);
        response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    });
    openapi.or(docs).unify()
}
