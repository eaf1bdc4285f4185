//! Where the state is kept besides, and how often it is brought there.

use super::values;
use clap::Args;
use std::time::Duration;
use track_processor::{CheckpointConfig, CheckpointLocation};

/// The processor's checkpoints, wherever it runs.
#[derive(Debug, Clone, Args)]
pub(crate) struct CheckpointFlags {
    /// Keep checkpoints of the state here, for a processor that has lost its own or takes a partition over: a folder that
    /// all of them see, or s3://bucket/prefix with credentials, region and endpoint in the AWS_* variables. Default: none.
    #[arg(long, env = "TRACK_CHECKPOINTS", value_name = "FOLDER|URL")]
    checkpoints: Option<CheckpointLocation>,
    /// From one checkpoint of a partition to the next, where its state has moved. There is one more on a clean stop.
    #[arg(long, env = "TRACK_CHECKPOINT_INTERVAL", value_name = "DURATION", default_value = "1m", value_parser = values::checkpoint_interval)]
    checkpoint_interval: Duration,
    /// How many checkpoints of each partition are kept.
    #[arg(long, env = "TRACK_CHECKPOINTS_KEPT", value_name = "COUNT", default_value = "3", value_parser = clap::value_parser!(u16).range(1..=1000))]
    checkpoints_kept: u16,
}

impl CheckpointFlags {
    /// As the processor wants it; nothing where no checkpoints are wanted.
    pub(crate) fn config(&self) -> Option<CheckpointConfig> {
        self.checkpoints.clone().map(|location| CheckpointConfig {
            location,
            interval: self.checkpoint_interval,
            kept: self.checkpoints_kept.into(),
            grace: CheckpointConfig::GRACE,
        })
    }
}
