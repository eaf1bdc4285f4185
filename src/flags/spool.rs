//! Where ingest keeps events while Kafka is away.

use super::values;
use bytesize::ByteSize;
use clap::Args;
use std::path::PathBuf;

/// The spool of an ingest process.
#[derive(Debug, Clone, Args)]
pub(crate) struct SpoolFlags {
    /// A folder on a disk that lasts: while Kafka is away events are kept there, durably, and forwarded once it is back.
    /// One process at a time. Default: none, and events are refused with 503 meanwhile.
    #[arg(long, env = "TRACK_SPOOL", value_name = "FOLDER")]
    pub(crate) spool: Option<PathBuf>,
    /// How much the folder may hold; beyond it events are refused with 503.
    #[arg(long, env = "TRACK_SPOOL_SIZE_MAX", value_name = "SIZE", default_value = "10GiB", value_parser = values::spool_size)]
    pub(crate) spool_size_max: ByteSize,
}
