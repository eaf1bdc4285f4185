//! Answers `GET /metrics` and `GET /sessions` from the processors that hold the state.
//!
//! A query passes through the modules in this order:
//!
//! - `routes`: HTTP in, HTTP out
//! - `params`: from the query string to a question, or to what is wrong with it
//! - `plan`: which partitions to ask, and how far each must be
//! - [`owners`]: which processors serve a partition now, the freshest first
//! - `scatter`: exactly one answer from every partition, or its number among the missing
//! - `merge`: one list of rows out of many
//! - `render`: the JSON of an answer
//! - `error`: what a client sees when there is none
//!
//! Nothing is cached: an answer is what the partitions say at that moment.

mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod merge;
pub mod owners;
mod params;
mod plan;
mod render;
mod routes;
mod scatter;

pub use params::POSITION_HEADER;
pub use routes::{Config, QueryApi};
