//! `POST /track/batch`: arrays and lines, what a bad item does, and the limits of a whole.

use super::track::gzip;
use crate::case::{Case, Row, case, row};
use crate::site::{EVER, new_user, position};
use serde_json::{Value, json};
use track_harness::http::{Answer, Request};

/// Largest body, in bytes unpacked.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most events in one.
const EVENTS_MAX: usize = 10_000;

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).unwrap()
}

fn play(user: &str) -> Value {
    json!({"event": "play", "user_id": user})
}

fn lines(events: &[Value]) -> String {
    events.iter().map(|event| format!("{event}\n")).collect()
}

fn success(accepted: usize) -> Value {
    let message = if accepted == 1 { "1 event logged.".to_owned() } else { format!("{accepted} events logged.") };
    json!({"status": "success", "message": message, "accepted": accepted, "rejected": []})
}

fn post(name: &str, body: impl FnOnce(&str) -> Vec<u8>) -> Row {
    row(name, |user| Request::post("/track/batch", body(user)))
}

fn text(name: &str, body: impl FnOnce(&str) -> String) -> Row {
    post(name, |user| body(user).into_bytes())
}

pub fn cases() -> Vec<Case> {
    let rows = [forms(), encodings(), refusals()].into_iter().flatten().map(Case::from);
    rows.chain([partly_bad(), none_good(), warned(), largest(), too_many(), too_large(), many_users()]).collect()
}

fn forms() -> Vec<Row> {
    let two = |user: &str| [play(user), play(user)];
    vec![
        text("an array", |user| json!(two(user)).to_string()).answers(success(2)).counted("play", 2),
        text("an array of one", |user| json!([play(user)]).to_string()).answers(success(1)).counted("play", 1),
        text("an array with spaces around", |user| format!(" \r\n{} \n", json!(two(user))))
            .answers(success(2))
            .counted("play", 2),
        text("lines", |user| lines(&two(user)))
            .with("content-type", "application/x-ndjson")
            .answers(success(2))
            .counted("play", 2),
        text("lines without a Content-Type", |user| lines(&two(user))).answers(success(2)).counted("play", 2),
        text("lines said to be JSON", |user| lines(&two(user)))
            .with("content-type", "application/json")
            .answers(success(2))
            .counted("play", 2),
        text("no newline at the end", |user| lines(&two(user)).trim_end().to_owned())
            .answers(success(2))
            .counted("play", 2),
        text("lines that end with CR LF", |user| lines(&two(user)).replace('\n', "\r\n"))
            .answers(success(2))
            .counted("play", 2),
        text("empty lines between", |user| format!("\n{}\n\n", lines(&two(user)).replace('\n', "\n\n \n")))
            .answers(success(2))
            .counted("play", 2),
        text("one line", |user| play(user).to_string()).answers(success(1)).counted("play", 1),
        row("lines in chunks", |user| Request::post("/track/batch", lines(&two(user))).chunked())
            .answers(success(2))
            .counted("play", 2),
        row("a query string is ignored", |user| Request::post("/track/batch?x=[]", lines(&two(user))))
            .answers(success(2))
            .counted("play", 2),
        text("a byte order mark before an array", |user| format!("\u{feff}{}", json!(two(user))))
            .answers(success(2))
            .counted("play", 2),
    ]
}

fn encodings() -> Vec<Row> {
    let thousand = |user: &str| lines(&vec![play(user); 1_000]).into_bytes();
    vec![
        post("gzip", |user| gzip(&thousand(user)))
            .with("content-encoding", "gzip")
            .answers(success(1_000))
            .counted("play", 1_000),
        post("zstd", |user| zstd(&thousand(user)))
            .with("content-encoding", "zstd")
            .answers(success(1_000))
            .counted("play", 1_000),
        post("said to be zstd but is not", thousand).with("content-encoding", "zstd").refused_about(400, "zstd"),
        post("zstd cut short", |user| {
            let mut packed = zstd(&thousand(user));
            packed.truncate(packed.len() / 2);
            packed
        })
        .with("content-encoding", "zstd")
        .refused_about(400, "zstd"),
        post("brotli", thousand).with("content-encoding", "br").refused_about(415, "zstd"),
        post("a gzip bomb", |_| gzip(&vec![b' '; 200 << 20]))
            .with("content-encoding", "gzip")
            .refused_about(413, "16777216"),
        post("a zstd bomb", |_| zstd(&vec![b' '; 200 << 20]))
            .with("content-encoding", "zstd")
            .refused_about(413, "16777216"),
    ]
}

fn refusals() -> Vec<Row> {
    vec![
        text("nothing", |_| String::new()).refused_about(400, "empty"),
        text("spaces", |_| " \n \r\n".into()).refused_about(400, "empty"),
        text("an empty array", |_| "[]".into()).refused_about(400, "empty"),
        text("an array that ends early", |user| format!("[{}", play(user))).refused_about(400, "JSON"),
        text("something after the array", |user| format!("[{}] x", play(user))).refused_about(400, "JSON"),
    ]
}

fn rejected(body: &Value) -> Vec<(u64, String)> {
    let rejected = body["rejected"].as_array().unwrap_or_else(|| panic!("no rejected: {body}"));
    let one = |one: &Value| (one["index"].as_u64().unwrap(), one["message"].as_str().unwrap().to_owned());
    rejected.iter().map(one).collect()
}

