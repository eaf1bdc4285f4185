//! `POST /track`: every rule of a single event.

use crate::case::{Case, Row, case, row};
use crate::site::{EVER, new_user};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::io::Write as _;
use track_harness::http::Request;

/// Largest body, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn post(name: &str, event: impl FnOnce(&str) -> Value) -> Row {
    row(name, |user| Request::post_json("/track", &event(user)))
}

fn text(name: &str, body: impl FnOnce(&str) -> String) -> Row {
    row(name, |user| Request::post("/track", body(user)))
}

/// A `play` with one more field.
fn play(name: &str, field: &str, value: Value) -> Row {
    post(name, |user| {
        let mut event = json!({"event": "play", "user_id": user});
        event[field] = value;
        event
    })
}

fn named(name: &str, event: &str) -> Row {
    post(name, |user| json!({"event": event, "user_id": user}))
}

/// A body of exactly so many bytes that is a `play`.
fn padded(user: &str, bytes: usize) -> String {
    let event = json!({"event": "play", "user_id": user, "ignored": ""}).to_string();
    let padding = "x".repeat(bytes - event.len());
    event.replace("\"ignored\":\"\"", &format!("\"ignored\":\"{padding}\""))
}

/// Metadata that takes exactly so many bytes as compact JSON.
fn metadata(bytes: usize) -> Value {
    let value = json!({"note": ""});
    json!({"note": "x".repeat(bytes - value.to_string().len())})
}

pub fn cases() -> Vec<Case> {
    let rows = [bodies(), fields(), timestamps(), metadata_rows(), encodings()];
    rows.into_iter().flatten().map(Case::from).chain([future_timestamp(), user_ids()]).collect()
}

