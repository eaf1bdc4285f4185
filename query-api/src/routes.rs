//! HTTP in, HTTP out: the two routes and the way of a query through the modules.

use crate::as_of;
use crate::ask::Patience;
use crate::error::QueryError;
use crate::latency::Latency;
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
use track_proto::clock::Clock;
use warp::reply::Response;
use warp::{Filter, Rejection};

/// How long things may take.
#[derive(Debug, Clone)]
pub struct Config {
    /// From a query to its answer, waiting for `min_position` included.
    pub timeout: Duration,
    /// How long the new owner of a partition that has just moved is waited for: a heartbeat and a half.
    pub move_max: Duration,
}

impl Default for Config {
    /// Five seconds, and one and a half for a move.
    fn default() -> Self {
        Self { timeout: Duration::from_secs(5), move_max: Duration::from_millis(1_500) }
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
    clock: Clock,
    latency: Arc<Latency>,
    /// Whether each partition has ever been served, all at one time.
    complete_once: AtomicBool,
}

impl QueryApi {
    /// A service that finds processors in `owners`. `clock` gives the wall clock, for what an answer says of its age alone.
    #[must_use]
    pub fn new(config: Config, owners: Arc<Owners>, clock: Clock) -> Self {
        let (latency, complete_once) = (Arc::default(), AtomicBool::new(false));
        Self { inner: Arc::new(Inner { config, owners, clock, latency, complete_once }) }
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
    /// not is no reason to turn away those who ask about the others: only silence from all processors is, once those that
    /// were asked have not answered either. As long as they do, the log may be away.
    ///
    /// # Errors
    /// What stands in the way, for an operator to read.
    pub fn check_ready(&self) -> Result<(), String> {
        let Inner { owners, complete_once, .. } = &*self.inner;
        let partition_count = owners.partition_count().ok_or("no processor has been heard of yet")?;
        let served = owners.served(Instant::now());
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

    async fn counts(&self, query: &str, headers: &HeaderMap) -> Result<Response, QueryError> {
        let (calendar, gathered) = self.gather(query, headers, "Failed to fetch metrics").await?;
        let complete = self.completeness(&gathered);
        Ok(success(complete, render::counts(&calendar, &merge::counts(gathered.answers), &gathered.missing)))
    }

    async fn sessions(&self, query: &str, headers: &HeaderMap) -> Result<Response, QueryError> {
        let (calendar, gathered) = self.gather(query, headers, "Failed to fetch session metrics").await?;
        let complete = self.completeness(&gathered);
        Ok(success(complete, render::sessions(&calendar, &merge::sessions(gathered.answers), &gathered.missing)))
    }

    /// The headers that say how complete an answer is.
    fn completeness<A: Answer>(&self, gathered: &Gathered<A>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        as_of::write(gathered.answers.iter().map(Answer::as_of), (self.inner.clock)(), &mut headers);
        headers
    }

    /// What the partitions answer to a query. `message` is for the client where they do not.
    async fn gather<A: Answer>(
        &self,
        query: &str,
        headers: &HeaderMap,
        message: &'static str,
    ) -> Result<(Calendar, Gathered<A>), QueryError> {
        let Inner { config, owners, latency, .. } = &*self.inner;
        let deadline = Instant::now() + config.timeout;
        let params = params::parse(query, headers.get_all(POSITION_HEADER))?;
        let Some(partition_count) = owners.partition_count() else {
            tracing::warn!("no processor has been heard of yet");
            return Err(QueryError::Unavailable { message, partitions: vec![] });
        };
        let Plan { requests, calendar, allow_partial } = plan::plan(params, partition_count)?;
        // Who takes what there is does not wait for the rest.
        let move_max = if allow_partial { Duration::ZERO } else { config.move_max };
        let patience = Patience { deadline, move_max };
        let gathered = scatter::gather(requests, owners, latency, patience).await;
        if gathered.missing.is_empty() || allow_partial {
            Ok((calendar, gathered))
        } else {
            Err(QueryError::Unavailable { message, partitions: gathered.missing })
        }
    }
}

fn success(headers: HeaderMap, body: Bytes) -> Response {
    let mut response = Response::new(body.into());
    *response.headers_mut() = headers;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn respond(answer: Result<Response, QueryError>) -> Response {
    answer.unwrap_or_else(QueryError::into_response)
}
