//! One running track, whatever it is made of: where requests go, what every answer must have, and what must be
//! counted in the end.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use track_harness::http::{Answer, Request};
use track_harness::poll::eventually;

/// How long an event may take from its 200 to the answers, where its position was not asked for.
pub const SEEN_WITHIN: Duration = Duration::from_secs(30);
/// All days there are.
pub const EVER: &str = "start_date=0001-01-01&end_date=9999-12-31";

pub struct Site {
    pub ingest: SocketAddr,
    pub query: SocketAddr,
    /// (user, event) → how many must be counted. A user without events must be without counts.
    tally: Mutex<BTreeMap<String, BTreeMap<String, u64>>>,
}

/// A user whom no other case knows.
pub fn new_user() -> String {
    static USERS: AtomicU32 = AtomicU32::new(0);
    format!("user-{}", USERS.fetch_add(1, Ordering::Relaxed))
}

/// Percent-encodes for a query string.
pub fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

impl Site {
    pub fn new(ingest: SocketAddr, query: SocketAddr) -> Self {
        Self { ingest, query, tally: Mutex::default() }
    }

    /// The same track after a restart, at other addresses.
    pub fn moved(self, ingest: SocketAddr, query: SocketAddr) -> Self {
        Self { ingest, query, ..self }
    }

    /// Sends to the service whose path it is, and checks what every answer must have.
    pub fn send(&self, request: &Request) -> Answer {
        let path = request.target.split('?').next().unwrap_or_default();
        let to = if path.starts_with("/metrics") || path.starts_with("/sessions") { self.query } else { self.ingest };
        self.send_to(to, request)
    }

    /// Sends, and checks what every answer must have.
    pub fn send_to(&self, to: SocketAddr, request: &Request) -> Answer {
        let answer = request.send(to).unwrap_or_else(|error| panic!("{error:#}"));
        check_form(request, &answer);
        answer
    }

    /// Posts one event, which must be taken; returns its position.
    pub fn track(&self, event: &Value) -> String {
        let answer = self.send(&Request::post_json("/track", event));
        assert_eq!(answer.status, 200, "{event}: {answer}");
        self.expect(text(event, "user_id"), text(event, "event"), 1);
        position(&answer)
    }

    /// Posts a batch, all of which must be taken; returns its positions.
    pub fn track_batch(&self, events: &[Value]) -> String {
        let answer = self.send(&Request::post_json("/track/batch", &json!(events)));
        assert_eq!(answer.status, 200, "{answer}");
        assert_eq!(answer.json().unwrap()["accepted"], events.len(), "{answer}");
        for event in events {
            self.expect(text(event, "user_id"), text(event, "event"), 1);
        }
        position(&answer)
    }

    /// Notes that so many more of these must be counted in the end.
    pub fn expect(&self, user: &str, event: &str, count: u64) {
        let mut tally = self.tally.lock().unwrap();
        let counts = tally.entry(user.to_owned()).or_default();
        if count > 0 {
            *counts.entry(event.to_owned()).or_default() += count;
        }
    }

    /// Notes a user of whom only what [`Site::expect`] is told may be counted.
    pub fn watch(&self, user: &str) {
        self.tally.lock().unwrap().entry(user.to_owned()).or_default();
    }

    /// The data of an answer that includes what lies at `position`: read your writes.
    pub fn data(&self, path_and_query: &str, position: &str) -> Value {
        let join = if path_and_query.contains('?') { '&' } else { '?' };
        let answer = self.send(&Request::get(format!("{path_and_query}{join}min_position={position}")));
        assert_eq!(answer.status, 200, "{path_and_query}: {answer}");
        answer.json().unwrap()["data"].take()
    }

    /// How often each event was counted, over all days there are; for one user or for all.
    pub fn counts(&self, user: Option<&str>) -> anyhow::Result<BTreeMap<String, u64>> {
        let user = user.map(|user| format!("&user_id={}", encoded(user))).unwrap_or_default();
        let request = Request::get(format!("/metrics?{EVER}&group_by=month{user}"));
        let answer = request.send(self.query)?;
        anyhow::ensure!(answer.status == 200, "{}: {answer}", request.target);
        Ok(sums(&answer.json()?["data"]))
    }

    /// What must be counted: by user, and by event over all of them.
    fn expected(&self) -> (BTreeMap<String, BTreeMap<String, u64>>, BTreeMap<String, u64>) {
        let by_user = self.tally.lock().unwrap().clone();
        let mut total = BTreeMap::new();
        for (event, count) in by_user.values().flatten() {
            *total.entry(event.clone()).or_default() += count;
        }
        (by_user, total)
    }

