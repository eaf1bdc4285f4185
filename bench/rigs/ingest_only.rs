//! The ingest room on an embedded log of its own, with nobody who folds: what taking events costs by itself.
//!
//! `ingest-only --listen 127.0.0.1:8080 --log FOLDER`, until it is told to stop.

use clap::Parser;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::UNIX_EPOCH;
use track_ingest::{Config, Ingest};
use track_log::embedded::{self, EmbeddedLog};
use track_proto::clock::Clock;

#[derive(Debug, Parser)]
struct Flags {
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
    /// The folder of the log.
    #[arg(long)]
    log: PathBuf,
    /// How many partitions it gets.
    #[arg(long, default_value = "4")]
    partitions: u32,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let clock: Clock = Arc::new(|| {
        let since_1970 = UNIX_EPOCH.elapsed().unwrap_or_default();
        i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
    });
    let log = EmbeddedLog::open(embedded::Config::new(flags.log, flags.partitions), Arc::clone(&clock))?;
    let ingest = Ingest::new(Config::default(), log, clock);
    println!("listening on {}", flags.listen);
    warp::serve(ingest.routes()).run(flags.listen).await;
    Ok(())
}
