//! One day's row in memory: whole, or what is to be added to a row that has not been read yet.
//!
//! A row is not read when it is first changed but with others before it is written: one ordered read of many is cheaper
//! than many reads.

use crate::state::quarters::{Quarters, Sums};
use crate::state::stream_time::Moment;
use crate::state::stretches::Day;
use crate::state::ttl::{Life, Spans, Stamp, StreamSeconds};

/// A day's row as it will be written.
#[derive(Debug)]
pub(super) struct DayRow<S> {
    is_whole: bool,
    is_changed: bool,
    /// What [`DayRow::heap_bytes`] was at the last write.
    heap_bytes_settled: u32,
    sums: Summed<S>,
}

/// What was added up since a row's life began, or since it was first changed in memory.
#[derive(Debug)]
struct Summed<S> {
    quarters: Quarters<S>,
    /// Stream time when the row was first changed.
    first: StreamSeconds,
    touched: StreamSeconds,
    /// What was added to an unread row before the log was silent for longer than the retention. Whether that ended the row's
    /// life depends on what the store has.
    before_silence: Option<Box<Self>>,
}

impl<S: Sums> DayRow<S> {
    /// A row that is in the store, or not.
    pub(super) fn unread(at: Moment) -> Self {
        Self { is_whole: false, is_changed: false, heap_bytes_settled: 0, sums: Summed::new(at) }
    }

    /// Adds to a quarter of the day.
    pub(super) fn add(&mut self, quarter: u8, sums: S, at: Moment, spans: Spans) {
        if spans.is_over(Life::Retention, self.sums.touched, at.now) {
            let before = std::mem::replace(&mut self.sums, Summed::new(at));
            if !self.is_whole {
                self.sums.before_silence = Some(Box::new(before));
            }
        }
        self.sums.quarters.add(quarter, sums);
        self.sums.touched = self.sums.touched.max(at.arrival);
        self.is_changed = true;
    }

    pub(super) fn is_changed(&self) -> bool {
        self.is_changed
    }

    pub(super) fn is_to_be_read(&self) -> bool {
        self.is_changed && !self.is_whole
    }

    /// Puts what the store has under what was added. `None` where that can't be read.
    #[must_use]
    pub(super) fn complete(&mut self, stored: Option<&[u8]>, spans: Spans) -> Option<()> {
        let stored = match stored {
            Some(value) => {
                let (touched, row) = Stamp::split(value)?;
                Some((touched, Quarters::decode(row)?))
            }
            None => None,
        };
        let (touched, quarters) = self.sums.after(stored, spans);
        self.sums = Summed { quarters, first: touched, touched, before_silence: None };
        self.is_whole = true;
        Some(())
    }

    /// The row's value, quarter by quarter; it is written as it is now. A row that was emptied stays for its life: else its
    /// stamp would depend on how records were cut into batches.
    pub(super) fn write(&mut self, value: &mut Vec<u8>) {
        self.is_changed = false;
        value.clear();
        Stamp::write(self.sums.touched, value);
        self.sums.quarters.encode(value);
    }

    /// The day as a whole, of which it is the day `at` in its stretch.
    pub(super) fn total(&self, at: u8) -> Day<S> {
        Day { at, touched: self.sums.touched, sums: self.sums.quarters.total() }
    }

    /// Bytes that it has beside its own size.
    pub(super) fn heap_bytes(&self) -> usize {
        self.sums.quarters.heap_bytes()
    }

    /// Takes notice of [`DayRow::heap_bytes`], and says what they were the last time.
    pub(super) fn settle(&mut self) -> usize {
        let now = u32::try_from(self.heap_bytes()).unwrap_or(u32::MAX);
        std::mem::replace(&mut self.heap_bytes_settled, now) as usize
    }
}

impl<S: Sums> Summed<S> {
    fn new(at: Moment) -> Self {
        Self { quarters: Quarters::default(), first: at.now, touched: at.arrival, before_silence: None }
    }

    /// The row, and when it was last touched, after this was added to what was `stored`.
    fn after(&self, stored: Option<(StreamSeconds, Quarters<S>)>, spans: Spans) -> (StreamSeconds, Quarters<S>) {
        let before = match &self.before_silence {
            Some(earlier) => Some(earlier.after(stored, spans)),
            None => stored,
        };
        match before.filter(|(touched, _)| !spans.is_over(Life::Retention, *touched, self.first)) {
            Some((touched, mut quarters)) => {
                quarters.add_all(&self.quarters);
                (touched.max(self.touched), quarters)
            }
            None => (self.touched, self.quarters.clone()),
        }
    }
}
