//! Checks of what surrounds the code: the rooms keep their distance, and what is written about the binary is true of it.
//!
//! - [`rooms`]: which crate may use which, and no room for odds and ends
//! - [`compose`]: the services of docker/compose.yaml, against the binary's own help
//! - [`image`]: docker/Dockerfile, against the binary, the toolchain and scripts/setup
//! - [`dashboards`]: Grafana asks for metrics that exist
//! - [`alerts`]: so do Prometheus' rules, and docs/operations.md explains all of them
//! - [`openapi`]: the API's description is whole and agrees with itself
//! - [`readme`]: the flags and files that README.md names
//! - [`examples`]: examples.sh and the Postman collection, against one process and the services of the compose file
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is not as it should be")]

mod alerts;
mod binary;
mod compose;
mod dashboards;
mod examples;
mod image;
mod openapi;
mod readme;
mod rooms;
mod tree;
