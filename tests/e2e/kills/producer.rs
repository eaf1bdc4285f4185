//! Producers that send everything until all of it is acknowledged, whatever happens to the services meanwhile.

use super::traffic::Traffic;
use parking_lot::Mutex;
use serde_json::json;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use track_harness::http::{Answer, Connection, Request};
use track_harness::poll::eventually;

const PRODUCERS: usize = 4;
/// What a producer waits for before it sends again what was refused.
const PAUSE: Duration = Duration::from_millis(20);
/// From one acknowledged request to the next, restarts and all.
const MOVES_WITHIN: Duration = Duration::from_secs(90);

/// What is being sent, where to, and how far it is.
#[derive(Debug)]
pub struct Sending<'a> {
    traffic: &'a Traffic,
    /// Addresses of ingest now; a producer takes any of them.
    targets: Mutex<Vec<SocketAddr>>,
    waiting: Mutex<VecDeque<usize>>,
    acknowledged: AtomicUsize,
    /// By partition, the last position that was acknowledged.
    positions: Mutex<BTreeMap<u32, u64>>,
    given_up: AtomicBool,
}

impl Sending<'_> {
    /// From now on ingest is here.
    pub fn aim(&self, targets: &[SocketAddr]) {
        *self.targets.lock() = targets.to_vec();
    }

    /// How many requests are acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::Acquire)
    }

    /// Whether everything is acknowledged.
    pub fn is_done(&self) -> bool {
        self.acknowledged.load(Ordering::Acquire) >= self.traffic.requests.len()
    }

    /// Waits until this share of the requests is acknowledged.
    pub fn wait_for(&self, share: f64) {
        let wanted = (share * self.traffic.requests.len() as f64) as usize;
        eventually(MOVES_WITHIN, "requests are acknowledged", || {
            let acknowledged = self.acknowledged.load(Ordering::Acquire);
            anyhow::ensure!(acknowledged >= wanted, "{acknowledged} of {wanted}");
            Ok(())
        })
        .unwrap();
    }

    fn produce(&self, seed: usize) {
        let mut connection: Option<(SocketAddr, Connection)> = None;
        for turn in seed.. {
            if self.is_done() || self.given_up.load(Ordering::Acquire) {
                return;
            }
            let Some(request) = self.waiting.lock().pop_front() else {
                // The others still wait for their answers, and may have to send again.
                thread::park_timeout(PAUSE);
                continue;
            };
            let target = {
                let targets = self.targets.lock();
                targets.get(turn % targets.len().max(1)).copied()
            };
            let answer = target.and_then(|target| self.post(target, request, &mut connection));
            match answer {
                Some(answer) if answer.status == 200 => self.acknowledge(request, &answer),
                other => {
                    assert!(other.as_ref().is_none_or(|answer| [429, 503].contains(&answer.status)), "{other:?}");
                    self.waiting.lock().push_back(request);
                    thread::park_timeout(PAUSE);
                }
            }
        }
    }

    /// `None` where there was no answer.
    fn post(
        &self,
        target: SocketAddr,
        request: usize,
        connection: &mut Option<(SocketAddr, Connection)>,
    ) -> Option<Answer> {
        let request = match self.traffic.requests[request].as_slice() {
            [event] => Request::post_json("/track", &self.traffic.json(*event)),
            events => {
                let events: Vec<_> = events.iter().map(|event| self.traffic.json(*event)).collect();
                Request::post_json("/track/batch", &json!(events))
            }
        };
        if connection.as_ref().is_none_or(|(to, _)| *to != target) {
            *connection = Connection::open(target).ok().map(|opened| (target, opened));
        }
        let answer = connection.as_mut().and_then(|(_, opened)| opened.send(&request).ok());
        let closes = |answer: &Answer| answer.header("connection").is_some_and(|it| it.eq_ignore_ascii_case("close"));
        if answer.as_ref().is_none_or(closes) {
            *connection = None;
        }
        answer
    }

    fn acknowledge(&self, request: usize, answer: &Answer) {
        let events = self.traffic.requests[request].len();
        if events > 1 {
            assert_eq!(answer.json().unwrap()["accepted"], events, "{answer}");
        }
        let mut positions = self.positions.lock();
        for position in answer.header("track-position").unwrap().split(',') {
            let (partition, offset) = position.split_once(':').unwrap();
            let last = positions.entry(partition.parse().unwrap()).or_default();
            *last = (*last).max(offset.parse().unwrap());
        }
        self.acknowledged.fetch_add(1, Ordering::AcqRel);
    }
}

/// Producers stop where the test fails.
struct GiveUp<'a>(&'a AtomicBool);

impl Drop for GiveUp<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Sends all of `traffic` until it is acknowledged, while `happens` goes on. Returns what `happens` does, and the
/// positions of the last events, as a query wants them.
pub fn send_all<T>(traffic: &Traffic, happens: impl FnOnce(&Sending<'_>) -> T) -> (T, String) {
    let sending = Sending {
        traffic,
        targets: Mutex::default(),
        waiting: Mutex::new((0..traffic.requests.len()).collect()),
        acknowledged: AtomicUsize::new(0),
        positions: Mutex::default(),
        given_up: AtomicBool::new(false),
    };
    let happened = thread::scope(|scope| {
        let _give_up = GiveUp(&sending.given_up);
        for seed in 0..PRODUCERS {
            let sending = &sending;
            scope.spawn(move || sending.produce(seed));
        }
        let happened = happens(&sending);
        sending.wait_for(1.0);
        happened
    });
    let positions = sending.positions.into_inner();
    let positions: Vec<_> = positions.iter().map(|(partition, offset)| format!("{partition}:{offset}")).collect();
    (happened, positions.join(","))
}
