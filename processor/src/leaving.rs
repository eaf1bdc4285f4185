//! Partitions that were ours and are answered from until their next owner serves them: warm moves.
//!
//! They are folded no further, so what they answer gets older, and says how old it is. Each is closed as soon as another
//! processor of the group says that it serves it and is as far, when its time is up, or when it becomes ours again.

use crate::partition::Owned;
use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use track_log::Partition;
use track_proto::v1;

/// Who has said nothing for so long takes no partition over.
const SILENT_AFTER: Duration = Duration::from_secs(5);

/// The partitions that are being left, and who may take them.
#[derive(Default)]
pub(crate) struct Leaving {
    left: Mutex<BTreeMap<Partition, Left>>,
    closing: Mutex<()>,
    /// When the others of the group said last that they are there to stay.
    heirs: Mutex<HashMap<String, Instant>>,
}

struct Left {
    owned: Arc<Owned>,
    until: Instant,
}

impl Leaving {
    /// Answers from a partition until then, at the longest.
    pub(crate) fn keep(&self, owned: Arc<Owned>, until: Instant) {
        self.left.lock().insert(owned.partition(), Left { owned, until });
    }

    pub(crate) fn find(&self, partition: Partition) -> Option<Arc<Owned>> {
        self.left.lock().get(&partition).map(|left| Arc::clone(&left.owned))
    }

    pub(crate) fn all(&self) -> Vec<Arc<Owned>> {
        self.left.lock().values().map(|left| Arc::clone(&left.owned)).collect()
    }

    /// Held by who takes partitions out, until they are closed.
    pub(crate) fn closing(&self) -> MutexGuard<'_, ()> {
        self.closing.lock()
    }

    /// Takes a partition out that becomes ours again.
    pub(crate) fn take(&self, partition: Partition) -> Option<Arc<Owned>> {
        self.left.lock().remove(&partition).map(|left| left.owned)
    }

    pub(crate) fn take_all(&self) -> Vec<Arc<Owned>> {
        std::mem::take(&mut *self.left.lock()).into_values().map(|left| left.owned).collect()
    }

    /// Takes out those the time of which is up.
    pub(crate) fn take_overdue(&self, now: Instant) -> Vec<Arc<Owned>> {
        let mut left = self.left.lock();
        left.extract_if(.., |_, left| left.until <= now).map(|(_, left)| left.owned).collect()
    }

    /// Hears what another processor of the group says of itself, or that it has left, and takes out the partitions that it
    /// serves now, as far as they were brought here.
    pub(crate) fn take_served(&self, instance: &str, said: Option<&v1::Owner>, heard: Instant) -> Vec<Arc<Owned>> {
        let Some(owner) = said.filter(|owner| !owner.stopping) else {
            self.heirs.lock().remove(instance);
            return Vec::new();
        };
        self.heirs.lock().insert(instance.to_owned(), heard);
        let serves = |owned: &Owned| {
            owner.partitions.iter().any(|status| {
                let reached = status.as_of.as_ref().map_or(0, |as_of| as_of.next_offset);
                status.partition == owned.partition()
                    && status.state() == v1::PartitionState::Serving
                    && reached >= owned.next_offset()
            })
        };
        let mut left = self.left.lock();
        left.extract_if(.., |_, left| serves(&left.owned)).map(|(_, left)| left.owned).collect()
    }

    /// Whether a partition is left for which there is somebody to wait.
    pub(crate) fn is_awaited(&self, now: Instant) -> bool {
        let is_there = |heard: &Instant| now.saturating_duration_since(*heard) < SILENT_AFTER;
        !self.left.lock().is_empty() && self.heirs.lock().values().any(is_there)
    }
}
