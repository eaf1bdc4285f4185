//! What was measured: a table to read, or JSON for a program.

use super::ask::Asked;
use super::bodies::Plan;
use super::freshness::Freshness;
use super::latency::Quantiles;
use super::rate;
use super::send::Sent;
use super::verify::Verdict;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// What a run came to. What does not apply to it is left out.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Events sent or written, or questions asked.
    done: u64,
    /// From the first to the last of them, in seconds.
    seconds: f64,
    /// So many a second.
    per_second: f64,
    /// What making the requests took, before the clock started, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    prepare_seconds: Option<f64>,
    /// Requests, answered or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<u64>,
    /// Bytes of all bodies prepared.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_bytes: Option<u64>,
    /// From when a request was due to its answer, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<Quantiles>,
    /// From the first request to an answer of /metrics that has every event, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    counted_seconds: Option<f64>,
    /// So many events a second were taken, made durable and counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    counted_per_second: Option<f64>,
    /// From an event's 200 to an answer of /metrics that has it, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    freshness_ms: Option<Quantiles>,
    /// Probes that were refused or never seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    probes_lost: Option<u64>,
    /// What else was answered, and how often.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    failures: BTreeMap<String, u64>,
    /// Whether the answers are what was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<Verdict>,
}

impl Report {
    /// Of events that were put somewhere.
    pub(super) fn written(done: u64, took: Duration) -> Self {
        Self { done, seconds: took.as_secs_f64(), per_second: rate(done, took), ..Self::default() }
    }

    /// Of events that were posted; those count that were acknowledged.
    pub(super) fn posted(plan: &Plan, sent: &Sent, prepared: Duration, freshness: Option<Freshness>) -> Self {
        let unanswered = sent.failures.values().sum::<u64>();
        Self {
            prepare_seconds: Some(prepared.as_secs_f64()),
            requests: Some(sent.latency.quantiles().map_or(0, |quantiles| quantiles.count) + unanswered),
            body_bytes: Some(plan.requests.iter().map(|request| request.body.len() as u64).sum()),
            latency_ms: sent.latency.quantiles(),
            freshness_ms: freshness.as_ref().and_then(|freshness| freshness.seen.quantiles()),
            probes_lost: freshness.map(|freshness| freshness.lost),
            failures: sent.failures.clone(),
            ..Self::written(sent.acknowledged, sent.took)
        }
    }

    /// Of questions; those count that were answered.
    pub(super) fn asked(asked: &Asked) -> Self {
        let latency_ms = asked.latency.quantiles();
        let answered = latency_ms.map_or(0, |quantiles| quantiles.count);
        Self { latency_ms, failures: asked.failures.clone(), ..Self::written(answered, asked.took) }
    }

    /// Every acknowledged event was in an answer, so long after the first was sent.
    pub(super) fn counted_after(&mut self, took: Duration) {
        self.counted_seconds = Some(took.as_secs_f64());
        self.counted_per_second = Some(rate(self.done, took));
    }

    /// What came of the check.
    pub(super) fn verified(&mut self, verdict: Verdict) {
        self.verified = Some(verdict);
    }

    /// Whether every answer was what was sent, as far as that was checked.
    pub(super) fn is_good(&self) -> bool {
        self.verified.as_ref().is_none_or(|verdict| verdict.differences == 0)
    }

    /// One object on one line.
    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// A line each.
    pub(super) fn table(&self) -> String {
        let mut table = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(table, "{name:<14}{value}");
        };
        line("done", format!("{} in {:.2} s, {:.0} a second", self.done, self.seconds, self.per_second));
        if let Some(requests) = self.requests {
            line("requests", requests.to_string());
        }
        let quantiles = |found: &Quantiles| {
            let Quantiles { count, p50, p90, p99, p999, max } = found;
            format!("p50 {p50:.2}  p90 {p90:.2}  p99 {p99:.2}  p99.9 {p999:.2}  max {max:.2} ms, of {count}")
        };
        if let Some(latency) = &self.latency_ms {
            line("latency", quantiles(latency));
        }
        if let (Some(seconds), Some(per_second)) = (self.counted_seconds, self.counted_per_second) {
            line("counted", format!("after {seconds:.2} s, {per_second:.0} a second"));
        }
        if let Some(freshness) = &self.freshness_ms {
            line("freshness", quantiles(freshness));
        }
        if let Some(lost @ 1..) = self.probes_lost {
            line("probes lost", lost.to_string());
        }
        for (what, times) in &self.failures {
            line("failed", format!("{times} × {what}"));
        }
        if let Some(verdict) = &self.verified {
            let Verdict { compared, users, differences, told } = verdict;
            line("verified", format!("{compared} numbers, {users} users one by one: {differences} differ"));
            told.iter().for_each(|difference| line("", difference.clone()));
        }
        table.truncate(table.trim_end().len());
        table
    }
}
