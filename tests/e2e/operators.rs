//! What an operator sees: the admin listener, TLS, the origins that may call, and what is printed at the start.

use crate::site::{SEEN_WITHIN, Site, check_form};
use crate::standalone;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use track_harness::http::Request;
use track_harness::poll::eventually;
use track_harness::tls::Certificates;

/// The samples of a Prometheus page, by name with labels.
pub fn samples(page: &str) -> BTreeMap<String, f64> {
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("not a sample: {line}"));
        (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("not a sample: {line}")))
    };
    page.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(sample).collect()
}

/// The sum of the samples of this name whose labels have all of these in them.
pub fn sum(samples: &BTreeMap<String, f64>, name: &str, labels: &[&str]) -> f64 {
    let is_it = |sample: &str| {
        let (known, rest) = sample.split_once('{').unwrap_or((sample, ""));
        known == name && labels.iter().all(|label| rest.contains(label))
    };
    samples.iter().filter(|(sample, _)| is_it(sample)).map(|(_, value)| value).sum()
}

#[test]
fn the_admin_listener() {
    let dir = tempfile::tempdir().unwrap();
    let track = standalone(dir.path()).ready().unwrap();
    let site = Site::new(track.public(), track.public());
    let event = json!({"event": "play", "user_id": "u", "event_id": "once", "timestamp": "2025-01-01T12:00:00Z"});
    site.track(&event);
    let position = site.track(&event);
    for body in ["", "{}", "nonsense", "{\"event\":\"play\",\"user_id\":\"\"}"] {
        assert_eq!(site.send(&Request::post("/track", body)).status, 400);
    }
    site.data("/metrics?start_date=2025-01-01&end_date=2025-01-01", &position);

    for path in ["/healthz", "/readyz"] {
        let answer = track.ask_admin(path).unwrap();
        assert_eq!(answer.status, 200, "{path}: {answer}");
    }
    assert_eq!(track.ask_admin("/nothing").unwrap().status, 404);
    // The public API is not here, and the admin's pages are not there.
    assert_eq!(track.ask_admin("/sessions").unwrap().status, 404);
    assert_eq!(site.send(&Request::get("/readyz")).status, 404);

    let answer = track.ask_admin("/metrics").unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").unwrap().starts_with("text/plain"), "{answer:?}");
    let page = String::from_utf8(answer.body).unwrap();
    let samples = samples(&page);
    let sum = |name: &str, labels: &[&str]| sum(&samples, name, labels);
    assert_eq!(sum("track_http_requests_total", &["route=\"/track\"", "code=\"200\""]), 2.0, "{page}");
    assert_eq!(sum("track_http_requests_total", &["route=\"/track\"", "code=\"400\""]), 4.0, "{page}");
    assert_eq!(sum("track_http_requests_total", &["route=\"/metrics\"", "code=\"200\""]), 1.0, "{page}");
    assert_eq!(sum("track_events_accepted_total", &[]), 2.0, "{page}");
    assert_eq!(sum("track_events_rejected_total", &[]), 4.0, "{page}");
    assert_eq!(sum("track_events_rejected_total", &["reason=\"user_id\""]), 1.0, "{page}");
    assert_eq!(sum("track_events_folded_total", &[]), 1.0, "{page}");
    assert_eq!(sum("track_events_duplicate_total", &[]), 1.0, "{page}");
    assert_eq!(sum("track_dead_letters_total", &[]), 0.0, "{page}");
    assert!(samples.keys().any(|sample| sample.starts_with("track_http_request_seconds_bucket")), "{page}");
    assert!(samples.keys().any(|sample| sample.starts_with("track_append_seconds_bucket")), "{page}");

    // What is measured from time to time comes for every partition, also for those that nothing was written to.
    eventually(SEEN_WITHIN, "gauges of all partitions", || {
        let page = String::from_utf8(track.ask_admin("/metrics")?.body)?;
        let samples = self::samples(&page);
        for name in ["track_consumer_lag_records", "track_consumer_lag_seconds", "track_store_bytes"] {
            for partition in 0..4 {
                let sample = format!("{name}{{partition=\"{partition}\"}}");
                anyhow::ensure!(samples.contains_key(&sample), "no {sample} in:\n{page}");
                anyhow::ensure!(
                    samples[&sample] == 0.0 || name == "track_store_bytes",
                    "{sample} {}",
                    samples[&sample]
                );
            }
        }
        for by in ["memtables", "blocks", "working_sets"] {
            let sample = format!("track_memory_bytes{{by=\"{by}\"}}");
            anyhow::ensure!(samples.get(&sample).is_some_and(|bytes| *bytes > 0.0), "{sample} in:\n{page}");
        }
        Ok(())
    })
    .unwrap();
    track.terminate().unwrap();
}

#[test]
fn the_first_words_can_be_pasted() {
    let dir = tempfile::tempdir().unwrap();
    let track = standalone(dir.path()).ready().unwrap();
    let log = track.log().unwrap();
    assert!(log.contains(&format!("http://{}", track.public())), "{log}");
    let logged: Vec<Value> =
        log.lines().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(logged.iter().all(|line| line["level"].is_string() && line["timestamp"].is_string()), "{log}");
    track.terminate().unwrap();
}

