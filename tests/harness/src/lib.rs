//! What the end-to-end tests run against.
//!
//! - [`track`]: the `track` binary, as a process
//! - [`cluster`]: the same as services on Kafka
//! - [`http`]: HTTP by hand, byte for byte
//! - [`broker`]: a real Kafka broker
//! - [`s3`]: a real S3-compatible server
//! - [`tls`] has certificates
//! - [`poll`]: waiting with a deadline

pub mod broker;
pub mod cluster;
pub mod http;
pub mod poll;
pub mod s3;
pub mod tls;
pub mod track;
