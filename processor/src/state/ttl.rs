//! When a row is over. Measured in stream time, whole seconds, and never by the wall clock.
//!
//! A row whose life is over is never answered and never built upon, compacted away or not. The compaction filter goes
//! by the stream time that is *on disk*: rows in memory may vanish in a crash and be folded again, and what is folded again
//! must find what it found the first time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Seconds since 1970, of stream time.
pub(crate) type StreamSeconds = u32;

/// The stream time of an append time in milliseconds: whole seconds, within 1970 and 2106.
pub(crate) fn stream_seconds(append_time_ms: i64) -> StreamSeconds {
    StreamSeconds::try_from(append_time_ms.div_euclid(1000).max(0)).unwrap_or(StreamSeconds::MAX)
}

/// The milliseconds of a stream time.
pub(crate) fn millis(time: StreamSeconds) -> i64 {
    i64::from(time) * 1000
}

/// How long raw events, session edges, pairs and idempotency marks live after arrival: 30 days.
pub(crate) const ARRIVAL_SECONDS: u32 = 30 * 24 * 60 * 60;

/// Which of the two spans a row lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// [`ARRIVAL_SECONDS`].
    Arrival,
    /// The configured retention.
    Retention,
}

/// The two spans, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spans {
    pub(crate) retention: u32,
}

impl Spans {
    /// Whether a row stamped `touched` is over at `now`.
    pub(crate) fn is_over(self, life: Life, touched: StreamSeconds, now: StreamSeconds) -> bool {
        let span = match life {
            Life::Arrival => ARRIVAL_SECONDS,
            Life::Retention => self.retention,
        };
        u64::from(now) >= u64::from(touched) + u64::from(span)
    }
}

/// The first four bytes of a value with a time to live: the stream time of its last change, big-endian.
pub(crate) struct Stamp;

impl Stamp {
    pub(crate) const BYTES: usize = 4;

    pub(crate) fn write(touched: StreamSeconds, into: &mut Vec<u8>) {
        into.extend_from_slice(&touched.to_be_bytes());
    }

    /// The stamp of a value and what follows it.
    pub(crate) fn split(value: &[u8]) -> Option<(StreamSeconds, &[u8])> {
        let (stamp, rest) = value.split_first_chunk::<{ Self::BYTES }>()?;
        Some((StreamSeconds::from_be_bytes(*stamp), rest))
    }
}

/// The stream time up to which everything is on disk, shared with the compaction filters of one store.
#[derive(Debug, Clone, Default)]
pub(crate) struct DurableTime(Arc<AtomicU32>);

impl DurableTime {
    pub(crate) fn set(&self, now: StreamSeconds) {
        self.0.fetch_max(now, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> StreamSeconds {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_lives_its_span_to_the_second() {
        let spans = Spans { retention: 400 * 86_400 };
        assert!(!spans.is_over(Life::Arrival, 100, 100 + ARRIVAL_SECONDS - 1));
        assert!(spans.is_over(Life::Arrival, 100, 100 + ARRIVAL_SECONDS));
        assert!(!spans.is_over(Life::Retention, 100, 100 + 400 * 86_400 - 1));
        assert!(spans.is_over(Life::Retention, 100, 100 + 400 * 86_400));
    }

    #[test]
    fn stream_time_stays_within_its_four_bytes() {
        assert_eq!(stream_seconds(-1), 0);
        assert_eq!(stream_seconds(1_999), 1);
        assert_eq!(stream_seconds(i64::MAX), StreamSeconds::MAX);
    }
}