#[test]
fn only_the_origins_that_were_named_may_call() {
    let dir = tempfile::tempdir().unwrap();
    let track = standalone(dir.path()).flag("--cors-origin", "https://app.example").ready().unwrap();
    let allowed = |origin: &str| {
        let answer = Request::get("/metrics").header("origin", origin).send(track.public()).unwrap();
        answer.header("access-control-allow-origin").map(str::to_owned)
    };
    assert_eq!(allowed("https://app.example").as_deref(), Some("https://app.example"));
    assert_eq!(allowed("https://other.example"), None);
    track.terminate().unwrap();
}

#[test]
fn tls_on_the_public_listener() {
    let dir = tempfile::tempdir().unwrap();
    let certificates = Certificates::for_localhost().unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, &certificates.chain).unwrap();
    std::fs::write(&key, &certificates.key).unwrap();
    let track = standalone(dir.path())
        .flag("--tls-cert", &cert.to_string_lossy())
        .flag("--tls-key", &key.to_string_lossy())
        .ready()
        .unwrap();
    let url = |path: &str| format!("https://localhost:{}{path}", track.public().port());
    // Another test may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let root = reqwest::Certificate::from_pem(certificates.ca.as_bytes()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let trusting = || reqwest::Client::builder().tls_certs_only([root.clone()]);
        for (client, version) in [
            (trusting().http1_only().build().unwrap(), reqwest::Version::HTTP_11),
            (trusting().build().unwrap(), reqwest::Version::HTTP_2),
        ] {
            let user = format!("tls-{version:?}");
            let event = json!({"event": "play", "user_id": user, "timestamp": "2025-01-01T12:00:00Z"});
            let answer = client.post(url("/track")).json(&event).send().await.unwrap();
            assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
            let position = answer.headers()["track-position"].to_str().unwrap().to_owned();
            let query =
                format!("/metrics?start_date=2025-01-01&end_date=2025-01-01&user_id={user}&min_position={position}");
            let answer: Value = client.get(url(&query)).send().await.unwrap().json().await.unwrap();
            assert_eq!(answer["data"], json!([{"date": "2025-01-01", "play": 1}]));
        }
        let distrusting = reqwest::Client::builder().tls_certs_only([]).build().unwrap();
        assert!(distrusting.get(url("/openapi.json")).send().await.is_err(), "a certificate that nobody vouches for");
    });
    // In the clear there is nothing to be had, and asking does no harm.
    assert!(Request::get("/openapi.json").send(track.public()).is_err());
    let answer = track.ask_admin("/readyz").unwrap();
    assert_eq!(answer.status, 200, "{answer}");
    track.terminate().unwrap();
}

#[test]
fn what_can_not_be_started_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (flag, value, why) in [
        ("--listen", address.as_str(), address.as_str()),
        ("--partitions", "none", "--partitions"),
        ("--data-dir", "/proc/track", "/proc/track"),
    ] {
        let start = standalone(dir.path()).without(flag).flag(flag, value);
        let (status, said) = start.fail().unwrap();
        assert!(!status.success() && status.code().is_some(), "{flag} {value}: {status}: {said}");
        assert!(said.contains(why) && !said.contains("panicked"), "{flag} {value}: {said}");
    }
}

#[test]
fn other_events_open_and_close_sessions() {
    let dir = tempfile::tempdir().unwrap();
    let track = standalone(dir.path())
        .flag("--session-pair", "login:logout")
        .flag("--session-pair", "dial:hang up")
        .flag("--session-max-duration", "1h")
        .ready()
        .unwrap();
    let site = Site::new(track.public(), track.public());
    let event =
        |event: &str, time: &str| json!({"event": event, "user_id": "u", "timestamp": format!("2025-01-01T{time}Z")});
    let position = site.track_batch(&[
        event("login", "10:00:00"),
        event("dial", "10:01:00"),
        event("play", "10:02:00"),
        event("hang up", "10:03:00"),
        event("stop", "10:04:00"),
        event("logout", "10:10:00"),
        event("login", "12:00:00"),
        event("logout", "13:00:00.001"),
    ]);
    let sessions =
        |query: &str| site.data(&format!("/sessions?start_date=2025-01-01&end_date=2025-01-01{query}"), &position);
    let row = |total: u64, count: u64, average: u64| json!([{"date": "2025-01-01", "totalDuration": total, "sessionCount": count, "averageDuration": average}]);
    assert_eq!(sessions(""), row(720, 2, 360));
    assert_eq!(sessions("&event=login"), row(600, 1, 600));
    assert_eq!(sessions("&event=hang+up"), row(120, 1, 120));
    assert_eq!(sessions("&event=play"), json!([]));
    track.terminate().unwrap();
}

/// Answers have the same form whoever asks, and a refusal does not end the connection of an honest client.
#[test]
fn one_connection_for_many_requests() {
    let dir = tempfile::tempdir().unwrap();
    let track = standalone(dir.path()).ready().unwrap();
    let mut connection = track_harness::http::Connection::open(track.public()).unwrap();
    let good = Request::post_json("/track", &json!({"event": "play", "user_id": "u"}));
    let requests = [
        (good.clone(), 200),
        (Request::post("/track", "{}"), 400),
        (Request::post("/track", vec![b' '; 200_000]), 413),
        (Request::get("/track"), 405),
        (Request::post("/nothing", vec![b' '; 200_000]), 404),
        (Request::get("/metrics"), 400),
        (Request::post("/track/batch", vec![b' '; 200_000]).chunked(), 400),
        (good, 200),
    ];
    for (request, status) in requests {
        let answer = connection.send(&request).unwrap();
        check_form(&request, &answer);
        assert_eq!(answer.status, status, "{answer}");
    }
    track.terminate().unwrap();
}
