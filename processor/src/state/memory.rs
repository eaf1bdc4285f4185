//! The memory that all stores of a process share.

use super::working_set::Budget;
use metrics::gauge;
use rocksdb::{Cache, WriteBufferManager};

/// Memory that all stores of a process share, so that it is bounded by configuration and not by partition count.
#[derive(Clone)]
pub(crate) struct Memory {
    cache: Cache,
    write_buffers: WriteBufferManager,
    working: Budget,
}

impl Memory {
    /// At most about `bytes_max`: a quarter of it for the rows that are being worked on, the rest for RocksDB's blocks,
    /// filters and memtables together.
    pub(crate) fn new(bytes_max: usize) -> Self {
        let working = bytes_max / 4;
        // An LRU cache is 64 caches, in which one large block has no room that all of them together would have.
        let cache = Cache::new_hyper_clock_cache(bytes_max - working, 0);
        let write_buffers =
            WriteBufferManager::new_write_buffer_manager_with_cache((bytes_max - working) / 2, false, cache.clone());
        Self { cache, write_buffers, working: Budget::new(working) }
    }

    /// Tells operators what is taken. The block cache counts memtables too.
    pub(crate) fn measure(&self) {
        let (memtables, cache) = (self.write_buffers.get_usage(), self.cache.get_usage());
        let taken = [
            ("memtables", memtables),
            ("blocks", cache.saturating_sub(memtables)),
            ("working_sets", self.working.taken()),
        ];
        for (by, bytes) in taken {
            #[allow(clippy::cast_precision_loss)] // a gauge
            gauge!("track_memory_bytes", "by" => by).set(bytes as f64);
        }
    }

    /// Where blocks are kept.
    pub(super) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// What memtables share.
    pub(super) fn write_buffers(&self) -> &WriteBufferManager {
        &self.write_buffers
    }

    /// The memory for rows that are being worked on.
    pub(crate) fn working(&self) -> &Budget {
        &self.working
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Family;
    use crate::state::identity::Identity;
    use crate::state::store::Store;
    use crate::state::ttl::Spans;

    /// Of dozens of partitions each has a few rows at once.
    #[test]
    fn a_partition_with_few_rows_takes_little() {
        const STORES: u32 = 4;
        let (memory, folder) = (Memory::new(64 << 20), tempfile::tempdir().unwrap());
        let spans = Spans { retention: 90 * 86_400 };
        let stores: Vec<_> = (0..STORES)
            .map(|number| {
                let identity = Identity {
                    partition: number,
                    partition_count: STORES,
                    session_pairs: Vec::new(),
                    session_duration_ms_max: 1,
                    retention_seconds: spans.retention,
                };
                let store = Store::open(&folder.path().join(number.to_string()), &identity, spans, &memory).unwrap();
                let mut batch = store.batch(0);
                for family in Family::ALL {
                    batch.put(family, b"key", &[0; 4_000]);
                }
                store.write(batch).unwrap();
                store
            })
            .collect();
        let taken = memory.write_buffers.get_usage() / stores.len();
        assert!((1..=2 << 20).contains(&taken), "{taken} bytes a partition");
    }
}
