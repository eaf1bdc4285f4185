//! Whether the brokers have let a member into its group.

use super::assignment::Consumer;
use rdkafka::bindings::{
    rd_kafka_consumer_group_metadata, rd_kafka_consumer_group_metadata_destroy,
    rd_kafka_consumer_group_metadata_generation_id, rd_kafka_consumer_group_metadata_member_id,
};
use rdkafka::consumer::Consumer as _;
use std::time::{Duration, Instant};

/// How long one that was let in may be told nothing before it counts as having nothing. What others have to give up first
/// comes two answers of the brokers later, with one every 5 seconds unless they are set to something else
/// (`group.consumer.heartbeat.interval.ms`), and giving up takes its time.
const TOLD_WITHIN: Duration = Duration::from_secs(20);

/// Where one consumer is between asking to be let in and being a member, which it may have to do again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// Having lost its place with this generation, which librdkafka may go on giving until there is a new one.
    Asking {
        lost: Option<Generation>,
    },
    /// In since then, and not yet told what is its own.
    LetIn {
        at: Instant,
        lost: Option<Generation>,
    },
    Member,
}

/// Which state of the group a member is in.
pub(super) type Generation = i32;

/// What the member is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It is a member that has been told what is its own, or has had the time to be told.
    Joined,
    /// It has lost its place, and with it all that it had. The consumer asks again by itself.
    Lost,
}

impl Default for Admission {
    fn default() -> Self {
        Self::Asking { lost: None }
    }
}

impl Admission {
    /// Takes notice of how things are at `now`, and says what has changed; `has_lost` where the group has taken what there was
    /// without asking since the last look. What a consumer has it keeps where the brokers are out of reach, and as long as it
    /// has that, nobody needs to be asked for its `generation`, which is `None` where it is in no group.
    pub(super) fn look(
        &mut self,
        has_partitions: bool,
        has_lost: bool,
        generation: impl FnOnce() -> Option<Generation>,
        now: Instant,
    ) -> Option<Change> {
        let (next, change) = match *self {
            Self::Member if has_partitions && !has_lost => (Self::Member, None),
            Self::Member => match generation() {
                Some(_) if !has_lost => (Self::Member, None),
                lost => (Self::Asking { lost }, Some(Change::Lost)),
            },
            Self::Asking { .. } | Self::LetIn { .. } if has_partitions => (Self::Member, Some(Change::Joined)),
            Self::Asking { lost } => (Self::asking_or_let_in(lost, generation(), now), None),
            Self::LetIn { at, lost } => match Self::asking_or_let_in(lost, generation(), at) {
                Self::LetIn { .. } if now.saturating_duration_since(at) >= TOLD_WITHIN => {
                    (Self::Member, Some(Change::Joined))
                }
                next => (next, None),
            },
        };
        *self = next;
        change
    }

    /// In since `at`, where it is in and not by what it has `lost`.
    fn asking_or_let_in(lost: Option<Generation>, generation: Option<Generation>, at: Instant) -> Self {
        if generation.is_none() || generation == lost { Self::Asking { lost } } else { Self::LetIn { at, lost } }
    }

    pub(super) fn is_member(self) -> bool {
        self == Self::Member
    }
}

/// Members have a generation (classic) or an epoch (KIP-848) from 1 on; who asks to be one has 0 or less. Where the brokers were
/// away for too long, librdkafka keeps the generation of a classic member and takes its id away.
pub(super) fn generation(consumer: &Consumer) -> Option<Generation> {
    let client = consumer.client().native_ptr();
    #[allow(unsafe_code, reason = "rust-rdkafka has no safe way to ask")]
    // SAFETY: the client lives as long as the consumer that is borrowed; what it gives is ours, null without a group, and
    // destroyed once. The id is a C string in it, and is looked at before.
    unsafe {
        let metadata = rd_kafka_consumer_group_metadata(client);
        if metadata.is_null() {
            return None;
        }
        let generation = rd_kafka_consumer_group_metadata_generation_id(metadata);
        let id = rd_kafka_consumer_group_metadata_member_id(metadata);
        let has_id = !id.is_null() && id.read() != 0;
        rd_kafka_consumer_group_metadata_destroy(metadata);
        (generation > 0 && has_id).then_some(generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a consumer finds itself to be.
    #[derive(Clone, Copy)]
    struct Found {
        has_partitions: bool,
        generation: Option<Generation>,
        has_lost: bool,
    }

    const NONE: Found = Found { has_partitions: false, generation: None, has_lost: false };
    const TOLD: u64 = TOLD_WITHIN.as_secs();

    fn with(generation: Generation) -> Found {
        Found { generation: Some(generation), ..NONE }
    }

    fn owning(generation: Option<Generation>) -> Found {
        Found { has_partitions: true, generation, ..NONE }
    }

    fn losing(generation: Option<Generation>) -> Found {
        Found { has_lost: true, generation, ..NONE }
    }

    /// What is said after each look, so many seconds after the one before.
    fn said(looks: &[(Found, u64)]) -> Vec<Option<Change>> {
        let (mut admission, mut now) = (Admission::default(), Instant::now());
        let look = |(found, seconds): &(Found, u64)| {
            now += Duration::from_secs(*seconds);
            admission.look(found.has_partitions, found.has_lost, || found.generation, now)
        };
        looks.iter().map(look).collect()
    }

    #[test]
    fn who_is_not_let_in_is_no_member_however_long_it_takes() {
        assert_eq!(said(&[(NONE, 0), (NONE, TOLD), (NONE, TOLD)]), [None; 3]);
    }

    #[test]
    fn who_has_partitions_is_a_member_at_once() {
        assert_eq!(
            said(&[(with(1), 0), (owning(Some(1)), 1), (owning(Some(1)), 1)]),
            [None, Some(Change::Joined), None]
        );
    }

    #[test]
    fn who_is_told_nothing_is_a_member_after_a_while() {
        let waits = [(NONE, 0), (with(1), TOLD), (with(1), TOLD - 1), (with(2), 1), (with(2), 1)];
        assert_eq!(said(&waits), [None, None, None, Some(Change::Joined), None]);
        // Let in, thrown out and let in again: the time counts from there.
        let again = [(with(1), 0), (NONE, 1), (with(2), TOLD), (with(2), TOLD)];
        assert_eq!(said(&again), [None, None, None, Some(Change::Joined)]);
    }

    #[test]
    fn who_has_lost_its_place_is_told_and_may_come_back() {
        let (joined, lost) = (Some(Change::Joined), Some(Change::Lost));
        let noticed =
            [(owning(Some(7)), 0), (losing(Some(7)), 1), (with(7), TOLD), (with(7), TOLD), (owning(Some(8)), 1)];
        assert_eq!(said(&noticed), [joined, lost, None, None, joined]);
        let for_nothing = [(owning(Some(7)), 0), (losing(None), 1), (NONE, TOLD), (with(8), TOLD), (with(8), TOLD)];
        assert_eq!(said(&for_nothing), [joined, lost, None, None, joined]);
        // It had nothing that could have been taken.
        let idle = [(with(7), 0), (with(7), TOLD), (NONE, 1), (with(8), 1), (with(8), TOLD)];
        assert_eq!(said(&idle), [None, joined, lost, None, joined]);
    }

    #[test]
    fn who_has_partitions_keeps_its_place_without_brokers_and_who_gave_them_to_others_too() {
        assert_eq!(said(&[(owning(Some(1)), 0), (owning(None), TOLD)]), [Some(Change::Joined), None]);
        assert_eq!(said(&[(owning(Some(1)), 0), (with(2), TOLD)]), [Some(Change::Joined), None]);
    }
}
