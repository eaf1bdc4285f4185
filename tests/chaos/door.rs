//! A service as its clients see it: where it is, and whether what happens to them there is its own fault.

use parking_lot::Mutex;
use std::net::SocketAddr;

/// The door of one service.
#[derive(Debug, Default)]
pub struct Door {
    /// What it takes may be in a spool, and have no position yet.
    pub has_spool: bool,
    seen: Mutex<Seen>,
}

/// A door at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Nobody has been there yet where this is missing.
    pub address: Option<SocketAddr>,
    /// How often something has happened to it. Another number is, maybe, another process.
    pub harms: u64,
    is_well: bool,
}

impl Door {
    /// That of an ingest with a spool.
    pub fn of_spool() -> Self {
        Self { has_spool: true, ..Self::default() }
    }

    pub fn look(&self) -> Seen {
        *self.seen.lock()
    }

    /// Something is about to happen to the service: from now on connections may be refused, reset or left without an answer.
    pub fn shut(&self) {
        let mut seen = self.seen.lock();
        seen.is_well = false;
        seen.harms += 1;
    }

    /// It is over: whoever comes from now on must be answered.
    pub fn open(&self, address: SocketAddr) {
        let mut seen = self.seen.lock();
        (seen.address, seen.is_well) = (Some(address), true);
    }

    /// Whether the service had to answer whoever came when it was seen so.
    pub fn must_answer(&self, then: Seen) -> bool {
        then.is_well && self.look() == then
    }
}
