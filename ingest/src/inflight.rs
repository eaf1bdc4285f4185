//! How much memory all requests together hold, and the limit to it.

use crate::error::Refusal;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The account of all requests.
#[derive(Debug, Clone)]
pub(crate) struct Inflight {
    shared: Arc<Account>,
}

#[derive(Debug)]
struct Account {
    bytes: AtomicUsize,
    bytes_max: usize,
}

/// What one request holds; given back when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    shared: Arc<Account>,
    bytes: usize,
}

impl Inflight {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { shared: Arc::new(Account { bytes: AtomicUsize::new(0), bytes_max }) }
    }

    pub(crate) fn hold(&self) -> Held {
        Held { shared: Arc::clone(&self.shared), bytes: 0 }
    }
}

impl Held {
    /// Takes `bytes` more, before they are allocated.
    ///
    /// # Errors
    /// [`Refusal::Overload`] where all requests together would hold too much; then nothing is taken.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let before = self.shared.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.shared.bytes_max {
            self.shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Refusal::Overload);
        }
        self.bytes += bytes;
        Ok(())
    }

    /// Gives `bytes` back early.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.bytes -= bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_shared_and_what_is_dropped_comes_back() {
        let inflight = Inflight::new(100);
        let (mut a, mut b) = (inflight.hold(), inflight.hold());
        a.grow(60).unwrap();
        assert!(matches!(b.grow(41), Err(Refusal::Overload)));
        b.grow(40).unwrap();
        b.shrink(30);
        a.grow(30).unwrap();
        drop(a);
        b.grow(90).unwrap();
        drop(b);
        assert_eq!(inflight.shared.bytes.load(Ordering::Relaxed), 0);
    }
}
