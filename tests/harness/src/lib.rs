//! What the end-to-end tests run against.
//!
//! - [`track`]: the `track` binary, as a process
//! - [`cluster`]: the same as services on Kafka
//! - [`http`]: HTTP by hand, byte for byte
//! - [`answers`]: what the API must answer, by the oracle
//! - [`broker`]: a real Kafka broker
//! - [`brokers`]: three of them, of which one may be away
//! - [`proxy`]: a way between two of these that can be cut
//! - [`s3`]: a real S3-compatible server
//! - [`tls`] has certificates, [`seed`] chance that can be repeated
//! - [`poll`]: waiting with a deadline

pub mod answers;
pub mod broker;
pub mod brokers;
pub mod cluster;
pub mod http;
pub mod poll;
pub mod proxy;
pub mod s3;
pub mod seed;
pub mod tls;
pub mod track;
