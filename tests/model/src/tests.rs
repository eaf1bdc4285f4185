//! The clusters that are looked at, whole, and the mistakes that must be found in them.
//!
//! Each is as small as what it is about allows: a second fault, partition or record multiplies the states.

use crate::promises::{
    ANSWER_IS_A_PREFIX, ONE_ANSWER, ONE_RIGHT, POSITION_REACHED, RESTORED_FIRST, SERVED_IN_THE_END, STATE_IS_A_PREFIX,
};
use crate::{Chances, Cluster, Mutation, Sight, System};
use stateright::{Checker as _, HasDiscoveries, Model as _};
use std::collections::{BTreeSet, HashMap};

const NO_FAULT: Chances =
    Chances { moves: 0, stops: 0, crashes: 0, lost_disks: 0, freezes: 0, cuts: 0, checkpoints: 0 };

/// One partition and one group of two, without a fault.
fn pair() -> Cluster {
    Cluster {
        partitions: 1,
        records: 2,
        groups: vec![0, 0],
        coming_back: 2,
        chances: NO_FAULT,
        is_warm: false,
        is_queried: true,
        mutation: None,
        sights: vec![],
    }
}

/// A partition is taken from an owner that is well, and knows of it or not.
fn moved() -> Cluster {
    let chances = Chances { moves: 1, ..NO_FAULT };
    let sights = vec![
        Sight::AnsweredAfterHandOver,
        Sight::AnsweredByOldOwner,
        Sight::AnsweredOnRetry,
        Sight::AnsweredWhileHedged,
        Sight::AnsweredWithPosition,
        Sight::Unavailable,
    ];
    Cluster { chances, sights, ..pair() }
}

/// The same, and who loses it goes on answering from it for a while.
fn moved_warm() -> Cluster {
    let mut cluster = Cluster { is_warm: true, ..moved() };
    cluster.sights.push(Sight::AnsweredByLeaving);
    cluster
}

/// An owner dies, and checkpoints may be there.
fn crashed() -> Cluster {
    let chances = Chances { crashes: 1, checkpoints: 1, ..NO_FAULT };
    let sights = vec![Sight::AnsweredAfterHandOver, Sight::AnsweredFromCheckpoint, Sight::AnsweredOnRetry];
    Cluster { chances, sights, ..pair() }
}

/// An owner dies with its disk; of two checkpoints either may be taken, or none.
fn disk_lost() -> Cluster {
    let chances = Chances { lost_disks: 1, checkpoints: 2, ..NO_FAULT };
    Cluster { chances, sights: vec![Sight::AnsweredFromCheckpoint], ..pair() }
}

/// Two groups, one of which is frozen while a connection may break.
fn replicas() -> Cluster {
    let chances = Chances { freezes: 1, cuts: 1, ..NO_FAULT };
    let sights = vec![Sight::AnsweredWhileHedged, Sight::AnsweredOnRetry, Sight::AnsweredWithPosition];
    Cluster { groups: vec![0, 1], chances, sights, ..pair() }
}

/// Two partitions; one of two processors stops.
fn two_partitions() -> Cluster {
    let chances = Chances { stops: 1, ..NO_FAULT };
    let sights = vec![Sight::Partial, Sight::Unavailable, Sight::AnsweredOnRetry];
    Cluster { partitions: 2, records: 1, chances, sights, ..pair() }
}

/// Nobody asks: the processors alone, with more that goes wrong. Only one of them comes back.
fn faulty() -> Cluster {
    let chances = Chances { moves: 1, crashes: 1, freezes: 1, ..NO_FAULT };
    Cluster { chances, coming_back: 1, is_queried: false, ..pair() }
}

/// Looks at all states that can be reached.
fn look(cluster: Cluster) {
    let checker = cluster.checker().threads(2).spawn_bfs().join();
    println!("{} states, up to {} steps deep", checker.unique_state_count(), checker.max_depth());
    checker.assert_properties();
}

/// Expects that `promise` is found broken where a mistake is made.
fn look_for(promise: &'static str, mutation: Mutation, cluster: Cluster) {
    let cluster = Cluster { mutation: Some(mutation), sights: vec![], ..cluster };
    let found = HasDiscoveries::AllOf(BTreeSet::from([promise]));
    let checker = cluster.checker().threads(2).finish_when(found).spawn_bfs().join();
    assert!(checker.discovery(promise).is_some(), "{mutation:?} must break: {promise}");
}

