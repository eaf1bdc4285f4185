//! What the end-to-end tests run against.
//!
//! - [`track`]: the `track` binary, as a process
//! - [`http`]: HTTP by hand, byte for byte
//! - [`poll`]: waiting with a deadline

pub mod http;
pub mod poll;
pub mod track;
