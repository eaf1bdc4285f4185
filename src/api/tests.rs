//! What surrounds the routes, asked without a socket.

use super::endpoints::{Endpoint, Endpoints};
use super::*;
use bytes::Bytes;
use clap::Parser;
use futures::StreamExt as _;
use http::header::{ALLOW, CONTENT_LENGTH};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use metrics_exporter_prometheus::PrometheusBuilder;
use tower::ServiceExt as _;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    public: PublicFlags,
}

fn flags(args: &[&str]) -> PublicFlags {
    Flags::parse_from(std::iter::once(&"test").chain(args)).public
}

/// Ingest's and the query room's paths, each answering with its name; `/sessions` panics.
fn routes() -> impl Filter<Extract = (Response,), Error = Rejection> + Clone + Send + Sync + 'static {
    let named =
        |name: &'static str| answer::with_type(StatusCode::OK, "text/plain", Bytes::from_static(name.as_bytes()));
    let track = warp::path!("track").and(warp::post()).map(move || named("track"));
    let metrics = warp::path!("metrics").and(warp::get()).map(move || named("metrics"));
    let sessions = warp::path!("sessions").and(warp::get()).then(|| async { panic!("as the test wants it") });
    track.or(metrics).unify().or(sessions).unify()
}

async fn answer_with(args: &[&str], request: http::request::Builder) -> (StatusCode, HeaderMap, String) {
    let service = public(&flags(args), &[INGEST, QUERY], routes());
    let Ok(response) = service.oneshot(request.body(Full::new(Bytes::from_static(b"{}"))).unwrap()).await;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

async fn answer(method: &str, path: &str) -> (StatusCode, HeaderMap, String) {
    answer_with(&[], Request::builder().method(method).uri(path)).await
}

fn message(body: &str) -> (String, String) {
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    (body["status"].as_str().unwrap().to_owned(), body["message"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn what_is_not_there_is_404() {
    for path in ["/", "/trac", "/track/", "/TRACK", "/track/batch/x", "/metrics/x", "/..", "/healthz"] {
        let (code, headers, body) = answer("GET", path).await;
        assert_eq!(code, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(message(&body), ("error".to_owned(), "Not found".to_owned()));
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(headers["access-control-allow-origin"], "*");
    }
}

#[tokio::test]
async fn another_method_is_405_and_says_which_are_allowed() {
    for (method, path, allow) in [
        ("GET", "/track", "POST, OPTIONS"),
        ("HEAD", "/track", "POST, OPTIONS"),
        ("PUT", "/track/batch", "POST, OPTIONS"),
        ("POST", "/metrics?start_date=2025-01-01", "GET, HEAD, OPTIONS"),
        ("DELETE", "/sessions", "GET, HEAD, OPTIONS"),
        ("BREW", "/docs", "GET, HEAD, OPTIONS"),
    ] {
        let (code, headers, body) = answer(method, path).await;
        assert_eq!(code, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        assert_eq!(headers[ALLOW], allow);
        assert_eq!(message(&body), ("error".to_owned(), "Method not allowed".to_owned()));
        assert_eq!(headers["access-control-allow-origin"], "*");
    }
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let (code, headers, body) = answer("HEAD", "/metrics").await;
    assert_eq!((code, body.as_str()), (StatusCode::OK, ""));
    assert_eq!(headers[CONTENT_LENGTH], "metrics".len().to_string());
    assert_eq!(answer("GET", "/metrics").await.2, "metrics");
}

#[tokio::test]
async fn options_says_what_a_path_allows() {
    let (code, headers, body) = answer("OPTIONS", "/track").await;
    assert_eq!((code, body.as_str()), (StatusCode::NO_CONTENT, ""));
    assert_eq!(headers[ALLOW], "POST, OPTIONS");
    assert_eq!(answer("OPTIONS", "/nowhere").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_browser_may_ask_from_anywhere() {
    let preflight = Request::builder()
        .method("OPTIONS")
        .uri("/track")
        .header("origin", "https://shop.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,x-sdk");
    let (code, headers, _) = answer_with(&[], preflight).await;
    assert_eq!(code, StatusCode::OK);
    assert_eq!(headers["access-control-allow-origin"], "*");
    assert_eq!(headers["access-control-allow-headers"], "content-type,x-sdk");
    assert!(headers["access-control-allow-methods"].to_str().unwrap().contains("POST"));

    let (_, headers, _) = answer("POST", "/track").await;
    let exposed = headers["access-control-expose-headers"].to_str().unwrap();
    assert!(exposed.contains("track-position") && exposed.contains("retry-after"), "{exposed}");
}

#[tokio::test]
async fn or_only_from_the_origins_that_are_named() {
    let args = ["--cors-origin", "https://a.example", "--cors-origin", "https://b.example"];
    for (origin, allowed) in [("https://b.example", Some("https://b.example")), ("https://c.example", None)] {
        let request = Request::get("/metrics").header("origin", origin);
        let (code, headers, _) = answer_with(&args, request).await;
        assert_eq!(code, StatusCode::OK);
        assert_eq!(headers.get("access-control-allow-origin").map(|value| value.to_str().unwrap()), allowed);
        assert!(headers["vary"].to_str().unwrap().contains("origin"));
    }
}

#[tokio::test]
async fn a_panic_is_one_clients_500() {
    for method in ["GET", "HEAD"] {
        let (code, headers, body) = answer(method, "/sessions").await;
        assert_eq!(code, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(headers["access-control-allow-origin"], "*");
        if method == "GET" {
            assert_eq!(message(&body), ("error".to_owned(), "Internal server error".to_owned()));
        }
    }
}

#[tokio::test]
async fn the_api_describes_itself() {
    let (code, headers, body) = answer("GET", "/openapi.json").await;
    assert_eq!((code, &headers["content-type"]), (StatusCode::OK, &"application/json".parse().unwrap()));
    let description: serde_json::Value = serde_json::from_str(&body).unwrap();
    for endpoint in INGEST.iter().chain(QUERY) {
        let method = endpoint.method.as_str().to_lowercase();
        assert!(
            description["paths"][endpoint.path][&method].is_object(),
            "{method} {} is not described",
            endpoint.path
        );
    }
    let (code, headers, _) = answer("GET", "/docs").await;
    assert_eq!((code, &headers["content-type"]), (StatusCode::OK, &"text/html; charset=utf-8".parse().unwrap()));
    assert!(headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'self'"));
}

#[test]
fn requests_are_counted_by_route_and_code() {
    let recorder = PrometheusBuilder::new().set_buckets(&[1.0]).unwrap().build_recorder();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        let service = public::<_, Full<Bytes>>(&flags(&[]), &[INGEST, QUERY], routes());
        for (method, path) in [
            ("POST", "/track"),
            ("POST", "/track"),
            ("GET", "/track"),
            ("GET", "/sessions"),
            ("GET", "/a"),
            ("GET", "/b"),
            ("GET", "/metrics?x=1"),
        ] {
            let request = Request::builder().method(method).uri(path).body(Full::default()).unwrap();
            let Ok(_) = runtime.block_on(service.clone().oneshot(request));
        }
    });
    let rendered = recorder.handle().render();
    for (route, code, count) in
        [("/track", 200, 2), ("/track", 405, 1), ("/sessions", 500, 1), ("other", 404, 2), ("/metrics", 200, 1)]
    {
        let line = format!("track_http_requests_total{{route=\"{route}\",code=\"{code}\"}} {count}\n");
        assert!(rendered.contains(&line), "{line} is not in\n{rendered}");
    }
    assert!(rendered.contains("track_http_request_seconds_count{route=\"/track\"} 3\n"), "{rendered}");
    assert!(!rendered.contains("\"/a\""), "a path of a client's choice became a label");
}

#[tokio::test]
async fn a_body_that_nobody_wants_is_read_before_the_answer() {
    let read = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = read.clone();
    let chunks = futures::stream::iter((0..10).map(|_| Bytes::from_static(&[0; 1000]))).map(move |chunk| {
        counted.fetch_add(chunk.len(), std::sync::atomic::Ordering::Relaxed);
        Ok::<_, Infallible>(http_body::Frame::data(chunk))
    });
    let body = http_body_util::StreamBody::new(chunks);
    let endpoints = Endpoints::new(Vec::<Endpoint>::new(), warp::service(routes()));
    let Ok(response) = endpoints.oneshot(Request::post("/nowhere").body(body).unwrap()).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(read.load(std::sync::atomic::Ordering::Relaxed), 10_000);
}
