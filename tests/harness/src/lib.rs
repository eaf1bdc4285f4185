//! What the end-to-end tests run against.
//!
//! - [`track`]: the `track` binary, as a process
//! - [`cluster`]: the same as services on Kafka
//! - [`http`]: HTTP by hand, byte for byte
//! - [`broker`]: a real Kafka broker
//! - [`tls`] has certificates
//! - [`poll`]: waiting with a deadline

pub mod broker;
pub mod cluster;
pub mod http;
pub mod poll;
pub mod tls;
pub mod track;
