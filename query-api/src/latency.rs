//! How long calls to processors take just now: who takes longer than nearly all is worth a second call elsewhere.

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Calls looked at together: a hundredth of them must be some.
const CALLS: u64 = 1_000;
/// What is taken for long until so many calls have been made.
const AT_FIRST: Duration = Duration::from_millis(100);
/// A second call costs something too: where calls take next to nothing, a hiccup is no reason.
const MIN: Duration = Duration::from_millis(5);

/// What takes longer counts as this long.
const LONGEST: Duration = Duration::from_secs(60);

/// The latencies of the last calls.
#[derive(Debug)]
pub(crate) struct Latency {
    recent_us: Mutex<Histogram<u32>>,
    nearly_all_us: AtomicU64,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            recent_us: Mutex::new(
                Histogram::new_with_max(micros(LONGEST), 2).expect("two significant digits are allowed"),
            ),
            nearly_all_us: AtomicU64::new(micros(AT_FIRST)),
        }
    }
}

impl Latency {
    /// The 99th percentile of the last thousand calls, about.
    pub(crate) fn nearly_all(&self) -> Duration {
        Duration::from_micros(self.nearly_all_us.load(Ordering::Relaxed))
    }

    /// Takes note of a call that was answered.
    pub(crate) fn record(&self, took: Duration) {
        let mut recent = self.recent_us.lock();
        recent.saturating_record(micros(took));
        if recent.len() >= CALLS {
            self.nearly_all_us.store(recent.value_at_quantile(0.99).max(micros(MIN)), Ordering::Relaxed);
            recent.reset();
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearly_all_is_what_one_call_in_a_hundred_exceeds() {
        let latency = Latency::default();
        assert_eq!(latency.nearly_all(), AT_FIRST);
        for call in 1..=CALLS {
            latency.record(Duration::from_millis(if call % 200 == 0 { 2_000 } else { 20 }));
        }
        let nearly_all_ms = latency.nearly_all().as_millis();
        assert!((20..=21).contains(&nearly_all_ms), "{nearly_all_ms}");
        (0..CALLS).for_each(|_| latency.record(Duration::from_micros(200)));
        assert_eq!(latency.nearly_all(), MIN);
    }
}
