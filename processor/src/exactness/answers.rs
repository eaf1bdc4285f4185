//! What is answered is what the oracle says, whatever the order of arrival.

use super::cases;
use super::history::{events, query, records, rules, shuffled};
use super::partition::Partition;
use proptest::prelude::*;

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn answers_are_the_oracles_and_the_order_of_arrival_changes_nothing(
        rules in rules(),
        (events, order) in events(120).prop_flat_map(|events| {
            let order: Vec<usize> = (0..events.len()).collect();
            (Just(events), Just(order).prop_shuffle())
        }),
        queries in prop::collection::vec(query(), 6),
        batch in prop_oneof![Just(1), 1..200_usize],
    ) {
        let partition = Partition::new(&rules);
        partition.fold(&records(&events), batch);
        let other_order = Partition::new(&rules);
        other_order.fold(&records(&shuffled(&events, &order)), usize::MAX);
        for query in &queries {
            let counts = track_oracle::metrics(&events, query);
            let sessions = track_oracle::sessions(&events, &rules, query);
            prop_assert_eq!(&partition.metrics(query), &counts);
            prop_assert_eq!(&partition.sessions(query), &sessions);
            prop_assert_eq!(other_order.answers(query), (counts, sessions));
        }
    }
}
