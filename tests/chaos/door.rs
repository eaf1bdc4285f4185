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
    /// How often something has happened to it.
    harms: u64,
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

    /// Which process has just answered who came when the service was seen so: another number is, maybe, another process.
    /// `None` where something has happened meanwhile, as both the old one and the new may then have answered.
    pub fn process(&self, then: Seen) -> Option<u64> {
        self.must_answer(then).then_some(then.harms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_of_a_known_process_only_where_nothing_has_happened_meanwhile() {
        let (door, address) = (Door::default(), "127.0.0.1:1".parse().unwrap());
        assert_eq!(door.process(door.look()), None, "nobody is there yet");
        door.open(address);
        let well = door.look();
        let old = door.process(well);
        assert!(old.is_some());
        door.shut();
        assert_eq!(door.process(well), None, "what has happened may have been quicker than the answer");
        let shut = door.look();
        assert_eq!(door.process(shut), None, "the old one may still answer");
        door.open(address);
        assert_eq!(door.process(shut), None, "so may the new one");
        let new = door.process(door.look());
        assert!(new.is_some() && new != old);
    }
}
