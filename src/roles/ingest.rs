//! `track ingest`: HTTP in, Kafka out; with a spool also while Kafka is away.

use super::brokers;
use crate::api;
use crate::flags::{IngestFlags, SpoolFlags};
use crate::process::Process;
use crate::server::Socket;
use anyhow::Context as _;
use std::sync::Arc;
use track_ingest::{Config, Ingest};
use track_log::kafka::{self, KafkaAppender, ensure_topics};
use track_log::spool::{self, Spool};
use track_log::{Accept, Append, LogError};
use track_proto::topics;

/// Runs until the process is told to stop and requests are finished.
///
/// # Errors
/// What keeps it from starting.
pub(crate) async fn run(flags: IngestFlags, process: Process) -> anyhow::Result<()> {
    let socket = process.bind_public(&flags.public, &flags.common)?;
    process.readiness.wait("ingest", "starting");
    process.serve_admin(&flags.common, None)?;
    match open_spool(&flags.spool, &process).await? {
        Some(spool) => behind_a_spool(flags, process, socket, spool).await,
        None => on_kafka(flags, process, socket).await,
    }
}

/// Serves once Kafka is there, and refuses while it is away.
async fn on_kafka(flags: IngestFlags, process: Process, socket: Socket) -> anyhow::Result<()> {
    let kafka = flags.kafka.config();
    let Some(log) = brokers::open(&process, "ingest", move || appender(&kafka)).await? else { return Ok(()) };
    let log = Arc::new(log);
    process.readiness.watch("ingest", {
        let log = Arc::clone(&log);
        move || log.check_ready()
    });
    serve(&flags, &process, socket, log).await
}

/// Serves at once, and opens Kafka meanwhile.
async fn behind_a_spool(flags: IngestFlags, process: Process, socket: Socket, spool: Arc<Spool>) -> anyhow::Result<()> {
    process.readiness.watch_noting("ingest", {
        let spool = Arc::clone(&spool);
        move || spool.check_ready()
    });
    let kafka = flags.kafka.config();
    let connect = async {
        let explain = |reason| spool.explain(reason);
        match brokers::open_meanwhile(&process.stop, explain, move || appender(&kafka)).await {
            Ok(Some(log)) => spool.connect(Arc::new(log)),
            Ok(None) => {}
            Err(error) => {
                // What is accepted could never be forwarded: said once requests are finished.
                process.stop.cancel();
                return Err(error);
            }
        }
        Ok(())
    };
    let serving = async {
        let served = serve(&flags, &process, socket, Arc::clone(&spool) as _).await;
        process.stop.cancel();
        served
    };
    let (connected, served) = tokio::join!(connect, serving);
    // Waits for the round that is being forwarded.
    tokio::task::spawn_blocking(move || spool.close()).await?;
    connected?;
    served
}

async fn serve(flags: &IngestFlags, process: &Process, socket: Socket, log: Arc<dyn Accept>) -> anyhow::Result<()> {
    let ingest = Ingest::new(Config::default(), log, process.clock.clone());
    let service = api::public(&flags.public, &[api::INGEST], ingest.routes());
    println!("track ingest listens on {}", socket.url());
    socket.listen()?.serve(service, process.stop.clone(), flags.common.drain_timeout).await;
    Ok(())
}

async fn open_spool(flags: &SpoolFlags, process: &Process) -> anyhow::Result<Option<Arc<Spool>>> {
    let Some(dir) = flags.spool.clone() else { return Ok(None) };
    let (shown, clock) = (format!("--spool {}", dir.display()), process.clock.clone());
    let config = spool::Config { dir, bytes_max: flags.spool_size_max.as_u64() };
    // Reads the end of what was spooled, to see where a crash may have torn it.
    let opened = tokio::task::spawn_blocking(move || Spool::open(config, clock)).await?;
    Ok(Some(Arc::new(opened.context(shown)?)))
}

fn appender(kafka: &kafka::Config) -> Result<KafkaAppender, LogError> {
    ensure_topics(kafka)?;
    KafkaAppender::open(kafka, topics::EVENTS)
}
