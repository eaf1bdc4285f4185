//! HTTP in, HTTP out: the two routes and the way of a query through the modules.

use crate::error::QueryError;
use crate::owners::Owners;
use crate::params::POSITION_HEADER;
use crate::plan::Plan;
use crate::scatter::{Answer, Gathered};
use crate::{merge, params, plan, render, scatter};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use track_proto::calendar::Calendar;
use warp::reply::Response;
use warp::{Filter, Rejection};

/// How long things may take.
#[derive(Debug, Clone)]
pub struct Config {
    /// From a query to its answer, waiting for `min_position` included.
    pub timeout: Duration,
    /// How long what a processor said of itself counts.
    pub owner_stale_after: Duration,
}

impl Default for Config {
    /// Five seconds each.
    fn default() -> Self {
        Self { timeout: Duration::from_secs(5), owner_stale_after: Duration::from_secs(5) }
    }
}

/// The query service.
#[derive(Clone)]
pub struct QueryApi {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    owners: Arc<Owners>,
    /// Whether each partition has ever been served, all at one time.
    complete_once: AtomicBool,
}

impl QueryApi {
    /// A service that finds processors in `owners`.
    #[must_use]
    pub fn new(config: Config, owners: Arc<Owners>) -> Self {
        Self { inner: Arc::new(Inner { config, owners, complete_once: AtomicBool::new(false) }) }
    }

    /// `GET /metrics` and `GET /sessions`. Anything else is rejected, for the caller to answer.
    pub fn routes(&self) -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + Send + Sync + use<> {
        let query = || {
            let string = warp::query::raw().or(warp::any().map(String::new)).unify();
            warp::path::end().and(warp::get()).and(string).and(warp::header::headers_cloned())
        };
        let (counts, sessions) = (self.clone(), self.clone());
        let counts = warp::path("metrics").and(query()).then(move |string: String, headers: HeaderMap| {
            let api = counts.clone();
            async move { respond(api.counts(&string, &headers).await) }
        });
        let sessions = warp::path("sessions").and(query()).then(move |string: String, headers: HeaderMap| {
            let api = sessions.clone();
            async move { respond(api.sessions(&string, &headers).await) }
        });
        counts.or(sessions).unify()
    }

    /// Whether queries can be answered; for `/readyz`. Begins when every partition is served. From then on one that is
    /// not is no reason to turn away those who ask about the others: only silence from all processors is.
    ///
    /// # Errors
    /// What stands in the way, for an operator to read.
    pub fn check_ready(&self) -> Result<(), String> {
        let Inner { owners, complete_once, .. } = &*self.inner;
        let partition_count = owners.partition_count().ok_or("no processor has been heard of yet")?;
        let served = owners.served(self.heard_since());
        if served.is_empty() {
            return Err("no processor that serves a partition has been heard of lately".into());
        }
        let unserved: Vec<_> = (0..partition_count.get()).filter(|partition| !served.contains(partition)).collect();
        if unserved.is_empty() {
            complete_once.store(true, Ordering::Relaxed);
        }
        if complete_once.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err(format!("partitions that no processor serves yet: {unserved:?}"))
        }
    }

    async fn counts(&self, query: &str, headers: &HeaderMap) -> Result<Bytes, QueryError> {
        let (calendar, gathered) = self.gather(query, headers, "Failed to fetch metrics").await?;
        Ok(render::counts(&calendar, &merge::counts(gathered.answers), &gathered.missing))
    }

    async fn sessions(&self, query: &str, headers: &HeaderMap) -> Result<Bytes, QueryError> {
        let (calendar, gathered) = self.gather(query, headers, "Failed to fetch session metrics").await?;
        Ok(render::sessions(&calendar, &merge::sessions(gathered.answers), &gathered.missing))
    }

    /// What the partitions answer to a query. `message` is for the client where they do not.
    async fn gather<A: Answer>(
        &self,
        query: &str,
        headers: &HeaderMap,
        message: &'static str,
    ) -> Result<(Calendar, Gathered<A>), QueryError> {
        let deadline = Instant::now() + self.inner.config.timeout;
        let owners = &self.inner.owners;
        let params = params::parse(query, headers.get_all(POSITION_HEADER))?;
        let Some(partition_count) = owners.partition_count() else {
            tracing::warn!("no processor has been heard of yet");
            return Err(QueryError::Unavailable { message, partitions: vec![] });
        };
        let Plan { requests, calendar, allow_partial } = plan::plan(params, partition_count)?;
        let candidates = owners.candidates(requests.iter().map(|request| request.partition), self.heard_since());
        let gathered = scatter::gather(requests, candidates, deadline).await;
        if gathered.missing.is_empty() || allow_partial {
            Ok((calendar, gathered))
        } else {
            Err(QueryError::Unavailable { message, partitions: gathered.missing })
        }
    }

    /// Since when a processor must have been heard of to count.
    fn heard_since(&self) -> Instant {
        let now = Instant::now();
        now.checked_sub(self.inner.config.owner_stale_after).unwrap_or(now)
    }
}

fn respond(answer: Result<Bytes, QueryError>) -> Response {
    match answer {
        Ok(body) => {
            let mut response = Response::new(body.into());
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(error) => error.into_response(),
    }
}
