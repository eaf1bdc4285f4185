//! The contracts between the rooms: what an event is on the log, what a query asks and is answered,
//! which partition a user lives in and which calendar bucket an instant falls into.
//!
//! - [`v1`]: the generated types of `track/v1/*.proto`
//! - [`event`]: the rules an event obeys, whoever wrote it to the log, and its envelope's codec
//! - [`owners`]: how often processors tell of themselves, and when one is silent
//! - [`partitioner`]: from a user to a partition, as Java's Kafka clients do it
//! - [`topics`]: the names of the topics
//! - [`calendar`]: quarters, days, weeks, months, time zones
//! - [`clock`]: the wall clock, as a value
//! - [`view`]: the question and the rows of an answer, apart from their encoding

pub mod calendar;
pub mod clock;
pub mod event;
mod fields;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod owners;
pub mod partitioner;
mod timestamp;
pub mod topics;
pub mod view;

/// Generated from `track/v1/*.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
pub mod v1 {
    tonic::include_proto!("track.v1");
}
