//! A store that a test folds into, stops, opens again, takes back to what was on disk, and asks.

use crate::fold::fold;
use crate::rules::{SessionPair, SessionRules};
use crate::state::counts::Count;
use crate::state::identity::Identity;
use crate::state::key::split_day;
use crate::state::memory::Memory;
use crate::state::progress::Progress;
use crate::state::quarters::{Quarters, Sums};
use crate::state::store::{Store, StoreError};
use crate::state::ttl::{ARRIVAL_SECONDS, Spans, Stamp};
use crate::state::view::View;
use crate::state::working_set::{Budget, WorkingSet};
use crate::state::{Family, session_sums, stream_time::StreamTime, stretches};
use crate::{digest, query, sessions};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::ops::ControlFlow;
use tempfile::TempDir;
use track_log::{Offset, Record};
use track_oracle::{Counts, GroupBy, Query, Rules, SessionSum, Sessions};
use track_proto::calendar::{Calendar, day_of_date};
use track_proto::view::{self, BucketCount, EventCounts, Question, WeekStart};

/// 400 days.
pub(super) const RETENTION_S: u32 = 400 * 24 * 60 * 60;

/// One row that is alive: family, key, value.
pub(super) type Row = (&'static str, Vec<u8>, Vec<u8>);

/// A store and where it is.
struct Opened {
    store: Store,
    folder: TempDir,
    memory: Memory,
    /// What it was made for; the rules of the test that has it now are others.
    identity: Identity,
}

thread_local! {
    /// Stores that a test has done with, to be used by its next case. All partitions of a test have one retention.
    static SPARE: RefCell<Vec<Opened>> = const { RefCell::new(Vec::new()) };
}

pub(super) struct Partition {
    /// Always there but while it is exchanged.
    opened: Option<Opened>,
    spans: Spans,
    rules: SessionRules,
    session_rules: sessions::Rules,
    working: RefCell<WorkingSet>,
    /// How far `working` is, where that is not written yet.
    unwritten: Cell<Option<Progress>>,
    /// The offsets of what was no event.
    dead: RefCell<BTreeSet<Offset>>,
}

impl Partition {
    pub(super) fn new(rules: &Rules) -> Self {
        Self::with_retention(rules, RETENTION_S)
    }

    pub(super) fn with_retention(rules: &Rules, retention: u32) -> Self {
        let pair = |(open, close): &(String, String)| SessionPair { open: open.clone(), close: close.clone() };
        let session_pairs: Vec<_> = rules.pairs.iter().map(pair).collect();
        let identity = Identity {
            partition: 0,
            partition_count: 1,
            session_pairs: session_pairs.clone(),
            session_duration_ms_max: rules.session_ms_max,
            retention_seconds: retention,
        };
        let spans = Spans { retention };
        let opened = SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| {
            let (folder, memory) = (tempfile::tempdir().unwrap(), Memory::new(8 << 20));
            Opened { store: Store::open(folder.path(), &identity, spans, &memory).unwrap(), folder, memory, identity }
        });
        opened.store.clear();
        Self {
            opened: Some(opened),
            spans,
            rules: SessionRules::new(session_pairs).unwrap(),
            session_rules: sessions::Rules::new(rules.session_ms_max, i64::from(ARRIVAL_SECONDS) * 1000),
            working: RefCell::new(working_set(spans)),
            unwritten: Cell::new(None),
            dead: RefCell::default(),
        }
    }

    /// The store, with everything written that was folded.
    pub(super) fn store(&self) -> &Store {
        let store = &self.opened.as_ref().unwrap().store;
        if let Some(folded) = self.unwritten.take() {
            self.working.borrow_mut().write(store, folded).unwrap();
        }
        store
    }

    pub(super) fn progress(&self) -> Progress {
        self.store().progress().unwrap().unwrap_or_default()
    }

    /// Folds, and says how many records that were; the fold is told after `sessions_moved` events to end. Writes after every
    /// third batch or so: what several lead to may be gathered.
    pub(super) fn fold_some(&self, records: &[Record], sessions_moved: usize) -> usize {
        let left = Cell::new(sessions_moved);
        let has_time = |_| {
            left.set(left.get().saturating_sub(1));
            left.get() > 0
        };
        let before = self.unwritten.get().unwrap_or_else(|| self.progress());
        let store = &self.opened.as_ref().unwrap().store;
        let working = &mut *self.working.borrow_mut();
        let folded = fold(working, store, &self.rules, &self.session_rules, before, records, has_time).unwrap();
        assert_eq!(folded.progress.next_offset, records[folded.consumed - 1].offset + 1);
        self.dead.borrow_mut().extend(folded.dead.iter().map(|dead| records[..folded.consumed][dead.index].offset));
        self.unwritten.set(Some(folded.progress));
        if folded.progress.next_offset.is_multiple_of(3) {
            self.unwritten.set(None);
            working.write(store, folded.progress).unwrap();
        }
        folded.consumed
    }

    /// Folds all of `log` that is not folded yet, in batches of `batch`.
    pub(super) fn fold(&self, log: &[Record], batch: usize) {
        let next = usize::try_from(self.progress().next_offset).unwrap();
        for records in log[next..].chunks(batch) {
            assert_eq!(self.fold_some(records, usize::MAX), records.len());
        }
    }

    /// The offsets of all that was put aside.
    pub(super) fn dead(&self) -> BTreeSet<Offset> {
        self.dead.borrow().clone()
    }

    /// Closes the store, which brings everything to disk, and opens it.
    pub(super) fn reopen(&mut self) {
        self.store();
        let Opened { store, folder, memory, identity } = self.opened.take().unwrap();
        drop(store);
        let store = Store::open(folder.path(), &identity, self.spans, &memory).unwrap();
        self.opened = Some(Opened { store, folder, memory, identity });
        self.working = RefCell::new(working_set(self.spans));
    }

    /// Goes on with what is on disk at this moment: what a crash would leave.
    pub(super) fn crash(&mut self) {
        self.unwritten.set(None);
        let Opened { store, folder, memory, identity } = self.opened.take().unwrap();
        let left = tempfile::tempdir().unwrap();
        store.copy_files_to(left.path()).unwrap();
        drop((store, folder));
        let store = Store::open(left.path(), &identity, self.spans, &memory).unwrap();
        self.opened = Some(Opened { store, folder: left, memory, identity });
        self.working = RefCell::new(working_set(self.spans));
    }

    pub(super) fn metrics(&self, query: &Query) -> Counts {
        let question = question(query);
        let ask = |view: &View<'_>| {
            let (_, mut events) = query::counts(view, self.spans, &question)?;
            events.sort_unstable_by(|a, b| a.event.cmp(&b.event));
            Ok(events)
        };
        let events = self.ask_in_both_ways(ask);
        let mut counts = Counts::new();
        let names: BTreeSet<_> = events.iter().map(|of_event| &of_event.event).collect();
        assert_eq!(names.len(), events.len(), "each event once");
        for EventCounts { event, buckets } in events {
            for BucketCount { bucket, count } in buckets {
                let of_bucket = counts.entry(question.calendar.label(bucket)).or_default();
                assert_eq!(of_bucket.insert(event.clone(), count), None, "an event and bucket have one count");
            }
        }
        counts
    }

    pub(super) fn sessions(&self, query: &Query) -> Sessions {
        let question = question(query);
        let rows = self.ask_in_both_ways(|view| Ok(query::sessions(view, self.spans, &self.rules, &question)?.1));
        let rows = rows.into_iter().map(|row| {
            let sum = SessionSum { count: row.count, duration_ms: row.duration_ms_sum };
            (question.calendar.label(row.bucket), sum)
        });
        rows.collect()
    }

    /// What is answered, which is the same at hand: where nothing has been read yet, if it is there, and afterwards unless it is
    /// too much, or too much that cases before have left deleted.
    fn ask_in_both_ways<T: PartialEq + Debug>(&self, ask: impl Fn(&View<'_>) -> Result<T, StoreError>) -> T {
        let before = ask(&self.store().view_at_hand()).ok();
        let answer = ask(&self.store().view()).unwrap();
        assert!(before.is_none_or(|before| before == answer), "at hand it is another");
        match ask(&self.store().view_at_hand()) {
            Err(StoreError::NotAtHand) => {}
            Err(StoreError::Db { source, .. }) if source.as_ref().contains("keys skipped") => {}
            at_hand => assert_eq!(at_hand.unwrap(), answer),
        }
        answer
    }

    pub(super) fn answers(&self, query: &Query) -> (Counts, Sessions) {
        (self.metrics(query), self.sessions(query))
    }

    /// Every row that is alive, in order and with what is alive in it, and what the progress says of time.
    pub(super) fn live_rows(&self) -> (StreamTime, Vec<Row>) {
        let view = self.store().view();
        let progress = view.progress().unwrap();
        let mut rows = Vec::new();
        let read = digest::live_rows(view.whole().unwrap(), self.spans, |family, key, value| {
            rows.push((family.name(), key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        });
        assert!(read.unwrap().is_continue());
        (StreamTime { now: progress.stream_time, suspect: progress.suspect }, rows)
    }
}

/// Checks that what is alive over all users by day is what is alive by quarter: they are written together.
pub(super) fn check_totals(rows: &[Row]) {
    totals::<Count>(rows, Family::StretchCounts, Family::QuarterCounts);
    totals::<session_sums::SessionSum>(rows, Family::StretchSessions, Family::QuarterSessions);
}

fn totals<S: Sums>(rows: &[Row], by_day: Family, by_quarter: Family) {
    let of = |family: Family| rows.iter().filter(move |(name, ..)| *name == family.name());
    let (mut days, mut quarters) = (BTreeMap::new(), BTreeMap::new());
    for (_, key, value) in of(by_day) {
        let ((stretch, subject), (youngest, bytes)) = (split_day(key).unwrap(), Stamp::split(value).unwrap());
        for day in stretches::read_days::<S>(youngest, bytes).map(Option::unwrap) {
            days.insert((stretches::day_in(stretch, day.at), subject), (day.touched, day.sums));
        }
    }
    for (_, key, value) in of(by_quarter) {
        let (touched, bytes) = Stamp::split(value).unwrap();
        quarters.insert(split_day(key).unwrap(), (touched, Quarters::<S>::decode(bytes).unwrap().total()));
    }
    assert_eq!(days, quarters, "{}", by_day.name());
}

impl Drop for Partition {
    fn drop(&mut self) {
        SPARE.with_borrow_mut(|spare| spare.extend(self.opened.take()));
    }
}

/// With room for a few users: others are let go and read again.
fn working_set(spans: Spans) -> WorkingSet {
    WorkingSet::new(spans, &Budget::new(4 << 10))
}

fn question(query: &Query) -> Question {
    let group_by = match query.group_by {
        GroupBy::Hour => view::GroupBy::Hour,
        GroupBy::Day => view::GroupBy::Day,
        GroupBy::Week => view::GroupBy::Week,
        GroupBy::Month => view::GroupBy::Month,
    };
    let calendar = Calendar {
        start_day: day_of_date(query.start),
        end_day: day_of_date(query.end),
        group_by,
        week_start: if query.weeks_from_monday { WeekStart::Monday } else { WeekStart::Sunday },
        timezone: query.timezone,
    };
    Question { calendar, user_id: query.user.clone(), events: query.events.clone() }
}
