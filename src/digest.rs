//! `track processor digest`: what the states in a folder are, one line a partition.

use crate::flags::DigestFlags;
use std::process::ExitCode;
use track_processor::StoredStates;

/// Prints the digests.
///
/// # Errors
/// Where the folder is in use, or a state can't be read.
pub(crate) fn run(flags: &DigestFlags) -> anyhow::Result<ExitCode> {
    let states = StoredStates::open(&flags.data_dir)?;
    let all = states.partitions().to_vec();
    for partition in flags.partition.map_or(all, |partition| vec![partition]) {
        println!("{}", states.digest(partition)?);
    }
    Ok(ExitCode::SUCCESS)
}