    /// Waits until everything that was answered 200 is counted, then checks that it is counted once and for its user,
    /// and that nothing else is.
    pub fn check_tally(&self) {
        let (by_user, total) = self.expected();
        eventually(SEEN_WITHIN, "all users together", || same(&self.counts(None)?, &total)).unwrap();
        // More than was waited for would have come by now: what arrives after the last event is on no list.
        for (user, expected) in &by_user {
            let counted = self.counts(Some(user)).unwrap();
            same(&counted, expected).unwrap_or_else(|error| panic!("{user:?}: {error}"));
        }
        same(&self.counts(None).unwrap(), &total).unwrap();
        self.check_sessions_add_up(by_user.keys());
    }

    /// The sessions of all are those of each together.
    fn check_sessions_add_up<'a>(&self, users: impl Iterator<Item = &'a String>) {
        let sum = |user: String| {
            let answer = self.send(&Request::get(format!("/sessions?{EVER}&group_by=month{user}")));
            assert_eq!(answer.status, 200, "{answer}");
            let data = answer.json().unwrap()["data"].take();
            let rows = data.as_array().unwrap().clone();
            rows.iter().map(|row| row["sessionCount"].as_u64().unwrap()).sum::<u64>()
        };
        let each: u64 = users.map(|user| sum(format!("&user_id={}", encoded(user)))).sum();
        assert_eq!(sum(String::new()), each, "sessions of all users, and of each");
    }
}

/// `partition:offset`, as the answer to a POST says it.
pub fn position(answer: &Answer) -> String {
    answer.header("track-position").unwrap_or_else(|| panic!("no Track-Position: {answer}")).to_owned()
}

/// The counts of all rows together.
pub fn sums(data: &Value) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for row in data.as_array().unwrap() {
        for (event, count) in row.as_object().unwrap().iter().filter(|(event, _)| *event != "date") {
            *sums.entry(event.clone()).or_default() += count.as_u64().unwrap();
        }
    }
    sums
}

fn same(counted: &BTreeMap<String, u64>, expected: &BTreeMap<String, u64>) -> anyhow::Result<()> {
    if counted == expected {
        return Ok(());
    }
    let names = counted.keys().chain(expected.keys()).collect::<std::collections::BTreeSet<_>>();
    let wrong: Vec<_> = names
        .into_iter()
        .map(|name| (name, counted.get(name).copied().unwrap_or(0), expected.get(name).copied().unwrap_or(0)))
        .filter(|(_, counted, expected)| counted != expected)
        .take(20)
        .collect();
    anyhow::bail!("(event, counted, expected): {wrong:?}")
}

fn text<'a>(event: &'a Value, field: &str) -> &'a str {
    event[field].as_str().unwrap_or_else(|| panic!("no {field} in {event}"))
}

/// What every answer must have, whatever was asked.
pub fn check_form(request: &Request, answer: &Answer) {
    let asked = format!("{} {}: {answer}", request.method, request.target.chars().take(200).collect::<String>());
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "CORS, {asked}");
    let preflight = request.method == "OPTIONS";
    if answer.status < 400 {
        assert!(answer.status == 200 || preflight && answer.status == 204, "{asked}");
    } else {
        assert!([400, 404, 405, 408, 413, 415, 429, 503].contains(&answer.status), "{asked}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{asked}");
        if request.method != "HEAD" {
            let body = answer.json().unwrap();
            assert_eq!(body["status"], "error", "{asked}");
            assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{asked}");
        }
    }
    if answer.status == 405 {
        assert!(answer.header("allow").is_some_and(|allow| !allow.is_empty()), "Allow, {asked}");
    }
    let retry_after = answer.header("retry-after").map(|seconds| seconds.parse::<u32>().unwrap());
    assert_eq!(retry_after.is_some_and(|seconds| seconds >= 1), [429, 503].contains(&answer.status), "{asked}");
    if request.method == "POST" && request.target.starts_with("/track") && answer.status == 200 {
        let position = position(answer);
        let partitions: Vec<u32> = position
            .split(',')
            .map(|one| {
                let (partition, offset) = one.split_once(':').unwrap_or_else(|| panic!("{position}"));
                offset.parse::<u64>().unwrap();
                partition.parse().unwrap()
            })
            .collect();
        assert!(partitions.is_sorted_by(|a, b| a < b), "one position a partition, {position}");
    }
}
