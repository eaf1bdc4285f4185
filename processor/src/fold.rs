//! The fold: what a batch of records changes, given the state before it. No clock, no randomness, no input or output
//! but the state.
//!
//! How records are cut into batches makes no difference: every rule goes by the stream time at the record itself. So the
//! caller may end a batch early that turns out to be much work.

use crate::rules::SessionRules;
use crate::sessions::{self, Edge, Session, SessionChange};
use crate::state::key::Key;
use crate::state::progress::Progress;
use crate::state::quarters::Sums as _;
use crate::state::session_sums::SessionSum;
use crate::state::store::{Store, StoreError};
use crate::state::stream_time::Moment;
use crate::state::ttl::{Life, Stamp, StreamSeconds, millis, stream_seconds};
use crate::state::working_set::{Name, UserIndex, WorkingSet};
use crate::state::{Damaged, Family, marks};
use hashbrown::HashMap;
use smallvec::SmallVec;
use track_log::Record;
use track_proto::calendar::{quarter_of_day, utc_day};
use track_proto::event::{self, Malformed};

/// How many events ahead a user is fetched into the processor's cache. A fetch takes a fraction of the time of an event: early enough
/// for its rows to be fetched too, and late enough for both to be there still.
const EXPECTED_LATER: usize = 12;
/// How many events ahead their rows are: where these lie, the user says.
const EXPECTED_SOON: usize = 6;

/// What a batch of records led to, beside the changes in the working set.
pub(crate) struct Folded {
    pub(crate) progress: Progress,
    /// How many events were counted.
    pub(crate) events: u64,
    /// How many were not, since their event_id had been.
    pub(crate) duplicates: u64,
    pub(crate) dead: Vec<Dead>,
    /// How many of the records this is; the rest is for another batch.
    pub(crate) consumed: usize,
}

/// A record that is not an event.
#[derive(Debug)]
pub(crate) struct Dead {
    /// Which of the batch.
    pub(crate) index: usize,
    pub(crate) reason: Malformed,
}

impl Dead {
    /// A short name of the reason, one of a few, for a metric.
    pub(crate) fn kind(&self) -> &'static str {
        match self.reason {
            Malformed::Envelope(_) => "envelope",
            Malformed::Version(_) => "version",
            Malformed::NoValue => "no_value",
            Malformed::NoKey => "no_key",
            Malformed::KeyMismatch => "key_mismatch",
            Malformed::Timestamp => "timestamp",
            Malformed::Empty { .. } | Malformed::TooLong { .. } | Malformed::ControlCharacter { .. } => "field",
            Malformed::Reserved => "reserved_name",
        }
    }
}

/// An event: which record of the batch it is, and what of it is folded. There are ten thousand at a time: each is one line of the
/// processor's cache.
#[repr(align(64))]
struct Arrived<'a> {
    user_id: &'a str,
    client_event_id: Option<&'a str>,
    timestamp_ms: i64,
    at: Moment,
    name: Name,
    user: UserIndex,
    index: u32,
}

