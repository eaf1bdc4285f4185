//! Many at once: exact counts at a concurrency of 64, and more than a thousand names.

use crate::case::{Case, case};
use crate::site::{EVER, Site, new_user, position};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;
use track_harness::http::{Connection, Request};

/// How many clients there are.
const CLIENTS: usize = 64;
/// How many events each of them posts, one request after the other.
const EVENTS_EACH: usize = 40;
/// Over what the seed could tell apart.
const NAMES: usize = 1_500;

/// Posts from all clients at once, and returns the last position in each partition.
fn post_all(site: &Site, event: impl Fn(usize, usize) -> Value + Sync) -> String {
    let positions = Mutex::new(BTreeMap::<String, u64>::new());
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (event, positions) = (&event, &positions);
            scope.spawn(move || {
                let mut connection = Connection::open(site.ingest).unwrap();
                for number in 0..EVENTS_EACH {
                    let answer = connection.send(&Request::post_json("/track", &event(client, number))).unwrap();
                    assert_eq!(answer.status, 200, "{answer}");
                    let position = position(&answer);
                    let (partition, offset) = position.split_once(':').unwrap();
                    let mut positions = positions.lock().unwrap();
                    let last = positions.entry(partition.to_owned()).or_default();
                    *last = offset.parse::<u64>().unwrap().max(*last);
                }
            });
        }
    });
    let positions = positions.into_inner().unwrap();
    positions.iter().map(|(partition, offset)| format!("{partition}:{offset}")).collect::<Vec<_>>().join(",")
}

pub fn cases() -> Vec<Case> {
    vec![
        case("the same event from 64 clients", |site| {
            let user = new_user();
            let event = json!({"event": "crowd-same", "user_id": user, "timestamp": "2025-01-01T12:00:00Z"});
            let position = post_all(site, |_, _| event.clone());
            site.expect(&user, "crowd-same", (CLIENTS * EVENTS_EACH) as u64);
            let data = site.data(&format!("/metrics?{EVER}&event=crowd-same"), &position);
            assert_eq!(data, json!([{"date": "2025-01-01", "crowd-same": CLIENTS * EVENTS_EACH}]));
        }),
        case("a user for every event, from 64 clients", |site| {
            let event = |client, number| {
                let day = 1 + number % 28;
                json!({"event": "crowd-users", "user_id": format!("crowd-{client}-{number}"),
                    "timestamp": format!("2025-02-{day:02}T12:00:00Z")})
            };
            let position = post_all(site, event);
            for (client, number) in (0..CLIENTS).flat_map(|client| (0..EVENTS_EACH).map(move |number| (client, number)))
            {
                site.expect(&format!("crowd-{client}-{number}"), "crowd-users", 1);
            }
            let data = site.data(&format!("/metrics?{EVER}&event=crowd-users&group_by=month"), &position);
            assert_eq!(data, json!([{"date": "2025-02-01", "crowd-users": CLIENTS * EVENTS_EACH}]));
        }),
        case("1,500 names in one day", |site| {
            let user = new_user();
            let event =
                |name| json!({"event": format!("name-{name}"), "user_id": user, "timestamp": "2025-01-01T12:00:00Z"});
            let events: Vec<Value> = (0..NAMES).map(event).collect();
            site.track_batch(&events);
            let position = site.track_batch(&events);
            let data = site.data(&format!("/metrics?{EVER}&user_id={user}"), &position);
            let row = data[0].as_object().unwrap();
            assert_eq!(row.len(), NAMES + 1);
            assert!(row.iter().all(|(name, count)| name == "date" || *count == 2), "{row:?}");
        }),
        case("1,500 days of one user", |site| {
            let user = new_user();
            let days_of = |year: u32| {
                (1..=12).flat_map(move |month| (1..=28).map(move |day| format!("{year}-{month:02}-{day:02}")))
            };
            let days: Vec<String> = (2019..=2023).flat_map(days_of).collect();
            assert!(days.len() > 1_500);
            let event =
                |day: &String| json!({"event": "play", "user_id": user, "timestamp": format!("{day}T12:00:00Z")});
            let events: Vec<Value> = days.iter().rev().map(event).collect();
            let position = site.track_batch(&events);
            let expected: Vec<Value> = days.iter().map(|day| json!({"date": day, "play": 1})).collect();
            assert_eq!(site.data(&format!("/metrics?{EVER}&user_id={user}"), &position), json!(expected));
        }),
    ]
}
