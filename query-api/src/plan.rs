//! Which partitions to ask, and how far each must be.

use crate::params::{ParamError, Params};
use std::num::NonZeroU32;
use track_proto::calendar::Calendar;
use track_proto::partitioner::partition_for;
use track_proto::v1::QueryRequest;

/// One request a partition, in the order of their numbers.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) requests: Vec<QueryRequest>,
    /// Names the buckets of the answers.
    pub(crate) calendar: Calendar,
    pub(crate) allow_partial: bool,
}

/// A user lives in one partition, all of them together in all.
pub(crate) fn plan(params: Params, partition_count: NonZeroU32) -> Result<Plan, ParamError> {
    let Params { question, allow_partial, min_positions } = params;
    let last = partition_count.get() - 1;
    if let Some((&partition, _)) = min_positions.last_key_value()
        && partition > last
    {
        return Err(ParamError::NoSuchPartition { partition, last });
    }
    let partitions = match &question.user_id {
        Some(user_id) => {
            let partition = partition_for(user_id.as_bytes(), partition_count.get());
            partition..=partition
        }
        None => 0..=last,
    };
    let requests =
        partitions.map(|partition| question.request(partition, min_positions.get(&partition).copied())).collect();
    Ok(Plan { requests, calendar: question.calendar, allow_partial })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params;

    fn planned(rest: &str, partition_count: u32) -> Result<Plan, ParamError> {
        let params = params::parse(&format!("start_date=2025-01-01&end_date=2025-01-31{rest}"), []).unwrap();
        plan(params, NonZeroU32::new(partition_count).unwrap())
    }

    #[test]
    fn everyone_lives_in_all_partitions() {
        let plan = planned("&min_position=2:9", 4).unwrap();
        let asked: Vec<_> = plan.requests.iter().map(|request| (request.partition, request.min_offset)).collect();
        assert_eq!(asked, [(0, None), (1, None), (2, Some(9)), (3, None)]);
    }

    #[test]
    fn a_user_lives_in_one() {
        // murmur2("foobar") is -790332482 in Kafka's own test: with the sign bit cleared, 6 modulo 8.
        let plan = planned("&user_id=foobar&min_position=6:1,2:9", 8).unwrap();
        let [request] = plan.requests.as_slice() else { panic!("one request, not {}", plan.requests.len()) };
        assert_eq!((request.partition, request.min_offset), (6, Some(1)));
        assert_eq!(request.user_id.as_deref(), Some("foobar"));
    }

    #[test]
    fn a_position_must_be_in_a_partition_that_exists() {
        assert!(planned("&min_position=3:0", 4).is_ok());
        let error = planned("&user_id=u&min_position=0:1,4:0", 4).unwrap_err();
        assert_eq!(error.to_string(), "min_position names partition 4, but partitions are numbered from 0 to 3");
    }
}
