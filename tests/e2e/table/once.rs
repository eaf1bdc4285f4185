//! An event with a client's `event_id` counts once per user, however often and in whatever way it is sent.

use crate::case::{Case, case};
use crate::site::{EVER, Site, new_user, position};
use serde_json::{Value, json};
use std::thread;
use track_harness::http::Request;

/// How many clients send the same event at the same time.
const SENDERS: usize = 64;

/// Sends what need not be counted: the answer must be 200 all the same.
fn send_again(site: &Site, target: &str, body: &Value) -> String {
    let answer = site.send(&Request::post_json(target, body));
    assert_eq!(answer.status, 200, "{answer}");
    position(&answer)
}

fn counts(site: &Site, user: &str, position: &str) -> Value {
    site.data(&format!("/metrics?{EVER}&user_id={user}"), position)
}

pub fn cases() -> Vec<Case> {
    vec![
        case("sent twice", |site| {
            let user = new_user();
            let event =
                json!({"event": "play", "user_id": user, "event_id": "e-1", "timestamp": "2025-01-01T12:00:00Z"});
            site.track(&event);
            let position = send_again(site, "/track", &event);
            assert_eq!(counts(site, &user, &position), json!([{"date": "2025-01-01", "play": 1}]));
        }),
        case("twice in a batch, and once more in the next", |site| {
            let user = new_user();
            let event =
                json!({"event": "play", "user_id": user, "event_id": "e-1", "timestamp": "2025-01-01T12:00:00Z"});
            site.expect(&user, "play", 1);
            send_again(site, "/track/batch", &json!([event, event]));
            send_again(site, "/track/batch", &json!([event]));
            let position = send_again(site, "/track", &event);
            assert_eq!(counts(site, &user, &position), json!([{"date": "2025-01-01", "play": 1}]));
        }),
        case("from many at the same time", |site| {
            let user = new_user();
            let event =
                json!({"event": "play", "user_id": user, "event_id": "e-1", "timestamp": "2025-01-01T12:00:00Z"});
            site.expect(&user, "play", 1);
            thread::scope(|scope| {
                for _ in 0..SENDERS {
                    scope.spawn(|| send_again(site, "/track", &event));
                }
            });
            let position = send_again(site, "/track", &event);
            assert_eq!(counts(site, &user, &position), json!([{"date": "2025-01-01", "play": 1}]));
        }),
        case("the id is the user's own", |site| {
            let users = [new_user(), new_user()];
            for user in &users {
                let event =
                    json!({"event": "play", "user_id": user, "event_id": "e-1", "timestamp": "2025-01-01T12:00:00Z"});
                let position = site.track(&event);
                assert_eq!(counts(site, user, &position), json!([{"date": "2025-01-01", "play": 1}]));
            }
        }),
        case("the first one counts, whatever the second says", |site| {
            let user = new_user();
            site.track(
                &json!({"event": "play", "user_id": user, "event_id": "e-1", "timestamp": "2025-01-01T12:00:00Z"}),
            );
            let other =
                json!({"event": "stop", "user_id": user, "event_id": "e-1", "timestamp": "2025-01-02T12:00:00Z"});
            let position = send_again(site, "/track", &other);
            assert_eq!(counts(site, &user, &position), json!([{"date": "2025-01-01", "play": 1}]));
        }),
        case("without an id each counts", |site| {
            let user = new_user();
            let event = json!({"event": "play", "user_id": user, "timestamp": "2025-01-01T12:00:00Z"});
            site.track(&event);
            site.track(&event);
            let position = site.track_batch(&[event.clone(), event]);
            assert_eq!(counts(site, &user, &position), json!([{"date": "2025-01-01", "play": 4}]));
        }),
        case("ids that look alike are different", |site| {
            let user = new_user();
            let ids = ["a", "A", " a", "a ", "á", "a\u{301}", "a:b", "a:", ":b", "__proto__", "0", "00", "null", "🎵"];
            let event =
                |id| json!({"event": "play", "user_id": user, "event_id": id, "timestamp": "2025-01-01T12:00:00Z"});
            let events: Vec<Value> = ids.into_iter().map(event).collect();
            site.track_batch(&events);
            let position = send_again(site, "/track/batch", &json!(events));
            assert_eq!(counts(site, &user, &position), json!([{"date": "2025-01-01", "play": ids.len()}]));
        }),
        case("sessions count once as well", |site| {
            let user = new_user();
            let event = |event: &str, id: &str, at: &str| json!({"event": event, "user_id": user, "event_id": id, "timestamp": at});
            let told = [
                event("play", "p-1", "2025-01-01T10:00:00Z"),
                event("play", "p-2", "2025-01-01T10:10:00Z"),
                event("stop", "s-1", "2025-01-01T10:15:00Z"),
            ];
            site.track_batch(&told);
            // Counted again, the stop would close the first play.
            let position = send_again(site, "/track/batch", &json!([&told[..], &told[..]].concat()));
            let sessions = site.data(&format!("/sessions?{EVER}&user_id={user}"), &position);
            assert_eq!(
                sessions,
                json!([{"date": "2025-01-01", "totalDuration": 300, "sessionCount": 1, "averageDuration": 300}])
            );
        }),
    ]
}
