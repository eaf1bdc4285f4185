//! From a question to the rows of one partition: a scan over the days it may touch, at one moment of the state.

use crate::rules::SessionRules;
use crate::state::counts::Count;
use crate::state::key::{Key, day_bytes, split_day, user_prefix};
use crate::state::progress::Progress;
use crate::state::quarters::{Sums, read_quarters};
use crate::state::session_sums::SessionSum;
use crate::state::store::StoreError;
use crate::state::stretches::{self, day_in, read_days, stretch_of};
use crate::state::ttl::{Life, Spans, Stamp, StreamSeconds};
use crate::state::view::View;
use crate::state::{Damaged, Family};
use hashbrown::HashMap;
use std::collections::BTreeSet;
use track_proto::calendar::{Calendar, DayMap};
use track_proto::view::{BucketCount, EventCounts, Question, SessionRow};

/// The event counts that `question` asks of this partition, and the progress they belong to.
pub(crate) fn counts(
    view: &View<'_>,
    spans: Spans,
    question: &Question,
) -> Result<(Progress, Vec<EventCounts>), StoreError> {
    let families =
        Families { user: Family::UserCounts, stretch: Family::StretchCounts, quarter: Family::QuarterCounts };
    let asked =
        |event: &[u8]| question.events.is_empty() || question.events.iter().any(|name| name.as_bytes() == event);
    let mut sums: HashMap<Vec<u8>, Buckets<Count>> = HashMap::default();
    let progress = scan(view, spans, question, &families, asked, |event, buckets: &Buckets<Count>| {
        sums.entry_ref(event).or_default().add_all(buckets);
    })?;
    let mut events = Vec::with_capacity(sums.len());
    for (event, buckets) in sums {
        let event = String::from_utf8(event).map_err(|_| Damaged { kind: families.user.name() })?;
        let buckets = buckets.each_once().map(|(bucket, count)| BucketCount { bucket, count: count.get() });
        events.push(EventCounts { event, buckets: buckets.collect() });
    }
    Ok((progress, events))
}

/// The sessions that `question` asks of this partition, and the progress they belong to.
pub(crate) fn sessions(
    view: &View<'_>,
    spans: Spans,
    rules: &SessionRules,
    question: &Question,
) -> Result<(Progress, Vec<SessionRow>), StoreError> {
    let families =
        Families { user: Family::UserSessions, stretch: Family::StretchSessions, quarter: Family::QuarterSessions };
    let asked = |pair: &[u8]| matches!(pair, [pair] if rules.is_asked(*pair, &question.events));
    let mut sums = Buckets::default();
    let progress = scan(view, spans, question, &families, asked, |_, buckets: &Buckets<SessionSum>| {
        sums.add_all(buckets);
    })?;
    let rows = sums.each_once().filter(|(_, sum)| !sum.is_empty()).map(|(bucket, sum)| {
        let [count, duration_ms_sum] = sum.numbers();
        SessionRow { bucket, count, duration_ms_sum }
    });
    Ok((progress, rows.collect()))
}

/// Where rows of one kind stand: of one user by quarter, over all users by day and by quarter.
struct Families {
    user: Family,
    stretch: Family,
    quarter: Family,
}

/// Calls `row` with a subject and its sums by bucket for each row that has something in the range, alive and `asked`. The subject
/// is what follows the day in a key.
fn scan<S: Sums>(
    view: &View<'_>,
    spans: Spans,
    question: &Question,
    families: &Families,
    asked: impl Fn(&[u8]) -> bool,
    mut row: impl FnMut(&[u8], &Buckets<S>),
) -> Result<Progress, StoreError> {
    let progress = view.progress()?;
    let is_over = |touched| spans.is_over(Life::Retention, touched, progress.stream_time);
    let wanted = |touched, subject: &[u8]| !is_over(touched) && asked(subject);
    let mut maps = DayMaps::new(&question.calendar);
    let mut buckets = Buckets::default();
    let (first, last) = (*question.calendar.utc_days().start(), *question.calendar.utc_days().end());

    // Of one user all days are read by quarters; over all users whole days first, and then those that the time zone cuts.
    let (family, prefix, by_quarter) = if let Some(user_id) = &question.user_id {
        (families.user, user_prefix(user_id), vec![(first, last)])
    } else {
        let mut cut = BTreeSet::new();
        let damaged = Damaged { kind: families.stretch.name() };
        let ((first, _), (last, _)) = (stretch_of(first), stretch_of(last));
        view.scan(families.stretch, &at_day(&[], first), &after_day(&[], last), |key, value| {
            let Some(Row { day: stretch, subject, touched, sums }) = pick(key, value, wanted, &damaged)? else {
                return Ok(());
            };
            for day in read_days::<S>(touched, sums) {
                let stretches::Day { at, touched, sums } = day.ok_or_else(|| damaged.clone())?;
                let day = day_in(stretch, at);
                match maps.of(day).filter(|_| !is_over(touched)) {
                    None => {}
                    Some(DayMap::Whole(bucket)) => buckets.add(*bucket, sums),
                    Some(DayMap::Quarters(_)) => drop(cut.insert(day)),
                }
            }
            buckets.hand_to(|buckets| row(subject, buckets));
            Ok(())
        })?;
        (families.quarter, Key::new(), cut.into_iter().map(|day| (day, day)).collect())
    };
    let damaged = Damaged { kind: family.name() };
    for (first, last) in by_quarter {
        view.scan(family, &at_day(&prefix, first), &after_day(&prefix, last), |key, value| {
            let picked = pick(&key[prefix.len()..], value, wanted, &damaged)?;
            let Some(Row { day, subject, sums, .. }) = picked else { return Ok(()) };
            if let Some(map) = maps.of(day) {
                buckets.spread(map, sums).ok_or_else(|| damaged.clone())?;
                buckets.hand_to(|buckets| row(subject, buckets));
            }
            Ok(())
        })?;
    }
    Ok(progress)
}

