//! Which states to look at, where they lie in a folder or a processor runs.

use super::{LogFlags, TrustFlags, values};
use clap::Args;
use std::path::PathBuf;

/// Prints what stored states are.
#[derive(Debug, Clone, Args)]
pub(crate) struct DigestFlags {
    /// The folder of a processor, or of a track with all roles, that is not running. Its state is not changed; the folder is locked
    /// meanwhile.
    #[arg(long, env = "TRACK_DATA_DIR", value_name = "FOLDER", default_value = "./track-data")]
    pub(crate) data_dir: PathBuf,
    /// Only this partition. Default: every one that has a state there.
    #[arg(long, env = "TRACK_PARTITION", value_name = "NUMBER")]
    pub(crate) partition: Option<u32>,
    #[command(flatten)]
    pub(crate) log: LogFlags,
}

/// Compares two sets of states.
#[derive(Debug, Clone, Args)]
pub(crate) struct VerifyFlags {
    /// A folder as in `track processor digest`, or the url of a running processor's --grpc-listen:
    /// http://processor-1:8082 for example.
    #[arg(value_name = "A", value_parser = values::side)]
    pub(crate) a: Side,
    /// What to compare it with, given the same way.
    #[arg(value_name = "B", value_parser = values::side)]
    pub(crate) b: Side,
    /// Only this partition. Default: every one that both have.
    #[arg(long, env = "TRACK_PARTITION", value_name = "NUMBER")]
    pub(crate) partition: Option<u32>,
    #[command(flatten)]
    pub(crate) trust: TrustFlags,
    #[command(flatten)]
    pub(crate) log: LogFlags,
}

/// Where states are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Side {
    /// In a folder that nobody uses.
    Folder(PathBuf),
    /// In a processor that answers at this url.
    Url(String),
}
