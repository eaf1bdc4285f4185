//! What was seen, and what it comes to: who serves what, how far behind it is, and what nobody serves.

use super::board::Heard;
use super::gather::Gathered;
use serde::Serialize;
use std::time::Duration;
use track_log::{Bounds, Offset, Partition};
use track_proto::v1::{Owner, PartitionState, PartitionStatus};

/// The status of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Picture {
    pub(super) all_served: bool,
    /// Partitions that no processor serves, ascending.
    pub(super) not_served: Vec<Partition>,
    /// By replica and name; without those that are long gone.
    pub(super) processors: Vec<ProcessorView>,
    /// By number.
    pub(super) partitions: Vec<PartitionView>,
    /// How many processors have been silent for longer than a day.
    pub(super) long_gone: usize,
    /// What does not fit together, in words.
    pub(super) contradictions: Vec<String>,
}

/// A processor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ProcessorView {
    pub(super) instance: String,
    pub(super) replica: Option<String>,
    pub(super) url: String,
    pub(super) heard_ms_ago: u64,
    /// Not heard of for so long that no query goes to it, unless nobody is heard of.
    pub(super) is_silent: bool,
    /// How many partitions it serves, or did when it was last heard of.
    pub(super) serving: usize,
    pub(super) restoring: usize,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct PartitionView {
    pub(super) partition: Partition,
    pub(super) is_served: bool,
    /// The oldest record that the log still has.
    pub(super) log_start: Offset,
    /// The offset that the next record will get.
    pub(super) log_end: Offset,
    /// In the order of the processors.
    pub(super) owners: Vec<OwnerView>,
    /// Of its owners, where that was asked for.
    pub(super) digests: Vec<DigestView>,
}

/// A processor's share of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct OwnerView {
    pub(super) instance: String,
    pub(super) state: OwnerState,
    /// How much of what the log holds it has folded; where it is restoring.
    pub(super) restored_percent: Option<u64>,
    /// Every record before it is in the state.
    pub(super) applied: Offset,
    /// Records between there and the end of the log.
    pub(super) lag_records: u64,
    /// How long the first of them has been waiting; `None` where that is not known.
    pub(super) lag_ms: Option<u64>,
    /// How long ago the state was as its newest checkpoint has it; `None` where it makes none, or has not made one yet.
    pub(super) checkpoint_ms_ago: Option<u64>,
}

/// Whether it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum OwnerState {
    Serving,
    Restoring,
    /// It answers with what it has until the next owner does.
    Leaving,
    /// It has not been heard of: nobody asks it, as long as others are.
    Silent,
}

/// Whether two owners have one state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct DigestView {
    pub(super) instances: [String; 2],
    /// At which both were asked; `None` where they could not be compared.
    pub(super) offset: Option<Offset>,
    pub(super) equal: Option<bool>,
    pub(super) error: Option<String>,
}

impl Picture {
    pub(super) fn has_difference(&self) -> bool {
        self.digests().any(|digests| digests.equal == Some(false))
    }

    pub(super) fn has_uncompared(&self) -> bool {
        self.digests().any(|digests| digests.equal.is_none())
    }

    fn digests(&self) -> impl Iterator<Item = &DigestView> {
        self.partitions.iter().flat_map(|partition| &partition.digests)
    }
}

/// Judges what was seen. Who was not heard of for `silent_after` serves nothing.
pub(super) fn judge(seen: &Gathered, silent_after: Duration) -> Picture {
    let mut there: Vec<&Heard> = seen.heard.iter().filter(|heard| !heard.is_gone).collect();
    there.sort_by_key(|heard| (&heard.owner.replica, &heard.owner.instance));
    let is_silent = |heard: &Heard| u128::from(heard.ms_ago) >= silent_after.as_millis();

    let views = seen.bounds.iter().zip(0..).map(|(bounds, partition)| {
        let owners: Vec<_> = there
            .iter()
            .filter_map(|heard| {
                let status = heard.owner.partitions.iter().find(|status| status.partition == partition)?;
                Some(owner_view(seen, bounds, heard, status, is_silent(heard)))
            })
            .collect();
        let is_served = owners.iter().any(|owner| matches!(owner.state, OwnerState::Serving | OwnerState::Leaving));
        let (log_start, log_end) = (bounds.start, bounds.end);
        PartitionView { partition, is_served, log_start, log_end, owners, digests: vec![] }
    });
    let partitions: Vec<_> = views.collect();
    let not_served: Vec<_> =
        partitions.iter().filter(|partition| !partition.is_served).map(|partition| partition.partition).collect();
    Picture {
        all_served: not_served.is_empty(),
        not_served,
        processors: there.iter().map(|heard| processor_view(heard, is_silent(heard))).collect(),
        long_gone: seen.heard.len() - there.len(),
        contradictions: there.iter().filter_map(|heard| contradiction(&heard.owner, partitions.len())).collect(),
        partitions,
    }
}