/// A row that is wanted.
struct Row<'r> {
    /// Where the row is of a stretch, the stretch.
    day: i32,
    subject: &'r [u8],
    touched: StreamSeconds,
    sums: &'r [u8],
}

/// What a row says, where `wanted` says yes to its stamp and subject. `key` begins with the day, or the
/// stretch.
fn pick<'r>(
    key: &'r [u8],
    value: &'r [u8],
    wanted: impl Fn(StreamSeconds, &[u8]) -> bool,
    damaged: &Damaged,
) -> Result<Option<Row<'r>>, Damaged> {
    let (day, subject) = split_day(key).ok_or_else(|| damaged.clone())?;
    let (touched, sums) = Stamp::split(value).ok_or_else(|| damaged.clone())?;
    Ok(wanted(touched, subject).then_some(Row { day, subject, touched, sums }))
}

/// Sums by bucket. Days and quarters come in order, and so what falls into one bucket comes together, for the most part.
struct Buckets<S>(Vec<(i64, S)>);

impl<S> Default for Buckets<S> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<S: Sums> Buckets<S> {
    fn add(&mut self, bucket: i64, sums: S) {
        match self.0.last_mut() {
            Some((last, sum)) if *last == bucket => sum.add(sums),
            _ => self.0.push((bucket, sums)),
        }
    }

    fn add_all(&mut self, others: &Self) {
        others.0.iter().for_each(|(bucket, sums)| self.add(*bucket, *sums));
    }

    /// Adds the quarters of a day's row, each to its bucket; `None` where they can't be read.
    #[must_use]
    fn spread(&mut self, map: &DayMap, quarters: &[u8]) -> Option<()> {
        let mut quarters = read_quarters(quarters);
        match map {
            DayMap::Whole(bucket) => {
                let total = quarters.try_fold(S::default(), |mut total, quarter| {
                    total.add(quarter?.1);
                    Some(total)
                })?;
                if !total.is_empty() {
                    self.add(*bucket, total);
                }
            }
            DayMap::Quarters(buckets) => quarters.try_for_each(|quarter| {
                let (quarter, sums) = quarter?;
                if let Some(bucket) = buckets[usize::from(quarter)] {
                    self.add(bucket, sums);
                }
                Some(())
            })?,
        }
        Some(())
    }

    /// Hands over what there is, if anything, and is empty afterwards.
    fn hand_to(&mut self, row: impl FnOnce(&Self)) {
        if !self.0.is_empty() {
            row(self);
            self.0.clear();
        }
    }

    /// Each bucket with all of its sum, ascending.
    fn each_once(mut self) -> impl ExactSizeIterator<Item = (i64, S)> {
        // Most of it is in order already, which this kind of sorting makes use of.
        self.0.sort_by_key(|(bucket, _)| *bucket);
        self.0.dedup_by(|(bucket, sums), (last, sum)| {
            let same = bucket == last;
            if same {
                sum.add(*sums);
            }
            same
        });
        self.0.into_iter()
    }
}

/// Where days go, asked of the calendar once per day: rows come in the order of their stretches, at the least, and the days that
/// are cut once more.
struct DayMaps<'a> {
    calendar: &'a Calendar,
    stretch: i32,
    /// `None` where the calendar was not asked yet.
    maps: [Option<Option<DayMap>>; stretches::DAYS],
}

impl<'a> DayMaps<'a> {
    fn new(calendar: &'a Calendar) -> Self {
        Self { calendar, stretch: 0, maps: [const { None }; stretches::DAYS] }
    }

    fn of(&mut self, day: i32) -> Option<&DayMap> {
        let (stretch, at) = stretch_of(day);
        if stretch != self.stretch {
            *self = Self { stretch, ..Self::new(self.calendar) };
        }
        self.maps[usize::from(at)].get_or_insert_with(|| self.calendar.map_day(day)).as_ref()
    }
}

fn at_day(prefix: &[u8], day: i32) -> Key {
    let mut key = Key::from_slice(prefix);
    key.extend_from_slice(&day_bytes(day));
    key
}

fn after_day(prefix: &[u8], day: i32) -> Key {
    at_day(prefix, day.saturating_add(1))
}
