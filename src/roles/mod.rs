//! One role a process, against Kafka.
//!
//! - [`ingest`], [`processor`], [`query`]: the roles
//! - [`brokers`]: opening what needs brokers, for as long as they are away
//! - [`owners`]: the board that says which processor serves what: told by processors, followed by the query service

mod brokers;
pub(crate) mod ingest;
mod owners;
pub(crate) mod processor;
pub(crate) mod query;
