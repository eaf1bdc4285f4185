//! Whether the log takes appends, as far as is known: turned away from by whoever finds that it does not, and back by the one
//! who forwards, once something came through.

use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub(super) struct Switch {
    is_away: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Why the log does not take appends; what was said last where it does.
    reason: String,
    /// It has been turned away from since the forwarder last looked: what the log says of itself may be older.
    just_turned: bool,
    /// Something was spooled since.
    spooling: bool,
    /// Why nothing can be spooled any more.
    broken: Option<String>,
    woken: bool,
    stopping: bool,
    stopped: bool,
}

/// The forwarder is to end.
pub(super) struct Stopping;

impl Switch {
    /// There is no log yet.
    pub(super) fn away(reason: &str) -> Self {
        let state = State { reason: reason.to_owned(), ..State::default() };
        Self { is_away: AtomicBool::new(true), state: Mutex::new(state), changed: Condvar::new() }
    }

    pub(super) fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Acquire)
    }

    /// Why the log does not take appends.
    pub(super) fn reason(&self) -> Option<String> {
        let state = self.state.lock();
        self.is_away().then(|| state.reason.clone())
    }

    /// Says why anew.
    pub(super) fn explain(&self, reason: String) {
        self.state.lock().reason = reason;
    }

    /// From now on nothing goes to the log but what is forwarded.
    pub(super) fn turn_away(&self, reason: String) {
        let mut state = self.state.lock();
        state.reason = reason;
        if state.broken.is_none() && !self.is_away.swap(true, Ordering::AcqRel) {
            state.just_turned = true;
            state.woken = true;
            self.changed.notify_all();
        }
    }

    /// Something was spooled. Why, where it is the first since the log takes no appends.
    pub(super) fn begin_spooling(&self) -> Option<String> {
        let mut state = self.state.lock();
        if self.is_away() {
            return (!std::mem::replace(&mut state.spooling, true)).then(|| state.reason.clone());
        }
        // The log had enough to do, or has come back meanwhile.
        state.woken = true;
        self.changed.notify_all();
        None
    }

    /// The log takes appends. Whether anything was spooled before it did; not where somebody has found otherwise meanwhile.
    pub(super) fn turn_back(&self) -> bool {
        let mut state = self.state.lock();
        if state.just_turned {
            return false;
        }
        self.is_away.store(false, Ordering::Release);
        std::mem::take(&mut state.spooling)
    }

    /// Nothing can be spooled from now on, and nobody forwards: there is only the log to go to.
    pub(super) fn break_down(&self, why: String) {
        let mut state = self.state.lock();
        state.broken = Some(why);
        self.is_away.store(false, Ordering::Release);
    }

    pub(super) fn broken(&self) -> Option<String> {
        self.state.lock().broken.clone()
    }

    /// Whether it was turned away from since this was asked last.
    pub(super) fn take_just_turned(&self) -> bool {
        std::mem::take(&mut self.state.lock().just_turned)
    }

    /// Has the forwarder look around.
    pub(super) fn wake(&self) {
        self.state.lock().woken = true;
        self.changed.notify_all();
    }

    /// Waits until there may be something to do, or so long.
    pub(super) fn wait(&self, at_most: Duration) -> Result<(), Stopping> {
        let deadline = Instant::now() + at_most;
        let mut state = self.state.lock();
        while !state.woken && !state.stopping && !self.changed.wait_until(&mut state, deadline).timed_out() {}
        state.woken = false;
        if state.stopping { Err(Stopping) } else { Ok(()) }
    }

    /// Waits so long, whatever there is to do.
    pub(super) fn pause(&self, time: Duration) -> Result<(), Stopping> {
        let deadline = Instant::now() + time;
        let mut state = self.state.lock();
        while !state.stopping && !self.changed.wait_until(&mut state, deadline).timed_out() {}
        if state.stopping { Err(Stopping) } else { Ok(()) }
    }

    /// Tells the forwarder to end, and waits until it has, or so long.
    pub(super) fn stop(&self, within: Duration) {
        let deadline = Instant::now() + within;
        let mut state = self.state.lock();
        state.stopping = true;
        self.changed.notify_all();
        while !state.stopped && !self.changed.wait_until(&mut state, deadline).timed_out() {}
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.state.lock().stopping
    }

    /// The forwarder has ended.
    pub(super) fn stopped(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_all();
    }
}
