//! What becomes of a store that can't be used.
//!
//! - It is damaged: never answered from again. It is set aside as `partition-0003.damaged`, and the state is taken from a
//!   checkpoint, or folded again from the log, whose beginning must still be there.
//! - It is missing, or not as far as a checkpoint: that one takes its place.
//! - The disk is full or takes no writes: it is opened again, as it is on disk, until that works.
//! - It was made for something else: refused, and left alone.

use crate::checkpoint::{CheckpointError, Checkpoints};
use crate::error::ProcessorError;
use crate::state::identity::Identity;
use crate::state::memory::Memory;
use crate::state::progress::Progress;
use crate::state::store::{Store, StoreError};
use crate::state::ttl::Spans;
use crate::stop::Stop;
use metrics::counter;
use rocksdb::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use track_log::{LogError, Offset, Partition, PartitionReader, ReadLog};

/// The longest pause between two attempts to bring a store back.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// A store that held for so long is taken for well: the next trouble is mended at once.
const WELL_AFTER: Duration = Duration::from_secs(60);

/// What is to be done about a store's error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Set it aside and fold the log again.
    FoldAgain,
    /// Open it again as it is on disk.
    OpenAgain,
    /// Leave it alone; the operator has to decide.
    Refuse,
}

/// The remedy for `error`.
pub(crate) fn remedy(error: &StoreError) -> Remedy {
    let source = match error {
        StoreError::Damaged(_) | StoreError::Incomplete { .. } => return Remedy::FoldAgain,
        StoreError::Refused { .. } => return Remedy::Refuse,
        // No error of the store: whoever asks at hand asks again.
        StoreError::NotAtHand => return Remedy::OpenAgain,
        StoreError::Db { source, .. } => source,
    };
    match source.kind() {
        ErrorKind::Corruption | ErrorKind::NotFound => Remedy::FoldAgain,
        // A file of the store is gone: nothing that opening it again would bring back.
        ErrorKind::IOError if source.as_ref().contains("No such file or directory") => Remedy::FoldAgain,
        ErrorKind::InvalidArgument | ErrorKind::NotSupported => Remedy::Refuse,
        _ => Remedy::OpenAgain,
    }
}

/// Where a partition's store stands, what it is opened with, and the log that it is folded from.
pub(crate) struct Home {
    pub(crate) partition: Partition,
    pub(crate) folder: PathBuf,
    pub(crate) identity: Identity,
    pub(crate) spans: Spans,
    pub(crate) memory: Memory,
    pub(crate) log: Arc<dyn ReadLog>,
    pub(crate) checkpoints: Option<Arc<Checkpoints>>,
    /// Fold on even where the log no longer has what the store is missing.
    pub(crate) accept_truncated_log: bool,
}

/// A store that can be used again, and who reads on from where it is.
pub(crate) struct Mended {
    pub(crate) store: Store,
    pub(crate) progress: Progress,
    pub(crate) reader: Box<dyn PartitionReader>,
}

/// Why a partition needs another store than it has.
pub(crate) enum Cause {
    /// It has failed with this.
    Failed(StoreError),
    /// It has everything before this offset, and there may be a checkpoint that has more.
    Behind(Offset),
}

/// What is to be done about the folder before a store is opened in it.
enum Need {
    Nothing,
    /// To be set aside, for this reason.
    Damaged(String),
    /// To be replaced by a checkpoint beyond this offset, if there is one.
    Behind(Offset),
}

/// Why an attempt has failed.
pub(crate) enum Setback {
    Store(StoreError),
    Log(LogError),
    Folder(std::io::Error),
    /// Without a checkpoint nothing can be done.
    Checkpoints(CheckpointError),
    Failed(ProcessorError),
}

impl Home {
    /// Opens the store, or makes one where there is none, and says how far it is.
    pub(crate) fn open(&self) -> Result<(Store, Progress), StoreError> {
        let store = Store::open(&self.folder, &self.identity, self.spans, &self.memory)?;
        let progress = store.progress()?.unwrap_or_default();
        Ok((store, progress))
    }

