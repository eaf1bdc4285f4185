//! The operator's listener: `/healthz`, `/readyz`, `/metrics` for Prometheus, and `/digest` where there is a processor.

pub(crate) mod digest;

use crate::api::answer;
use crate::api::endpoints::{Endpoint, Endpoints};
use bytes::Bytes;
use http::{Method, StatusCode};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tower::Service;
use warp::Filter;
use warp::reply::Response;

const ENDPOINTS: &[Endpoint] = &[
    Endpoint { path: "/healthz", method: Method::GET },
    Endpoint { path: "/readyz", method: Method::GET },
    Endpoint { path: "/metrics", method: Method::GET },
];
/// Of a process that has a processor.
const DIGEST: Endpoint = Endpoint { path: "/digest", method: Method::GET };

/// Bounds of histograms, in seconds: from a query in memory to a request that runs into its deadline.
const SECONDS: &[f64] = &[0.0005, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Recorded values are sorted into buckets when metrics are read, and so often where nobody reads them.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Records what the rooms measure. Must run before a room is opened, since they keep handles.
///
/// # Errors
/// Where something records already.
pub(crate) fn record_metrics(role: &'static str) -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new().set_buckets(SECONDS)?.install_recorder()?;
    metrics::describe_gauge!("track_build_info", "Always 1; the labels say what runs");
    metrics::gauge!("track_build_info", "version" => env!("CARGO_PKG_VERSION"), "role" => role).set(1.0);
    let upkeep = handle.clone();
    tokio::spawn(async move {
        let mut interval = tokio::time::interval(UPKEEP_EVERY);
        loop {
            interval.tick().await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}

/// Whether a room can do its work, with what an operator should know all the same; and if not, why.
pub(crate) type Check = Arc<dyn Fn() -> Result<Option<String>, String> + Send + Sync>;

/// Whether each room of this process can do its work.
#[derive(Clone, Default)]
pub(crate) struct Readiness {
    rooms: Arc<Mutex<BTreeMap<&'static str, Check>>>,
}

impl Readiness {
    /// From now on the room is as ready as `check` says.
    pub(crate) fn watch(&self, room: &'static str, check: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        self.watch_noting(room, move || check().map(|()| None));
    }

    /// The same for a room that may be ready and still have something to say.
    pub(crate) fn watch_noting(
        &self,
        room: &'static str,
        check: impl Fn() -> Result<Option<String>, String> + Send + Sync + 'static,
    ) {
        self.rooms.lock().insert(room, Arc::new(check));
    }

    /// The room is not ready, and this is why.
    pub(crate) fn wait(&self, room: &'static str, reason: impl Into<String>) {
        let reason = reason.into();
        self.watch(room, move || Err(reason.clone()));
    }

    fn answer(&self) -> Response {
        let rooms = self.rooms.lock().clone();
        let states: Vec<_> = rooms.into_iter().map(|(room, check)| (room, check())).collect();
        let reasons: Vec<_> = states
            .iter()
            .filter_map(|(room, state)| state.as_ref().err().map(|reason| format!("{room}: {reason}")))
            .collect();
        let rooms: serde_json::Map<_, _> = states
            .iter()
            .map(|(room, state)| {
                let text = match state {
                    Ok(None) => "ready".to_owned(),
                    Ok(Some(note)) => format!("ready, {note}"),
                    Err(reason) => reason.clone(),
                };
                ((*room).to_owned(), text.into())
            })
            .collect();
        if reasons.is_empty() {
            answer::json(
                StatusCode::OK,
                &serde_json::json!({ "status": "success", "message": "Ready.", "rooms": rooms }),
            )
        } else {
            let message = reasons.join("; ");
            let body = serde_json::json!({ "status": "error", "message": message, "rooms": rooms });
            answer::json(StatusCode::SERVICE_UNAVAILABLE, &body)
        }
    }
}

/// The admin listener's service.
pub(crate) fn service<B>(
    readiness: Readiness,
    metrics: PrometheusHandle,
    states: Option<digest::States>,
) -> impl Service<http::Request<B>, Response = Response, Error = Infallible, Future: Send> + Clone + Send
where
    B: http_body::Body<Data: Send, Error: Into<tower::BoxError> + Send> + Send + Sync + Unpin + 'static,
{
    let healthy = warp::path!("healthz")
        .map(|| answer::json(StatusCode::OK, &serde_json::json!({ "status": "success", "message": "Alive." })));
    let ready = warp::path!("readyz").map(move || readiness.answer());
    let metrics = warp::path!("metrics").map(move || {
        answer::with_type(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", Bytes::from(metrics.render()))
    });
    // Without a processor its path is none of the endpoints.
    let endpoints = ENDPOINTS.iter().cloned().chain(states.as_ref().map(|_| DIGEST)).collect();
    let states = states.unwrap_or_default();
    let digest = warp::path!("digest").and(warp::query::<HashMap<String, String>>()).then(move |parameters| {
        let states = states.clone();
        digest::tell(states, parameters)
    });
    let routes = warp::get().and(healthy.or(ready).unify().or(metrics).unify().or(digest).unify());
    Endpoints::new(endpoints, warp::service(routes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt as _, Empty};
    use tower::ServiceExt as _;

    async fn get(readiness: &Readiness, path: &str) -> (u16, String) {
        let recorder = PrometheusBuilder::new().set_buckets(SECONDS).unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            metrics::histogram!("track_append_seconds").record(0.003);
            metrics::counter!("track_events_accepted_total").increment(2);
        });
        let request = http::Request::get(path).body(Empty::<Bytes>::new()).unwrap();
        let Ok(response) = service(readiness.clone(), recorder.handle(), None).oneshot(request).await;
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_process_is_ready_when_all_its_rooms_are() {
        let readiness = Readiness::default();
        readiness.wait("ingest", "no broker");
        readiness.watch("query", || Ok(()));
        assert_eq!(get(&readiness, "/healthz").await.0, 200);
        let (code, body) = get(&readiness, "/readyz").await;
        assert_eq!(code, 503);
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["status"], "error");
        assert_eq!(body["message"], "ingest: no broker");
        assert_eq!(body["rooms"], serde_json::json!({ "ingest": "no broker", "query": "ready" }));

        readiness.watch("ingest", || Ok(()));
        assert_eq!(get(&readiness, "/readyz").await.0, 200);

        readiness.watch_noting("ingest", || Ok(Some("spooling".to_owned())));
        let (code, body) = get(&readiness, "/readyz").await;
        assert_eq!((code, body.contains("ready, spooling")), (200, true), "{body}");
    }

    #[tokio::test]
    async fn there_is_no_digest_where_there_is_no_processor() {
        assert_eq!(get(&Readiness::default(), "/digest").await.0, 404);
    }

    #[tokio::test]
    async fn prometheus_gets_buckets() {
        let (code, body) = get(&Readiness::default(), "/metrics").await;
        assert_eq!(code, 200);
        assert!(body.contains("track_events_accepted_total 2"), "{body}");
        assert!(body.contains("track_append_seconds_bucket{le=\"0.0025\"} 0"), "{body}");
        assert!(body.contains("track_append_seconds_bucket{le=\"0.005\"} 1"), "{body}");
    }
}
