//! What there was to be seen, for a summary.

use crate::history::History;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// A longer time without an answer is told.
const REFUSAL_TOLD: Duration = Duration::from_secs(5);

/// Counts of everything.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    requests: u64,
    requests_spooled: u64,
    requests_refused: u64,
    requests_unanswered: u64,
    longest_request: Duration,
    answers: u64,
    answers_partial: u64,
    queries_refused: u64,
    queries_unanswered: u64,
    /// By partition, or of all together: since when there have been 503s alone.
    refused_since: BTreeMap<Option<u32>, Instant>,
    longest_refusal: Duration,
    recoveries: u64,
    longest_recovery: Duration,
    actions: BTreeMap<String, u64>,
}

impl Tally {
    pub fn acknowledged(&self, took: Duration, is_spooled: bool) {
        let mut counts = self.0.lock();
        counts.requests += 1;
        counts.requests_spooled += u64::from(is_spooled);
        counts.longest_request = counts.longest_request.max(took);
    }

    pub fn request_refused(&self) {
        self.0.lock().requests_refused += 1;
    }

    pub fn request_unanswered(&self) {
        self.0.lock().requests_unanswered += 1;
    }

    /// An answer that was right, over the partition of one user or over all.
    pub fn answered(&self, partition: Option<u32>, is_partial: bool) {
        let mut counts = self.0.lock();
        counts.answers += 1;
        if is_partial {
            counts.answers_partial += 1;
        } else if let Some(since) = counts.refused_since.remove(&partition) {
            let refused = since.elapsed();
            counts.longest_refusal = counts.longest_refusal.max(refused);
            if refused > REFUSAL_TOLD {
                let what = partition.map_or("all partitions".to_owned(), |partition| format!("partition {partition}"));
                println!("          questions about {what} have been refused for {refused:.1?}");
            }
        }
    }

    pub fn query_refused(&self, partition: Option<u32>) {
        let mut counts = self.0.lock();
        counts.queries_refused += 1;
        counts.refused_since.entry(partition).or_insert_with(Instant::now);
    }

    pub fn query_unanswered(&self) {
        self.0.lock().queries_unanswered += 1;
    }

    /// Everything is answered again, so long after the end of all that has happened.
    pub fn recovered(&self, after: Duration) {
        let mut counts = self.0.lock();
        counts.recoveries += 1;
        counts.longest_recovery = counts.longest_recovery.max(after);
    }

    pub fn action(&self, name: &str) {
        *self.0.lock().actions.entry(name.to_owned()).or_default() += 1;
    }

    pub fn summary(&self, history: &History) -> String {
        let (counts, known) = (self.0.lock(), history.now());
        let mut summary = format!(
            "{} events of {} users in {} requests acknowledged, {} of them spooled; {} times refused, {} times not answered, the longest took {:.1?}\n\
             {} answers checked, {} of them partial; {} refused, {} not given, refusals alone for {:.1?} at the longest\n\
             {} times all was answered again, {:.1?} after the last harm at the longest\n",
            known.sent().len(),
            known.users().count(),
            counts.requests,
            counts.requests_spooled,
            counts.requests_refused,
            counts.requests_unanswered,
            counts.longest_request,
            counts.answers,
            counts.answers_partial,
            counts.queries_refused,
            counts.queries_unanswered,
            counts.longest_refusal,
            counts.recoveries,
            counts.longest_recovery,
        );
        let actions = counts.actions.iter().map(|(name, times)| format!("{times} × {name}"));
        let _ = write!(
            summary,
            "{} actions: {}",
            counts.actions.values().sum::<u64>(),
            actions.collect::<Vec<_>>().join(", ")
        );
        summary
    }
}
