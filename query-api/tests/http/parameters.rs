use crate::cluster::{Behaviour, Cluster};
use proptest::prelude::*;

const DATES: &str = "start_date=2025-01-01&end_date=2025-01-31";

fn cluster() -> Cluster {
    let cluster = Cluster::new(2);
    cluster.add("a", (0..2).map(|partition| (partition, Behaviour::Counts(vec![]))));
    cluster
}

#[tokio::test]
async fn each_mistake_has_its_message() {
    let cluster = cluster();
    let required = "start_date and end_date are required";
    let date = "Invalid date format. Use YYYY-MM-DD";
    let position = "min_position must be <partition>:<offset>, or several of these with commas between";
    let long_user = format!("{DATES}&user_id={}", "u".repeat(257));
    let long_event = format!("{DATES}&event={}", "e".repeat(129));
    let mut table = vec![
        ("".to_owned(), required),
        ("start_date=2025-01-01".into(), required),
        ("end_date=2025-01-01".into(), required),
        ("start_date=&end_date=2025-01-01".into(), required),
        ("start_date=2025-02-30&end_date=2025-03-01".into(), date),
        ("start_date=2025-1-1&end_date=2025-03-01".into(), date),
        ("start_date=%2B2025-01-01&end_date=2025-03-01".into(), date),
        ("start_date=0000-01-01&end_date=2025-03-01".into(), date),
        ("start_date=0001-01-01&end_date=10000-01-01".into(), date),
        ("start_date=2025-01-02&end_date=2025-01-01".into(), "start_date must not be after end_date"),
        (long_user, "user_id must be at most 256 bytes"),
        (long_event, "event must be at most 128 bytes"),
        ("start_date=%ff&end_date=2025-01-01".into(), "The query string is not valid UTF-8"),
    ];
    for (rest, message) in [
        ("group_by=year", "group_by must be one of: day, week, month, hour"),
        ("group_by=Day", "group_by must be one of: day, week, month, hour"),
        ("week_start=tuesday", "week_start must be one of: sunday, monday"),
        ("allow_partial=1", "allow_partial must be one of: true, false"),
        ("timezone=berlin", "timezone must be an IANA time zone, such as Europe/Berlin"),
        ("user_id=a%00b", "user_id must not contain control characters"),
        ("user_id=a%C2%85b", "user_id must not contain control characters"),
        ("event=play&event=%0A", "event must not contain control characters"),
        ("event=date", "event must not be named \\\"date\\\""),
        ("user_id=%C3", "The query string is not valid UTF-8"),
        ("user_id=%ED%A0%80", "The query string is not valid UTF-8"),
        ("unknown=%FF", "The query string is not valid UTF-8"),
        ("min_position=here", position),
        ("min_position=0:-1", position),
        ("min_position=2:0", "min_position names partition 2, but partitions are numbered from 0 to 1"),
    ] {
        table.push((format!("{DATES}&{rest}"), message));
    }
    let single =
        ["start_date", "end_date", "group_by", "user_id", "timezone", "week_start", "allow_partial", "min_position"];
    let repeated = single.map(|name| format!("{name} must be given only once"));
    table.extend(single.iter().zip(&repeated).map(|(name, message)| (format!("{name}=1&{name}=2"), message.as_str())));

    for (query, message) in &table {
        let body = format!(r#"{{"status":"error","message":"{message}"}}"#);
        for route in ["metrics", "sessions"] {
            assert_eq!(cluster.get(&format!("/{route}?{query}")).await, (400, body.clone()), "{route}?{query}");
        }
    }
}

#[tokio::test]
async fn a_bad_header_is_a_bad_position() {
    let cluster = cluster();
    let path = format!("/metrics?{DATES}");
    for value in [&b"x"[..], b"", b"0:1;1:1", b"\xff:1"] {
        let value = http::HeaderValue::from_bytes(value).unwrap();
        let response = cluster.respond(warp::test::request().path(&path).header("track-position", value)).await;
        assert_eq!(response.status().as_u16(), 400);
    }
}

#[tokio::test]
async fn without_a_query_string_dates_are_missing() {
    let expected = r#"{"status":"error","message":"start_date and end_date are required"}"#;
    assert_eq!(cluster().get("/metrics").await, (400, expected.into()));
}

#[tokio::test]
async fn the_rest_is_not_ours() {
    let routes = cluster().api.routes();
    for (method, path, code) in [
        ("GET", "/", 404),
        ("GET", "/metrics/x", 404),
        ("GET", "/Metrics", 404),
        ("POST", "/metrics", 405),
        ("DELETE", "/sessions", 405),
    ] {
        let response = warp::test::request().method(method).path(path).reply(&routes).await;
        assert_eq!(response.status().as_u16(), code, "{method} {path}");
    }
}

/// Query strings between well-formed and noise.
fn query() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        4 => proptest::sample::select(vec![
            "start_date", "end_date", "group_by", "user_id", "event", "timezone", "week_start", "allow_partial", "min_position",
        ]).prop_map(str::to_owned),
        1 => "[!-~&&[^\"#<>]]{0,8}",
    ];
    let value = prop_oneof![
        "[0-9]{4}-[0-9]{2}-[0-9]{2}",
        "[0-9:,]{0,6}",
        "[!-~&&[^\"#<>]]{0,12}",
        proptest::collection::vec(any::<u8>(), 0..12)
            .prop_map(|bytes| bytes.iter().map(|byte| format!("%{byte:02X}")).collect()),
        proptest::sample::select(vec!["day", "hour", "monday", "Europe/Berlin", "true", "0:999", "1:1000"])
            .prop_map(str::to_owned),
    ];
    let noise = proptest::collection::vec((name, value), 0..5);
    (any::<bool>(), noise).prop_map(|(dates, noise)| {
        let pairs = noise.into_iter().map(|(name, value)| format!("{name}={value}"));
        dates.then(|| DATES.to_owned()).into_iter().chain(pairs).collect::<Vec<_>>().join("&")
    })
}

proptest! {
    #[test]
    fn no_query_string_breaks_anything(query in query()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (code, body) = runtime.block_on(async { cluster().get(&format!("/metrics?{query}")).await });
        prop_assert!([200, 400, 503].contains(&code), "{code}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        prop_assert_eq!(&body["status"], if code == 200 { "success" } else { "error" });
    }
}
