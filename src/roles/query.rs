//! `track query`: answers from the processors that tell of themselves on Kafka.

use super::{brokers, owners};
use crate::api;
use crate::connect;
use crate::flags::QueryFlags;
use crate::process::Process;
use std::sync::Arc;
use track_log::Bulletin as _;
use track_log::kafka::{KafkaBulletin, ensure_topics};
use track_proto::topics;
use track_query_api::owners::Owners;
use track_query_api::{Config, QueryApi};

/// Runs until the process is told to stop and requests are finished.
///
/// # Errors
/// What keeps it from starting.
pub(crate) async fn run(flags: QueryFlags, process: Process) -> anyhow::Result<()> {
    let socket = process.bind_public(&flags.public, &flags.common)?;
    let found = Arc::new(Owners::new(connect::over_the_network(flags.trust.tls_ca.as_deref())?));
    process.readiness.wait("query", "starting");
    process.serve_admin(&flags.common, None)?;

    let kafka = flags.kafka.config();
    let open = move || {
        ensure_topics(&kafka)?;
        KafkaBulletin::open(&kafka, topics::OWNERS)
    };
    let Some(board) = brokers::open(&process, "query", open).await? else { return Ok(()) };
    let hear = {
        let found = Arc::clone(&found);
        move |instance, said, heard| found.apply(instance, said, heard)
    };
    let _following = board.follow(owners::reader(hear, process.clock.clone()))?;

    let config = Config { timeout: flags.query_timeout, ..Config::default() };
    let query = QueryApi::new(config, found, process.clock.clone());
    process.readiness.watch("query", {
        let query = query.clone();
        move || query.check_ready()
    });
    let service = api::public(&flags.public, &[api::QUERY], query.routes());
    println!("track query listens on {}", socket.url());
    socket.listen()?.serve(service, process.stop, flags.common.drain_timeout).await;
    Ok(())
}
