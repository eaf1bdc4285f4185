//! Whether the brokers have let a member into its group.

use super::assignment::Consumer;
use rdkafka::bindings::{
    rd_kafka_consumer_group_metadata, rd_kafka_consumer_group_metadata_destroy,
    rd_kafka_consumer_group_metadata_generation_id,
};
use rdkafka::consumer::Consumer as _;
use std::time::{Duration, Instant};

/// How long one that was let in may be told nothing before it counts as having nothing. What is its own comes with the
/// first answer of the brokers or, where others have to give it up, with a next one: every 5 seconds unless they are set
/// to something else (`group.consumer.heartbeat.interval.ms`).
const TOLD_WITHIN: Duration = Duration::from_secs(6);

/// The time of one consumer between asking to be let in and being a member.
#[derive(Default)]
pub(super) struct Admission {
    let_in: Option<Instant>,
    is_over: bool,
}

impl Admission {
    /// True once: when the consumer is a member that has been told what is its own, or has had the time to be told.
    pub(super) fn ends(&mut self, consumer: &Consumer, has_partitions: bool) -> bool {
        if self.is_over {
            return false;
        }
        if self.let_in.is_none() && is_in(consumer) {
            self.let_in = Some(Instant::now());
        }
        self.is_over = self.let_in.is_some_and(|at| has_partitions || at.elapsed() >= TOLD_WITHIN);
        self.is_over
    }
}

/// Members have a generation (classic) or an epoch (KIP-848) from 1 on; who asks to be one has 0 or less.
fn is_in(consumer: &Consumer) -> bool {
    let client = consumer.client().native_ptr();
    #[allow(unsafe_code, reason = "rust-rdkafka has no safe way to ask")]
    // SAFETY: the client lives as long as the consumer that is borrowed; what it gives is ours, null without a group, and
    // destroyed once.
    unsafe {
        let metadata = rd_kafka_consumer_group_metadata(client);
        if metadata.is_null() {
            return false;
        }
        let generation = rd_kafka_consumer_group_metadata_generation_id(metadata);
        rd_kafka_consumer_group_metadata_destroy(metadata);
        generation > 0
    }
}
