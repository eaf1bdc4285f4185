//! When each request is due. At a rate, a request that could not be sent in time is late from the moment it was due
//! and not from the moment it was sent: waiting for a slow server counts (no coordinated omission).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Hands out the numbers of requests, each when it is due.
pub(crate) struct Pace {
    started: Instant,
    count: usize,
    next: AtomicUsize,
    deadline: Option<Instant>,
    clock: Option<Clock>,
}

/// A thread that says when the next is due: more finely than the runtime's timers, which count milliseconds.
struct Clock {
    interval: Duration,
    due: Arc<Semaphore>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A request that is due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    /// Its number, from 0.
    pub(crate) index: usize,
    /// When it was due.
    pub(crate) due: Instant,
}

impl Pace {
    /// `count` requests, at so many a second or as fast as they are asked for, until `limit` is over.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub(crate) fn start(count: usize, rate: Option<f64>, limit: Option<Duration>) -> std::io::Result<Self> {
        let started = Instant::now();
        let clock = rate
            .map(|rate| {
                let interval = Duration::from_secs_f64(1.0 / rate);
                let (due, stop) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicBool::new(false)));
                let thread = {
                    let (due, stop) = (Arc::clone(&due), Arc::clone(&stop));
                    std::thread::Builder::new()
                        .name("pace".to_owned())
                        .spawn(move || release(started, interval, count, &due, &stop))?
                };
                std::io::Result::Ok(Clock { interval, due, stop, thread: Some(thread) })
            })
            .transpose()?;
        let deadline = limit.map(|limit| started + limit);
        Ok(Self { started, count, next: AtomicUsize::new(0), deadline, clock })
    }

    /// When the first request was due.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Waits for the next turn; `None` where there are no more.
    pub(crate) async fn turn(&self) -> Option<Turn> {
        if let Some(clock) = &self.clock {
            clock.due.acquire().await.ok()?.forget();
        }
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        if index >= self.count || self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return None;
        }
        let due = match &self.clock {
            Some(clock) => self.started + after(clock.interval, index),
            None => Instant::now(),
        };
        Some(Turn { index, due })
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        if let Some(clock) = &mut self.clock {
            clock.stop.store(true, Ordering::Release);
            if let Some(thread) = clock.thread.take() {
                thread.thread().unpark();
                // It has nothing to say.
                let _ = thread.join();
            }
        }
    }
}

fn after(interval: Duration, requests: usize) -> Duration {
    interval.saturating_mul(u32::try_from(requests).unwrap_or(u32::MAX))
}

/// Lets each request go when it is due, then everybody who still waits.
fn release(started: Instant, interval: Duration, count: usize, due: &Semaphore, stop: &AtomicBool) {
    let mut released = 0;
    while released < count && !stop.load(Ordering::Acquire) {
        let now = Instant::now();
        let before = released;
        while released < count && started + after(interval, released) <= now {
            released += 1;
        }
        due.add_permits(released - before);
        std::thread::park_timeout((started + after(interval, released)).saturating_duration_since(now));
    }
    due.add_permits(Semaphore::MAX_PERMITS / 2);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_turn_is_due_when_the_rate_says() {
        let pace = Pace::start(5, Some(1_000.0), None).unwrap();
        for index in 0..5 {
            let turn = pace.turn().await.unwrap();
            assert_eq!(turn.index, index);
            assert_eq!(turn.due - pace.started(), after(Duration::from_millis(1), index));
            assert!(Instant::now() >= turn.due);
        }
        assert!(pace.turn().await.is_none());
    }

    #[tokio::test]
    async fn without_a_rate_there_is_a_turn_for_each_request() {
        let pace = Pace::start(3, None, None).unwrap();
        let mut turns = 0;
        while pace.turn().await.is_some() {
            turns += 1;
        }
        assert_eq!(turns, 3);
        let over = Pace::start(3, None, Some(Duration::ZERO)).unwrap();
        assert!(over.turn().await.is_none());
    }
}
