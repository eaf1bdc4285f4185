//! `track` alone: every room in one process, on a log in a folder. The same code as with Kafka, short of the network.

use crate::admin::digest::States;
use crate::api;
use crate::flags::StandaloneFlags;
use crate::process::Process;
use crate::roles::processor;
use anyhow::{Context as _, bail};
use bytesize::ByteSize;
use std::fs::{File, TryLockError};
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use track_ingest::Ingest;
use track_log::Append as _;
use track_log::embedded::{self, EmbeddedLog};
use track_processor::{Processor, StoredStates};
use track_proto::clock::Clock;
use track_query_api::QueryApi;
use track_query_api::owners::{self, Connect, Owners};

/// The one processor's name, and what stands for its url.
const HERE: &str = "local:";
/// What the data folder holds: the log of events, that of dead letters (of one partition), the state.
pub(crate) const LOG: &str = "log";
pub(crate) const DEAD_LETTERS: &str = "dead-letter";
const STATE: &str = "state";
/// So that a machine of many processors does not have its state in many small pieces.
const PARTITIONS_BY_DEFAULT_MAX: u32 = 16;
/// How often the query room hears from the processor: how late it may notice that a partition is served.
const HEARD_EVERY: Duration = Duration::from_millis(50);

/// Runs until the process is told to stop, requests are finished and everything is flushed.
///
/// # Errors
/// What keeps it from starting, or a partition from going on.
pub(crate) async fn run(flags: StandaloneFlags, process: Process) -> anyhow::Result<()> {
    // Before the ports: of two instances, the second should hear that it wants the first one's folder.
    let _lock = lock(&flags.data_dir)?;
    let socket = process.bind_public(&flags.public, &flags.common)?;
    for room in ["ingest", "processor", "query"] {
        process.readiness.wait(room, "starting");
    }
    let states = States::default();
    process.serve_admin(&flags.common, Some(states.clone()))?;

    let (log, dead_letters) = open_logs(&flags, &process.clock).await?;
    let memory = memory_by_default(log.partition_count());
    let config = flags.fold.config(flags.data_dir.join(STATE), "standalone".to_owned(), memory);
    let processor = Processor::open(config, log.clone(), dead_letters, process.clock.clone())?;
    states.open(&processor);
    let (stop_folding, stopped) = (CancellationToken::new(), CancellationToken::new());
    let mut folding = tokio::spawn(processor.clone().run(log.clone(), stop_folding.clone()));

    let found = Arc::new(Owners::new(in_process(&processor)));
    let hearing = tokio::spawn(hear(Arc::clone(&found), processor.clone(), stopped.clone()));
    let query = QueryApi::new(track_query_api::Config::default(), found, process.clock.clone());
    let ingest = Ingest::new(track_ingest::Config::default(), log.clone(), process.clock.clone());
    process.readiness.watch("ingest", move || log.check_ready());
    process.readiness.watch("processor", move || processor.check_ready());
    process.readiness.watch("query", {
        let query = query.clone();
        move || query.check_ready()
    });

    let routes = warp::Filter::unify(warp::Filter::or(ingest.routes(), query.routes()));
    let service = api::public(&flags.public, &[api::INGEST, api::QUERY], routes);
    let url = socket.url();
    let stop_serving = process.stop.child_token();
    let serving = socket.listen()?.serve(service, stop_serving.clone(), flags.common.drain_timeout);
    let serving = tokio::spawn(serving);
    greet(&url, flags.common.tls.tls_cert.is_some(), (process.clock)());

    // Where folding ends by itself, a partition can't go on: that is said once the rest has been put in order.
    let ended = tokio::select! {
        () = process.stop.cancelled() => None,
        ended = &mut folding => Some(ended),
    };
    for room in ["ingest", "processor", "query"] {
        process.readiness.wait(room, "stopping");
    }
    states.close();
    // First no more requests, then no more folding; the log closes when its last user is gone.
    stop_serving.cancel();
    serving.await?;
    stopped.cancel();
    hearing.await?;
    stop_folding.cancel();
    match ended {
        Some(ended) => ended??,
        None => folding.await??,
    }
    Ok(())
}

/// Takes the data folder for this process alone, for as long as the file is open.
pub(crate) fn lock(folder: &Path) -> anyhow::Result<File> {
    let shown = folder.display();
    std::fs::create_dir_all(folder).with_context(|| format!("--data-dir {shown}: can't make the folder"))?;
    let open = File::options().create(true).truncate(false).write(true).open(folder.join("lock"));
    let file = open.with_context(|| format!("--data-dir {shown}: can't write in the folder"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!(
                "--data-dir {shown}: the folder is in use by another track; stop that one, or give this one a folder of its own"
            )
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("--data-dir {shown}: can't lock the folder"))
        }
    }
}