    /// Where reading begins for a store that wants to go on at `next_offset`. The log is not asked unless a gap may be
    /// passed over: whether it has that offset is for the reader to say, and brokers may be away just now.
    pub(crate) fn start(&self, next_offset: Offset) -> Result<Offset, LogError> {
        if !self.accept_truncated_log {
            return Ok(next_offset);
        }
        let log_start = self.log.bounds(self.partition)?.start;
        if next_offset < log_start {
            let (partition, missing) = (self.partition, log_start - next_offset);
            tracing::warn!(partition, missing, "going on without events that the log has lost");
        }
        Ok(next_offset.max(log_start))
    }

    /// Brings back a store that is closed because of `cause`; tries until it works or `stop` is set, and then returns
    /// nothing. `say` is told what is being done, for an operator to read.
    ///
    /// # Errors
    /// [`ProcessorError`] where trying again is of no use.
    pub(crate) fn mend(
        &self,
        cause: Cause,
        pace: &mut Pace,
        stop: &Stop,
        say: impl Fn(String),
    ) -> Result<Option<Mended>, ProcessorError> {
        let mut need = match cause {
            Cause::Failed(error) => self.judge(error, &say)?,
            Cause::Behind(next_offset) => {
                say("the newest checkpoint is being fetched".to_owned());
                Need::Behind(next_offset)
            }
        };
        while !stop.wait(pace.next()) {
            match self.try_to_mend(&mut need, stop) {
                Ok(mended) => {
                    tracing::info!(
                        partition = self.partition,
                        offset = mended.progress.next_offset,
                        "the store is open"
                    );
                    return Ok(Some(mended));
                }
                Err(Setback::Store(error)) => need = self.judge(error, &say)?,
                Err(Setback::Folder(error)) => {
                    tracing::warn!(partition = self.partition, %error, "the store's folder can't be changed yet");
                }
                Err(Setback::Checkpoints(error)) => {
                    let partition = self.partition;
                    tracing::error!(partition, %error, "no checkpoint can be had, and the log does not go back far enough");
                    say(format!("waiting for the checkpoints, without which the log is not enough ({error})"));
                }
                Err(Setback::Log(LogError::Closed)) => return Ok(None),
                Err(Setback::Log(error @ (LogError::Kafka(_) | LogError::Io { .. }))) => {
                    tracing::warn!(partition = self.partition, %error, "the log can't be read yet");
                }
                Err(Setback::Log(error)) => return Err(ProcessorError::reading(self.partition, error)),
                Err(Setback::Failed(failure)) => return Err(failure),
            }
        }
        Ok(None)
    }

    /// What a store that was about to be closed could not bring to disk: the log has it, and whoever opens the store next
    /// folds it again.
    ///
    /// # Errors
    /// [`ProcessorError`] where the store was refused.
    pub(crate) fn give_up_flushing(&self, error: StoreError) -> Result<(), ProcessorError> {
        let partition = self.partition;
        match remedy(&error) {
            Remedy::Refuse => return Err(ProcessorError::store(partition, error)),
            Remedy::FoldAgain => self.count_damage(),
            Remedy::OpenAgain => {}
        }
        tracing::error!(partition, %error, "the store could not be flushed; what it lacks is folded again from the log");
        Ok(())
    }

    /// Says what is wrong and what is being done about it.
    fn judge(&self, error: StoreError, say: &impl Fn(String)) -> Result<Need, ProcessorError> {
        let partition = self.partition;
        match remedy(&error) {
            Remedy::Refuse => Err(ProcessorError::store(partition, error)),
            Remedy::FoldAgain => {
                self.count_damage();
                tracing::error!(partition, %error, "the store is damaged: it is set aside and made anew");
                say(format!("the store is damaged and is being made anew ({error})"));
                Ok(Need::Damaged(error.to_string()))
            }
            Remedy::OpenAgain => {
                tracing::error!(partition, %error, "the store takes no writes: it is opened again as soon as it does");
                say(format!("the store takes no writes ({error})"));
                Ok(Need::Nothing)
            }
        }
    }

