//! Who asks, again and again, whatever happens: about one user or all, with and without `min_position` and `allow_partial`.

use crate::door::Door;
use crate::ending::Ending;
use crate::history::{History, partition_of};
use crate::judging::{self, Asked};
use crate::tally::Tally;
use chrono::{Days, NaiveDate};
use chrono_tz::Tz;
use fastrand::Rng;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use track_harness::answers;
use track_harness::http::{Answer, Request};
use track_oracle::{GroupBy, Query};

/// A query has five seconds; the rest is what a busy machine may take.
const ANSWERED_WITHIN: Duration = Duration::from_secs(25);
const PAUSE_MAX: Duration = Duration::from_millis(120);
/// One question in so many is about all users: those cost most to check.
const ABOUT_ALL_ONE_IN: u32 = 6;

pub struct Asker<'a> {
    history: &'a History,
    queries: &'a [Arc<Door>],
    tally: &'a Tally,
    ending: &'a Ending,
    rng: Rng,
    /// By query service, which process of it has named partitions: it knows them from then on.
    has_named: BTreeMap<usize, u64>,
}

/// All days on which something happens, and some more.
pub fn all_days() -> [NaiveDate; 2] {
    ["2025-01-20", "2025-02-10"].map(|day| day.parse().unwrap())
}

impl<'a> Asker<'a> {
    pub fn new(history: &'a History, queries: &'a [Arc<Door>], tally: &'a Tally, ending: &'a Ending, rng: Rng) -> Self {
        Self { history, queries, tally, ending, rng, has_named: BTreeMap::new() }
    }

    /// Asks until all is over.
    pub fn run(mut self) {
        let _failing = self.ending.guard_of_one();
        while !self.ending.is_over() {
            let about_all = self.rng.u32(..ABOUT_ALL_ONE_IN) == 0;
            let user = (!about_all).then(|| self.history.user(self.rng.usize(..))).flatten();
            self.ask(user);
            self.ending.pause(PAUSE_MAX.mul_f64(self.rng.f64()));
        }
    }

    fn ask(&mut self, user: Option<String>) {
        let query = self.draft(user);
        let path = *self.rng.choice(&answers::PATHS).unwrap();
        let (wants_all_acknowledged, allows_partial) = (self.rng.u8(..10) < 6, self.rng.u8(..10) < 2);
        let before = self.history.now();
        let positions = if wants_all_acknowledged { before.positions() } else { String::new() };
        let mut target = answers::target(path, &query, &positions);
        if allows_partial {
            target += "&allow_partial=true";
        }
        let number = self.rng.usize(..self.queries.len());
        let door = &self.queries[number];
        let (seen, began) = (door.look(), Instant::now());
        let Some(address) = seen.address else { return };
        let answer = match Request::get(&target).send_within(address, ANSWERED_WITHIN) {
            Ok(answer) => answer,
            Err(error) => {
                let took = began.elapsed();
                assert!(
                    !door.must_answer(seen),
                    "query service {number}, to which nothing happens, has not answered in {took:?}: {error:#}"
                );
                return self.tally.query_unanswered();
            }
        };
        let process = door.process(seen);
        let partition = query.user.as_deref().map(partition_of);
        if answer.status == 503 {
            let names = judging::refusal(&answer, partition, allows_partial);
            let names = names.unwrap_or_else(|error| panic!("query service {number}: {target}: {error:#}: {answer:?}"));
            self.check_named(number, process, names, &answer);
            return self.tally.query_refused(partition);
        }
        self.check_named(number, process, true, &answer);
        let after = self.history.now();
        let asked =
            Asked { path, query, before: wants_all_acknowledged.then_some(&before), after: &after, allows_partial };
        match asked.check(&answer) {
            Ok(is_partial) => self.tally.answered(partition, is_partial),
            Err(error) => panic!("query service {number} at {address}: {target}: {error:#}"),
        }
    }

    /// Which partitions have no answer may be unknown only to a process that has never heard of any.
    fn check_named(&mut self, number: usize, process: Option<u64>, names: bool, answer: &Answer) {
        let Some(process) = process else { return };
        if names {
            self.has_named.insert(number, process);
        } else {
            assert_ne!(self.has_named.get(&number), Some(&process), "it knew the partitions before: {answer:?}");
        }
    }

    fn draft(&mut self, user: Option<String>) -> Query {
        let rng = &mut self.rng;
        let [mut start, mut end] = all_days();
        if rng.u8(..10) < 3 {
            start = start.checked_add_days(Days::new(rng.u64(5..12))).unwrap();
            end = start.checked_add_days(Days::new(rng.u64(..6))).unwrap();
        }
        let events: &[&str] = match rng.u8(..10) {
            0 => &["stop"],
            1 => &["play", "like"],
            2 => &["like"],
            _ => &[],
        };
        let zones = [Tz::UTC, Tz::UTC, Tz::Asia__Kolkata, Tz::America__New_York, Tz::Australia__Lord_Howe];
        let groups = [GroupBy::Hour, GroupBy::Day, GroupBy::Day, GroupBy::Week, GroupBy::Month];
        Query {
            start,
            end,
            group_by: *rng.choice(&groups).unwrap(),
            timezone: *rng.choice(&zones).unwrap(),
            weeks_from_monday: rng.bool(),
            user,
            events: events.iter().map(|name| (*name).to_owned()).collect(),
        }
    }
}
