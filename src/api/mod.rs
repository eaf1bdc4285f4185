//! What surrounds the rooms' routes on a listener. A request passes from the outside in:
//!
//! - [`meter`]: counted and timed by route
//! - [`cors`]: browsers of other origins
//! - [`endpoints`]: 404, 405, HEAD and OPTIONS, and 500 where a handler panics
//! - the room's own routes, or [`pages`]: the API's description
//!
//! [`answer`] makes the JSON of an error.

pub(crate) mod answer;
mod cors;
pub(crate) mod endpoints;
mod meter;
mod pages;

#[cfg(test)]
mod tests;

use crate::flags::PublicFlags;
use cors::Cors;
use endpoints::{Endpoint, Endpoints};
use http::Method;
use std::convert::Infallible;
use tower::{Layer as _, Service};
use warp::reply::Response;
use warp::{Filter, Rejection};

/// What the ingest service serves.
pub(crate) const INGEST: &[Endpoint] =
    &[Endpoint { path: "/track", method: Method::POST }, Endpoint { path: "/track/batch", method: Method::POST }];
/// What the query service serves.
pub(crate) const QUERY: &[Endpoint] =
    &[Endpoint { path: "/metrics", method: Method::GET }, Endpoint { path: "/sessions", method: Method::GET }];

/// A public listener's service: `routes` at `endpoints`, and the API's description beside them.
pub(crate) fn public<F, B>(
    flags: &PublicFlags,
    endpoints: &[&'static [Endpoint]],
    routes: F,
) -> impl Service<http::Request<B>, Response = Response, Error = Infallible, Future: Send> + Clone + Send + use<F, B>
where
    F: Filter<Extract = (Response,), Error = Rejection> + Clone + Send + Sync + 'static,
    F::Future: Send,
    B: http_body::Body<Data: Send, Error: Into<tower::BoxError> + Send> + Send + Sync + Unpin + 'static,
{
    let endpoints: Vec<_> = endpoints.iter().copied().chain([pages::ENDPOINTS]).flatten().cloned().collect();
    let routes = warp::service(routes.or(pages::routes()).unify());
    let meter = meter::MeterLayer::new(&endpoints);
    meter.layer(Cors::new(Endpoints::new(endpoints, routes), &flags.cors_origin))
}