    fn count_damage(&self) {
        counter!("track_store_damaged_total", "partition" => self.partition.to_string()).increment(1);
    }

    /// One attempt. What was needed is no longer where that much has worked.
    fn try_to_mend(&self, need: &mut Need, stop: &Stop) -> Result<Mended, Setback> {
        match need {
            Need::Nothing => {}
            Need::Damaged(reason) => {
                if !self.take_checkpoint(0, true, stop)? {
                    self.expect_whole_log(reason)?;
                    self.set_aside().map_err(Setback::Folder)?;
                }
            }
            // Where there is none after all, whether the log is enough is for its reader to say.
            Need::Behind(next_offset) => {
                self.take_checkpoint(*next_offset, false, stop)?;
            }
        }
        *need = Need::Nothing;
        let (store, progress) = self.open().map_err(Setback::Store)?;
        let start = self.start(progress.next_offset).map_err(Setback::Log)?;
        let reader = self.log.reader(self.partition, start).map_err(Setback::Log)?;
        Ok(Mended { store, progress: Progress { next_offset: start, ..progress }, reader })
    }

    /// Folding again is of use only where the log still has everything: what is left would be counted too low.
    fn expect_whole_log(&self, reason: &str) -> Result<(), Setback> {
        let log_start = self.log.bounds(self.partition).map_err(Setback::Log)?.start;
        if log_start > 0 && !self.accept_truncated_log {
            return Err(Setback::Failed(ProcessorError::DamagedAndTruncated {
                partition: self.partition,
                folder: self.folder.clone(),
                reason: reason.to_owned(),
                log_start,
            }));
        }
        Ok(())
    }

    /// Renames the store's folder, in place of one that was set aside before.
    pub(crate) fn set_aside(&self) -> std::io::Result<()> {
        let aside = aside(&self.folder);
        let is_there = |path: &Path| path.try_exists();
        if !is_there(&self.folder)? {
            return Ok(());
        }
        if is_there(&aside)? {
            tracing::warn!(partition = self.partition, folder = %aside.display(), "an older damaged store is removed");
            std::fs::remove_dir_all(&aside)?;
        }
        std::fs::rename(&self.folder, &aside)?;
        tracing::warn!(
            partition = self.partition,
            folder = %aside.display(),
            "the damaged store was set aside; remove it when nobody wants to look at it any more"
        );
        Ok(())
    }
}

/// Where a damaged store in `folder` goes.
fn aside(folder: &Path) -> PathBuf {
    folder.with_extension("damaged")
}

/// How long to wait before each attempt: not at all before the first, then twice as long each time.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    pause: Duration,
    last: Option<Instant>,
}

impl Pace {
    fn next(&mut self) -> Duration {
        let was_well = self.last.is_none_or(|last| last.elapsed() >= WELL_AFTER);
        self.pause = match self.pause {
            _ if was_well => Duration::ZERO,
            Duration::ZERO => Duration::from_secs(1),
            pause => (pause * 2).min(PAUSE_MAX),
        };
        self.last = Some(Instant::now());
        self.pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_to_its_bound() {
        let mut pace = Pace::default();
        let seconds: Vec<_> = (0..7).map(|_| pace.next().as_secs()).collect();
        assert_eq!(seconds, [0, 1, 2, 4, 8, 10, 10]);
        pace.last = Instant::now().checked_sub(WELL_AFTER);
        assert_eq!(pace.next(), Duration::ZERO, "it was well in between");
    }

    #[test]
    fn a_damaged_store_stands_beside_its_place() {
        assert_eq!(aside(Path::new("data/partition-0003")), Path::new("data/partition-0003.damaged"));
    }
}
