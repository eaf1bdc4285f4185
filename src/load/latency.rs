//! Latencies in a histogram with three significant digits, to the microsecond.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Duration;

/// The longest that is told apart, in microseconds: ten minutes.
const LATENCY_US_MAX: u64 = 600_000_000;

/// Latencies, collected.
#[derive(Debug, Clone)]
pub(crate) struct Latency(Histogram<u64>);

/// The quantiles of collected latencies, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Quantiles {
    /// How many there are.
    pub(crate) count: u64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Latency {
    /// None yet.
    ///
    /// # Errors
    /// Never: the bounds are constants.
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self(Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)?))
    }

    /// Adds one; above the bound it counts as the bound.
    pub(crate) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LATENCY_US_MAX));
    }

    /// `None` where there are none.
    pub(crate) fn quantiles(&self) -> Option<Quantiles> {
        if self.0.is_empty() {
            return None;
        }
        #[allow(clippy::cast_precision_loss, reason = "at most ten minutes")]
        let ms = |us: u64| us as f64 / 1_000.0;
        let at = |quantile: f64| ms(self.0.value_at_quantile(quantile));
        Some(Quantiles {
            count: self.0.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: ms(self.0.max()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_milliseconds() {
        let mut latency = Latency::new().unwrap();
        assert_eq!(latency.quantiles(), None);
        for ms in 1..=100 {
            latency.record(Duration::from_millis(ms));
        }
        let quantiles = latency.quantiles().unwrap();
        let near = |found: f64, wanted: f64| assert!((found - wanted).abs() < 0.1, "{found} for {wanted}");
        near(quantiles.p50, 50.0);
        near(quantiles.p99, 99.0);
        near(quantiles.max, 100.0);
        assert_eq!(quantiles.count, 100);
    }
}
