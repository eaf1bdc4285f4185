//! Cross-origin requests: which web pages may use the API.

use futures::future::Either;
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, HeaderValue, RETRY_AFTER};
use http::{HeaderName, Method, Request};
use std::task::{Context, Poll};
use std::time::Duration;
use tower::{Layer as _, Service};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use track_query_api::{AS_OF_HEADER, LAG_HEADER};

/// Where a write landed, for a page to wait for when it reads.
const POSITION: HeaderName = HeaderName::from_static("track-position");
/// How complete an answer is.
const COMPLETENESS: [HeaderName; 2] = [AS_OF_HEADER, LAG_HEADER];
/// How long a browser may remember a preflight's answer; browsers cut it to their own maximum.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

/// A service that pages of other origins may use.
#[derive(Clone)]
pub(super) struct Cors<S> {
    service: S,
    shared: tower_http::cors::Cors<S>,
}

impl<S: Clone> Cors<S> {
    /// `*` among the origins allows all of them.
    pub(super) fn new(service: S, origins: &[String]) -> Self {
        let origin = if origins.iter().any(|origin| origin == "*") {
            AllowOrigin::any()
        } else {
            AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
        };
        let layer = CorsLayer::new()
            .allow_origin(origin)
            .allow_methods([Method::GET, Method::HEAD, Method::POST])
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers([POSITION, RETRY_AFTER].into_iter().chain(COMPLETENESS).collect::<Vec<_>>())
            .max_age(REMEMBERED);
        Self { shared: layer.layer(service.clone()), service }
    }
}

impl<S, B> Service<Request<B>> for Cors<S>
where
    S: Service<Request<B>>,
    tower_http::cors::Cors<S>: Service<Request<B>, Response = S::Response, Error = S::Error>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, <tower_http::cors::Cors<S> as Service<Request<B>>>::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        std::task::ready!(self.service.poll_ready(context))?;
        self.shared.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The layer takes every OPTIONS for a preflight and would never let one ask what a path allows.
        if request.method() == Method::OPTIONS && !request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            Either::Left(self.service.call(request))
        } else {
            Either::Right(self.shared.call(request))
        }
    }
}
