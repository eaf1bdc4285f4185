//! From a question to the rows of one partition: a scan over the days it may touch, at one moment of the state.

use crate::rules::SessionRules;
use crate::state::counts::Count;
use crate::state::key::{Key, day_bytes, split_day, user_prefix};
use crate::state::progress::Progress;
use crate::state::quarters::{Quarters, Sums, read_sums};
use crate::state::session_sums::SessionSum;
use crate::state::store::{StoreError, View};
use crate::state::ttl::{Life, Spans, Stamp, StreamSeconds};
use crate::state::{Damaged, Family};
use hashbrown::HashMap;
use rustc_hash::FxHashMap;
use track_proto::calendar::{Calendar, DayMap};
use track_proto::view::{CountRow, Question, SessionRow};

/// The event counts that `question` asks of this partition, and the progress they belong to.
pub(crate) fn counts(
    view: &View<'_>,
    spans: Spans,
    question: &Question,
) -> Result<(Progress, Vec<CountRow>), StoreError> {
    let families = Families { user: Family::UserCounts, day: Family::DayCounts, quarter: Family::QuarterCounts };
    let asked =
        |event: &[u8]| question.events.is_empty() || question.events.iter().any(|name| name.as_bytes() == event);
    let mut sums: FxHashMap<i64, HashMap<Vec<u8>, Count>> = FxHashMap::default();
    let progress = scan(view, spans, question, &families, asked, |event, bucket, count| {
        let events = sums.entry(bucket).or_default();
        match events.get_mut(event) {
            Some(sum) => sum.add(count),
            None => {
                events.insert(event.to_vec(), count);
            }
        }
    })?;
    let mut rows = Vec::new();
    for (bucket, events) in sums {
        for (event, count) in events {
            let event = String::from_utf8(event).map_err(|_| Damaged { kind: families.user.name() })?;
            rows.push(CountRow { bucket, event, count: count.get() });
        }
    }
    Ok((progress, rows))
}

/// The sessions that `question` asks of this partition, and the progress they belong to.
pub(crate) fn sessions(
    view: &View<'_>,
    spans: Spans,
    rules: &SessionRules,
    question: &Question,
) -> Result<(Progress, Vec<SessionRow>), StoreError> {
    let families = Families { user: Family::UserSessions, day: Family::DaySessions, quarter: Family::QuarterSessions };
    let asked = |pair: &[u8]| matches!(pair, [pair] if rules.is_asked(*pair, &question.events));
    let mut sums: FxHashMap<i64, SessionSum> = FxHashMap::default();
    let progress = scan(view, spans, question, &families, asked, |_, bucket, sum: SessionSum| {
        if !sum.is_empty() {
            sums.entry(bucket).or_default().add(sum);
        }
    })?;
    let rows = sums.into_iter().map(|(bucket, sum)| {
        let [count, duration_ms_sum] = sum.numbers();
        SessionRow { bucket, count, duration_ms_sum }
    });
    Ok((progress, rows.collect()))
}

/// Where rows of one kind stand: of one user by quarter, over all users by day and by quarter.
struct Families {
    user: Family,
    day: Family,
    quarter: Family,
}

/// Calls `row` with (subject, bucket, sums) for whatever is in the range, alive and `asked`. The subject is what follows
/// the day in a key.
fn scan<S: Sums>(
    view: &View<'_>,
    spans: Spans,
    question: &Question,
    families: &Families,
    asked: impl Fn(&[u8]) -> bool,
    mut row: impl FnMut(&[u8], i64, S),
) -> Result<Progress, StoreError> {
    let progress = view.progress()?;
    let wanted =
        |touched, subject: &[u8]| !spans.is_over(Life::Retention, touched, progress.stream_time) && asked(subject);
    let mut days = Days::new(&question.calendar);
    let (first, last) = (*question.calendar.utc_days().start(), *question.calendar.utc_days().end());

    if let Some(user_id) = &question.user_id {
        let prefix = user_prefix(user_id);
        let damaged = Damaged { kind: families.user.name() };
        view.scan(families.user, &at_day(&prefix, first), &after_day(&prefix, last), |key, value| {
            let Some((day, subject, sums)) = pick(&key[prefix.len()..], value, wanted, &damaged)? else {
                return Ok(());
            };
            if let Some(map) = days.map(day) {
                let quarters = Quarters::decode(sums).ok_or_else(|| damaged.clone())?;
                spread(map, &quarters, |bucket, sums| row(subject, bucket, sums));
            }
            Ok(())
        })?;
        return Ok(progress);
    }

    // Whole days first; a day that the time zone cuts is read by quarters afterwards.
    let mut cut = Vec::new();
    let damaged = Damaged { kind: families.day.name() };
    view.scan(families.day, &at_day(&[], first), &after_day(&[], last), |key, value| {
        let Some((day, subject, sums)) = pick(key, value, wanted, &damaged)? else { return Ok(()) };
        match days.map(day) {
            None => {}
            Some(DayMap::Whole(bucket)) => row(subject, *bucket, read_sums(sums).ok_or_else(|| damaged.clone())?),
            Some(DayMap::Quarters(_)) if cut.last() == Some(&day) => {}
            Some(DayMap::Quarters(_)) => cut.push(day),
        }
        Ok(())
    })?;
    let damaged = Damaged { kind: families.quarter.name() };
    for day in cut {
        view.scan(families.quarter, &at_day(&[], day), &after_day(&[], day), |key, value| {
            let Some((day, subject, sums)) = pick(key, value, wanted, &damaged)? else { return Ok(()) };
            if let Some(map) = days.map(day) {
                let quarters = Quarters::decode(sums).ok_or_else(|| damaged.clone())?;
                spread(map, &quarters, |bucket, sums| row(subject, bucket, sums));
            }
            Ok(())
        })?;
    }
    Ok(progress)
}

/// Day, subject and sums.
type Row<'r> = (i32, &'r [u8], &'r [u8]);

/// What a row says, where `wanted` says yes to its stamp and subject. `key` begins with the day.
fn pick<'r>(
    key: &'r [u8],
    value: &'r [u8],
    wanted: impl Fn(StreamSeconds, &[u8]) -> bool,
    damaged: &Damaged,
) -> Result<Option<Row<'r>>, Damaged> {
    let (day, subject) = split_day(key).ok_or_else(|| damaged.clone())?;
    let (touched, sums) = Stamp::split(value).ok_or_else(|| damaged.clone())?;
    Ok(wanted(touched, subject).then_some((day, subject, sums)))
}

/// Hands the quarters of a day to their buckets.
fn spread<S: Sums>(map: &DayMap, quarters: &Quarters<S>, mut row: impl FnMut(i64, S)) {
    match map {
        DayMap::Whole(bucket) => row(*bucket, quarters.total()),
        DayMap::Quarters(buckets) => {
            for (quarter, sums) in quarters.iter() {
                if let Some(bucket) = buckets[usize::from(quarter)] {
                    row(bucket, sums);
                }
            }
        }
    }
}

/// Where days go, asked of the calendar once per day: rows come in the order of their days.
struct Days<'a> {
    calendar: &'a Calendar,
    last: Option<(i32, Option<DayMap>)>,
}

impl<'a> Days<'a> {
    fn new(calendar: &'a Calendar) -> Self {
        Self { calendar, last: None }
    }

    fn map(&mut self, day: i32) -> Option<&DayMap> {
        if self.last.as_ref().is_none_or(|(last, _)| *last != day) {
            self.last = Some((day, self.calendar.map_day(day)));
        }
        self.last.as_ref().and_then(|(_, map)| map.as_ref())
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
