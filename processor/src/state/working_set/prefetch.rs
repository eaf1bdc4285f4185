//! Memory that is soon to be looked at, fetched into the processor's cache meanwhile. Users lie anywhere, and one whom
//! nobody has looked at lately is a hundred nanoseconds away, several times over: as long as an event otherwise takes.

/// Begins to fetch `what`, all of it. A hint: nothing is read, and where Rust has no word for it nothing happens.
#[inline]
#[allow(unsafe_code, reason = "the hint has no safe form")]
pub(super) fn prefetch<T>(what: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        const LINE_BYTES: usize = 64;
        let start = std::ptr::from_ref(what).cast::<i8>();
        for offset in (0..size_of::<T>()).step_by(LINE_BYTES) {
            // SAFETY: a hint may be given for any address; this one is within `what`.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(offset)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = what;
}
