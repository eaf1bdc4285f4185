//! Which paths there are and which methods each takes; everything else is answered here.

use super::answer;
use bytes::Buf as _;
use futures::FutureExt as _;
use futures::future::{self, BoxFuture, Either};
use http::header::{ALLOW, CONTENT_LENGTH, EXPECT, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tower::Service;
use warp::reply::Response;

/// How much of a body that nobody wants is read and thrown away, and for how long: closing a connection on unread bytes
/// resets it, and then most clients never see the answer.
const DISCARDED_BYTES_MAX: usize = 16 * 1024 * 1024;
const DISCARDING_MAX: Duration = Duration::from_secs(10);

/// A path and the method that it takes. Where that is GET, HEAD works too.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) path: &'static str,
    pub(crate) method: Method,
}

impl Endpoint {
    fn takes(&self, method: &Method) -> bool {
        *method == self.method || (method == Method::HEAD && self.method == Method::GET)
    }

    /// For the header `Allow`.
    pub(super) fn allow(&self) -> HeaderValue {
        HeaderValue::from_static(if self.method == Method::GET { "GET, HEAD, OPTIONS" } else { "POST, OPTIONS" })
    }
}

/// A service behind its table of endpoints.
#[derive(Clone)]
pub(crate) struct Endpoints<S> {
    endpoints: Arc<[Endpoint]>,
    service: S,
}

impl<S> Endpoints<S> {
    pub(crate) fn new(endpoints: Vec<Endpoint>, service: S) -> Self {
        Self { endpoints: endpoints.into(), service }
    }
}

impl<S, B> Service<Request<B>> for Endpoints<S>
where
    S: Service<Request<B>, Response = Response, Error = Infallible, Future: Send + 'static> + 'static,
    B: http_body::Body<Data: Send, Error: Send> + Send + Unpin + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Handled<S::Future>, BoxFuture<'static, Result<Response, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Some(endpoint) = self.endpoints.iter().find(|endpoint| endpoint.path == request.uri().path()) else {
            return refuse(request, answer::error(StatusCode::NOT_FOUND, "Not found"));
        };
        let method = request.method();
        if method == Method::OPTIONS {
            let mut response = Response::new(bytes::Bytes::new().into());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response.headers_mut().insert(ALLOW, endpoint.allow());
            return refuse(request, response);
        }
        if !endpoint.takes(method) {
            let mut response = answer::error(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed");
            response.headers_mut().insert(ALLOW, endpoint.allow());
            return refuse(request, response);
        }
        if method == Method::HEAD {
            return Either::Right(self.head(request).boxed());
        }
        Either::Left(guarded(self.service.call(request)))
    }
}

impl<S> Endpoints<S> {
    /// What GET would answer, without the body.
    fn head<B>(
        &mut self,
        mut request: Request<B>,
    ) -> impl Future<Output = Result<Response, Infallible>> + Send + use<S, B>
    where
        S: Service<Request<B>, Response = Response, Error = Infallible, Future: Send + 'static>,
    {
        *request.method_mut() = Method::GET;
        guarded(self.service.call(request)).map(|response| {
            let Ok(mut response) = response;
            if let Some(bytes) = http_body::Body::size_hint(response.body()).exact() {
                response.headers_mut().insert(CONTENT_LENGTH, bytes.into());
            }
            Ok(response.map(|_| bytes::Bytes::new().into()))
        })
    }
}

/// A handler's future, a panic in it being a 500 to this client and nothing to all others.
type Handled<F> = future::Map<
    future::CatchUnwind<AssertUnwindSafe<F>>,
    fn(Result<Result<Response, Infallible>, Box<dyn std::any::Any + Send>>) -> Result<Response, Infallible>,
>;

fn guarded<F>(future: F) -> Handled<F>
where
    F: Future<Output = Result<Response, Infallible>>,
{
    // The panic itself has been logged, with its place, by the hook.
    AssertUnwindSafe(future).catch_unwind().map(|outcome| {
        outcome.unwrap_or_else(|_| Ok(answer::error(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error")))
    })
}

/// Answers once the body has been read and forgotten.
fn refuse<F, B>(request: Request<B>, response: Response) -> Either<F, BoxFuture<'static, Result<Response, Infallible>>>
where
    B: http_body::Body<Data: Send, Error: Send> + Send + Unpin + 'static,
{
    let answer = async move {
        // Who expects a 100 (Continue) has not sent the body yet, and won't once it sees the answer.
        if !request.body().is_end_stream() && !request.headers().contains_key(EXPECT) {
            // In time or not, the answer is the same.
            let _ = tokio::time::timeout(DISCARDING_MAX, discard(request.into_body())).await;
        }
        Ok(response)
    };
    Either::Right(answer.boxed())
}

async fn discard<B: http_body::Body + Unpin>(mut body: B) {
    let mut bytes = 0;
    while bytes < DISCARDED_BYTES_MAX
        && let Some(Ok(frame)) = body.frame().await
    {
        bytes += frame.data_ref().map_or(0, |data| data.remaining());
    }
}
