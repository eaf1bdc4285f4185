//! Random events with all that makes them hard: few users and names, ties, ids that come again, ends of days and of summer
//! time, times that are late by minutes or by weeks.

use bytes::Bytes;
use chrono::{DateTime, Days, NaiveDate};
use chrono_tz::Tz;
use proptest::prelude::*;
use std::collections::HashMap;
use track_log::{Offset, Record};
use track_oracle::{Event, GroupBy, Query, Rules};
use track_proto::{event, v1};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
/// 2025-01-01T00:00 UTC, in seconds: when the first record of a history is appended.
pub(super) const NEW_YEAR_S: u32 = 1_735_689_600;

const USERS: [&str; 4] = ["ann", "bob", "bob2", "ζωή"];
const NAMES: [&str; 6] = ["play", "stop", "login", "logout", "like", "pl"];
/// Whole hours, halves and quarters of one, summer times of both hemispheres and one of half an hour.
const ZONES: [Tz; 9] = [
    Tz::UTC,
    Tz::Europe__Berlin,
    Tz::America__New_York,
    Tz::Asia__Kolkata,
    Tz::Asia__Kathmandu,
    Tz::Australia__Lord_Howe,
    Tz::Pacific__Apia,
    Tz::America__St_Johns,
    Tz::Pacific__Chatham,
];
/// Midnights (UTC) around which things happen: a new year, three changes of summer time, a leap day, the first of all and of a
/// stretch.
const MIDNIGHTS_MS: [i64; 6] =
    [1_735_689_600_000, 1_743_292_800_000, 1_762_041_600_000, 1_743_811_200_000, 1_709_164_800_000, 0];

/// Two pairs, and sessions that are often too long.
pub(super) fn rules() -> impl Strategy<Value = Rules> {
    let pair = |open: &str, close: &str| (open.to_owned(), close.to_owned());
    let pairs = vec![pair("play", "stop"), pair("login", "logout")];
    prop::sample::select(vec![20 * MINUTE_MS, 180 * MINUTE_MS, 30 * DAY_MS])
        .prop_map(move |session_ms_max| Rules { pairs: pairs.clone(), session_ms_max })
}

/// Up to `count` events, all of which arrive within 30 days.
pub(super) fn events(count: usize) -> impl Strategy<Value = Vec<Event>> {
    let time = prop_oneof![
        4 => (0..40_i64).prop_map(|minutes| minutes * MINUTE_MS),
        2 => -2 * DAY_MS..2 * DAY_MS,
        1 => -40 * DAY_MS..40 * DAY_MS,
    ];
    let id = prop_oneof![2 => Just(None), 1 => (0..12_u8).prop_map(Some)];
    let step_s = prop_oneof![3 => Just(0_u32), 1 => 1..3_600_u32, 1 => 3_600..20_000_u32];
    let name = prop_oneof![4 => 0..2_usize, 1 => 0..NAMES.len()];
    let user = prop_oneof![2 => Just(0_usize), 1 => 0..USERS.len()];
    let one = (user, name, time, id, step_s);
    (prop::sample::select(MIDNIGHTS_MS.to_vec()), prop::collection::vec(one, 1..count)).prop_map(
        |(midnight_ms, all)| {
            let mut arrival_s = NEW_YEAR_S;
            let events = all.into_iter().map(|(user, name, time_ms, id, step_s)| {
                arrival_s += step_s;
                Event {
                    user: USERS[user].into(),
                    name: NAMES[name].into(),
                    at_ms: midnight_ms + time_ms,
                    id: id.map(|id| format!("id-{id}")),
                    arrival_s,
                }
            });
            resend(events)
        },
    )
}

/// What has an id of its user's again is the same event again.
fn resend(events: impl Iterator<Item = Event>) -> Vec<Event> {
    let mut sent: HashMap<(String, String), (String, i64)> = HashMap::new();
    events
        .map(|event| {
            let Some(id) = event.id.clone() else { return event };
            let first = (event.name.clone(), event.at_ms);
            let (name, at_ms) = sent.entry((event.user.clone(), id)).or_insert(first).clone();
            Event { name, at_ms, ..event }
        })
        .collect()
}

/// The events in another order, with the arrivals as they were.
pub(super) fn shuffled(events: &[Event], order: &[usize]) -> Vec<Event> {
    let arrivals = events.iter().map(|event| event.arrival_s);
    order.iter().zip(arrivals).map(|(index, arrival_s)| Event { arrival_s, ..events[*index].clone() }).collect()
}

/// Each event as a record of the log, from offset 0 on.
pub(super) fn records(events: &[Event]) -> Vec<Record> {
    events.iter().zip(0..).map(|(event, offset)| record(event, offset)).collect()
}

pub(super) fn record(event: &Event, offset: Offset) -> Record {
    let value = event::encode(&v1::Event {
        event_id: event.id.clone().unwrap_or_else(|| format!("given-{offset}")),
        client_event_id: event.id.is_some(),
        event: event.name.clone(),
        user_id: event.user.clone(),
        timestamp_ms: event.at_ms,
        received_at_ms: event.at_ms,
        ..v1::Event::default()
    });
    Record {
        offset,
        append_time_ms: i64::from(event.arrival_s) * 1000,
        key: Some(Bytes::from(event.user.clone())),
        value,
    }
}

/// A record that is no event, and so does nothing but let stream time pass.
pub(super) fn tick(second: u32, offset: Offset) -> Record {
    Record { offset, append_time_ms: i64::from(second) * 1000, key: None, value: Bytes::new() }
}

/// A question near one of the midnights.
pub(super) fn query() -> impl Strategy<Value = Query> {
    let range =
        (prop::sample::select(MIDNIGHTS_MS.to_vec()), -3..3_i64, 0..5_u64).prop_map(|(midnight_ms, from, days)| {
            let start = DateTime::from_timestamp_millis(midnight_ms + from * DAY_MS).unwrap().date_naive();
            (start, start + Days::new(days))
        });
    let all = Just((NaiveDate::from_ymd_opt(2024, 1, 1).unwrap(), NaiveDate::from_ymd_opt(2026, 1, 1).unwrap()));
    let range = prop_oneof![2 => range, 1 => all];
    let group_by = prop::sample::select(vec![GroupBy::Hour, GroupBy::Day, GroupBy::Week, GroupBy::Month]);
    let user = prop::option::of(prop::sample::select(USERS.to_vec()));
    let names = prop_oneof![2 => Just(Vec::new()), 1 => prop::sample::subsequence(NAMES.to_vec(), 1..3)];
    (range, group_by, prop::sample::select(ZONES.to_vec()), any::<bool>(), user, names).prop_map(
        |((start, end), group_by, timezone, weeks_from_monday, user, names)| Query {
            start,
            end,
            group_by,
            timezone,
            weeks_from_monday,
            user: user.map(Into::into),
            events: names.into_iter().map(Into::into).collect(),
        },
    )
}
