//! Every rule of `POST /track` and `POST /track/batch`: a request, and what is answered and logged.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod memory;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::Response;
use memory::{MemoryLog, Mood, NOW_MS, PARTITIONS, ingest};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;
use track_ingest::Config;
use track_log::AppendError;
use track_proto::event::Event;
use track_proto::partitioner::partition_for;

const FUTURE: &str = "Future timestamp replaced with server time";
const TRUNCATED: &str = "Metadata truncated due to size limit";
const TIMESTAMP: &str =
    "timestamp must be an RFC 3339 date-time of the years 0001 to 9999, such as 2025-01-31T12:00:00Z";

async fn post_to(
    log: &Arc<MemoryLog>,
    config: Config,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response<Bytes> {
    let mut request = warp::test::request().method("POST").path(path).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.reply(&ingest(log, config).routes()).await;
    assert_eq!(response.headers()["content-type"], "application/json");
    response
}

/// The answer on a working log: status, body, and what was logged.
async fn post(path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, Value, Vec<Event>) {
    let log = MemoryLog::new(Mood::Takes);
    let response = post_to(&log, Config::default(), path, headers, body).await;
    let answer: Value = serde_json::from_slice(response.body()).unwrap();
    let (success, position) = (response.status() == 200, response.headers().contains_key("track-position"));
    assert_eq!(success, position, "{answer}");
    assert_eq!(answer["status"], if success { "success" } else { "error" });
    assert!(answer["message"].as_str().is_some_and(|message| !message.is_empty()));
    (response.status().as_u16(), answer, log.events())
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zstd(body: &[u8]) -> Vec<u8> {
    zstd::encode_all(body, 3).unwrap()
}

/// A good event with `members` added.
fn event_with(members: &str) -> Vec<u8> {
    format!(r#"{{"event":"play","user_id":"u1"{members}}}"#).into_bytes()
}

#[tokio::test]
async fn what_is_accepted_is_answered_to_the_letter() {
    let log = MemoryLog::new(Mood::Takes);
    let response = post_to(&log, Config::default(), "/track", &[], &event_with("")).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.body(), r#"{"status":"success","message":"Event logged."}"#);
    let position = format!("{}:0", partition_for(b"u1", PARTITIONS));
    assert_eq!(response.headers()["track-position"], position.as_str());

    let body = event_with(r#","timestamp":"2999-01-01T00:00:00Z""#);
    let response = post_to(&log, Config::default(), "/track", &[], &body).await;
    let expected =
        r#"{"status":"success","message":"Event logged.","warnings":["Future timestamp replaced with server time"]}"#;
    assert_eq!(response.body(), expected);

    let response = post_to(&log, Config::default(), "/track/batch", &[], &event_with("")).await;
    assert_eq!(response.body(), r#"{"status":"success","message":"1 event logged.","accepted":1,"rejected":[]}"#);

    let response = post_to(&log, Config::default(), "/track", &[], b"").await;
    assert_eq!(response.status(), 400);
    assert_eq!(response.body(), r#"{"status":"error","message":"the body is empty"}"#);
}

#[tokio::test]
async fn an_event_is_logged_as_it_was_sent() {
    let body =
        br#" {"event":"pl\u0061y","user_id":"u\ud83d\ude001","event_id":"e1","timestamp":"2025-01-01T14:00:00.5+14:00",
        "metadata":{ "n" : 1.10, "big":1e999, "s":" \u0000 " }, "other":[1,{"event":2}]} "#;
    let (status, _, events) = post("/track", &[("content-type", "text/plain")], body).await;
    let expected = Event {
        event_id: "e1".into(),
        event: "play".into(),
        user_id: "u😀1".into(),
        timestamp_ms: 1_735_689_600_500,
        received_at_ms: NOW_MS,
        metadata: Bytes::from_static(br#"{"n":1.10,"big":1e999,"s":" \u0000 "}"#),
        client_event_id: true,
        version: 1,
    };
    assert_eq!((status, events), (200, vec![expected]));
}

#[tokio::test]
async fn what_is_left_out_is_filled_in() {
    let body = event_with(r#","event_id":null,"timestamp":null,"metadata":null"#);
    let (status, answer, mut events) = post("/track", &[], &body).await;
    assert_eq!((status, answer.get("warnings")), (200, None));
    let event = events.remove(0);
    assert_eq!((event.timestamp_ms, event.received_at_ms, event.client_event_id), (NOW_MS, NOW_MS, false));
    assert_eq!((event.event_id.len(), &event.metadata[..]), (36, &b""[..]));
}

#[tokio::test]
async fn what_is_accepted_on_track() {
    let nested = |brackets: usize| format!("{}{}", "[".repeat(brackets), "]".repeat(brackets));
    for members in [
        ",\"x\":1e999999,\"y\":-0.0e-999,\"z\":123456789012345678901234567890".into(),
        format!(",\"x\":{}", nested(30_000)),
        ",\"x\":1,\"x\":2,\"__proto__\":{\"event\":1},\"constructor\":null".into(),
        ",\"timestamp\":\"0001-01-01T00:00:00Z\"".into(),
        ",\"timestamp\":\"2016-12-31T23:59:60Z\"".into(),
        ",\"timestamp\":\"2025-01-01T00:00:00-23:59\"".into(),
        format!(",\"event_id\":\"{}\"", "é".repeat(64)),
        ",\"metadata\":{\"a\":1,\"a\":2}".into(),
        format!(",\"metadata\":{{\"a\":{}}}", nested(2_000)),
    ] {
        let (status, answer, events) = post("/track", &[], &event_with(&members)).await;
        assert_eq!((status, answer.get("warnings"), events.len()), (200, None, 1), "{members} {answer}");
    }
    let longest = "é".repeat(64);
    for name in ["__proto__", "constructor", "a:b", "..", "/", "🎬", " ", "\\u0061\\/", "Date", longest.as_str()] {
        let body = format!(r#"{{"event":"{name}","user_id":"{name}{name}"}}"#);
        let (status, answer, _) = post("/track", &[], body.as_bytes()).await;
        assert_eq!(status, 200, "{name} {answer}");
    }
    let with_mark = ["\u{feff}".as_bytes(), &event_with("")].concat();
    assert_eq!(post("/track", &[], &with_mark).await.0, 200);
    for (encoding, packed) in [
        ("gzip", gzip(&event_with(""))),
        ("X-GZIP", gzip(&event_with(""))),
        ("identity", event_with("")),
        ("", event_with("")),
        ("gzip", [gzip(&event_with("")), gzip(b"  ")].concat()),
    ] {
        let (status, answer, events) = post("/track", &[("content-encoding", encoding)], &packed).await;
        assert_eq!((status, events.len()), (200, 1), "{encoding} {answer}");
    }
    let padded = |bytes: usize| [event_with(""), vec![b' '; bytes - event_with("").len()]].concat();
    assert_eq!(post("/track", &[], &padded(65_536)).await.0, 200);
    assert_eq!(post("/track", &[("content-encoding", "gzip")], &gzip(&padded(65_536))).await.0, 200);
}

#[tokio::test]
async fn what_is_refused_on_track() {
    let deep = "[".repeat(60_000);
    let long =
        |field: &str, bytes: usize| format!(r#"{{"event":"a","user_id":"b","{field}":"{}"}}"#, "x".repeat(bytes));
    let rows: Vec<(Vec<u8>, &str)> = vec![
        (b"".into(), "the body is empty"),
        (b" \r\n\t ".into(), "the body is empty"),
        ("\u{feff}".into(), "the body is empty"),
        (b"{".into(), "invalid JSON: EOF while parsing an object at line 1 column 1"),
        (b"{\"event\":\"pla".into(), "invalid JSON: EOF while parsing a string at line 1 column 13"),
        (deep.into(), "invalid JSON: EOF while parsing a list at line 1 column 60000"),
        (b"{'event':'play'}".into(), "invalid JSON: key must be a string at line 1 column 2"),
        (b"{\"a\":NaN}".into(), "invalid JSON: expected value at line 1 column 6"),
        (b"{\"a\":01}".into(), "invalid JSON: invalid number at line 1 column 7"),
        ([event_with(""), b" x".into()].concat(), "invalid JSON: trailing characters at line 1 column 33"),
        ([event_with(""), event_with("")].concat(), "invalid JSON: trailing characters at line 1 column 32"),
        (b"\xff\xfe{\0".into(), "invalid UTF-8"),
        (b"{\"event\":\"\xc3\x28\",\"user_id\":\"b\"}".into(), "invalid UTF-8"),
        (
            b"{\"event\":\"a\0\",\"user_id\":\"b\"}".into(),
            "invalid JSON: control character (\\u0000-\\u001F) found while parsing a string at line 1 column 11",
        ),
        (b"[]".into(), "an event must be a JSON object"),
        (b"null".into(), "an event must be a JSON object"),
        (b"1e999".into(), "an event must be a JSON object"),
        (b"\"event\"".into(), "an event must be a JSON object"),
        (b"{}".into(), "event is required"),
        (b"{\"user_id\":\"b\"}".into(), "event is required"),
        (b"{\"event\":null,\"user_id\":\"b\"}".into(), "event is required"),
        (b"{\"event\":\"a\"}".into(), "user_id is required"),
        (b"{\"event\":\"a\",\"user_id\":null}".into(), "user_id is required"),
        (b"{\"event\":1,\"user_id\":\"b\"}".into(), "event must be a string"),
        (b"{\"event\":[\"a\"],\"user_id\":\"b\"}".into(), "event must be a string"),
        (b"{\"event\":\"a\",\"user_id\":{\"$ne\":1}}".into(), "user_id must be a string"),
        (b"{\"event\":\"a\",\"user_id\":18446744073709551616}".into(), "user_id must be a string"),
        (event_with(",\"event_id\":true"), "event_id must be a string"),
        (b"{\"event\":\"\",\"user_id\":\"b\"}".into(), "event must not be empty"),
        (b"{\"event\":\"a\",\"user_id\":\"\"}".into(), "user_id must not be empty"),
        (event_with(",\"event_id\":\"\""), "event_id must not be empty"),
        (b"{\"event\":\"date\",\"user_id\":\"b\"}".into(), "event must not be named \"date\""),
        (b"{\"event\":\"a\\u0000b\",\"user_id\":\"b\"}".into(), "event must not contain control characters"),
        (b"{\"event\":\"a\",\"user_id\":\"b\\n\"}".into(), "user_id must not contain control characters"),
        (event_with(",\"event_id\":\"\\u009f\""), "event_id must not contain control characters"),
        (long("event_id", 129).into(), "event_id must be at most 128 bytes"),
        (format!("{{\"event\":\"{}\",\"user_id\":\"b\"}}", "x".repeat(129)).into(), "event must be at most 128 bytes"),
        (
            format!("{{\"event\":\"a\",\"user_id\":\"{}\"}}", "x".repeat(257)).into(),
            "user_id must be at most 256 bytes",
        ),
        (event_with(",\"event\":\"stop\""), "event appears more than once"),
        (event_with(",\"user_id\":null"), "user_id appears more than once"),
        (event_with(",\"metadata\":{},\"metadata\":{}"), "metadata appears more than once"),
        (event_with(",\"timestamp\":1735689600"), TIMESTAMP),
        (event_with(",\"timestamp\":\"yesterday\""), TIMESTAMP),
        (event_with(",\"timestamp\":\"\""), TIMESTAMP),
        (event_with(",\"timestamp\":\"2025-01-01\""), TIMESTAMP),
        (event_with(",\"timestamp\":\"2025-02-30T00:00:00Z\""), TIMESTAMP),
        (event_with(",\"timestamp\":\"2025-01-01T00:00:00\""), TIMESTAMP),
        (event_with(",\"timestamp\":\"0000-12-31T23:59:59Z\""), TIMESTAMP),
        (event_with(",\"timestamp\":\"9999-12-31T23:59:59-12:00\""), TIMESTAMP),
        (event_with(",\"metadata\":[]"), "metadata must be an object"),
        (event_with(",\"metadata\":\"{}\""), "metadata must be an object"),
        (event_with(",\"metadata\":1e999"), "metadata must be an object"),
    ];
    for (body, message) in rows {
        let (status, answer, events) = post("/track", &[], &body).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        assert_eq!((status, answer), (400, json!({"status": "error", "message": message})), "{shown}");
        assert_eq!(events, [], "{shown}");
    }
    let (status, answer, _) = post("/track", &[], b"{\"event\":\"\\ud800\",\"user_id\":\"b\"}").await;
    assert_eq!(status, 400);
    assert!(answer["message"].as_str().unwrap().starts_with("event must be a string: "), "{answer}");
}

#[tokio::test]
async fn what_is_changed_is_told() {
    let future = ",\"timestamp\":\"9999-12-31T23:59:59Z\"";
    let big = format!(r#"{{ "a": "{}" }}"#, "x".repeat(4_090));
    let nearly = format!(r#"{{"a":"{}"}}"#, "x".repeat(4_082));
    for (members, warnings, metadata) in [
        (future.into(), vec![FUTURE], json!({"warning": FUTURE})),
        (format!("{future},\"metadata\":{{\"warning\":1,\"a\":2}}"), vec![FUTURE], json!({"a": 2, "warning": FUTURE})),
        (format!(",\"metadata\":{big}"), vec![TRUNCATED], json!({"warning": TRUNCATED, "originalSize": 4_098})),
        (
            format!("{future},\"metadata\":{big}"),
            vec![FUTURE, TRUNCATED],
            json!({"warning": format!("{TRUNCATED}; {FUTURE}"), "originalSize": 4_098}),
        ),
        (
            format!("{future},\"metadata\":{nearly}"),
            vec![FUTURE, TRUNCATED],
            json!({"warning": format!("{TRUNCATED}; {FUTURE}"), "originalSize": 4_090}),
        ),
    ] {
        let (status, answer, events) = post("/track", &[], &event_with(&members)).await;
        let expected = json!({"status": "success", "message": "Event logged.", "warnings": warnings});
        assert_eq!((status, answer), (200, expected), "{members}");
        assert_eq!(serde_json::from_slice::<Value>(&events[0].metadata).unwrap(), metadata, "{members}");
        if members.contains("9999") {
            assert_eq!(events[0].timestamp_ms, NOW_MS);
        }
    }
}

#[tokio::test]
async fn encodings_and_sizes_that_are_refused() {
    let bomb = gzip(&vec![b' '; 40 << 20]);
    let zstd_bomb = zstd(&vec![b' '; 40 << 20]);
    let huge = vec![b' '; (16 << 20) + 1];
    let mut cut = gzip(&event_with(""));
    cut.truncate(cut.len() - 9);
    let noise: Vec<u8> = (0..70_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0]).collect();
    let stored = {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
        encoder.write_all(&noise).unwrap();
        encoder.finish().unwrap()
    };
    for (path, encoding, body, status, message) in [
        (
            "/track",
            "zstd",
            zstd(&event_with("")),
            415,
            "Content-Encoding: \"zstd\" is not supported; allowed: gzip, identity",
        ),
        ("/track", "br", event_with(""), 415, "Content-Encoding: \"br\" is not supported; allowed: gzip, identity"),
        (
            "/track",
            "gzip, gzip",
            gzip(&gzip(&event_with(""))),
            415,
            "Content-Encoding: more than one is not supported; allowed: gzip, identity",
        ),
        (
            "/track/batch",
            "deflate",
            event_with(""),
            415,
            "Content-Encoding: \"deflate\" is not supported; allowed: gzip, zstd, identity",
        ),
        ("/track", "gzip", event_with(""), 400, "the body is not valid gzip: "),
        ("/track", "gzip", b"".to_vec(), 400, "the body is not valid gzip: "),
        ("/track", "gzip", cut, 400, "the body is not valid gzip: "),
        ("/track/batch", "zstd", event_with(""), 400, "the body is not valid zstd: "),
        ("/track", "gzip", gzip(b""), 400, "the body is empty"),
        ("/track", "identity", vec![b' '; 65_537], 413, "the body must be at most 65536 bytes, also when unpacked"),
        ("/track", "gzip", gzip(&vec![b' '; 65_537]), 413, "the body must be at most 65536 bytes, also when unpacked"),
        ("/track", "gzip", stored, 413, "the body must be at most 65536 bytes, also when unpacked"),
        ("/track", "gzip", bomb.clone(), 413, "the body must be at most 65536 bytes, also when unpacked"),
        ("/track/batch", "gzip", bomb, 413, "the body must be at most 16777216 bytes, also when unpacked"),
        ("/track/batch", "zstd", zstd_bomb, 413, "the body must be at most 16777216 bytes, also when unpacked"),
        ("/track/batch", "identity", huge, 413, "the body must be at most 16777216 bytes, also when unpacked"),
    ] {
        let (seen, answer, events) = post(path, &[("content-encoding", encoding)], &body).await;
        assert_eq!((seen, events), (status, vec![]), "{path} {encoding} {answer}");
        assert!(answer["message"].as_str().unwrap().starts_with(message), "{path} {encoding} {answer}");
    }
    let log = MemoryLog::new(Mood::Takes);
    let response = post_to(&log, Config::default(), "/track", &[("content-encoding", "br")], b"{}").await;
    assert_eq!(response.headers()["accept-encoding"], "gzip, identity");
}

#[tokio::test]
async fn a_batch_is_one_append_and_bad_items_sink_alone() {
    let array = br#"[{"event":"a","user_id":"u1"}, 7, {"event":"date","user_id":"u1"}, {"event":"b","user_id":"u1"},
        {"event":"c","user_id":"u2","timestamp":"2999-01-01T00:00:00Z"}]"#;
    let lines = b"{\"event\":\"a\",\"user_id\":\"u1\"}\r\n\n7\n{\"event\":\"date\",\"user_id\":\"u1\"}\n \n\
        {\"event\":\"b\",\"user_id\":\"u1\"}\n{\"event\":\"c\",\"user_id\":\"u2\",\"timestamp\":\"2999-01-01T00:00:00Z\"}";
    let expected = json!({
        "status": "success",
        "message": "3 events logged.",
        "accepted": 3,
        "rejected": [
            {"index": 1, "message": "an event must be a JSON object"},
            {"index": 2, "message": "event must not be named \"date\""},
        ],
        "warnings": [{"index": 4, "message": FUTURE}],
    });
    for (encoding, body) in [
        ("identity", array.to_vec()),
        ("identity", lines.to_vec()),
        ("gzip", gzip(array)),
        ("zstd", zstd(lines)),
        ("ZSTD", [zstd(&lines[..40]), zstd(&lines[40..])].concat()),
    ] {
        let log = MemoryLog::new(Mood::Takes);
        let response = post_to(&log, Config::default(), "/track/batch", &[("content-encoding", encoding)], &body).await;
        assert_eq!(response.status(), 200);
        assert_eq!(serde_json::from_slice::<Value>(response.body()).unwrap(), expected);
        let names: Vec<_> = log.events().into_iter().map(|event| event.event).collect();
        assert_eq!((names, log.appends.lock().unwrap().len()), (vec!["a".into(), "b".into(), "c".into()], 1));
        let (first, second) = (partition_for(b"u1", PARTITIONS), partition_for(b"u2", PARTITIONS));
        assert_ne!(first, second);
        let mut positions = [(first, 1), (second, 0)];
        positions.sort_unstable();
        let positions = positions.map(|(partition, offset)| format!("{partition}:{offset}")).join(",");
        assert_eq!(response.headers()["track-position"], positions.as_str());
    }
}

#[tokio::test]
async fn a_batch_is_logged_in_the_order_of_its_events_times() {
    let body = br#"[{"event":"c","user_id":"u","timestamp":"2025-01-01T00:00:03Z"}, 7,
        {"event":"a1","user_id":"u","timestamp":"2025-01-01T00:00:01Z"},
        {"event":"d","user_id":"u","timestamp":"2999-01-01T00:00:00Z"},
        {"event":"a2","user_id":"u","timestamp":"2025-01-01T00:00:01Z"}]"#;
    let log = MemoryLog::new(Mood::Takes);
    let response = post_to(&log, Config::default(), "/track/batch", &[], body).await;
    let names: Vec<_> = log.events().into_iter().map(|event| event.event).collect();
    assert_eq!(names, ["a1", "a2", "c", "d"], "those of one time as they were sent");
    let answer: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!((&answer["rejected"][0]["index"], &answer["warnings"][0]["index"]), (&json!(1), &json!(3)));
}

#[tokio::test]
async fn batches_that_are_refused() {
    let good = String::from_utf8(event_with("")).unwrap();
    for (body, status, answer) in [
        (String::new(), 400, json!({"message": "the body is empty"})),
        ("\n\r\n".into(), 400, json!({"message": "the body is empty"})),
        ("[ ]".into(), 400, json!({"message": "the body is empty"})),
        (format!("[{good},"), 400, json!({"message": "invalid JSON: EOF while parsing a value at line 1 column 33"})),
        (format!("[{good}]]"), 400, json!({"message": "invalid JSON: trailing characters at line 1 column 34"})),
        (
            "{}\n[]".into(),
            400,
            json!({"message": "no event was accepted", "rejected": [
                {"index": 0, "message": "event is required"},
                {"index": 1, "message": "an event must be a JSON object"},
            ]}),
        ),
        (vec![good.as_str(); 10_001].join("\n"), 413, json!({"message": "a batch must have at most 10000 events"})),
        (
            format!("[{}]", vec![good.as_str(); 10_001].join(",")),
            413,
            json!({"message": "a batch must have at most 10000 events"}),
        ),
    ] {
        let mut expected = answer;
        expected["status"] = "error".into();
        let (seen, answer, events) = post("/track/batch", &[], body.as_bytes()).await;
        assert_eq!((seen, answer, events), (status, expected, vec![]), "{}", &body[..body.len().min(100)]);
    }
    let (status, answer, events) = post("/track/batch", &[], vec![good.as_str(); 10_000].join("\n").as_bytes()).await;
    assert_eq!((status, answer["accepted"].as_u64(), events.len()), (200, Some(10_000), 10_000));
}

#[tokio::test]
async fn a_log_that_does_not_take_it_is_never_a_success() {
    for mood in [
        Mood::Fails(AppendError::Busy),
        Mood::Fails(AppendError::NotAppended("no brokers".into())),
        Mood::Fails(AppendError::Unavailable("no answer".into())),
        Mood::NeverAnswers,
    ] {
        for path in ["/track", "/track/batch"] {
            let log = MemoryLog::new(mood.clone());
            let config = Config { request_timeout: Duration::from_millis(20), ..Config::default() };
            let response = post_to(&log, config, path, &[], &event_with("")).await;
            assert_eq!(response.status(), 503, "{mood:?}");
            assert_eq!(response.headers()["retry-after"], "1");
            assert_eq!(response.body(), r#"{"status":"error","message":"Failed to log event"}"#);
        }
    }
}

#[tokio::test]
async fn more_than_the_memory_allows_is_put_off() {
    let log = MemoryLog::new(Mood::Takes);
    let config = || Config { inflight_bytes_max: 1_000, ..Config::default() };
    let large = [event_with(""), vec![b' '; 1_000]].concat();
    for path in ["/track", "/track/batch"] {
        let response = post_to(&log, config(), path, &[], &large).await;
        assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (429, &"1".parse().unwrap()));
        let answer = r#"{"status":"error","message":"too many requests are under way"}"#;
        assert_eq!(response.body(), answer);
    }
    assert_eq!(log.events().len(), 0);
    // What was held was given back.
    let routes = ingest(&log, config()).routes();
    for _ in 0..100 {
        let request = warp::test::request().method("POST").path("/track/batch").body(event_with(""));
        assert_eq!(request.reply(&routes).await.status(), 200);
    }
}

#[tokio::test]
async fn other_paths_and_methods_are_left_to_others() {
    let routes = ingest(&MemoryLog::new(Mood::Takes), Config::default()).routes();
    for (method, path) in [("GET", "/track"), ("PUT", "/track/batch"), ("POST", "/"), ("POST", "/track/other")] {
        assert!(!warp::test::request().method(method).path(path).matches(&routes).await, "{method} {path}");
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

proptest! {
    #[test]
    fn no_body_is_answered_with_anything_but_success_or_the_clients_mistake(
        body in prop_oneof![
            any::<Vec<u8>>(),
            "[\\[\\]{}:,\"a-z0-9\\\\ \n]{0,60}".prop_map(String::into_bytes),
            "\\{\"event\":\"[a-z]\",\"user_id\":\"[a-z]\",\"metadata\":[{}\"a:1]{0,9}\\}".prop_map(String::into_bytes),
        ],
        path in prop::sample::select(vec!["/track", "/track/batch"]),
        encoding in prop::sample::select(vec!["identity", "gzip", "zstd", "nonsense"]),
        packed: bool,
    ) {
        let body = match encoding {
            "gzip" if packed => gzip(&body),
            "zstd" if packed => zstd(&body),
            _ => body,
        };
        let (status, _, events) = block_on(post(path, &[("content-encoding", encoding)], &body));
        prop_assert!(matches!(status, 200 | 400 | 413 | 415), "{}", status);
        prop_assert_eq!(status == 200, !events.is_empty());
    }
}
