//! What the fold counts as a session, how long it keeps what it counted, and the memory it may take.

use super::CheckpointFlags;
use super::values::{self, SessionPairs};
use bytesize::ByteSize;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;
use track_processor::{Config, SessionPair};

/// The processor's settings, wherever it runs.
#[derive(Debug, Clone, Args)]
pub(crate) struct FoldFlags {
    /// Which event opens a session and which closes it. Repeatable; in the environment a line each.
    #[arg(long, env = "TRACK_SESSION_PAIR", value_name = "OPEN:CLOSE", default_value = "play:stop", value_parser = values::session_pairs)]
    session_pair: Vec<SessionPairs>,
    /// The longest session: an opening event older than this is not closed any more.
    #[arg(long, env = "TRACK_SESSION_MAX_DURATION", value_name = "DURATION", default_value = "30d", value_parser = values::session_duration)]
    pub(crate) session_max_duration: Duration,
    /// How long counts and sessions are kept after the last event that touched them; at least 30d.
    #[arg(long, env = "TRACK_RETENTION", value_name = "DURATION", default_value = "400d", value_parser = values::retention)]
    pub(crate) retention: Duration,
    /// Memory for the state, all partitions together: rows that are worked on, cache and write buffers. The process takes
    /// up to two and a half times as much. Default: 512MiB; with all roles in one process 256MiB and 32MiB for each partition, at most that.
    #[arg(long, env = "TRACK_MEMORY", value_name = "SIZE", value_parser = values::memory)]
    memory: Option<ByteSize>,
    /// Start even where the log no longer holds what the state is missing. Those events stay uncounted.
    #[arg(long, env = "TRACK_ACCEPT_TRUNCATED_LOG")]
    pub(crate) accept_truncated_log: bool,
    #[command(flatten)]
    pub(crate) checkpoints: CheckpointFlags,
}

impl FoldFlags {
    /// The pairs, in the order given.
    pub(crate) fn session_pairs(&self) -> Vec<SessionPair> {
        self.session_pair.iter().flat_map(|pairs| pairs.0.iter().cloned()).collect()
    }

    /// As the processor wants it.
    pub(crate) fn config(&self, data_dir: PathBuf, instance: String, memory_by_default: ByteSize) -> Config {
        // No flag takes a duration beyond a hundred years.
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Config {
            data_dir,
            instance,
            session_pairs: self.session_pairs(),
            session_duration_ms_max: ms(self.session_max_duration),
            retention_ms: ms(self.retention),
            memory_bytes_max: usize::try_from(self.memory.unwrap_or(memory_by_default).as_u64()).unwrap_or(usize::MAX),
            accept_truncated_log: self.accept_truncated_log,
            checkpoints: self.checkpoints.config(),
            warm_within: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        fold: FoldFlags,
    }

    #[test]
    fn the_operators_memory_comes_before_the_modes_own() {
        let memory = |arguments: &[&str]| {
            let flags = Flags::parse_from(["track"].iter().chain(arguments));
            flags.fold.config(PathBuf::new(), String::new(), ByteSize::mib(384)).memory_bytes_max
        };
        assert_eq!(memory(&[]), 384 << 20);
        assert_eq!(memory(&["--memory", "1GiB"]), 1 << 30);
    }
}