#[test]
fn a_partition_is_moved() {
    look(moved());
}

#[test]
fn a_partition_is_moved_warm() {
    look(moved_warm());
}

#[test]
fn all_is_served_again_after_a_warm_move() {
    look(Cluster { is_warm: true, ..faulty() });
}

#[test]
fn a_processor_crashes() {
    look(crashed());
}

#[test]
fn a_processor_crashes_while_a_partition_is_moved() {
    let chances = Chances { moves: 1, crashes: 1, ..NO_FAULT };
    look(Cluster { records: 1, chances, ..pair() });
}

#[test]
fn a_disk_is_lost() {
    look(disk_lost());
}

#[test]
fn a_replica_is_frozen_and_a_connection_breaks() {
    look(replicas());
}

#[test]
fn a_replica_crashes() {
    look(Cluster { chances: Chances { crashes: 1, ..NO_FAULT }, ..replicas() });
}

#[test]
fn one_of_two_partitions_has_no_owner_for_a_while() {
    look(two_partitions());
}

#[test]
fn all_is_served_again_by_the_one_that_comes_back() {
    look(faulty());
}

#[test]
fn all_is_served_again_by_one_replica_of_two() {
    let chances = Chances { crashes: 1, lost_disks: 1, checkpoints: 1, ..NO_FAULT };
    look(Cluster { groups: vec![0, 1], chances, ..faulty() });
}

#[test]
fn all_of_two_partitions_is_served_again() {
    let chances = Chances { stops: 1, crashes: 1, ..NO_FAULT };
    look(Cluster { partitions: 2, records: 1, chances, coming_back: 2, ..faulty() });
}

/// Stateright takes a way that comes back to where it was for one that never ends well or badly: there must be none.
#[test]
fn without_queries_every_way_ends() {
    let cluster = Cluster { chances: Chances { crashes: 1, freezes: 1, stops: 1, ..NO_FAULT }, ..faulty() };
    // How many ways lead to a state: those without any left are taken out, until none is there.
    let mut ways_to: HashMap<System, usize> = HashMap::new();
    let mut to_see = cluster.init_states();
    for first in &to_see {
        ways_to.insert(first.clone(), 0);
    }
    while let Some(state) = to_see.pop() {
        for next in cluster.next_states(&state) {
            let ways = ways_to.entry(next).or_insert_with_key(|next| {
                to_see.push(next.clone());
                0
            });
            *ways += 1;
        }
    }
    let mut to_take = cluster.init_states();
    while let Some(state) = to_take.pop() {
        ways_to.remove(&state);
        for next in cluster.next_states(&state) {
            let ways = ways_to.get_mut(&next).expect("it is taken out after all that lead to it");
            *ways -= 1;
            if *ways == 0 {
                to_take.push(next);
            }
        }
    }
    assert_eq!(ways_to.len(), 0, "states that lead back to themselves");
}

#[test]
fn what_is_served_before_it_is_restored_is_found() {
    look_for(RESTORED_FIRST, Mutation::ServedBeforeRestored, moved());
    look_for(ANSWER_IS_A_PREFIX, Mutation::ServedBeforeRestored, moved());
}

#[test]
fn an_offset_written_apart_from_its_state_is_found() {
    look_for(STATE_IS_A_PREFIX, Mutation::OffsetWrittenApart, crashed());
    look_for(ANSWER_IS_A_PREFIX, Mutation::OffsetWrittenApart, crashed());
}

#[test]
fn two_answers_of_a_partition_are_found() {
    look_for(ONE_ANSWER, Mutation::EveryAnswerCounted, moved());
    look_for(ONE_ANSWER, Mutation::EveryAnswerCounted, replicas());
}

#[test]
fn a_missing_partition_that_is_left_out_is_found() {
    look_for(ONE_ANSWER, Mutation::MissingLeftOut, two_partitions());
}

#[test]
fn an_ignored_position_is_found() {
    look_for(POSITION_REACHED, Mutation::MinOffsetIgnored, replicas());
    look_for(POSITION_REACHED, Mutation::MinOffsetIgnored, moved_warm());
}

#[test]
fn a_right_given_twice_is_found() {
    look_for(ONE_RIGHT, Mutation::RightGivenTwice, moved());
}

#[test]
fn what_is_never_served_again_is_found() {
    look_for(SERVED_IN_THE_END, Mutation::GoneMemberKept, faulty());
    look_for(SERVED_IN_THE_END, Mutation::ServingNotTold, faulty());
}