/// The log of events, and that of records that could not be folded.
async fn open_logs(flags: &StandaloneFlags, clock: &Clock) -> anyhow::Result<(Arc<EmbeddedLog>, Arc<EmbeddedLog>)> {
    let [events, dead_letters, states] = [LOG, DEAD_LETTERS, STATE].map(|inside| flags.data_dir.join(inside));
    let (partitions, clock) = (flags.partitions, clock.clone());
    // Reads the log's tail, to see where a crash may have torn it.
    tokio::task::spawn_blocking(move || {
        let open =
            |dir: &Path, partition_count| EmbeddedLog::open(embedded::Config::new(dir, partition_count), clock.clone());
        let events = match partitions {
            Some(partitions) => open(&events, partitions)?,
            None => match EmbeddedLog::open_made(&events, clock.clone())? {
                Some(log) => log,
                // A log made now would have another number of partitions than the one that is missing.
                None if has_states(&states) => bail!(
                    "{} has states, but the log that they were folded from is not in {}: bring it back, or remove the \
                     states to begin with nothing",
                    states.display(),
                    events.display()
                ),
                None => open(&events, partitions_by_default())?,
            },
        };
        Ok((events, open(&dead_letters, 1)?))
    })
    .await?
}

/// Whether partitions have been folded into this folder.
fn has_states(states: &Path) -> bool {
    StoredStates::open(states).is_ok_and(|states| !states.partitions().is_empty())
}

/// A partition has one thread that folds, and each write to it a sync of its own: more of them than processors only makes
/// what is done at once smaller.
fn partitions_by_default() -> u32 {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    u32::try_from(processors).unwrap_or(u32::MAX).min(PARTITIONS_BY_DEFAULT_MAX)
}

/// Partitions share it: few fold nearly as fast with less than many need (`docs/performance.md`, *Memory*). However
/// many there are, it is no more than a processor on Kafka has.
fn memory_by_default(partitions: u32) -> ByteSize {
    ByteSize::mib(256 + 32 * u64::from(partitions)).min(processor::MEMORY_BY_DEFAULT)
}

/// The processor of this process, reached without a network.
fn in_process(processor: &Processor) -> Connect {
    let service = processor.service();
    Arc::new(move |_| Ok(owners::channel(service.clone())))
}

/// Tells the query room what the processor says of itself, as a board would with Kafka.
async fn hear(owners: Arc<Owners>, processor: Processor, stop: CancellationToken) {
    let mut interval = tokio::time::interval(HEARD_EVERY);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(interval.tick()).await.is_some() {
        let owner = processor.owner(HERE);
        owners.apply(owner.instance.clone(), Some(owner), Instant::now());
    }
}

/// What to paste. An event without a timestamp happened just now, so the question about today answers it.
fn greet(url: &str, tls: bool, now_ms: i64) {
    let today = chrono::DateTime::from_timestamp_millis(now_ms).unwrap_or_default().date_naive();
    // A certificate made for a try-out is rarely one that curl trusts.
    let curl = if tls { "curl -k" } else { "curl" };
    println!(
        "track listens on {url} (its page: {url}/docs). Ctrl-C stops it. Try, in another terminal:\n\n  \
         {curl} {url}/track -d '{{\"event\":\"play\",\"user_id\":\"u1\"}}'\n  \
         {curl} \"{url}/metrics?start_date={today}&end_date={today}\"\n"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_belongs_to_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("data");
        let held = lock(&folder).unwrap();
        let refused = lock(&folder).unwrap_err().to_string();
        assert!(refused.contains(&folder.display().to_string()) && refused.contains("in use"), "{refused}");
        drop(held);
        assert!(lock(&folder).is_ok());
    }

    #[test]
    fn each_partition_brings_memory_until_there_is_enough() {
        let mebibytes = |count| memory_by_default(count).as_u64() >> 20;
        assert_eq!([1, 2, 7, 8, 16, 1024].map(mebibytes), [288, 320, 480, 512, 512, 512]);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = lock(&file.path().join("data")).unwrap_err().to_string();
        assert!(error.contains("--data-dir") && error.contains(&file.path().display().to_string()), "{error}");
    }
}
