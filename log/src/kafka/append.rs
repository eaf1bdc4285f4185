//! Appends to a topic, each record to the partition of its key.

use super::client::Config;
use super::producer::{Outgoing, Producer};
use crate::{Append, AppendError, LogError, NewRecord, Position};
use futures::future::BoxFuture;
use track_proto::partitioner::partition_for;

/// Appends records to a topic, to the partitions that Java's clients would choose.
pub struct KafkaAppender {
    producer: Producer,
}

impl KafkaAppender {
    /// Connects, and reads how many partitions the topic has.
    ///
    /// # Errors
    /// [`LogError::Refused`] where a property or the topic is not as it must be, [`LogError::Kafka`] where the brokers
    /// can't be reached within 10 s or do not know us.
    pub fn open(config: &Config, topic: &str) -> Result<Self, LogError> {
        Ok(Self { producer: Producer::open(config, topic)? })
    }
}

impl Append for KafkaAppender {
    fn partition_count(&self) -> u32 {
        self.producer.partition_count()
    }

    fn append(&self, records: Vec<NewRecord>) -> BoxFuture<'static, Result<Vec<Position>, AppendError>> {
        let partitions = self.partition_count();
        self.producer.send(records.iter().map(|record| Outgoing {
            partition: partition_for(&record.key, partitions),
            key: &record.key,
            value: Some(&record.value),
        }))
    }

    fn check_ready(&self) -> Result<(), String> {
        self.producer.check_ready()
    }
}
