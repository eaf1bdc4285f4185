//! Kafka: the conformance suite, and what only Kafka's side of the seam has. A broker that dies, a group that shares,
//! topics with settings, security.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "kafka/append.rs"]
mod append;
#[path = "kafka/bulletin.rs"]
mod bulletin;
mod conformance;
#[path = "kafka/group.rs"]
mod group;
#[path = "kafka/read.rs"]
mod read;
#[path = "kafka/security.rs"]
mod security;
#[path = "kafka/support.rs"]
mod support;
#[path = "kafka/times.rs"]
mod times;
#[path = "kafka/topics.rs"]
mod topics;

use std::sync::Arc;
use track_harness::broker::Broker;
use track_log::kafka::{KafkaAppender, KafkaLog};
use track_log::{Append, ReadLog};

conformance!(Kafka);

/// A log on a topic of its own, on the broker that the tests share.
struct Kafka {
    topic: String,
    appender: Arc<KafkaAppender>,
    log: Arc<KafkaLog>,
}

impl Kafka {
    fn opened(topic: String) -> Self {
        let config = support::config(Broker::shared(), &[]);
        let appender = Arc::new(KafkaAppender::open(&config, &topic).unwrap());
        let log = Arc::new(KafkaLog::open_topic(&config, &topic).unwrap());
        Self { topic, appender, log }
    }
}

impl conformance::Fixture for Kafka {
    fn open(partition_count: u32) -> Self {
        Self::opened(support::topic(Broker::shared(), partition_count.try_into().unwrap(), &[]))
    }

    fn reopen(self) -> Self {
        let Self { topic, appender, log } = self;
        drop((appender, log));
        Self::opened(topic)
    }

    fn append(&self) -> Arc<dyn Append> {
        Arc::clone(&self.appender) as _
    }

    fn log(&self) -> Arc<dyn ReadLog> {
        Arc::clone(&self.log) as _
    }
}
