//! The routes, asked through HTTP and answered by processors that say what a test tells them to.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod answers;
mod cluster;
mod network;
mod parameters;
mod readiness;
