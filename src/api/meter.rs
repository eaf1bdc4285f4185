//! Counts and times requests. Labels are bounded: the routes there are, and the codes that HTTP has.

use super::endpoints::Endpoint;
use futures::future::{BoxFuture, FutureExt as _, TryFutureExt as _};
use http::Request;
use metrics::{Counter, Histogram};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use tokio::time::Instant;
use tower::{Layer, Service};
use warp::reply::Response;

/// The route of requests that have none.
const OTHER: &str = "other";
/// Status codes have three digits and begin with 1 to 5.
const CODES: std::ops::Range<u16> = 100..600;

/// Puts a [`Meter`] around a service.
#[derive(Clone)]
pub(super) struct MeterLayer {
    routes: Arc<Routes>,
}

struct Routes {
    known: HashMap<&'static str, Arc<Route>>,
    other: Arc<Route>,
}

/// What is counted of one route. Handles are kept, since finding one by its labels costs more than using it.
struct Route {
    name: &'static str,
    seconds: Histogram,
    by_code: Box<[OnceLock<Counter>]>,
}

impl MeterLayer {
    pub(super) fn new(endpoints: &[Endpoint]) -> Self {
        metrics::describe_counter!("track_http_requests_total", "HTTP requests answered, by route and status code");
        metrics::describe_histogram!(
            "track_http_request_seconds",
            metrics::Unit::Seconds,
            "From a request's headers to those of its answer"
        );
        let known = endpoints.iter().map(|endpoint| (endpoint.path, Arc::new(Route::new(endpoint.path)))).collect();
        Self { routes: Arc::new(Routes { known, other: Arc::new(Route::new(OTHER)) }) }
    }
}

impl Route {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            seconds: metrics::histogram!("track_http_request_seconds", "route" => name),
            by_code: CODES.map(|_| OnceLock::new()).collect(),
        }
    }

    fn count(&self, code: u16, begun: Instant) {
        self.seconds.record(begun.elapsed());
        if let Some(counter) = code.checked_sub(CODES.start).and_then(|index| self.by_code.get(usize::from(index))) {
            let counter = counter.get_or_init(
                || metrics::counter!("track_http_requests_total", "route" => self.name, "code" => code.to_string()),
            );
            counter.increment(1);
        }
    }
}

impl<S> Layer<S> for MeterLayer {
    type Service = Meter<S>;

    fn layer(&self, service: S) -> Meter<S> {
        Meter { routes: Arc::clone(&self.routes), service }
    }
}

/// A service whose requests are counted.
#[derive(Clone)]
pub(super) struct Meter<S> {
    routes: Arc<Routes>,
    service: S,
}

impl<S, B> Service<Request<B>> for Meter<S>
where
    S: Service<Request<B>, Response = Response, Future: Send + 'static>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let begun = Instant::now();
        let route = Arc::clone(self.routes.known.get(request.uri().path()).unwrap_or(&self.routes.other));
        self.service.call(request).inspect_ok(move |response| route.count(response.status().as_u16(), begun)).boxed()
    }
}
