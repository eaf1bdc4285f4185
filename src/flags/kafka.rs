//! How to reach Kafka, and what a topic is like when track has to make it.

use super::values::{self, Properties};
use clap::{Args, ValueEnum};

/// The connection to Kafka.
#[derive(Debug, Clone, Args)]
pub(crate) struct BrokerFlags {
    /// Brokers to begin with, separated by commas.
    #[arg(long, env = "TRACK_KAFKA_BROKERS", value_name = "HOST:PORT", default_value = "127.0.0.1:9092", value_parser = values::brokers)]
    pub(crate) kafka_brokers: String,
    /// Any setting of librdkafka, for example security.protocol=SASL_SSL. Repeatable; in the environment a line each.
    #[arg(long, env = "TRACK_KAFKA_PROPERTY", value_name = "KEY=VALUE", hide_env_values = true, value_parser = values::properties)]
    kafka_property: Vec<Properties>,
}

/// The connection to Kafka, for who makes the topics where they are missing.
#[derive(Debug, Clone, Args)]
pub(crate) struct KafkaFlags {
    #[command(flatten)]
    pub(crate) brokers: BrokerFlags,
    /// How many partitions track.events gets if it does not exist yet. Fixed from then on.
    #[arg(long, env = "TRACK_PARTITIONS", value_name = "COUNT", default_value = "12", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) partitions: u32,
    /// How many brokers hold each topic that does not exist yet.
    #[arg(long, env = "TRACK_REPLICATION_FACTOR", value_name = "COUNT", default_value = "1", value_parser = clap::value_parser!(i32).range(1..=32767))]
    pub(crate) replication_factor: i32,
}

impl BrokerFlags {
    /// The settings in the order given.
    pub(crate) fn properties(&self) -> Vec<(String, String)> {
        self.kafka_property.iter().flat_map(|properties| properties.0.iter().cloned()).collect()
    }

    /// As the log wants it, for topics that are there.
    pub(crate) fn config(&self) -> track_log::kafka::Config {
        track_log::kafka::Config {
            brokers: self.kafka_brokers.clone(),
            properties: self.properties(),
            partitions: 1,
            replication: 1,
        }
    }
}

impl KafkaFlags {
    /// As the log wants it.
    pub(crate) fn config(&self) -> track_log::kafka::Config {
        track_log::kafka::Config {
            partitions: self.partitions,
            replication: self.replication_factor,
            ..self.brokers.config()
        }
    }
}

/// How a group shares its partitions out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GroupProtocol {
    /// KIP-848: the broker decides. Kafka 4.
    Consumer,
    /// A member decides. Any Kafka.
    Classic,
}
