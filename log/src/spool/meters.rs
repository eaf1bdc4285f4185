//! What is counted. Handles are made once.

use metrics::{Counter, Gauge, counter, gauge};
use std::time::Duration;

pub(super) struct Meters {
    pub(super) spooled: Counter,
    pub(super) forwarded: Counter,
    waiting: Gauge,
    bytes: Gauge,
    oldest_seconds: Gauge,
}

impl Meters {
    /// Of a spool that may hold so much.
    pub(super) fn new(bytes_max: u64) -> Self {
        gauge!("track_spool_bytes_max").set(approximately(bytes_max));
        Self {
            spooled: counter!("track_spool_records_spooled_total"),
            forwarded: counter!("track_spool_records_forwarded_total"),
            waiting: gauge!("track_spool_waiting_records"),
            bytes: gauge!("track_spool_bytes"),
            oldest_seconds: gauge!("track_spool_oldest_seconds"),
        }
    }

    /// How many records wait, what the spool takes on disk, and how long the oldest has been waiting.
    pub(super) fn tell(&self, waiting: u64, bytes: u64, oldest: Duration) {
        self.waiting.set(approximately(waiting));
        self.bytes.set(approximately(bytes));
        self.oldest_seconds.set(oldest.as_secs_f64());
    }
}

#[allow(clippy::cast_precision_loss, reason = "a metric is a float")]
fn approximately(count: u64) -> f64 {
    count as f64
}
