//! Answers `GET /metrics` and `GET /sessions` from the processors that hold the state.
//!
//! A query passes through the modules in this order:
//!
//! - `routes`: HTTP in, HTTP out
//! - `params`: from the query string to a question, or to what is wrong with it
//! - `plan`: which partitions to ask, and how far each must be
//! - [`owners`]: which processors serve a partition now, the freshest first
//! - `scatter`: exactly one answer from every partition, or its number among the missing
//! - `ask`: one partition's answer, from another processor where the first fails or is slow, or after a move
//! - `latency`: what slow is just now
//! - `merge`: one list of rows out of many
//! - `as_of`: what the answer includes
//! - `render`: the JSON of an answer
//! - `error`: what a client sees when there is none
//!
//! Nothing is cached: an answer is what the partitions say at that moment.

mod as_of;
mod ask;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod latency;
mod merge;
pub mod owners;
mod params;
mod plan;
mod render;
mod routes;
mod scatter;

pub use as_of::{AS_OF_HEADER, LAG_HEADER};
pub use params::POSITION_HEADER;
pub use routes::{Config, QueryApi};
