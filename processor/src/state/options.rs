//! How RocksDB is set up, and why.

use super::Family;
use super::memory::Memory;
use super::ttl::{DurableTime, Spans, Stamp};
use rocksdb::{BlockBasedIndexType, BlockBasedOptions, CompactionDecision, DBCompressionType, LogLevel, Options};

/// How many flushes of rows by user wait for each other before they are compacted. A flush has users from everywhere, so that each
/// compaction writes the whole of the next level anew; with four, RocksDB's own number, that is twice as often.
const USER_FLUSHES_COMPACTED: i32 = 8;

/// How much of a memtable of rows by user is a filter of their keys: most rows that are asked for are new, and a search through a
/// skip list finds nothing as slowly as something. Four times as much is no faster.
const MEMTABLE_FILTER_SHARE: f64 = 0.005;

/// How much memory a memtable asks for at a time. RocksDB's own is a mebibyte, which a memtable of a few rows counts for as well: a
/// partition has nine, and they would be flushed all the time where there are dozens of partitions.
const MEMTABLE_BLOCK_BYTES: usize = 128 * 1024;

/// Of the store as a whole.
pub(super) fn db_options(memory: &Memory) -> Options {
    let mut options = table_options(memory);
    options.set_atomic_flush(true);
    options.set_write_buffer_manager(memory.write_buffers());
    options.set_max_background_jobs(2);
    // Files that nobody needs any more are removed by its own threads, and not by whoever has asked something last.
    options.set_avoid_unnecessary_blocking_io(true);
    options.set_max_open_files(512);
    options.set_keep_log_file_num(2);
    options.set_log_level(LogLevel::Warn);
    options
}

/// Goes on every family and not on the default one only: RocksDB takes a family's options from the family alone.
pub(super) fn table_options(memory: &Memory) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(memory.cache());
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_bloom_filter(10.0, false);
    // In pieces: a table's filter as a whole is megabytes, does not stay in a cache that is smaller than all of them, and is
    // then read and checked again for a single row (`docs/performance.md`).
    table.set_metadata_block_size(32 * 1024);
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_pin_top_level_index_and_filter(true);
    table.set_block_size(16 * 1024);
    table.set_format_version(6);

    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_bottommost_compression_type(DBCompressionType::Zstd);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_write_buffer_size(16 << 20);
    options.set_arena_block_size(MEMTABLE_BLOCK_BYTES);
    options
}

/// Of a family with a time to live.
pub(super) fn family_options(family: Family, spans: Spans, durable_time: &DurableTime, memory: &Memory) -> Options {
    let mut options = table_options(memory);
    let durable_time = durable_time.clone();
    let life = family.life();
    options.set_compaction_filter("track-ttl", move |_level, _key, value| match Stamp::split(value) {
        Some((touched, _)) if spans.is_over(life, touched, durable_time.get()) => CompactionDecision::Remove,
        _ => CompactionDecision::Keep,
    });
    if family.is_by_user() {
        options.set_level_zero_file_num_compaction_trigger(USER_FLUSHES_COMPACTED);
        options.set_memtable_prefix_bloom_ratio(MEMTABLE_FILTER_SHARE);
        options.set_memtable_whole_key_filtering(true);
    }
    // By the wall clock, and set where there is a filter; ours goes by stream time ([`super::sweep`]).
    options.set_periodic_compaction_seconds(0);
    options
}
