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
const TOLD_WITHIN: Duration = Duration::from_secs(12);

/// Where one consumer is between asking to be let in and being a member, which it may have to do again.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    #[default]
    Asking,
    /// In since then, and not yet told what is its own.
    LetIn(Instant),
    Member,
}

/// What the member is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It is a member that has been told what is its own, or has had the time to be told.
    Joined,
    /// The group has gone on without it, and it has nothing any more. The consumer asks again by itself.
    Lost,
}

impl Admission {
    /// Takes notice of how things are at `now`, and says what has changed. What a consumer has it keeps where the brokers are
    /// out of reach: only one without partitions is asked whether it `is_in`.
    pub(super) fn look(&mut self, has_partitions: bool, is_in: impl FnOnce() -> bool, now: Instant) -> Option<Change> {
        let is_in = has_partitions || is_in();
        let (next, change) = match *self {
            Self::Member if is_in => (Self::Member, None),
            Self::Member => (Self::Asking, Some(Change::Lost)),
            Self::Asking | Self::LetIn(_) if has_partitions => (Self::Member, Some(Change::Joined)),
            Self::Asking | Self::LetIn(_) if !is_in => (Self::Asking, None),
            Self::Asking => (Self::LetIn(now), None),
            Self::LetIn(at) if now.saturating_duration_since(at) < TOLD_WITHIN => (Self::LetIn(at), None),
            Self::LetIn(_) => (Self::Member, Some(Change::Joined)),
        };
        *self = next;
        change
    }

    pub(super) fn is_over(self) -> bool {
        self == Self::Member
    }
}

/// Members have a generation (classic) or an epoch (KIP-848) from 1 on; who asks to be one has 0 or less. Where the brokers were
/// away for too long, librdkafka keeps the generation of a classic member and takes its id away.
pub(super) fn is_in(consumer: &Consumer) -> bool {
    let client = consumer.client().native_ptr();
    #[allow(unsafe_code, reason = "rust-rdkafka has no safe way to ask")]
    // SAFETY: the client lives as long as the consumer that is borrowed; what it gives is ours, null without a group, and
    // destroyed once. The id is a C string in it, and is looked at before.
    unsafe {
        let metadata = rd_kafka_consumer_group_metadata(client);
        if metadata.is_null() {
            return false;
        }
        let generation = rd_kafka_consumer_group_metadata_generation_id(metadata);
        let id = rd_kafka_consumer_group_metadata_member_id(metadata);
        let has_id = !id.is_null() && id.read() != 0;
        rd_kafka_consumer_group_metadata_destroy(metadata);
        generation > 0 && has_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said after each look: whether it has partitions, whether it is in, seconds since the look before.
    fn said(looks: &[(bool, bool, u64)]) -> Vec<Option<Change>> {
        let (mut admission, mut now) = (Admission::default(), Instant::now());
        let look = |(has_partitions, is_in, seconds): &(bool, bool, u64)| {
            now += Duration::from_secs(*seconds);
            admission.look(*has_partitions, || *is_in, now)
        };
        looks.iter().map(look).collect()
    }

    const TOLD: u64 = TOLD_WITHIN.as_secs();

    #[test]
    fn who_is_not_let_in_is_no_member_however_long_it_takes() {
        assert_eq!(said(&[(false, false, 0), (false, false, TOLD), (false, false, TOLD)]), [None; 3]);
    }

    #[test]
    fn who_has_partitions_is_a_member_at_once() {
        assert_eq!(said(&[(false, true, 0), (true, true, 1), (true, true, 1)]), [None, Some(Change::Joined), None]);
    }

    #[test]
    fn who_is_told_nothing_is_a_member_after_a_while() {
        let waits =
            [(false, false, 0), (false, true, TOLD), (false, true, TOLD - 1), (false, true, 1), (false, true, 1)];
        assert_eq!(said(&waits), [None, None, None, Some(Change::Joined), None]);
        // Let in, thrown out and let in again: the time counts from there.
        let again = [(false, true, 0), (false, false, 1), (false, true, TOLD), (false, true, TOLD)];
        assert_eq!(said(&again), [None, None, None, Some(Change::Joined)]);
    }

    #[test]
    fn who_has_lost_its_place_is_told_and_may_come_back() {
        let fenced = [(true, true, 0), (false, false, 1), (false, false, TOLD), (true, true, 1)];
        assert_eq!(said(&fenced), [Some(Change::Joined), Some(Change::Lost), None, Some(Change::Joined)]);
    }

    #[test]
    fn who_has_partitions_keeps_its_place_without_brokers_and_who_gave_them_to_others_too() {
        assert_eq!(said(&[(true, true, 0), (true, false, TOLD)]), [Some(Change::Joined), None]);
        assert_eq!(said(&[(true, true, 0), (false, true, TOLD)]), [Some(Change::Joined), None]);
    }
}
