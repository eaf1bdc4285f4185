//! Clients that post single events until they are told to stop, each event of a user of its own, with and without an
//! `event_id`; and what must be counted of them.

use super::play;
use crate::site::{EVER, sums};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use track_harness::http::{Connection, Request};
use track_harness::poll::eventually;

const CLIENTS: u64 = 8;
/// Between two events of a client: what is looked at is what happens to them, not how many fit.
const PAUSE: Duration = Duration::from_millis(10);
const ENOUGH_WITHIN: Duration = Duration::from_secs(60);

/// What a client knows of its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Answered 200.
    Taken,
    /// Answered otherwise or not at all, and without an id it was not sent again.
    Unsure,
}

/// What was posted.
pub struct Posting {
    target: Mutex<Option<SocketAddr>>,
    fates: Mutex<BTreeMap<String, Fate>>,
    taken: AtomicU64,
    without_position: AtomicU64,
    stop: AtomicBool,
}

/// Posts while `happens` goes on.
pub fn post_while(happens: impl FnOnce(&Posting)) -> Posting {
    let posting = Posting {
        target: Mutex::default(),
        fates: Mutex::default(),
        taken: AtomicU64::new(0),
        without_position: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    };
    thread::scope(|scope| {
        let _stop = Stop(&posting.stop);
        for client in 0..CLIENTS {
            let posting = &posting;
            scope.spawn(move || posting.post(client));
        }
        happens(&posting);
    });
    posting
}

/// Clients stop however the test ends.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Posting {
    pub fn aim(&self, target: SocketAddr) {
        *self.target.lock() = Some(target);
    }

    /// How many were answered without a position: they are not on the log yet.
    pub fn without_position(&self) -> u64 {
        self.without_position.load(Ordering::Acquire)
    }

    /// Waits until so many more have been answered 200.
    pub fn wait_for_more(&self, count: u64) {
        let before = self.taken.load(Ordering::Acquire);
        eventually(ENOUGH_WITHIN, "events are taken", || {
            let more = self.taken.load(Ordering::Acquire) - before;
            anyhow::ensure!(more >= count, "{more} of {count}");
            Ok(())
        })
        .unwrap();
    }

    fn post(&self, client: u64) {
        let mut connection: Option<(SocketAddr, Connection)> = None;
        for number in 0.. {
            let user = format!("posted-{client}-{number}");
            let mut event = play(&user);
            let has_id = number % 2 == 0;
            if has_id {
                event["event_id"] = Value::from(format!("{client}-{number}"));
            }
            let request = Request::post_json("/track", &event);
            loop {
                if self.stop.load(Ordering::Acquire) {
                    return;
                }
                let Some(target) = *self.target.lock() else {
                    thread::park_timeout(PAUSE);
                    continue;
                };
                let is_taken = self.send(target, &request, &mut connection);
                if is_taken || !has_id {
                    let fate = if is_taken { Fate::Taken } else { Fate::Unsure };
                    self.fates.lock().insert(user.clone(), fate);
                    break;
                }
                // Again until it is taken: its id sees to it that it counts once. One that is stopped before is unsure.
                self.fates.lock().insert(user.clone(), Fate::Unsure);
                thread::park_timeout(PAUSE);
            }
            thread::park_timeout(PAUSE);
        }
    }

    fn send(&self, target: SocketAddr, request: &Request, connection: &mut Option<(SocketAddr, Connection)>) -> bool {
        if connection.as_ref().is_none_or(|(to, _)| *to != target) {
            *connection = Connection::open(target).ok().map(|opened| (target, opened));
        }
        let answer = connection.as_mut().and_then(|(_, opened)| opened.send(request).ok());
        let closes = answer.as_ref().and_then(|answer| answer.header("connection")).is_some_and(|it| it == "close");
        if answer.is_none() || closes {
            *connection = None;
        }
        let Some(answer) = answer else { return false };
        assert!([200, 429, 503].contains(&answer.status), "{answer}");
        if answer.status == 200 {
            self.taken.fetch_add(1, Ordering::AcqRel);
            if answer.header("track-position").is_none() {
                self.without_position.fetch_add(1, Ordering::AcqRel);
            }
        }
        answer.status == 200
    }

    /// Everything that was taken is counted once, and nothing twice.
    pub fn check(&self, query: SocketAddr) {
        let fates = self.fates.lock();
        let taken = fates.values().filter(|fate| **fate == Fate::Taken).count() as u64;
        eventually(ENOUGH_WITHIN, "what was taken is counted", || {
            let counted = counted(query, None)?;
            anyhow::ensure!(counted >= taken, "{counted} of {taken}");
            Ok(())
        })
        .unwrap();
        for (user, fate) in &*fates {
            let counted = counted(query, Some(user)).unwrap();
            let fits = counted == 1 || counted == 0 && *fate == Fate::Unsure;
            assert!(fits, "{user}, {fate:?}: counted {counted} times");
        }
        let unsure = fates.len() as u64 - taken;
        println!("{taken} taken, {} of them spooled; {unsure} unsure", self.without_position());
    }
}

/// How many events are counted, of a user or of all.
pub fn counted(query: SocketAddr, user: Option<&str>) -> anyhow::Result<u64> {
    let user = user.map(|user| format!("&user_id={user}")).unwrap_or_default();
    let answer = Request::get(format!("/metrics?{EVER}&group_by=month{user}")).send(query)?;
    anyhow::ensure!(answer.status == 200, "{answer}");
    Ok(sums(&answer.json()?["data"]).values().sum())
}
