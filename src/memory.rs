//! Who gives memory to track's own code and to the libraries in C, and how what is free goes back to the system.

use std::time::Duration;

/// Working sets are many small pieces that come and go: the system's allocator spends a tenth of the fold on them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// mimalloc's number of the option that says how many milliseconds free memory waits before the system has it back
/// (`mi_option_purge_delay`); whole regions of it wait ten times as long.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
/// A hundredth of mimalloc's own: in its ten seconds a fold frees 150 MiB and more, in other sizes than it asks for next.
const PURGE_DELAY_MS: std::ffi::c_long = 10;

/// How often what RocksDB and librdkafka have freed goes back. A block that one thread has read and another one's block takes
/// the place of leaves a hole in the first one's arena, which glibc by itself keeps for that thread, for ever where it reads no
/// more: of 1,300 MiB after a fold of 100 million events 430 were such holes.
#[cfg(target_env = "gnu")]
const TRIM_EVERY: Duration = Duration::from_secs(3);

/// What mimalloc has free goes back to the system while the fold goes on. `MIMALLOC_PURGE_DELAY` in the environment comes
/// before. To be called before there are other threads.
#[allow(unsafe_code, reason = "mimalloc has no safe way to set an option")]
pub(crate) fn return_soon() {
    // SAFETY: a number is stored; there are no other threads yet.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, PURGE_DELAY_MS) };
}

/// What the system's allocator has free goes back from time to time, from now until the process ends.
#[cfg(target_env = "gnu")]
pub(crate) fn trim_from_time_to_time() {
    tokio::spawn(async {
        let mut due = tokio::time::interval(TRIM_EVERY);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            // It waits for whoever has an arena in hand.
            if tokio::task::spawn_blocking(trim).await.is_err() {
                return;
            }
        }
    });
}

/// Takes tens of milliseconds where a gigabyte is in use.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code, reason = "glibc has no safe way to be asked")]
fn trim() {
    // SAFETY: it may be called at any time, from any thread.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators give back by themselves.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn trim_from_time_to_time() {}

#[cfg(test)]
#[cfg(target_env = "gnu")]
mod tests {
    use super::*;

    /// Pages of this process that are in memory.
    fn resident() -> u64 {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse().unwrap()
    }

    #[test]
    #[allow(unsafe_code, reason = "what libraries in C do")]
    fn holes_between_what_is_in_use_go_back() {
        const BLOCK_BYTES: usize = 16 << 10;
        let blocks: Vec<*mut u8> = (0..8_192)
            .map(|_| {
                // SAFETY: what was got is as large as what is written.
                unsafe {
                    let block = libc::malloc(BLOCK_BYTES).cast::<u8>();
                    assert!(!block.is_null());
                    block.write_bytes(1, BLOCK_BYTES);
                    block
                }
            })
            .collect();
        let full = resident();
        // Each eighth stays, so that nothing of it lies at the end.
        let (kept, freed): (Vec<_>, Vec<_>) = blocks.iter().enumerate().partition(|(at, _)| at % 8 == 7);
        // SAFETY: it was got from there, and is freed once.
        freed.iter().for_each(|(_, block)| unsafe { libc::free(block.cast()) });
        trim();
        let trimmed = resident();
        let mebibytes = |pages: u64| (pages * 4_096) >> 20;
        assert!(mebibytes(full.saturating_sub(trimmed)) > 80, "{full} {trimmed}");
        // SAFETY: as above.
        kept.iter().for_each(|(_, block)| unsafe { libc::free(block.cast()) });
    }
}