fn bodies() -> Vec<Row> {
    let small = |user: &str| json!({"event": "play", "user_id": user}).to_string();
    vec![
        text("no Content-Type", small).logged(),
        text("a wrong Content-Type", small).with("content-type", "application/xml").logged(),
        text("a form's Content-Type", small).with("content-type", "application/x-www-form-urlencoded").logged(),
        text("a charset", small).with("content-type", "application/json; charset=utf-8").logged(),
        row("a body in chunks", |user| Request::post("/track", small(user)).chunked()).logged(),
        row("a query string is ignored", |user| Request::post("/track?event=stop&x", small(user))).logged(),
        text("spaces around", |user| format!(" \r\n\t{} \n", small(user))).logged(),
        text("a byte order mark", |user| format!("\u{feff}{}", small(user))).logged(),
        text("unknown fields are ignored", |user| {
            json!({"event": "play", "user_id": user, "id": 7, "deep": {"user_id": ["no"]}, "": null}).to_string()
        })
        .logged(),
        text("escapes in keys and values", |user| format!(r#"{{"\u0065vent":"pl\u0061y","user\u005fid":"{user}"}}"#))
            .logged(),
        text("64 KiB", |user| padded(user, BODY_BYTES_MAX)).logged(),
        text("a byte more than 64 KiB", |user| padded(user, BODY_BYTES_MAX + 1)).refused_about(413, "65536"),
        row("a byte more than 64 KiB in chunks", |user| {
            Request::post("/track", padded(user, BODY_BYTES_MAX + 1)).chunked()
        })
        .refused_about(413, "65536"),
        text("nothing", |_| String::new()).refused(400, "the body is empty"),
        text("spaces", |_| "  ".into()).refused(400, "the body is empty"),
        text("not JSON", |_| "event=play&user_id=u".into()).refused_about(400, "JSON"),
        text("JSON that ends early", |user| format!(r#"{{"event":"play","user_id":"{user}""#))
            .refused_about(400, "JSON"),
        text("two events", |user| small(user).repeat(2)).refused_about(400, "JSON"),
        text("a trailing comma", |user| format!(r#"{{"event":"play","user_id":"{user}",}}"#))
            .refused_about(400, "JSON"),
        text("single quotes", |user| format!("{{'event':'play','user_id':'{user}'}}")).refused_about(400, "JSON"),
        text("an array", |user| format!("[{}]", small(user))).refused_about(400, "object"),
        text("null", |_| "null".into()).refused_about(400, "object"),
        text("a number", |_| "1".into()).refused_about(400, "object"),
        text("a string", |_| "\"play\"".into()).refused_about(400, "object"),
        text("an empty object", |_| "{}".into()).refused(400, "event is required"),
    ]
}

fn fields() -> Vec<Row> {
    let long = "e".repeat(128);
    vec![
        post("the seed's example", |user| {
            json!({"event": "play", "user_id": user, "timestamp": "2025-01-01T12:00:00Z", "metadata": {"title": "Suite No. 1"}})
        })
        .logged()
        .header("content-type", "application/json"),
        post("no event", |user| json!({"user_id": user})).refused(400, "event is required"),
        post("no user_id", |_| json!({"event": "play"})).refused(400, "user_id is required"),
        post("a null event", |user| json!({"event": null, "user_id": user})).refused(400, "event is required"),
        post("a null user_id", |_| json!({"event": "play", "user_id": null})).refused(400, "user_id is required"),
        play("a null timestamp is none", "timestamp", Value::Null).logged(),
        play("null metadata is none", "metadata", Value::Null).logged(),
        play("a null event_id is none", "event_id", Value::Null).logged(),
        post("event is a number", |user| json!({"event": 7, "user_id": user})).refused_about(400, "event"),
        post("event is an object", |user| json!({"event": {}, "user_id": user})).refused_about(400, "event"),
        post("user_id is a number", |_| json!({"event": "play", "user_id": 7})).refused_about(400, "user_id"),
        post("user_id is a list", |user| json!({"event": "play", "user_id": [user]})).refused_about(400, "user_id"),
        play("timestamp is a number", "timestamp", json!(1_735_689_600)).refused_about(400, "timestamp"),
        play("event_id is a number", "event_id", json!(7)).refused_about(400, "event_id"),
        named("an empty event", "").refused(400, "event must not be empty"),
        named("an event named date", "date").refused_about(400, "date"),
        named("an event named Date", "Date").logged_as("Date"),
        named("an event of 128 bytes", &long).logged_as(&long),
        named("an event of 129 bytes", &"e".repeat(129)).refused(400, "event must be at most 128 bytes"),
        named("an event of 128 bytes in 64 characters", &"é".repeat(64)).logged_as(&"é".repeat(64)),
        named("an event of 130 bytes in 65 characters", &"é".repeat(65)).refused(400, "event must be at most 128 bytes"),
        named("a control character in an event", "pl\nay").refused(400, "event must not contain control characters"),
        named("a C1 control character in an event", "pl\u{85}ay")
            .refused(400, "event must not contain control characters"),
        named("an event with spaces", " a b ").logged_as(" a b "),
        named("an event in another case", "PLAY").logged_as("PLAY"),
        post("an empty user_id", |_| json!({"event": "play", "user_id": ""})).refused(400, "user_id must not be empty"),
        post("a user_id of 257 bytes", |_| json!({"event": "play", "user_id": "u".repeat(257)}))
            .refused(400, "user_id must be at most 256 bytes"),
        post("a user_id of 258 bytes in 129 characters", |_| json!({"event": "play", "user_id": "é".repeat(129)}))
            .refused(400, "user_id must be at most 256 bytes"),
        post("a NUL in a user_id", |user| json!({"event": "play", "user_id": format!("{user}\0")}))
            .refused(400, "user_id must not contain control characters"),
        post("a DEL in a user_id", |user| json!({"event": "play", "user_id": format!("{user}\x7f")}))
            .refused(400, "user_id must not contain control characters"),
        play("an event_id of 128 bytes", "event_id", json!("i".repeat(128))).logged(),
        play("an event_id of 129 bytes", "event_id", json!("i".repeat(129)))
            .refused(400, "event_id must be at most 128 bytes"),
        play("an empty event_id", "event_id", json!("")).refused(400, "event_id must not be empty"),
        play("a control character in an event_id", "event_id", json!("a\tb"))
            .refused(400, "event_id must not contain control characters"),
    ]
}

fn timestamps() -> Vec<Row> {
    let good = [
        "2025-01-01T12:00:00Z",
        "2025-01-01t12:00:00z",
        "2025-01-01T12:00:00.123456789Z",
        "2025-01-01T12:00:00+14:00",
        "2025-01-01T12:00:00-12:00",
        "2025-01-01T12:00:00+05:45",
        "2025-01-01T12:00:00-00:00",
        "2024-02-29T23:59:59Z",
        "2016-12-31T23:59:60Z",
        "1970-01-01T00:00:00Z",
        "1969-12-31T23:59:59.999Z",
        "0001-01-01T00:00:00Z",
        "1000-01-01T00:00:00+14:00",
    ];
    let bad = [
        "",
        "today",
        "2025-02-30T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "2025-13-01T00:00:00Z",
        "2025-00-01T00:00:00Z",
        "2025-01-01T24:00:00Z",
        "2025-01-01T12:60:00Z",
        "2025-01-01T12:00:61Z",
        "2025-01-01T12:00:00",
        "2025-01-01",
        "2025-01-01T12:00:00+25:00",
        "2025-01-01T12:00:00 +01:00",
        "2025-1-1T12:00:00Z",
        "20250101T120000Z",
        "0000-12-31T23:59:59Z",
        "0001-01-01T00:00:00+14:00",
        "-001-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "+2025-01-01T00:00:00Z",
        "2025-01-01T12:00:00Z\0",
        "1735689600",
        "٢٠٢٥-01-01T12:00:00Z",
    ];
    let good = good.into_iter().map(|at| play(&format!("timestamp {at}"), "timestamp", json!(at)).logged());
    let bad = bad
        .into_iter()
        .map(|at| play(&format!("timestamp {at:?}"), "timestamp", json!(at)).refused_about(400, "timestamp"));
    good.chain(bad).collect()
}

fn metadata_rows() -> Vec<Row> {
    let with_metadata = |name: &str, raw: String| {
        text(name, move |user| format!(r#"{{"event":"play","user_id":"{user}","metadata":{raw}}}"#))
    };
    vec![
        play("empty metadata", "metadata", json!({})).logged(),
        play("metadata of 4,096 bytes", "metadata", metadata(4_096)).logged(),
        play("metadata of 4,097 bytes", "metadata", metadata(4_097))
            .logged_warning("Metadata truncated due to size limit"),
        play("metadata of 60,000 bytes", "metadata", metadata(60_000))
            .logged_warning("Metadata truncated due to size limit"),
        play("metadata that is a string", "metadata", json!("title")).refused(400, "metadata must be an object"),
        play("metadata that is a list", "metadata", json!([{}])).refused(400, "metadata must be an object"),
        play("metadata that is false", "metadata", json!(false)).refused(400, "metadata must be an object"),
        with_metadata("spaces between do not count", format!("{{{}\"a\" : 1}}", " ".repeat(10_000))).logged(),
        with_metadata("a large number stays a number", "{\"n\":123456789012345678901234567890.5e300}".into()).logged(),
    ]
}

fn encodings() -> Vec<Row> {
    let small = |user: &str| json!({"event": "play", "user_id": user}).to_string();
    let packed = move |name: &str, encoding: &'static str, pack: fn(&[u8]) -> Vec<u8>| {
        row(name, |user| Request::post("/track", pack(small(user).as_bytes()))).with("content-encoding", encoding)
    };
    vec![
        packed("gzip", "gzip", gzip).logged(),
        packed("GZip", "GZip", gzip).logged(),
        packed("x-gzip", "x-gzip", gzip).logged(),
        packed("identity", "identity", <[u8]>::to_vec).logged(),
        row("gzip in chunks", |user| Request::post("/track", gzip(small(user).as_bytes())).chunked())
            .with("content-encoding", "gzip")
            .logged(),
        row("gzip of 64 KiB", |user| Request::post("/track", gzip(padded(user, BODY_BYTES_MAX).as_bytes())))
            .with("content-encoding", "gzip")
            .logged(),
        row("gzip of a byte more than 64 KiB", |user| {
            Request::post("/track", gzip(padded(user, BODY_BYTES_MAX + 1).as_bytes()))
        })
        .with("content-encoding", "gzip")
        .refused_about(413, "65536"),
        packed("said to be gzip but is not", "gzip", <[u8]>::to_vec).refused_about(400, "gzip"),
        packed("gzip cut short", "gzip", |bytes| {
            let mut packed = gzip(bytes);
            packed.truncate(packed.len() - 9);
            packed
        })
        .refused_about(400, "gzip"),
        packed("gzip that is not said", "identity", gzip).refused_about(400, "UTF-8"),
        packed("brotli", "br", <[u8]>::to_vec).refused_about(415, "gzip"),
        packed("zstd is for batches", "zstd", <[u8]>::to_vec).refused_about(415, "gzip"),
        packed("deflate", "deflate", <[u8]>::to_vec).refused_about(415, "gzip"),
        packed("gzip twice", "gzip, gzip", |bytes| gzip(&gzip(bytes))).refused_about(415, "gzip"),
        packed("an encoding of nonsense", "\u{fe}", <[u8]>::to_vec).refused_about(415, "gzip"),
    ]
}

/// It becomes the server's time: nothing is counted after this year, and nothing is lost.
fn future_timestamp() -> Case {
    case("a future timestamp becomes the server's time", |site| {
        for at in ["2999-01-01T00:00:00Z", "9999-12-31T23:59:59Z"] {
            let user = new_user();
            let event = json!({"event": "play", "user_id": user, "timestamp": at});
            let answer = site.send(&Request::post_json("/track", &event));
            assert_eq!(answer.status, 200, "{answer}");
            let warnings = answer.json().unwrap()["warnings"].take();
            assert_eq!(warnings.as_array().map(Vec::len), Some(1), "{answer}");
            site.expect(&user, "play", 1);
            let position = crate::site::position(&answer);
            let query = |days: &str| format!("/metrics?{days}&group_by=month&user_id={user}");
            assert_eq!(site.data(&query("start_date=2900-01-01&end_date=9999-12-31"), &position), json!([]));
            let now = site.data(&query("start_date=2025-01-01&end_date=2899-12-31"), &position);
            assert_eq!(now.as_array().map(Vec::len), Some(1), "{now}");
            assert_eq!(now[0]["play"], 1, "{now}");
        }
    })
}

/// Users whose names are made to be mistaken for something else: each is counted for itself.
fn user_ids() -> Case {
    case("user ids of every kind", |site| {
        let users: Vec<String> = [
            "__proto__",
            "constructor",
            "toString",
            "a:b",
            "a:b:c",
            "..",
            "../../etc/passwd",
            ".",
            "/",
            "%2e%2e",
            "%00",
            "🎵",
            "👩‍👩‍👧‍👦",
            "e\u{301}",
            "é",
            "İ",
            "ß",
            "user id",
            " ",
            "null",
            "undefined",
            "NaN",
            "true",
            "0",
            "-1",
            "1e999",
            "' OR 1=1 --",
            "<script>",
            "${jndi:ldap://x}",
            "{{7*7}}",
            "\u{feff}",
            "\u{202e}",
            "\u{fffd}",
            "&user_id=x",
            "a+b",
            "a b",
            "100%",
            "#",
            "?",
            "=",
            "\\",
            "\"",
            "'",
            ",",
        ]
        .into_iter()
        .map(str::to_owned)
        .chain(["u".repeat(256), "é".repeat(128), "🎵".repeat(64)])
        .collect();
        for user in &users {
            let position = site.track(&json!({"event": "play", "user_id": user, "timestamp": "2025-01-01T12:00:00Z"}));
            let encoded = crate::site::encoded(user);
            let data = site.data(&format!("/metrics?{EVER}&user_id={encoded}"), &position);
            assert_eq!(data, json!([{"date": "2025-01-01", "play": 1}]), "{user:?}");
        }
    })
}
