//! Asks questions, of one kind, from many clients at once.

use super::connection::{Address, Connection};
use super::events::{Events, user_id};
use super::latency::Latency;
use super::pace::{Pace, Turn};
use chrono::{Days, NaiveDate};
use clap::ValueEnum;
use http::{StatusCode, Uri};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Another zone than UTC, with a summer time and no whole-day offset.
const ZONE: &str = "America/New_York";

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// One user's last 30 days, by day; each user as often as he has events.
    UserMonth,
    /// All users' last 30 days, by day.
    MonthByDay,
    /// All users' last 365 days, by month, in another time zone than UTC.
    YearByMonth,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Asked {
    /// From when each question was due.
    pub(crate) latency: Latency,
    /// From the first question to the last answer.
    pub(crate) took: Duration,
    /// What else was answered, and how often.
    pub(crate) failures: BTreeMap<String, u64>,
}

/// The paths of so many questions, the last day being `until`.
///
/// # Errors
/// Where `until` is at the calendar's beginning.
pub(crate) fn questions(kind: Kind, count: usize, until: NaiveDate, users: &mut Events) -> anyhow::Result<Vec<Uri>> {
    let days = if kind == Kind::YearByMonth { 364 } else { 29 };
    let from = until.checked_sub_days(Days::new(days)).unwrap_or(until);
    let range = format!("/metrics?start_date={from}&end_date={until}");
    (0..count)
        .map(|_| {
            let path = match kind {
                Kind::UserMonth => format!("{range}&user_id={}", user_id(users.draw_user())),
                Kind::MonthByDay => range.clone(),
                Kind::YearByMonth => format!("{range}&group_by=month&timezone={ZONE}"),
            };
            Ok(path.parse()?)
        })
        .collect()
}

/// Asks `questions` at `pace`, from so many clients.
///
/// # Errors
/// Where no connection can be opened.
pub(crate) async fn ask(address: &Address, clients: usize, questions: &[Uri], pace: &Pace) -> anyhow::Result<Asked> {
    let asked = Mutex::new(Asked { latency: Latency::new()?, took: Duration::ZERO, failures: BTreeMap::new() });
    let clients = (0..clients).map(|_| async {
        let mut connection = Connection::new(address.clone());
        connection.open().await?;
        while let Some(Turn { index, due }) = pace.turn().await {
            let answer = connection.get(questions[index].clone()).await;
            let now = Instant::now();
            let mut asked = asked.lock();
            match answer {
                Ok(answer) if answer.status == StatusCode::OK => asked.latency.record(now - due),
                refused => {
                    let what = refused.map_or_else(|error| format!("{error:#}"), |answer| answer.text());
                    *asked.failures.entry(what).or_default() += 1;
                }
            }
        }
        anyhow::Ok(())
    });
    futures::future::try_join_all(clients).await?;
    let mut asked = asked.into_inner();
    asked.took = pace.started().elapsed();
    Ok(asked)
}
