//! `track ingest`: HTTP in, Kafka out.

use super::brokers;
use crate::api;
use crate::flags::IngestFlags;
use crate::process::Process;
use std::sync::Arc;
use track_ingest::{Config, Ingest};
use track_log::Append;
use track_log::kafka::{KafkaAppender, ensure_topics};
use track_proto::topics;

/// Runs until the process is told to stop and requests are finished.
///
/// # Errors
/// What keeps it from starting.
pub(crate) async fn run(flags: IngestFlags, process: Process) -> anyhow::Result<()> {
    let socket = process.bind_public(&flags.public, &flags.common)?;
    process.readiness.wait("ingest", "starting");
    process.serve_admin(&flags.common, None)?;

    let kafka = flags.kafka.config();
    let open = move || {
        ensure_topics(&kafka)?;
        KafkaAppender::open(&kafka, topics::EVENTS)
    };
    let Some(log) = brokers::open(&process, "ingest", open).await? else { return Ok(()) };
    let log: Arc<dyn Append> = Arc::new(log);
    process.readiness.watch("ingest", {
        let log = Arc::clone(&log);
        move || log.check_ready()
    });

    let ingest = Ingest::new(Config::default(), log, process.clock.clone());
    let service = api::public(&flags.public, &[api::INGEST], ingest.routes());
    println!("track ingest listens on {}", socket.url());
    socket.listen()?.serve(service, process.stop, flags.common.drain_timeout).await;
    Ok(())
}
