//! Partitions that were ours and are answered from until their next owner serves them: warm moves.
//!
//! They are folded no further, so what they answer gets older, and says how old it is. Each is closed as soon as another
//! processor of the group says that it serves it and is as far, when its time is up, or when it becomes ours again.

use crate::partition::Owned;
use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;
use track_log::{Offset, Partition};
use track_proto::owners::SILENT_AFTER;
use track_proto::v1;

/// The partitions that are being left, and who may take them.
#[derive(Default)]
pub(crate) struct Leaving {
    left: Mutex<BTreeMap<Partition, Left>>,
    closing: Mutex<()>,
    heirs: Mutex<Heirs>,
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

    /// Hears what another processor of the group says of itself, or that it has left. For the partitions that it serves now, as
    /// far as they were brought here, the time is up.
    pub(crate) fn hear(&self, instance: &str, said: Option<&v1::Owner>, heard: Instant) {
        self.heirs.lock().hear(instance, said, heard);
        let Some(owner) = said else { return };
        for left in self.left.lock().values_mut() {
            if serves(owner, left.owned.partition(), left.owned.next_offset()) {
                left.until = left.until.min(heard);
            }
        }
    }

    /// Whether a partition is answered from for which there is somebody to wait.
    pub(crate) fn is_awaited(&self, now: Instant) -> bool {
        self.left.lock().values().any(|left| left.owned.answers()) && self.heirs.lock().is_one_there(now)
    }
}

/// Whether a processor says that it serves a partition and is as far.
fn serves(owner: &v1::Owner, partition: Partition, next_offset: Offset) -> bool {
    owner.partitions.iter().any(|status| {
        let reached = status.as_of.as_ref().map_or(0, |as_of| as_of.next_offset);
        let is_served = status.state() == v1::PartitionState::Serving;
        status.partition == partition && is_served && reached >= next_offset
    })
}

/// When the others of the group said last that they are there to stay.
#[derive(Default)]
struct Heirs(HashMap<String, Instant>);

impl Heirs {
    fn hear(&mut self, instance: &str, said: Option<&v1::Owner>, heard: Instant) {
        if said.is_some_and(|owner| !owner.stopping) {
            self.0.insert(instance.to_owned(), heard);
        } else {
            self.0.remove(instance);
        }
    }

    fn is_one_there(&self, now: Instant) -> bool {
        self.0.values().any(|heard| now.saturating_duration_since(*heard) < SILENT_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use track_proto::v1::{AsOf, Owner, PartitionState, PartitionStatus};

    fn owner(partition: Partition, state: PartitionState, next_offset: Offset) -> Owner {
        let as_of = Some(AsOf { next_offset, ..AsOf::default() });
        let status = PartitionStatus { partition, state: state.into(), as_of, ..PartitionStatus::default() };
        Owner { partitions: vec![status], ..Owner::default() }
    }

    #[test]
    fn only_who_serves_a_partition_and_is_as_far_takes_it_over() {
        use PartitionState::{Leaving, Restoring, Serving};
        for (partition, state, next_offset, expected) in [
            (3, Serving, 10, true),
            (3, Serving, 11, true),
            (3, Serving, 9, false),
            (3, Restoring, 11, false),
            (3, Leaving, 11, false),
            (4, Serving, 11, false),
        ] {
            let said = owner(partition, state, next_offset);
            assert_eq!(serves(&said, 3, 10), expected, "{partition} {state:?} {next_offset}");
        }
    }

    #[test]
    fn nobody_waits_for_who_is_silent_has_left_or_stops_too() {
        let (mut heirs, now) = (Heirs::default(), Instant::now());
        assert!(!heirs.is_one_there(now), "alone");
        let (there, stopping) = (Owner::default(), Owner { stopping: true, ..Owner::default() });
        heirs.hear("a", Some(&there), now);
        assert!(heirs.is_one_there(now + SILENT_AFTER / 2) && !heirs.is_one_there(now + SILENT_AFTER));
        heirs.hear("b", Some(&there), now);
        heirs.hear("a", None, now);
        assert!(heirs.is_one_there(now));
        heirs.hear("b", Some(&stopping), now);
        assert!(!heirs.is_one_there(now));
    }
}
