//! What is found in memory is what was put there, whoever was let go meanwhile. That rows come out right is for
//! [`crate::exactness`], where memory has room for a few users only.

use super::days::{Days, Place};
use super::users::Users;
use super::*;
use crate::state::key::user_prefix;
use proptest::prelude::*;
use std::collections::BTreeSet;

const SPANS: Spans = Spans { retention: 400 * 86_400 };
const AT: Moment = Moment { now: 1, arrival: 1 };

proptest! {
    /// Users come and go; each is found under its own id, and who was used since the last round stays.
    #[test]
    fn users_are_found_by_their_ids(
        ids in prop::collection::vec("[ab]{1,3}|[a-z]{30}", 1..60),
        rooms in prop::collection::vec(0..4_000_usize, 1..60),
    ) {
        let mut users = Users::default();
        for (id, room) in ids.iter().zip(rooms) {
            let index = users.find(id);
            prop_assert_eq!(users.find(id), index);
            prop_assert_eq!(users.get(index).prefix(), user_prefix(id));
            let place = Place { day: 0, subject: 0 };
            users.change(index).counts.add(place, 0, Count::ONE, AT, SPANS);
            let changed: Vec<_> = users.take_changed().iter().map(|(_, index)| *index).collect();
            prop_assert_eq!(changed, [index]);
            users.settle(index);
            users.shrink_to(room);
        }
        for id in &ids {
            let index = users.find(id);
            prop_assert_eq!(users.get(index).prefix(), user_prefix(id));
        }
    }

    #[test]
    fn changed_users_come_in_the_order_of_their_keys(ids in prop::collection::btree_set("[a-c€]{1,20}", 0..30)) {
        let mut users = Users::default();
        let mut by_hash: Vec<_> = ids.iter().collect();
        by_hash.sort_by_key(|id| id.bytes().map(u32::from).sum::<u32>() % 7);
        for id in by_hash {
            let index = users.find(id);
            users.change(index);
            users.change(index);
        }
        let changed = users.take_changed();
        prop_assert!(changed.iter().all(|(prefix, index)| users.get(*index).prefix() == *prefix));
        let changed: Vec<_> = changed.iter().map(|(prefix, _)| prefix.clone()).collect();
        let keys: BTreeSet<_> = ids.iter().map(user_prefix).collect();
        prop_assert_eq!(changed, keys.into_iter().collect::<Vec<_>>());
        prop_assert!(users.take_changed().is_empty());
    }

    #[test]
    fn rows_come_in_the_order_of_their_keys(places in prop::collection::vec((-3..3_i32, 0..4_u32), 1..40)) {
        let subject = |subject: u32| ["b", "aa", "a", "ab"][subject as usize].as_bytes();
        let mut days = Days::default();
        for (day, subject) in &places {
            days.add(Place { day: *day, subject: *subject }, 0, Count::ONE, AT, SPANS);
        }
        days.sort_changed(subject);
        let key = |place: Place| {
            let mut key = Key::new();
            place.write_key(subject(place.subject), &mut key);
            key
        };
        let keys: Vec<_> = days.changed().map(|(place, _)| key(place)).collect();
        let expected: BTreeSet<_> =
            places.iter().map(|(day, subject)| key(Place { day: *day, subject: *subject })).collect();
        prop_assert_eq!(keys, expected.into_iter().collect::<Vec<_>>());
        days.settle();
        prop_assert_eq!(days.changed().count(), 0);
    }
}

#[test]
fn memory_is_given_back() {
    let mut users = Users::default();
    for id in 0..100 {
        let index = users.find(&format!("user-{id}"));
        for day in 0..50 {
            let sum = SessionSum::one(1);
            let days = users.change(index).sessions.get_or_insert_default();
            (0..9).for_each(|quarter| days.add(Place { day, subject: 0 }, quarter, sum, AT, SPANS));
        }
    }
    users.take_changed().iter().for_each(|(_, index)| users.settle(*index));
    let all = users.bytes();
    assert!(all > 100 * 50 * 9 * size_of::<(u8, SessionSum)>(), "{all}");
    users.shrink_to(all / 2);
    assert!(users.bytes() <= all / 2 && users.bytes() > all / 3, "{} of {all}", users.bytes());
    assert!((50..100).contains(&users.room()), "{}", users.room());
    users.shrink_to(0);
    assert_eq!((users.bytes(), users.room()), (0, 0));
}

#[test]
fn memory_is_shared_out_evenly() {
    // Whoever may make working sets has the budget, and takes nothing of it.
    let budget = Budget::new(1_000);
    let _holder = budget.clone();
    let first = WorkingSet::new(SPANS, &budget);
    assert_eq!(first.share.bytes_max(), 1_000);
    let mut second = WorkingSet::new(SPANS, &budget);
    assert_eq!(first.share.bytes_max(), 500);
    drop(first);
    assert_eq!(second.share.bytes_max(), 1_000);
    second.share.take(700);
    second.share.take(300);
    assert_eq!(budget.taken(), 300);
    drop(second);
    assert_eq!(budget.taken(), 0);
}

#[test]
fn a_pair_stands_for_itself() {
    for number in 0..u8::MAX {
        assert_eq!(pair(number.into()), [number]);
    }
}