/// A bad item never sinks the good ones, as an array and as lines.
fn partly_bad() -> Case {
    case("a bad item does not sink the good ones", |site| {
        let items = |user: &str| {
            [
                play(user),
                json!({"event": "play"}),
                json!({"event": "", "user_id": user}),
                json!({"event": "play", "user_id": user, "timestamp": "2025-02-30T00:00:00Z"}),
                json!(7),
                Value::Null,
                json!([play(user)]),
                json!({"event": "play", "user_id": "u".repeat(257)}),
                json!({"event": "date", "user_id": user}),
                json!({"event": "stop", "user_id": user}),
            ]
        };
        let check = |user: &str, answer: &Answer| {
            assert_eq!(answer.status, 200, "{answer}");
            let body = answer.json().unwrap();
            assert_eq!((&body["status"], &body["accepted"]), (&json!("success"), &json!(2)), "{body}");
            let rejected = rejected(&body);
            assert_eq!(rejected.iter().map(|(index, _)| *index).collect::<Vec<_>>(), (1..=8).collect::<Vec<_>>());
            assert_eq!(rejected[0].1, "user_id is required");
            assert_eq!(rejected[1].1, "event must not be empty");
            assert!(rejected[2].1.contains("timestamp"), "{rejected:?}");
            assert_eq!(rejected[6].1, "user_id must be at most 256 bytes");
            site.expect(user, "play", 1);
            site.expect(user, "stop", 1);
        };
        let user = new_user();
        check(&user, &site.send(&Request::post("/track/batch", json!(items(&user)).to_string())));
        let user = new_user();
        check(&user, &site.send(&Request::post("/track/batch", lines(&items(&user)))));

        // A line that is not JSON at all is one bad item as well.
        let user = new_user();
        let body = format!("{}\n{{\"event\":\nnot json\n{}\n", play(&user), play(&user));
        let answer = site.send(&Request::post("/track/batch", body));
        assert_eq!(answer.status, 200, "{answer}");
        let body = answer.json().unwrap();
        assert_eq!(body["accepted"], 2, "{body}");
        assert_eq!(rejected(&body).iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1, 2], "{body}");
        site.expect(&user, "play", 2);
    })
}

fn none_good() -> Case {
    case("no good item at all", |site| {
        for body in [json!([{"event": "play"}, 7]).to_string(), "{\"event\":\"play\"}\n7\n".into()] {
            let answer = site.send(&Request::post("/track/batch", body));
            assert_eq!(answer.status, 400, "{answer}");
            let body = answer.json().unwrap();
            assert_eq!(body["status"], "error", "{body}");
            assert_eq!(rejected(&body).iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 1], "{body}");
        }
    })
}

fn warned() -> Case {
    case("what was changed is said by index", |site| {
        let user = new_user();
        let events = json!([
            play(&user),
            {"event": "play", "user_id": user, "timestamp": "2999-01-01T00:00:00Z"},
            {"event": "play", "user_id": user, "metadata": {"note": "x".repeat(5_000)}},
        ]);
        let answer = site.send(&Request::post_json("/track/batch", &events));
        assert_eq!(answer.status, 200, "{answer}");
        site.expect(&user, "play", 3);
        let body = answer.json().unwrap();
        let warnings = body["warnings"].as_array().unwrap_or_else(|| panic!("no warnings: {body}"));
        let said: Vec<_> = warnings.iter().map(|warning| warning["index"].as_u64().unwrap()).collect();
        assert_eq!(said, [1, 2], "{body}");
        assert!(warnings[1]["message"].as_str().unwrap().contains("Metadata truncated due to size limit"), "{body}");
    })
}

fn largest() -> Case {
    case("10,000 events, and 16 MiB", |site| {
        let user = new_user();
        site.track_batch(&vec![play(&user); EVENTS_MAX]);
        let user = new_user();
        let mut body = lines(&vec![play(&user); 10]);
        body.push_str(&" ".repeat(BODY_BYTES_MAX - body.len()));
        let answer = site.send(&Request::post("/track/batch", body));
        assert_eq!(answer.status, 200, "{answer}");
        site.expect(&user, "play", 10);
    })
}

fn too_many() -> Case {
    case("10,001 events", |site| {
        let user = new_user();
        site.watch(&user);
        let events = vec![play(&user); EVENTS_MAX + 1];
        for body in [json!(events).to_string(), lines(&events)] {
            let answer = site.send(&Request::post("/track/batch", body));
            assert_eq!(answer.status, 413, "{answer}");
            assert!(answer.json().unwrap()["message"].as_str().unwrap().contains("10000"), "{answer}");
        }
    })
}

fn too_large() -> Case {
    case("a byte more than 16 MiB", |site| {
        let user = new_user();
        site.watch(&user);
        let mut body = lines(&[play(&user)]);
        body.push_str(&" ".repeat(BODY_BYTES_MAX + 1 - body.len()));
        let requests = [
            Request::post("/track/batch", body.clone()),
            Request::post("/track/batch", body.clone()).chunked(),
            Request::post("/track/batch", gzip(body.as_bytes())).header("content-encoding", "gzip"),
            Request::post("/track/batch", zstd(body.as_bytes())).header("content-encoding", "zstd"),
        ];
        for request in requests {
            let answer = site.send(&request);
            assert_eq!(answer.status, 413, "{answer}");
        }
    })
}

/// One batch goes to many partitions; its positions, sent back, show all of it.
fn many_users() -> Case {
    case("a batch of many users is read back by its positions", |site| {
        let users: Vec<String> = (0..100).map(|_| new_user()).collect();
        let event = |user| json!({"event": "many-users", "user_id": user, "timestamp": "2025-01-01T12:00:00Z"});
        let events: Vec<Value> = users.iter().chain(&users).map(event).collect();
        let answer = site.send(&Request::post_json("/track/batch", &json!(events)));
        assert_eq!(answer.status, 200, "{answer}");
        for user in &users {
            site.expect(user, "many-users", 2);
        }
        let data = site.data(&format!("/metrics?{EVER}&event=many-users"), &position(&answer));
        assert_eq!(data, json!([{"date": "2025-01-01", "many-users": 200}]));
    })
}
