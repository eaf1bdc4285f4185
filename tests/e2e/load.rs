//! Clients that post without pause while something happens to the server, and remember what they were told.

use serde_json::json;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use track_harness::http::{Connection, Request};
use track_harness::poll::eventually;

/// How many clients post at once.
const CLIENTS: u64 = 16;
const ENOUGH_WITHIN: Duration = Duration::from_secs(60);

/// What became of the events of one load. Each has an id: `0..sent` of every client.
#[derive(Debug, Default)]
pub struct Load {
    /// By client, how many were sent; each in its turn.
    pub sent: Vec<u64>,
    /// How many were answered 200.
    pub acknowledged: u64,
}

impl Load {
    pub fn sent(&self) -> u64 {
        self.sent.iter().sum()
    }

    /// Every event that was sent, to be sent again.
    pub fn events(&self, name: &str) -> Vec<serde_json::Value> {
        let clients = self.sent.iter().enumerate();
        clients.flat_map(|(client, sent)| (0..*sent).map(move |number| event(name, client as u64, number))).collect()
    }
}

fn event(name: &str, client: u64, number: u64) -> serde_json::Value {
    json!({"event": name, "user_id": format!("{name}-{client}"), "event_id": number.to_string(),
        "timestamp": "2025-01-01T12:00:00Z"})
}

/// Posts events of this name from many clients. Once `acknowledged_min` of them have been answered 200, `happens`, while the
/// posting goes on; a client stops at its first broken connection or, where `happens` has returned, of its own.
pub fn under_load<T>(to: SocketAddr, name: &str, acknowledged_min: u64, happens: impl FnOnce() -> T) -> (T, Load) {
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let client = |client: u64| {
            let (stop, acknowledged) = (&stop, &acknowledged);
            scope.spawn(move || {
                let mut sent = 0;
                let Ok(mut connection) = Connection::open(to) else { return sent };
                while !stop.load(Ordering::Relaxed) {
                    let request = Request::post_json("/track", &event(name, client, sent));
                    sent += 1;
                    match connection.send(&request) {
                        Ok(answer) if answer.status == 200 => {
                            acknowledged.fetch_add(1, Ordering::Relaxed);
                            if answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
                                break;
                            }
                        }
                        Ok(answer) => assert_eq!(answer.status, 503, "{answer}"),
                        Err(_) => break,
                    }
                }
                sent
            })
        };
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        let enough = eventually(ENOUGH_WITHIN, "a load worth its name", || {
            let so_far = acknowledged.load(Ordering::Relaxed);
            anyhow::ensure!(so_far >= acknowledged_min, "{so_far} events of {acknowledged_min}");
            Ok(())
        });
        let happened = enough.map(|()| happens());
        stop.store(true, Ordering::Relaxed);
        let sent = clients.into_iter().map(|client| client.join().unwrap()).collect();
        (happened.unwrap(), Load { sent, acknowledged: acknowledged.load(Ordering::Relaxed) })
    })
}
