//! Apache Kafka through librdkafka.
//!
//! - [`Config`]: which brokers, and the operator's own properties (`kafka/client.rs`; `kafka/token.rs` for OAUTHBEARER)
//! - [`ensure_topics`]: the topics as track needs them, made or checked
//! - [`KafkaAppender`]: durable appends (over `kafka/producer.rs`)
//! - [`KafkaLog`]: any partition from any offset
//! - [`KafkaGroup`]: partitions shared with other processes (`kafka/admission.rs` knows whether the group has let this one
//!   in, `kafka/assignment.rs` holds what is assigned, `kafka/doubt.rs` whether a broker knows where it ends,
//!   `kafka/queue.rs` brings it to the readers; `kafka/hearing.rs` finds out whether the member has missed what it was told,
//!   by what the group says that it has, `kafka/share.rs`)
//! - [`KafkaBulletin`]: the last value per key
//! - [`KafkaTimes`]: when single records were appended
//!
//! `kafka/chunk.rs` takes records out of librdkafka's memory, and `kafka/tail.rs` knows where a partition ends.

mod admission;
mod append;
mod assignment;
mod bulletin;
mod chunk;
mod client;
mod doubt;
mod group;
mod hearing;
mod producer;
mod queue;
mod read;
mod share;
mod tail;
mod times;
mod token;
mod topics;

pub use append::KafkaAppender;
pub use bulletin::KafkaBulletin;
pub use client::Config;
pub use group::{KafkaGroup, Protocol};
pub use read::KafkaLog;
pub use times::KafkaTimes;
pub use topics::ensure_topics;