fn processor_view(heard: &Heard, is_silent: bool) -> ProcessorView {
    let Heard { owner, ms_ago, .. } = heard;
    let is_restoring = |status: &&PartitionStatus| status.state() == PartitionState::Restoring;
    let restoring = owner.partitions.iter().filter(is_restoring).count();
    ProcessorView {
        instance: owner.instance.clone(),
        replica: Some(owner.replica.clone()).filter(|replica| !replica.is_empty()),
        url: owner.url.clone(),
        heard_ms_ago: *ms_ago,
        is_silent,
        serving: owner.partitions.len() - restoring,
        restoring,
    }
}

fn owner_view(seen: &Gathered, bounds: &Bounds, heard: &Heard, status: &PartitionStatus, is_silent: bool) -> OwnerView {
    let state = match status.state() {
        _ if is_silent => OwnerState::Silent,
        PartitionState::Serving => OwnerState::Serving,
        PartitionState::Restoring => OwnerState::Restoring,
        PartitionState::Leaving => OwnerState::Leaving,
    };
    let ms_ago = |at_ms: i64| u64::try_from(seen.now_ms.saturating_sub(at_ms)).unwrap_or(0);
    let applied = status.as_of.as_ref().map_or(0, |as_of| as_of.next_offset);
    let (lag_records, lag_ms) = match seen.waiting.get(&(status.partition, applied)) {
        _ if applied >= bounds.end => (0, Some(0)),
        // What lies before the end is no record: the marks of a transaction, for one.
        Some(None) => (0, Some(0)),
        Some(Some(since_ms)) => (bounds.end - applied, Some(ms_ago(*since_ms))),
        None => (bounds.end - applied, None),
    };
    let restored_percent = (state == OwnerState::Restoring).then(|| percent(bounds, applied));
    OwnerView {
        instance: heard.owner.instance.clone(),
        state,
        restored_percent,
        applied,
        lag_records,
        lag_ms,
        checkpoint_ms_ago: status.checkpointed_ms.map(ms_ago),
    }
}

/// How much of what the log holds lies before `applied`, rounded down.
fn percent(bounds: &Bounds, applied: Offset) -> u64 {
    let all = u128::from(bounds.end.saturating_sub(bounds.start));
    let done = u128::from(applied.clamp(bounds.start, bounds.end.max(bounds.start)) - bounds.start);
    (done * 100).checked_div(all).and_then(|percent| u64::try_from(percent).ok()).unwrap_or(100)
}

