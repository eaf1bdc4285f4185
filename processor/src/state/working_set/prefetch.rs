//! Memory that is soon to be looked at, fetched into the processor's cache meanwhile. Users lie anywhere, and one whom nobody has
//! looked at lately is a hundred nanoseconds away, several times over: a good part of what an event takes.

/// Begins to fetch `what`. A hint: nothing is read, and where Rust has no word for it nothing happens.
#[inline]
#[allow(unsafe_code, reason = "the hint has no safe form")]
pub(super) fn prefetch<T>(what: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        const LINE_BYTES: usize = 64;
        let start = std::ptr::from_ref(what).cast::<i8>();
        // Lines begin anywhere in it: the last one may be another step away.
        let last = size_of::<T>().saturating_sub(1);
        for offset in (0..last).step_by(LINE_BYTES).chain([last]) {
            // SAFETY: a hint may be given for any address; this one is within `what`.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(offset)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = what;
}
