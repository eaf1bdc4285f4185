//! What no honest client sends. Each is refused or taken, never in between: what was answered 200 is counted, and
//! nothing else is.

use super::track::gzip;
use crate::case::{Case, Row, case, row};
use crate::site::{EVER, Site, encoded, new_user};
use serde_json::json;
use track_harness::http::{Answer, Connection, Request};

/// What may be answered to bytes that are hardly HTTP: by us, or by hyper before us.
const STATUSES: [u16; 12] = [200, 400, 404, 405, 408, 411, 413, 414, 415, 417, 431, 505];
/// More answers on one connection than any of these requests asks for.
const ANSWERS_MAX: usize = 8;

pub fn cases() -> Vec<Case> {
    let rows = [json_rows(), bodies()].into_iter().flatten().map(Case::from);
    let wires = [cut_short(), smuggled(), odd_heads(), oversized()].into_iter().flatten();
    rows.chain(wires).chain([urls(), flood_of_connections()]).collect()
}

fn text(name: &str, body: impl FnOnce(&str) -> String) -> Row {
    row(name, |user| Request::post("/track", body(user)))
}

fn raw(name: &str, body: impl FnOnce(&str) -> Vec<u8>) -> Row {
    row(name, |user| Request::post("/track", body(user)))
}

fn json_rows() -> Vec<Row> {
    let with =
        |name: &str, field: String| text(name, move |user| format!(r#"{{"event":"play","user_id":"{user}",{field}}}"#));
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    vec![
        text("60,000 arrays that never end", |_| "[".repeat(60_000)).refused_about(400, "JSON"),
        text("30,000 arrays", |_| nested(30_000)).refused_about(400, "object"),
        text("objects that never end", |_| "{\"a\":".repeat(12_000)).refused_about(400, "JSON"),
        with("a deep field that is ignored", format!("\"ignored\":{}", nested(30_000))).logged(),
        with("a deep user", format!("\"user_id\":{}", nested(30_000))).refused_about(400, "user_id"),
        with("deep metadata", format!("\"metadata\":{{\"a\":{}}}", nested(30_000)))
            .logged_warning("Metadata truncated due to size limit"),
        with("metadata 2,000 deep", format!("\"metadata\":{{\"a\":{}}}", nested(2_000))).logged(),
        with(
            "metadata 2,000 deep, of the future",
            format!("\"timestamp\":\"2999-01-01T00:00:00Z\",\"metadata\":{{\"a\":{}}}", nested(2_000)),
        )
        .logged_warning("Future timestamp"),
        text("the event twice", |user| format!(r#"{{"event":"play","event":"stop","user_id":"{user}"}}"#))
            .refused_about(400, "event"),
        text("the user twice", |user| format!(r#"{{"event":"play","user_id":"{user}","user_id":"{user}-2"}}"#))
            .refused_about(400, "user_id"),
        with("the user twice, once escaped", "\"user\\u005fid\":\"other\"".into()).refused_about(400, "user_id"),
        with("an ignored field twice", "\"x\":1,\"x\":2".into()).logged(),
        with("huge numbers", "\"metadata\":{\"n\":1e999999,\"m\":-1e-999999},\"x\":1e400".into()).logged(),
        with("a number of 10,000 digits", format!("\"x\":{}", "9".repeat(10_000))).logged(),
        with("NaN", "\"metadata\":NaN".into()).refused_about(400, "JSON"),
        with("Infinity", "\"metadata\":-Infinity".into()).refused_about(400, "JSON"),
        with("a lone surrogate in metadata", r#""metadata":{"\ud800":"\udfff"}"#.into()).logged(),
        with(
            "lone surrogates in metadata of the future",
            r#""timestamp":"2999-01-01T00:00:00Z","metadata":{"\ud800":"\udfff"}"#.into(),
        )
        .logged_warning("Future timestamp"),
        text("a lone surrogate in the user", |user| format!(r#"{{"event":"play","user_id":"{user}\ud800"}}"#))
            .refused_about(400, "user_id"),
        text("surrogates the wrong way round", |user| format!(r#"{{"event":"\udfb5\ud83c","user_id":"{user}"}}"#))
            .refused_about(400, "event"),
        text("a pair of surrogates", |user| format!(r#"{{"event":"\ud83c\udfb5","user_id":"{user}"}}"#))
            .logged_as("🎵"),
        text("an escaped NUL in the event", |user| format!(r#"{{"event":"pl\u0000ay","user_id":"{user}"}}"#))
            .refused(400, "event must not contain control characters"),
        with("an escaped NUL in metadata", r#""metadata":{"x\u0000":"\u0000"}"#.into()).logged(),
        raw("a bare NUL", |user| format!("{{\"event\":\"play\",\"user_id\":\"{user}\"}}\0").into_bytes())
            .refused_about(400, "JSON"),
        raw("a NUL in a string", |user| format!("{{\"event\":\"pl\0ay\",\"user_id\":\"{user}\"}}").into_bytes())
            .refused_about(400, "JSON"),
        with("metadata named __proto__", r#""__proto__":{"event":"stop"},"constructor":{"prototype":{}}"#.into())
            .logged(),
    ]
}

fn bodies() -> Vec<Row> {
    let small = |user: &str| json!({"event": "play", "user_id": user}).to_string();
    let utf16 = |user: &str| {
        let units = small(user).encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        [&[0xff, 0xfe], &units[..]].concat()
    };
    vec![
        raw("invalid UTF-8 in the user", |user| {
            [b"{\"event\":\"play\",\"user_id\":\"", user.as_bytes(), b"\xff\xfe\"}"].concat()
        })
        .refused_about(400, "UTF-8"),
        raw("an overlong slash", |user| [b"{\"event\":\"\xc0\xaf\",\"user_id\":\"", user.as_bytes(), b"\"}"].concat())
            .refused_about(400, "UTF-8"),
        raw("a surrogate in UTF-8", |user| {
            [b"{\"event\":\"\xed\xa0\x80\",\"user_id\":\"", user.as_bytes(), b"\"}"].concat()
        })
        .refused_about(400, "UTF-8"),
        raw("invalid UTF-8 in what is ignored", |user| {
            [b"{\"event\":\"play\",\"x\":\"\xff\",\"user_id\":\"", user.as_bytes(), b"\"}"].concat()
        })
        .refused_about(400, "UTF-8"),
        raw("UTF-16", utf16).refused_about(400, "UTF-8"),
        raw("Latin-1", |user| [b"{\"event\":\"caf\xe9\",\"user_id\":\"", user.as_bytes(), b"\"}"].concat())
            .with("content-type", "application/json; charset=iso-8859-1")
            .refused_about(400, "UTF-8"),
        raw("random bytes", |_| (0..=255_u8).cycle().take(5_000).map(|byte| byte.wrapping_mul(167)).collect())
            .refused_about(400, ""),
        row("10 MB without a Content-Length", |_| Request::post("/track", vec![b' '; 10_000_000]).chunked())
            .refused_about(413, "65536"),
        row("10 MB of gzip without a Content-Length", |_| {
            Request::post("/track", gzip(&noise(10_000_000))).chunked().header("content-encoding", "gzip")
        })
        .refused_about(413, "65536"),
        row("a gzip bomb", |_| Request::post("/track", gzip(&vec![0; 64 << 20])).header("content-encoding", "gzip"))
            .refused_about(413, "65536"),
        row("a gzip bomb inside a gzip bomb", |_| {
            Request::post("/track", gzip(&gzip(&vec![0; 64 << 20]))).header("content-encoding", "gzip")
        })
        .refused_about(400, "UTF-8"),
        row("gzip with something after it", |user| {
            Request::post("/track", [gzip(small(user).as_bytes()), b"tail".to_vec()].concat())
                .header("content-encoding", "gzip")
        })
        .refused_about(400, "gzip"),
        row("a batch of 60,000 arrays", |_| Request::post("/track/batch", "[".repeat(60_000))).refused_about(400, ""),
        row("a line of 60,000 arrays", |user| {
            Request::post("/track/batch", format!("{}\n{}", small(user), "[".repeat(60_000)))
        })
        .partly_logged(),
    ]
}

/// Bytes that gzip can make nothing of.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

/// How a conversation ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// We say that nothing more comes: what is incomplete stays so.
    HalfClose,
    /// One more request, after which the other side closes.
    LastRequest,
}

/// Writes bytes, and reads all answers until the other side closes.
fn talk(site: &Site, mut bytes: Vec<u8>, end: End) -> Vec<Answer> {
    let mut connection = Connection::open(site.ingest).unwrap();
    if end == End::LastRequest {
        bytes.extend_from_slice(b"GET /last HTTP/1.1\r\nhost: track\r\nconnection: close\r\n\r\n");
    }
    // The other side may have had enough.
    let _ = connection.write(&bytes);
    if end == End::HalfClose {
        let _ = connection.half_close();
    }
    let mut answers = Vec::new();
    while let Some(answer) = connection.read_answer("POST").unwrap() {
        assert!(STATUSES.contains(&answer.status), "{answer:?}");
        answers.push(answer);
        assert!(answers.len() < ANSWERS_MAX, "{answers:?}");
    }
    answers
}

fn conversation(
    name: &'static str,
    events: usize,
    end: End,
    bytes: impl FnOnce(&str) -> Vec<u8> + Send + 'static,
) -> Case {
    case(name, move |site| {
        let user = new_user();
        site.watch(&user);
        let answers = talk(site, bytes(&user), end);
        let logged = answers.iter().filter(|answer| answer.status == 200).count();
        assert!(logged <= events, "{answers:?}");
        site.expect(&user, "play", logged as u64);
    })
}

/// Bytes on a connection. Of the events in it, as many are counted as were answered 200, at most `events`.
fn wire(name: &'static str, events: usize, bytes: impl FnOnce(&str) -> Vec<u8> + Send + 'static) -> Case {
    conversation(name, events, End::LastRequest, bytes)
}

/// Bytes that end too early: no event is in them.
fn cut(name: &'static str, bytes: impl FnOnce(&str) -> Vec<u8> + Send + 'static) -> Case {
    conversation(name, 0, End::HalfClose, bytes)
}

fn event(user: &str) -> String {
    json!({"event": "play", "user_id": user}).to_string()
}

/// A head with these lines, then a body.
fn post(lines: &str, body: &str) -> Vec<u8> {
    format!("POST /track HTTP/1.1\r\nhost: track\r\n{lines}\r\n{body}").into_bytes()
}

fn cut_short() -> Vec<Case> {
    vec![
        cut("a body shorter than its Content-Length", |user| post("content-length: 5000\r\n", &event(user))),
        cut("no body at all", |_| post("content-length: 50\r\n", "")),
        cut("a head that ends early", |_| b"POST /track HTTP/1.1\r\nhost: tr".to_vec()),
        cut("a chunk that ends early", |user| {
            post("transfer-encoding: chunked\r\n", &format!("fff\r\n{}", event(user)))
        }),
        cut("no last chunk", |user| {
            let event = event(user);
            post("transfer-encoding: chunked\r\n", &format!("{:x}\r\n{event}\r\n", event.len()))
        }),
        cut("nothing but a newline", |_| b"\r\n".to_vec()),
        cut("nothing", |_| Vec::new()),
        cut("a batch cut in its middle", |user| {
            let lines = format!("{}\n", event(user)).repeat(50);
            format!("POST /track/batch HTTP/1.1\r\nhost: track\r\ncontent-length: {}\r\n\r\n{lines}", lines.len() + 10)
                .into_bytes()
        }),
        case("a body that does not go on", |site| {
            let user = new_user();
            site.watch(&user);
            let mut connection = Connection::open(site.ingest).unwrap();
            connection.write(&post("content-length: 500\r\n", &event(&user))).unwrap();
            let answer = connection.read_answer("POST").unwrap().unwrap();
            assert_eq!(answer.status, 408, "{answer:?}");
            assert_eq!(
                answer.json().unwrap(),
                json!({"status": "error", "message": "the body did not arrive in time"})
            );
        }),
        case("a client that leaves in the middle of its body", |site| {
            let user = new_user();
            site.watch(&user);
            for _ in 0..50 {
                let mut connection = Connection::open(site.ingest).unwrap();
                connection.write(&post("content-length: 500\r\n", &event(&user))).unwrap();
            }
        }),
        case("a client that leaves without its answer", |site| {
            // Each may be counted or not, but not twice: the id sees to it that one more makes one.
            let user = new_user();
            let body = json!({"event": "play", "user_id": user, "event_id": "left"}).to_string();
            for _ in 0..50 {
                let mut connection = Connection::open(site.ingest).unwrap();
                connection.write(&Request::post("/track", body.clone()).to_bytes()).unwrap();
            }
            site.track(&serde_json::from_str(&body).unwrap());
        }),
    ]
}

/// Two ways to say where a body ends: whatever is chosen, one request is one event.
fn smuggled() -> Vec<Case> {
    let hidden = |user: &str| {
        String::from_utf8(post(&format!("content-length: {}\r\n", event(user).len()), &event(user))).unwrap()
    };
    vec![
        wire("Content-Length and chunked", 1, move |user| {
            let event = event(user);
            let body = format!("{:x}\r\n{event}\r\n0\r\n\r\n", event.len());
            post(&format!("content-length: {}\r\ntransfer-encoding: chunked\r\n", event.len()), &body)
        }),
        wire("a request behind an empty chunked body", 1, move |user| {
            post("content-length: 4\r\ntransfer-encoding: chunked\r\n", &format!("0\r\n\r\n{}", hidden(user)))
        }),
        wire("two Content-Lengths", 0, |user| {
            let event = event(user);
            post(&format!("content-length: {}\r\ncontent-length: 5\r\n", event.len()), &event)
        }),
        wire("two Content-Lengths in one", 0, |user| {
            let event = event(user);
            post(&format!("content-length: {}, 5\r\n", event.len()), &event)
        }),
        wire("chunked twice", 0, |user| post("transfer-encoding: chunked, chunked\r\n", &event(user))),
        wire("chunked, then identity", 0, |user| {
            post("transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n", &event(user))
        }),
        wire("xchunked", 0, |user| post("transfer-encoding: xchunked\r\n", &event(user))),
        wire("a space before the colon", 0, |user| post("transfer-encoding : chunked\r\n", &event(user))),
        wire("a folded header", 0, |user| post("transfer-encoding:\r\n chunked\r\n", &event(user))),
        wire("a Content-Length with a plus", 0, |user| post("content-length: +30\r\n", &event(user))),
        wire("a negative Content-Length", 0, |user| post("content-length: -1\r\n", &event(user))),
        wire("a hexadecimal Content-Length", 0, |user| post("content-length: 0x20\r\n", &event(user))),
        wire("a Content-Length beyond all numbers", 0, |user| {
            post("content-length: 99999999999999999999999\r\n", &event(user))
        }),
        wire("a chunk size beyond all numbers", 0, |user| {
            post("transfer-encoding: chunked\r\n", &format!("ffffffffffffffffff\r\n{}", event(user)))
        }),
        wire("a negative chunk size", 0, |user| {
            post("transfer-encoding: chunked\r\n", &format!("-1\r\n{}", event(user)))
        }),
        wire("a chunk that is longer than it says", 0, |user| {
            post("transfer-encoding: chunked\r\n", &format!("5\r\n{}\r\n0\r\n\r\n", event(user)))
        }),
        wire("two requests at once", 2, move |user| [hidden(user), hidden(user)].concat().into_bytes()),
        wire("a request behind a GET with a body", 1, move |user| {
            let hidden = hidden(user);
            format!("GET /track HTTP/1.1\r\nhost: track\r\ncontent-length: {}\r\n\r\n{hidden}{hidden}", hidden.len())
                .into_bytes()
        }),
    ]
}

fn odd_heads() -> Vec<Case> {
    let line = |line: &'static str| {
        move |user: &str| {
            let event = event(user);
            format!("{line}\r\nhost: track\r\ncontent-length: {}\r\n\r\n{event}", event.len()).into_bytes()
        }
    };
    vec![
        wire("HTTP/0.9", 0, |_| b"GET /track\r\n".to_vec()),
        wire("HTTP/1.0", 1, line("POST /track HTTP/1.0")),
        wire("HTTP/3.0", 0, line("POST /track HTTP/3.0")),
        wire("no version", 0, line("POST /track")),
        wire("a method in small letters", 0, line("post /track HTTP/1.1")),
        wire("two spaces", 0, line("POST  /track HTTP/1.1")),
        wire("an absolute address", 1, line("POST http://track/track HTTP/1.1")),
        wire("another host's address", 1, line("POST http://elsewhere.example/track HTTP/1.1")),
        wire("an asterisk", 0, line("OPTIONS * HTTP/1.1")),
        wire("CONNECT", 0, line("CONNECT track:443 HTTP/1.1")),
        wire("a path without a slash", 0, line("POST track HTTP/1.1")),
        wire("a path out of the root", 0, line("POST /../../track HTTP/1.1")),
        wire("a NUL in the path", 0, line("POST /track\0 HTTP/1.1")),
        wire("a fragment in the path", 1, line("POST /track#x HTTP/1.1")),
        wire("no host", 1, |user| {
            let event = event(user);
            format!("POST /track HTTP/1.1\r\ncontent-length: {}\r\n\r\n{event}", event.len()).into_bytes()
        }),
        wire("two hosts", 1, |user| {
            let event = event(user);
            post(&format!("host: other\r\ncontent-length: {}\r\n", event.len()), &event)
        }),
        wire("a NUL in a header", 0, |user| {
            let event = event(user);
            post(&format!("x-nul: a\0b\r\ncontent-length: {}\r\n", event.len()), &event)
        }),
        wire("bytes that are no text in a header", 1, |user| {
            let event = event(user);
            let mut bytes = b"POST /track HTTP/1.1\r\nhost: track\r\nx: \xff\xfe\r\n".to_vec();
            bytes.extend_from_slice(format!("content-length: {}\r\n\r\n{event}", event.len()).as_bytes());
            bytes
        }),
        wire("a header without a colon", 0, |user| {
            let event = event(user);
            post(&format!("nonsense\r\ncontent-length: {}\r\n", event.len()), &event)
        }),
        wire("newlines without carriage returns", 1, |user| {
            let event = event(user);
            format!("POST /track HTTP/1.1\nhost: track\ncontent-length: {}\n\n{event}", event.len()).into_bytes()
        }),
        wire("an expectation that nobody meets", 1, |user| {
            let event = event(user);
            post(&format!("expect: 200-ok\r\ncontent-length: {}\r\n", event.len()), &event)
        }),
        wire("a TLS hello", 0, |_| b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(20)),
        wire("an upgrade to h2c", 1, |user| {
            let event = event(user);
            let lines =
                "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n";
            post(&format!("{lines}content-length: {}\r\n", event.len()), &event)
        }),
    ]
}

fn oversized() -> Vec<Case> {
    let with = |lines: String| {
        move |user: &str| {
            let event = event(user);
            post(&format!("{lines}content-length: {}\r\n", event.len()), &event)
        }
    };
    vec![
        wire("a path of 100 KB", 0, |_| {
            format!("GET /{} HTTP/1.1\r\nhost: track\r\n\r\n", "x".repeat(100_000)).into_bytes()
        }),
        wire("a path of 1 MB", 0, |_| {
            format!("GET /{} HTTP/1.1\r\nhost: track\r\n\r\n", "x".repeat(1_000_000)).into_bytes()
        }),
        wire("a header of 100 KB", 1, with(format!("x-long: {}\r\n", "x".repeat(100_000)))),
        wire("a header of 1 MB", 0, with(format!("x-long: {}\r\n", "x".repeat(1_000_000)))),
        wire("a header's name of 100 KB", 0, with(format!("{}: x\r\n", "x".repeat(100_000)))),
        wire("5,000 headers", 0, with("x: y\r\n".repeat(5_000))),
    ]
}

/// Queries that are long or strange: an answer, or a refusal in our own form.
fn urls() -> Case {
    case("query strings of every kind", |site| {
        let long = "x".repeat(60_000);
        let many = "event=play&".repeat(5_000);
        let names: String = (0..2_000).map(|name| format!("event=name-{name}&")).collect();
        for query in [
            format!("{EVER}&user_id={long}"),
            format!("{EVER}&{many}"),
            format!("{EVER}&{names}"),
            format!("{EVER}&user_id=%"),
            format!("{EVER}&user_id=%zz%1"),
            format!("{EVER}&user_id={}", encoded("'; DROP TABLE events; --")),
            format!("{EVER}&__proto__=1&constructor=2"),
            format!("{EVER}&user_id[]=x&user_id[$ne]=1"),
            format!("{EVER}&timezone=../../etc/passwd"),
            format!("{EVER}&timezone=%00"),
            format!("{EVER}&min_position=18446744073709551616:0"),
            format!("{EVER}&min_position={}", "0:0,".repeat(10_000)),
            format!("{EVER}&group_by=hour&event=nothing-of-this-name"),
            "start_date=2025-01-01;end_date=2025-01-02".into(),
            "start_date=2025-01-01&start_date=2025-01-02&end_date=2025-01-03".into(),
            "?start_date=2025-01-01&end_date=2025-01-02".into(),
            "=&=&&&=".into(),
            "%ff=%fe".into(),
        ] {
            for path in ["/metrics", "/sessions"] {
                let answer = site.send(&Request::get(format!("{path}?{query}")));
                assert!([200, 400].contains(&answer.status), "{}: {answer}", &query[..query.len().min(100)]);
            }
        }
    })
}

/// Connections that say nothing do not keep others out.
fn flood_of_connections() -> Case {
    case("500 silent connections", |site| {
        let silent: Vec<_> = (0..500).map(|_| Connection::open(site.ingest).unwrap()).collect();
        let user = new_user();
        site.track(&json!({"event": "play", "user_id": user}));
        drop(silent);
    })
}
