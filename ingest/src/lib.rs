//! Takes events over HTTP and answers when they are durable on the log.
//!
//! Modules stand in the order in which a request meets them:
//!
//! - `routes`: `POST /track` and `POST /track/batch`
//! - `body`: the request's body, read as a stream under caps, and `unpack`, its `Content-Encoding`
//! - `decode`: JSON to the fields of an event; NDJSON and arrays to many
//! - `validate`: the rules of a field, the server's time, and `metadata` in its compact form
//! - `envelope`: the event as it lies on the log
//! - `publish`: the append, and what it costs to wait for it
//! - `answer`: success as JSON
//! - `error`: every other answer, and the one place that gives it a status
//!
//! `inflight` bounds the memory of all requests together; `meters` counts what came of them.

mod answer;
mod body;
mod decode;
mod envelope;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod inflight;
mod metadata;
mod meters;
mod publish;
mod routes;
#[cfg(test)]
mod testing;
mod unpack;
mod validate;

use envelope::Ids;
use inflight::Inflight;
use meters::Meters;
use std::sync::Arc;
use std::time::Duration;
use track_log::Accept;
use track_proto::clock::Clock;

/// What ingest may spend on a request, and on all of them together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How long a body may take to arrive, and then how long the log may take to make its events durable.
    pub request_timeout: Duration,
    /// Bytes of bodies and envelopes that all requests together may hold; beyond it a request is answered 429.
    pub inflight_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { request_timeout: Duration::from_secs(10), inflight_bytes_max: 256 * 1024 * 1024 }
    }
}

/// The ingest service. Clones share everything.
#[derive(Clone)]
pub struct Ingest {
    shared: Arc<Shared>,
}

struct Shared {
    request_timeout: Duration,
    inflight: Inflight,
    log: Arc<dyn Accept>,
    clock: Clock,
    ids: Ids,
    meters: Meters,
}

impl Ingest {
    /// Events go to `log`; `clock` is the server's time. Counts go to the metrics recorder that is installed by now.
    #[must_use]
    pub fn new(config: Config, log: Arc<dyn Accept>, clock: Clock) -> Self {
        Self {
            shared: Arc::new(Shared {
                request_timeout: config.request_timeout,
                inflight: Inflight::new(config.inflight_bytes_max),
                log,
                clock,
                ids: Ids::new(),
                meters: Meters::new(),
            }),
        }
    }
}
