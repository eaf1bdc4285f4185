//! Who wants to see a partition's state at an exact offset, and how the fold stops there for a moment.
//!
//! The partition's thread looks here before each batch: it cuts the batch where the next wanted offset is, and once it has
//! folded everything before that one it waits until those who want it have taken their snapshots. Reading them takes as
//! long as it takes, and the fold goes on meanwhile.

use parking_lot::Mutex;
use std::convert::Infallible;
use std::sync::mpsc;
use std::time::Duration;
use tokio::sync::oneshot;
use track_log::{Offset, Record};

/// How long the fold waits for the snapshots.
const HELD_MAX: Duration = Duration::from_secs(1);

/// The fold stands where it was asked to, until this is dropped or [`HELD_MAX`] is over.
#[derive(Debug)]
pub(crate) struct Held(#[allow(dead_code, reason = "its end is what the thread waits for")] mpsc::Sender<Infallible>);

/// The partition is past the wanted offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Passed {
    pub(crate) next_offset: Offset,
}

struct Pin {
    at: Offset,
    reached: oneshot::Sender<Result<Held, Passed>>,
}

/// The offsets at which one partition is wanted.
#[derive(Default)]
pub(crate) struct Pins(Mutex<Vec<Pin>>);

impl Pins {
    /// Asks for the state that has exactly the records before `at`. The answer ends without a word where nobody folds any
    /// more; asking is taken back by dropping it.
    pub(crate) fn ask(&self, at: Offset) -> oneshot::Receiver<Result<Held, Passed>> {
        let (reached, answer) = oneshot::channel();
        self.0.lock().push(Pin { at, reached });
        answer
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Lets those look who want the state as it is at `next_offset`, of which `coming` are the next records, as far as
    /// they are known. Then says how many of these may be folded at once.
    pub(crate) fn serve(&self, next_offset: Offset, coming: &[Record]) -> usize {
        let mut wanted = self.0.lock();
        if wanted.is_empty() {
            return coming.len();
        }
        let (holder, held) = mpsc::channel();
        // Offsets may be missing from a log: where the next record is past the wanted offset, it is reached too.
        let reached = coming.first().map_or(next_offset, |record| record.offset);
        for Pin { at, reached } in wanted.extract_if(.., |pin| pin.at <= reached || pin.reached.is_closed()) {
            let answer = if at < next_offset { Err(Passed { next_offset }) } else { Ok(Held(holder.clone())) };
            // Who no longer wants it lets go of it at once.
            let _ = reached.send(answer);
        }
        let next = wanted.iter().map(|pin| pin.at).min();
        drop((wanted, holder));
        // Ends when the last of them has let go; one that takes longer sees by its snapshot that it was too late.
        let _ = held.recv_timeout(HELD_MAX);
        next.map_or(coming.len(), |at| coming.partition_point(|record| record.offset < at))
    }

    /// Nobody folds any more.
    pub(crate) fn end(&self) {
        self.0.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn records(offsets: impl IntoIterator<Item = Offset>) -> Vec<Record> {
        let record = |offset| Record { offset, append_time_ms: 0, key: None, value: Bytes::new() };
        offsets.into_iter().map(record).collect()
    }

    #[test]
    fn a_batch_ends_at_the_nearest_wanted_offset() {
        let pins = Pins::default();
        assert_eq!(pins.serve(0, &records(0..10)), 10, "nobody wants anything");
        let (mut seven, mut four) = (pins.ask(7), pins.ask(4));
        assert_eq!(pins.serve(0, &records(0..10)), 4);
        assert!(four.try_recv().is_err(), "not reached yet");
        // Whoever was told lets go before the fold goes on.
        let looking = std::thread::spawn(move || drop(four.blocking_recv().unwrap().unwrap()));
        assert_eq!(pins.serve(4, &records(4..10)), 3);
        looking.join().unwrap();
        drop(seven.try_recv());
        drop(seven);
        assert_eq!(pins.serve(4, &records(4..10)), 6, "it is not wanted any more");
    }

    #[test]
    fn an_offset_that_is_no_record_is_reached_before_the_next_one() {
        let pins = Pins::default();
        let mut three = pins.ask(3);
        assert_eq!(pins.serve(2, &[]), 0);
        assert!(three.try_recv().is_err(), "a record 2 may come yet");
        drop(three);
        let three = pins.ask(3);
        let looking = std::thread::spawn(move || three.blocking_recv().unwrap().is_ok());
        assert_eq!(pins.serve(2, &records([5, 6])), 2);
        assert!(looking.join().unwrap());
    }

    #[test]
    fn what_is_past_is_said() {
        let pins = Pins::default();
        let mut two = pins.ask(2);
        assert_eq!(pins.serve(5, &[]), 0);
        assert_eq!(two.try_recv().unwrap().unwrap_err(), Passed { next_offset: 5 });
        let mut five = pins.ask(5);
        pins.end();
        assert!(matches!(five.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
    }
}
