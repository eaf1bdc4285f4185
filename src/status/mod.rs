//! `track status`: which processors there are, which partition each serves, how far behind, and what nobody serves.
//!
//! - [`board`]: what processors say of themselves on `track.owners`
//! - [`gather`]: that, and what the log of events holds meanwhile
//! - [`judge`]: what it comes to, a pure function
//! - [`agree`]: whether several owners of a partition have one state there
//! - [`draw`]: the screen
//!
//! Only Kafka is asked, and processors for their digests alone: what a processor says of itself is up to a second old.

mod agree;
mod board;
mod draw;
mod gather;
mod judge;

use crate::flags::StatusFlags;
use crate::{clock, connect};
use anyhow::Context as _;
use gather::Sources;
use judge::Picture;
use std::io::{Write as _, stdout};
use std::process::ExitCode;
use std::time::Duration;
use tokio::runtime::Handle;
use track_proto::owners::SILENT_AFTER;

/// How often a watched screen is drawn anew.
const WATCHED_EVERY: Duration = Duration::from_secs(1);
/// Moves a terminal's cursor home and clears what is there.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Shows the status once, or again and again. Ends with 0 where all is served, 1 where not, and 2 where that is not known.
pub(crate) async fn run(flags: StatusFlags) -> ExitCode {
    let shown = if flags.watch { watch(flags).await } else { show_once(&flags).await };
    shown.unwrap_or_else(|error| {
        tracing::error!("{error:#}");
        ExitCode::from(2)
    })
}

async fn show_once(flags: &StatusFlags) -> anyhow::Result<ExitCode> {
    let mut picture = {
        let flags = flags.clone();
        tokio::task::spawn_blocking(move || look_once(&flags)).await??
    };
    if flags.digests {
        agree::compare(&mut picture, &connect::over_the_network(flags.trust.tls_ca.as_deref())?).await;
    }
    print(flags, &picture, "")?;
    Ok(exit_code(&picture))
}

fn look_once(flags: &StatusFlags) -> anyhow::Result<Picture> {
    let mut sources = open(flags)?;
    let now_ms = sources.now_ms();
    sources.board.listen_to_everybody(SILENT_AFTER, now_ms)?;
    Ok(judge::judge(&sources.gather()?, SILENT_AFTER))
}

/// Goes on until the process is killed: what can't be found out is said in its place.
async fn watch(flags: StatusFlags) -> anyhow::Result<ExitCode> {
    let runtime = Handle::current();
    let watching = tokio::task::spawn_blocking(move || -> anyhow::Result<ExitCode> {
        let mut sources = None;
        loop {
            match look_again(&flags, &mut sources) {
                Ok(picture) => print(&flags, &picture, CLEAR)?,
                Err(error) => {
                    sources = None;
                    tracing::error!("{error:#}");
                    runtime.block_on(tokio::time::sleep(WATCHED_EVERY));
                }
            }
        }
    });
    watching.await?
}

fn look_again(flags: &StatusFlags, sources: &mut Option<Sources>) -> anyhow::Result<Picture> {
    let sources = match sources {
        Some(sources) => sources,
        None => sources.insert(open(flags)?),
    };
    sources.board.listen(WATCHED_EVERY)?;
    Ok(judge::judge(&sources.gather()?, SILENT_AFTER))
}

fn open(flags: &StatusFlags) -> anyhow::Result<Sources> {
    Sources::open(&flags.brokers.config(), clock::system()).with_context(|| {
        format!(
            "no status from Kafka at {} (a track with all roles in one process has its own, at /readyz of its admin \
             listener)",
            flags.brokers.kafka_brokers
        )
    })
}

fn print(flags: &StatusFlags, picture: &Picture, clear: &str) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    if flags.json {
        serde_json::to_writer(&mut out, picture)?;
        writeln!(out)?;
    } else {
        write!(out, "{clear}{}", draw::screen(picture))?;
    }
    Ok(out.flush()?)
}

fn exit_code(picture: &Picture) -> ExitCode {
    if !picture.all_served || picture.has_difference() {
        ExitCode::from(1)
    } else if picture.has_uncompared() {
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    }
}
