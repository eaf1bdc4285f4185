//! How long calls to processors take just now: who takes longer than nearly all is worth a second call elsewhere.

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Calls looked at together: a hundredth of them must be some.
const CALLS: u64 = 1_000;
/// What is taken for long until so many calls have been made.
const AT_FIRST: Duration = Duration::from_millis(100);
/// A second call costs something too: where calls take next to nothing, a hiccup is no reason.
const MIN: Duration = Duration::from_millis(5);

/// What takes longer counts as this long.
const LONGEST: Duration = Duration::from_secs(60);

/// Answered calls that pay for one second call: where everything is slow, asking twice makes it slower.
const CALLS_A_SECOND_CALL: u32 = 10;
/// Second calls that may be saved up.
const SAVED_MAX: u32 = 100;

/// The latencies of the last calls, and what second calls may be made.
#[derive(Debug)]
pub(crate) struct Latency {
    /// In calls that were answered.
    saved: AtomicU32,
    recent_us: Mutex<Histogram<u32>>,
    nearly_all_us: AtomicU64,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            saved: AtomicU32::new(SAVED_MAX * CALLS_A_SECOND_CALL),
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

    /// Whether one second call may be made; it is, then.
    pub(crate) fn spend(&self) -> bool {
        let spend = |saved: u32| saved.checked_sub(CALLS_A_SECOND_CALL);
        self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_ok()
    }

    /// Takes note of a call that was answered.
    pub(crate) fn record(&self, took: Duration) {
        let save = |saved| (saved < SAVED_MAX * CALLS_A_SECOND_CALL).then(|| saved + 1);
        let _full = self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, save);
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

    #[test]
    fn second_calls_are_a_tenth_of_all_at_most() {
        let latency = Latency::default();
        let spend = || (0..1_000).filter(|_| latency.spend()).count();
        assert_eq!(spend(), 100, "what is saved up");
        (0..50).for_each(|_| latency.record(Duration::ZERO));
        assert_eq!(spend(), 5);
    }
}
