//! What to show of a deployment, and how.

use super::{BrokerFlags, LogFlags, TrustFlags};
use clap::Args;

/// Shows who serves what.
#[derive(Debug, Clone, Args)]
pub(crate) struct StatusFlags {
    /// Look again every second, until stopped.
    #[arg(long, env = "TRACK_WATCH")]
    pub(crate) watch: bool,
    /// Print one JSON object on one line, everything in it; with --watch a line a second.
    #[arg(long, env = "TRACK_JSON")]
    pub(crate) json: bool,
    /// Also ask processors that serve the same partition for its digest at the same offset. Each reads its whole state
    /// for that.
    #[arg(long, env = "TRACK_DIGESTS", conflicts_with = "watch")]
    pub(crate) digests: bool,
    #[command(flatten)]
    pub(crate) trust: TrustFlags,
    #[command(flatten)]
    pub(crate) brokers: BrokerFlags,
    #[command(flatten)]
    pub(crate) log: LogFlags,
}
