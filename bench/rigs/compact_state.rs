//! Compacts the state in a folder, and says how large it was and is. No track may be running on it.
//!
//! `compact-state --state FOLDER` prints one line of JSON. Tables are written as track writes them (`state/options.rs` of the
//! processor) in all that their size depends on: filters, blocks, lz4 and at the bottom zstd.

use anyhow::{Context as _, ensure};
use clap::Parser;
use rocksdb::{BlockBasedOptions, BottommostLevelCompaction, CompactOptions, DB, DBCompressionType, Options};
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, Parser)]
struct Flags {
    /// The folder with a folder for each partition inside.
    #[arg(long)]
    state: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let before = bytes(&flags.state)?;
    let mut stores = 0;
    for entry in std::fs::read_dir(&flags.state)? {
        let folder = entry?.path();
        if folder.join("CURRENT").exists() {
            compact(&folder)?;
            stores += 1;
        }
    }
    ensure!(stores > 0, "{} has no stores", flags.state.display());
    println!("{}", json!({ "stores": stores, "bytes_before": before, "bytes": bytes(&flags.state)? }));
    Ok(())
}

fn compact(folder: &Path) -> anyhow::Result<()> {
    let mut table = BlockBasedOptions::default();
    table.set_bloom_filter(10.0, false);
    table.set_block_size(16 * 1024);
    table.set_format_version(6);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_bottommost_compression_type(DBCompressionType::Zstd);
    options.set_level_compaction_dynamic_level_bytes(true);
    let families = DB::list_cf(&options, folder)?;
    let db = DB::open_cf_with_opts(&options, folder, families.iter().map(|name| (name, options.clone())))?;
    let mut all = CompactOptions::default();
    all.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
    for name in &families {
        let family = db.cf_handle(name).with_context(|| format!("no family {name}"))?;
        db.compact_range_cf_opt(family, None::<&[u8]>, None::<&[u8]>, &all);
    }
    Ok(())
}

/// Of all tables under a folder.
fn bytes(folder: &Path) -> anyhow::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sum += bytes(&entry.path())?;
        } else if entry.path().extension().is_some_and(|extension| extension == "sst") {
            sum += entry.metadata()?.len();
        }
    }
    Ok(sum)
}