/// A processor with another number of partitions folds another log, or one that was made anew.
fn contradiction(owner: &Owner, partitions: usize) -> Option<String> {
    let Owner { instance, partition_count, .. } = owner;
    (usize::try_from(*partition_count) != Ok(partitions))
        .then(|| format!("{instance} folds a log of {partition_count} partitions, and there are {partitions}"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use track_proto::v1::AsOf;

    const SILENT_AFTER: Duration = Duration::from_secs(5);
    const NOW_MS: i64 = 1_700_000_000_000;

    pub(in crate::status) fn heard(
        instance: &str,
        replica: &str,
        ms_ago: u64,
        partitions: &[(Partition, PartitionState, Offset)],
    ) -> Heard {
        let status = |(partition, state, next_offset): &(Partition, PartitionState, Offset)| {
            let as_of = Some(AsOf { next_offset: *next_offset, ..AsOf::default() });
            PartitionStatus { partition: *partition, state: i32::from(*state), as_of, checkpointed_ms: None }
        };
        let owner = Owner {
            instance: instance.to_owned(),
            url: format!("http://{instance}:8082"),
            partitions: partitions.iter().map(status).collect(),
            partition_count: 3,
            replica: replica.to_owned(),
            ..Owner::default()
        };
        Heard { owner, ms_ago, is_gone: false }
    }

    /// Three partitions with 100 records each: one that two serve, one that one restores, one whose owner is silent.
    pub(in crate::status) fn seen() -> Gathered {
        use PartitionState::{Restoring, Serving};
        Gathered {
            heard: vec![
                heard("beta-b", "b", 300, &[(0, Serving, 100)]),
                heard("gamma", "", 42_000, &[(2, Serving, 60)]),
                heard("alpha", "", 900, &[(0, Serving, 95), (1, Restoring, 55)]),
            ],
            bounds: vec![Bounds { start: 10, end: 100 }; 3],
            waiting: [((0, 95), Some(NOW_MS - 1_200)), ((1, 55), Some(NOW_MS - 7_200_000)), ((2, 60), None)].into(),
            now_ms: NOW_MS,
        }
    }

    #[test]
    fn a_partition_is_served_by_who_says_so_and_is_heard() {
        let picture = judge(&seen(), SILENT_AFTER);
        assert!(!picture.all_served);
        assert_eq!(picture.not_served, [1, 2]);
        let names: Vec<_> = picture.processors.iter().map(|processor| &*processor.instance).collect();
        assert_eq!(names, ["alpha", "gamma", "beta-b"], "by replica and name");
        let silent: Vec<_> = picture.processors.iter().map(|processor| processor.is_silent).collect();
        assert_eq!(silent, [false, true, false]);
        let states = |partition: usize| {
            let owners = &picture.partitions[partition].owners;
            owners.iter().map(|owner| owner.state).collect::<Vec<_>>()
        };
        assert_eq!(states(0), [OwnerState::Serving, OwnerState::Serving]);
        assert_eq!(states(1), [OwnerState::Restoring]);
        assert_eq!(states(2), [OwnerState::Silent]);
        assert!(picture.contradictions.is_empty());
    }

    #[test]
    fn lag_is_what_the_log_has_and_its_first_records_wait() {
        let picture = judge(&seen(), SILENT_AFTER);
        let lag = |partition: usize, owner: usize| {
            let owner = &picture.partitions[partition].owners[owner];
            (owner.lag_records, owner.lag_ms, owner.restored_percent)
        };
        assert_eq!(lag(0, 0), (5, Some(1_200), None));
        assert_eq!(lag(0, 1), (0, Some(0), None));
        assert_eq!(lag(1, 0), (45, Some(7_200_000), Some(50)), "45 of the 90 that the log holds");
        assert_eq!(lag(2, 0), (0, Some(0), None), "nothing before the end is a record");
        let unknown = Gathered { waiting: [].into(), ..seen() };
        assert_eq!(judge(&unknown, SILENT_AFTER).partitions[0].owners[0].lag_ms, None);
    }

    #[test]
    fn who_is_long_gone_is_only_counted() {
        let mut seen = seen();
        seen.heard[1].is_gone = true;
        let picture = judge(&seen, SILENT_AFTER);
        assert_eq!((picture.processors.len(), picture.long_gone), (2, 1));
        assert!(picture.partitions[2].owners.is_empty());
    }

    #[test]
    fn another_number_of_partitions_is_a_contradiction() {
        let mut seen = seen();
        seen.bounds.push(Bounds { start: 0, end: 0 });
        let picture = judge(&seen, SILENT_AFTER);
        assert_eq!(picture.contradictions.len(), 3);
        assert_eq!(picture.contradictions[0], "alpha folds a log of 3 partitions, and there are 4");
        assert_eq!(picture.not_served, [1, 2, 3], "an empty partition needs an owner too");
    }

    #[test]
    fn progress_is_rounded_down_and_stays_within_bounds() {
        let bounds = Bounds { start: 100, end: 300 };
        for (applied, expected) in [(0, 0), (100, 0), (101, 0), (299, 99), (300, 100), (400, 100)] {
            assert_eq!(percent(&bounds, applied), expected, "{applied}");
        }
        assert_eq!(percent(&Bounds { start: 7, end: 7 }, 7), 100, "nothing to restore");
    }
}