const _: () = assert!(size_of::<Arrived<'_>>() == 64);

/// Folds `records` into `working`, whose rows are those that `store` has at `before` and what was changed since: at least
/// one event of them, and no more after `has_time` says no. It is asked after every event that may move sessions, and told
/// how many these were. After an error `working` must not be used.
pub(crate) fn fold(
    working: &mut WorkingSet,
    store: &Store,
    rules: &SessionRules,
    session_rules: &sessions::Rules,
    before: Progress,
    records: &[Record],
    has_time: impl Fn(usize) -> bool,
) -> Result<Folded, StoreError> {
    let (arrived, mut dead, mut progress) = decode(working, rules, before, records);
    let remembered = look_up_marks(store, &arrived)?;
    let timelines = arrived.iter().filter_map(|Arrived { user, name, .. }| Some((*user, name.role?.0)));
    working.read_timelines(store, timelines, before.stream_time)?;

    let (mut events, mut duplicates, mut consumed) = (0, 0, records.len());
    let user_of = |place: usize| arrived.get(place).map(|arrived: &Arrived<'_>| arrived.user);
    for (place, event) in arrived.iter().enumerate() {
        working.expect(user_of(place + EXPECTED_LATER), user_of(place + EXPECTED_SOON));
        let &Arrived { user_id, client_event_id, timestamp_ms, at, name, user, index } = event;
        if client_event_id.is_some_and(|id| !remember(working, &remembered, marks::key(user_id, id), at)) {
            duplicates += 1;
            continue;
        }
        events += 1;
        working.count(user, utc_day(timestamp_ms), quarter_of_day(timestamp_ms), name, at);
        if let Some((pair, role)) = name.role {
            let edge = Edge { time_ms: timestamp_ms, role, arrival_ms: millis(at.arrival) };
            let change = working.insert_edge(store, session_rules, (user, pair), edge, at.now)?;
            move_sessions(working, user, pair, &change, at);
            if !has_time(change.removed.len() + change.added.len()) {
                consumed = index as usize + 1;
                progress = records[..consumed].iter().fold(before, Progress::after);
                dead.retain(|dead| dead.index < consumed);
                break;
            }
        }
    }
    Ok(Folded { progress, events, duplicates, dead, consumed })
}

/// Tells events from dead letters, and finds the progress with all of them.
fn decode<'r>(
    working: &mut WorkingSet,
    rules: &SessionRules,
    before: Progress,
    records: &'r [Record],
) -> (Vec<Arrived<'r>>, Vec<Dead>, Progress) {
    let mut arrived = Vec::with_capacity(records.len());
    let mut dead = Vec::new();
    let mut progress = before;
    for (index, record) in records.iter().enumerate() {
        progress = progress.after(record);
        match event::view(record.key.as_deref(), &record.value) {
            Ok(event) => {
                let user = working.user(event.user_id);
                let name = working.name(event.event, rules);
                arrived.push(Arrived {
                    user_id: event.user_id,
                    client_event_id: event.client_event_id,
                    timestamp_ms: event.timestamp_ms,
                    at: progress.moment(record),
                    name,
                    user,
                    index: u32::try_from(index).expect("a batch has some thousand records"),
                });
            }
            Err(reason) => dead.push(Dead { index, reason }),
        }
    }
    (arrived, dead, progress)
}

/// What the store remembers of the batch's event_ids, read in order.
fn look_up_marks(store: &Store, arrived: &[Arrived<'_>]) -> Result<HashMap<Key, StreamSeconds>, StoreError> {
    let mut keys: Vec<Key> = arrived
        .iter()
        .filter_map(|Arrived { user_id, client_event_id, .. }| Some(marks::key(user_id, (*client_event_id)?)))
        .collect();
    keys.sort_unstable();
    keys.dedup();
    let stored = store.get_many(Family::Marks, keys.iter().map(Key::as_slice));
    let mut remembered = HashMap::default();
    for (key, value) in keys.iter().zip(stored) {
        if let Some(value) = value? {
            let (touched, _) = Stamp::split(&value).ok_or(Damaged { kind: Family::Marks.name() })?;
            remembered.insert(key.clone(), touched);
        }
    }
    Ok(remembered)
}

/// Remembers the event_id of this key; false where it was remembered already and still counts.
fn remember(working: &mut WorkingSet, remembered: &HashMap<Key, StreamSeconds>, key: Key, at: Moment) -> bool {
    let first = working.marked(&key).or_else(|| remembered.get(&key).copied());
    if first.is_some_and(|first| !working.spans().is_over(Life::Arrival, first, at.now)) {
        return false;
    }
    working.mark(key, at.arrival);
    true
}

/// Takes the sessions that are no longer out of the sums of their days, and puts the new ones in.
///
/// The day of a session must not be over while its edges are remembered: else nothing would be there to take it out of.
fn move_sessions(working: &mut WorkingSet, user: UserIndex, pair: u8, change: &SessionChange, at: Moment) {
    let arrival = at.arrival.max(stream_seconds(change.youngest_arrival_ms));
    let at = Moment { arrival, ..at };
    // A late edge may move thousands of sessions of a few quarters: added up first, each row is touched once.
    let place = |session: &Session| (utc_day(session.start_ms), quarter_of_day(session.start_ms));
    let removed = change.removed.iter().map(|session| (place(session), length(session).negated()));
    let added = change.added.iter().map(|session| (place(session), length(session)));
    let mut sums: SmallVec<[_; 4]> = removed.chain(added).collect();
    sums.sort_unstable_by_key(|(place, _)| *place);
    for of_quarter in sums.chunk_by(|(a, _), (b, _)| a == b) {
        let mut total = SessionSum::default();
        of_quarter.iter().for_each(|(_, sum)| total.add(*sum));
        let ((day, quarter), _) = of_quarter[0];
        working.sessions(user, day, quarter, pair, total, at);
    }
}

fn length(session: &Session) -> SessionSum {
    SessionSum::one(session.end_ms.abs_diff(session.start_ms))
}
