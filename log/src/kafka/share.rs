//! What a group says that one of its members has, and is to have.

use super::assignment::Consumer;
use crate::{LogError, Partition};
use rdkafka::bindings as sys;
use rdkafka::consumer::Consumer as _;
use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::marker::PhantomData;

const ANSWERED_WITHIN_MS: std::ffi::c_int = 5_000;

/// A member's share of a topic, as the group has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Share {
    /// What it has been given.
    pub(super) given: BTreeSet<Partition>,
    /// What it is to have once all others have given up what is not theirs.
    pub(super) meant: BTreeSet<Partition>,
}

/// A question to the group about the consumer itself, under way.
pub(super) struct Question<'c> {
    queue: *mut sys::rd_kafka_queue_t,
    consumer: PhantomData<&'c Consumer>,
}

impl<'c> Question<'c> {
    /// Asks the group's coordinator, a broker by its number. librdkafka is not to look for it: it keeps the one that it has found
    /// once, and where none is found in time it uses what it has freed (confluentinc/librdkafka#4605). Nothing waits for the answer.
    pub(super) fn ask(consumer: &'c Consumer, coordinator: i32, group: &str) -> Result<Self, LogError> {
        let group = CString::new(group).map_err(|_| LogError::Refused("the group's name holds a NUL".to_owned()))?;
        let client = consumer.client().native_ptr();
        let mut groups = [group.as_ptr()];
        #[allow(unsafe_code, reason = "rust-rdkafka has no safe way to ask for a group by KIP-848")]
        // SAFETY: the client outlives this by its lifetime, the queue is ours until it is dropped, the one name ends in a NUL
        // and is copied, and so are the options, which are destroyed once; errors of theirs need no text.
        let queue = unsafe {
            let describe = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
            let options = sys::rd_kafka_AdminOptions_new(client, describe);
            sys::rd_kafka_AdminOptions_set_broker(options, coordinator, std::ptr::null_mut(), 0);
            sys::rd_kafka_AdminOptions_set_request_timeout(options, ANSWERED_WITHIN_MS, std::ptr::null_mut(), 0);
            let queue = sys::rd_kafka_queue_new(client);
            sys::rd_kafka_DescribeConsumerGroups(client, groups.as_mut_ptr(), groups.len(), options, queue);
            sys::rd_kafka_AdminOptions_destroy(options);
            queue
        };
        Ok(Self { queue, consumer: PhantomData })
    }

    /// The answer for `topic`, once it has come: nothing where the group does not know this member, or does not answer.
    pub(super) fn answer(&self, consumer: &'c Consumer, topic: &str) -> Option<Option<Share>> {
        let client = consumer.client().native_ptr();
        #[allow(unsafe_code, reason = "rust-rdkafka has no safe way to ask for a group by KIP-848")]
        // SAFETY: the queue is ours. An event is destroyed once, after what was read out of it was copied, and is read as the
        // result of the one kind of question that this queue gets answers to. The member's id is ours, ends in a NUL and is
        // freed once.
        unsafe {
            let event = sys::rd_kafka_queue_poll(self.queue, 0);
            if event.is_null() {
                return None;
            }
            let id = sys::rd_kafka_memberid(client);
            let share = if id.is_null() { None } else { share_in(event, CStr::from_ptr(id), topic) };
            sys::rd_kafka_mem_free(client, id.cast());
            sys::rd_kafka_event_destroy(event);
            Some(share)
        }
    }
}

impl Drop for Question<'_> {
    #[allow(unsafe_code, reason = "rust-rdkafka has no safe way to ask for a group by KIP-848")]
    fn drop(&mut self) {
        // SAFETY: it is ours and destroyed once; an answer that comes later is thrown away.
        unsafe { sys::rd_kafka_queue_destroy(self.queue) };
    }
}

/// # Safety
/// The event is alive and the result of describing groups.
#[allow(unsafe_code, reason = "rust-rdkafka has no safe way to read it")]
unsafe fn share_in(event: *mut sys::rd_kafka_event_t, member_id: &CStr, topic: &str) -> Option<Share> {
    // SAFETY: all of it belongs to the event; what may be missing is null and looked at before.
    unsafe {
        let result = sys::rd_kafka_event_DescribeConsumerGroups_result(event);
        if result.is_null() {
            return None;
        }
        let mut count = 0;
        let groups = sys::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
        if groups.is_null() || count == 0 {
            return None;
        }
        let group = *groups;
        if !sys::rd_kafka_ConsumerGroupDescription_error(group).is_null() {
            return None;
        }
        for number in 0..sys::rd_kafka_ConsumerGroupDescription_member_count(group) {
            let member = sys::rd_kafka_ConsumerGroupDescription_member(group, number);
            let id = sys::rd_kafka_MemberDescription_consumer_id(member);
            if !id.is_null() && CStr::from_ptr(id) == member_id {
                let given = partitions(sys::rd_kafka_MemberDescription_assignment(member), topic);
                let meant = partitions(sys::rd_kafka_MemberDescription_target_assignment(member), topic);
                return given.zip(meant).map(|(given, meant)| Share { given, meant });
            }
        }
        None
    }
}

/// # Safety
/// The assignment is null or alive.
#[allow(unsafe_code, reason = "rust-rdkafka has no safe way to read it")]
unsafe fn partitions(assignment: *const sys::rd_kafka_MemberAssignment_t, topic: &str) -> Option<BTreeSet<Partition>> {
    if assignment.is_null() {
        return None;
    }
    // SAFETY: the list belongs to the assignment, and is as long as it says; its topics' names end in a NUL.
    unsafe {
        let list = sys::rd_kafka_MemberAssignment_partitions(assignment);
        if list.is_null() {
            return None;
        }
        let count = usize::try_from((*list).cnt).unwrap_or(0);
        let all = if count == 0 { &[][..] } else { std::slice::from_raw_parts((*list).elems, count) };
        let of_topic =
            all.iter().filter(|of| !of.topic.is_null() && CStr::from_ptr(of.topic).to_bytes() == topic.as_bytes());
        Some(of_topic.filter_map(|of| Partition::try_from(of.partition).ok()).collect())
    }
}
