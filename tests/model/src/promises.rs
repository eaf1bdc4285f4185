//! What must hold at every moment, whatever happens, and what must come true in the end.

use crate::Cluster;
use crate::ask::{Answer, Asking, Reply};
use crate::scatter::Response;
use crate::system::System;
use stateright::Property;
use std::collections::BTreeSet;

pub(crate) const STATE_IS_A_PREFIX: &str = "a state, on disk, in memory or kept, is the fold of a prefix of the log";
pub(crate) const ANSWER_IS_A_PREFIX: &str =
    "an answer is the fold of the prefix that it says, and of all that was restored";
pub(crate) const RESTORED_FIRST: &str = "a partition is served only once it has what the log held when it was taken";
pub(crate) const ONE_RIGHT: &str = "no two processors hold a partition by the same right";
pub(crate) const POSITION_REACHED: &str = "an answer has the record that it was asked to have";
pub(crate) const ONE_ANSWER: &str = "a response counts one answer of a partition, or says its number";
pub(crate) const SERVED_IN_THE_END: &str =
    "in the end every partition is served, all of it, where the query service looks";

/// The promises of the protocol.
pub(crate) fn promises() -> Vec<Property<Cluster>> {
    vec![
        Property::always(STATE_IS_A_PREFIX, |_, system: &System| states_are_prefixes(system)),
        Property::always(RESTORED_FIRST, |_, system: &System| served_are_restored(system)),
        Property::always(ONE_RIGHT, rights_differ),
        Property::always(ANSWER_IS_A_PREFIX, |_, system: &System| {
            answers(system).all(|answer| {
                answer.owned.folded.is_prefix(system.log_ends[answer.partition]) && answer.owned.is_restored()
            })
        }),
        Property::always(POSITION_REACHED, |_, system: &System| {
            let min_offset = |answer: &Answer| system.query.as_ref()?.min_offsets[answer.partition];
            answers(system).all(|answer| min_offset(answer).is_none_or(|min| answer.owned.folded.next_offset > min))
        }),
        Property::always(ONE_ANSWER, |cluster, system: &System| {
            [false, true].into_iter().filter_map(|allow_partial| response(cluster, system, allow_partial)).all(
                |response| match response {
                    Response::Whole(answers) => each_once(cluster, &answers, &[]),
                    Response::Partial(answers, missing) => each_once(cluster, &answers, &missing),
                    Response::Unavailable(missing) => !missing.is_empty() && no_answer_for(system, &missing),
                },
            )
        }),
    ]
}

/// What every way on leads to where nothing is asked and each fault happens a bounded number of times.
///
/// Without queries no step leads back to where the system was before: each uses up a chance, changes hands, or goes
/// forward on log, disk or board. So every way on ends, and where it ends all must be well.
pub(crate) fn progress() -> Property<Cluster> {
    Property::eventually(SERVED_IN_THE_END, |cluster, system: &System| {
        system.actions(cluster).is_empty()
            && (0..cluster.partitions).all(|partition| is_served(cluster, system, partition))
    })
}

/// Whether whoever would be asked first has the whole log.
fn is_served(cluster: &Cluster, system: &System, partition: usize) -> bool {
    let first = system.candidates(partition).first().copied();
    let reply = first.map(|first| system.reply(cluster, first, partition, None));
    matches!(reply, Some(Reply::Answer(owned)) if owned.folded.next_offset == system.log_ends[partition])
}

fn states_are_prefixes(system: &System) -> bool {
    system.log_ends.iter().enumerate().all(|(partition, log_end)| {
        let held = system.processors.iter().flat_map(|processor| {
            let in_memory = processor.owned[partition].iter().map(|owned| &owned.folded);
            in_memory.chain([&processor.disk[partition]])
        });
        held.chain(system.checkpoints.get(partition).into_iter().flatten()).all(|folded| folded.is_prefix(*log_end))
    })
}

fn served_are_restored(system: &System) -> bool {
    let owned = system.processors.iter().flat_map(|processor| processor.owned.iter().flatten());
    owned.into_iter().all(|owned| !owned.answers() || owned.is_restored())
}

fn rights_differ(cluster: &Cluster, system: &System) -> bool {
    let mut rights = BTreeSet::new();
    let processors = system.processors.iter().zip(&cluster.groups);
    processors
        .flat_map(|(processor, group)| {
            let owned = processor.owned.iter().enumerate();
            owned.filter_map(move |(partition, owned)| Some((*group, partition, owned.as_ref()?.generation)))
        })
        .all(|right| rights.insert(right))
}

/// The answers that were taken, be the query over or not.
pub(crate) fn answers(system: &System) -> impl Iterator<Item = &Answer> {
    let asks = system.query.iter().flat_map(|query| &query.asks);
    asks.flat_map(|ask| match &ask.stage {
        Asking::Answered(answers) => answers.as_slice(),
        _ => &[],
    })
}

/// What the client gets, once the query is over.
pub(crate) fn response(cluster: &Cluster, system: &System, allow_partial: bool) -> Option<Response> {
    Some(system.query.as_ref()?.gathered(cluster)?.respond(allow_partial))
}

fn each_once(cluster: &Cluster, answers: &[Answer], missing: &[usize]) -> bool {
    let mut partitions: Vec<_> = answers.iter().map(|answer| answer.partition).chain(missing.iter().copied()).collect();
    partitions.sort_unstable();
    partitions.into_iter().eq(0..cluster.partitions)
}

fn no_answer_for(system: &System, missing: &[usize]) -> bool {
    answers(system).all(|answer| !missing.contains(&answer.partition))
}
