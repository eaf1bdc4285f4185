//! Paths that do not exist, methods that a path does not know, and what a browser asks beforehand.

use crate::case::{Case, case};
use crate::site::{EVER, Site, check_form, new_user};
use serde_json::json;
use track_harness::http::{Answer, Request};

fn services(site: &Site) -> Vec<std::net::SocketAddr> {
    let mut services = vec![site.ingest, site.query];
    services.dedup();
    services
}

fn words(answer: &Answer, header: &str) -> Vec<String> {
    let value = answer.header(header).unwrap_or_else(|| panic!("no {header}: {answer:?}"));
    let mut words: Vec<_> = value.split(',').map(|word| word.trim().to_ascii_lowercase()).collect();
    words.sort();
    words
}

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("unknown paths", |site| {
            for path in [
                "/",
                "/nothing",
                "/track/",
                "/track/batch/",
                "/track/x",
                "/tracks",
                "/TRACK",
                "//track",
                "/./track",
                "/x/../track",
                "/metrics/",
                "/metrics/x",
                "/sessions/",
                "/%74rack%00",
                "/track%2Fbatch",
                "/api/track",
                "/favicon.ico",
                "/healthz",
                "/readyz",
            ] {
                for method in ["GET", "POST", "DELETE"] {
                    for service in services(site) {
                        let answer = site.send_to(service, &Request::new(method, path));
                        assert_eq!(answer.status, 404, "{method} {path}: {answer}");
                    }
                }
            }
        }),
        case("HEAD is GET without a body", |site| {
            for path in ["/metrics", "/sessions"] {
                let target = format!("{path}?{EVER}&user_id=nobody");
                let head = site.send(&Request::new("HEAD", target.as_str()));
                let get = site.send(&Request::get(target));
                assert_eq!((head.status, head.header("content-type")), (200, get.header("content-type")), "{head:?}");
            }
        }),
        case("a browser asks first", |site| {
            for (path, method) in
                [("/track", "POST"), ("/track/batch", "POST"), ("/metrics", "GET"), ("/sessions", "GET")]
            {
                let request = Request::new("OPTIONS", path)
                    .header("origin", "https://app.example")
                    .header("access-control-request-method", method)
                    .header("access-control-request-headers", "content-type, content-encoding, track-position");
                let answer = site.send(&request);
                let methods = words(&answer, "access-control-allow-methods");
                assert!(methods.contains(&method.to_ascii_lowercase()) || methods == ["*"], "{path}: {answer:?}");
                let headers = words(&answer, "access-control-allow-headers");
                for header in ["content-type", "content-encoding", "track-position"] {
                    assert!(
                        headers.iter().any(|known| known == header || known == "*"),
                        "{path}, {header}: {answer:?}"
                    );
                }
                assert!(answer.body.is_empty(), "{answer:?}");
            }
        }),
        case("a browser may read what it is told", |site| {
            let user = new_user();
            let event = json!({"event": "play", "user_id": user});
            let answer = site.send(&Request::post_json("/track", &event).header("origin", "https://app.example"));
            assert_eq!(answer.status, 200, "{answer}");
            site.expect(&user, "play", 1);
            let exposed = words(&answer, "access-control-expose-headers");
            for header in ["track-position", "retry-after"] {
                assert!(exposed.iter().any(|known| known == header || known == "*"), "{header}: {answer:?}");
            }
        }),
        case("errors are for every origin too", |site| {
            for request in [Request::post("/track", "{}"), Request::get("/metrics"), Request::get("/nothing")] {
                let request = request.header("origin", "null");
                check_form(&request, &site.send(&request));
            }
        }),
        case("the description and its page", |site| {
            for service in services(site) {
                let answer = site.send_to(service, &Request::get("/openapi.json"));
                assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{answer}");
                assert_eq!(answer.json().unwrap()["openapi"], "3.1.0");
                let answer = site.send_to(service, &Request::get("/docs"));
                assert_eq!(answer.status, 200, "{answer}");
                assert!(answer.header("content-type").unwrap().starts_with("text/html"), "{answer:?}");
                let page = String::from_utf8(answer.body).unwrap();
                for elsewhere in ["src=\"http", "src=\"//", "href=\"http://", "@import", "url(http", "fetch(\"http"] {
                    assert!(!page.contains(elsewhere), "the page loads something from elsewhere: {elsewhere}");
                }
            }
        }),
    ];
    for (path, known) in [("/track", "POST"), ("/track/batch", "POST"), ("/metrics", "GET"), ("/sessions", "GET")] {
        cases.push(case(format!("methods that {path} does not know"), move |site| {
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "BREW"] {
                if method == known {
                    continue;
                }
                let answer = site.send(&Request::new(method, format!("{path}?{EVER}")));
                assert_eq!(answer.status, 405, "{method} {path}: {answer}");
                assert_eq!(answer.json().unwrap(), json!({"status": "error", "message": "Method not allowed"}));
                let allowed = words(&answer, "allow");
                assert!(allowed.contains(&known.to_ascii_lowercase()), "{method} {path}: {answer:?}");
                assert!(!allowed.contains(&method.to_ascii_lowercase()), "{method} {path}: {answer:?}");
            }
        }));
    }
    cases
}
