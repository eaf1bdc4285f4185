//! Asks track what it counted and compares that with what was sent.

use super::connection::{Address, Answer, Connection};
use super::events::{NAMES, user_id};
use super::tally::{Bounds, DaySessions, Tally};
use anyhow::{Context as _, bail};
use chrono::{DateTime, NaiveDate};
use http::{StatusCode, Uri};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// How long track may take to count what it has acknowledged.
const COUNTED_WITHIN: Duration = Duration::from_secs(600);
/// How long to wait before a question is put again that could not be answered.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// How many differences are told one by one.
const TOLD_MAX: usize = 20;

/// What was compared, and what differed.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Verdict {
    /// Numbers compared.
    pub(crate) compared: u64,
    /// Users of whom counts and sessions were compared.
    pub(crate) users: u64,
    /// How many numbers differed.
    pub(crate) differences: u64,
    /// The first of them, in words.
    pub(crate) told: Vec<String>,
}

impl Verdict {
    fn compare<T: PartialEq + std::fmt::Debug>(&mut self, what: impl FnOnce() -> String, found: T, expected: T) {
        let differs = found != expected;
        self.note(differs, || format!("{}: answered {found:?}, sent {expected:?}", what()));
    }

    fn note(&mut self, differs: bool, what: impl FnOnce() -> String) {
        self.compared += 1;
        if differs {
            self.differences += 1;
            if self.told.len() < TOLD_MAX {
                self.told.push(what());
            }
        }
    }
}

/// Counts by day and name.
type Counts = BTreeMap<(i32, String), u64>;

/// Asks for the days that a run touches.
pub(crate) struct Questions {
    connection: Connection,
    days: (i32, i32),
    min_position: String,
}

impl Questions {
    /// About these days, first and last.
    pub(crate) fn new(address: Address, days: (i32, i32)) -> Self {
        Self { connection: Connection::new(address), days, min_position: String::new() }
    }

    /// From now on an answer must include these offsets.
    pub(crate) fn include(&mut self, positions: &BTreeMap<u32, u64>) {
        self.min_position.clear();
        for (partition, offset) in positions {
            let before = if self.min_position.is_empty() { "&min_position=" } else { "," };
            let _ = write!(self.min_position, "{before}{partition}:{offset}");
        }
    }

    /// What is counted over all users, by UTC day.
    ///
    /// # Errors
    /// Where there is no answer in time.
    pub(crate) async fn counts(&mut self) -> anyhow::Result<Counts> {
        let rows = self.ask("metrics", "").await?;
        counts_of(&rows)
    }

    /// What is counted of one user. His partition alone is asked, so nothing waits for another's offset.
    async fn user_counts(&mut self, user: u32) -> anyhow::Result<Counts> {
        let rows = self.ask("metrics", &user_id(user)).await?;
        counts_of(&rows)
    }

    async fn user_sessions(&mut self, user: u32) -> anyhow::Result<BTreeMap<i32, (u64, u64)>> {
        let rows = self.ask("sessions", &user_id(user)).await?;
        let number = |row: &Map<String, Value>, name: &str| row.get(name).and_then(Value::as_u64).context("no number");
        rows.iter()
            .map(|row| Ok((day_of(row)?, (number(row, "sessionCount")?, number(row, "totalDuration")?))))
            .collect()
    }

    async fn ask(&mut self, route: &str, user: &str) -> anyhow::Result<Vec<Map<String, Value>>> {
        let (start, end) = (date(self.days.0)?, date(self.days.1)?);
        let about = if user.is_empty() { String::new() } else { format!("&user_id={user}") };
        let path = format!("/{route}?start_date={start}&end_date={end}{about}{}", self.min_position);
        let path: Uri = path.parse()?;
        let deadline = Instant::now() + COUNTED_WITHIN;
        loop {
            let answer = match self.connection.get(path.clone()).await {
                Ok(answer) => answer,
                // The connection may have been idle for so long that it was closed just now.
                Err(_) => self.connection.get(path.clone()).await.with_context(|| path.to_string())?,
            };
            match answer.status {
                StatusCode::OK => return rows_of(&answer),
                // Not all of it is counted yet.
                StatusCode::SERVICE_UNAVAILABLE if Instant::now() < deadline => {
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
                _ => bail!("{path}: {}", answer.text()),
            }
        }
    }
}

/// Compares every count with `tally`, on top of what was counted `before`; then counts and sessions of the sampled users,
/// where track knew nothing before.
///
/// # Errors
/// Where track does not answer.
pub(crate) async fn verify(questions: &mut Questions, tally: &Tally, before: &Counts) -> anyhow::Result<Verdict> {
    let mut verdict = Verdict::default();
    let mut found = questions.counts().await?;
    for ((day, name), Bounds { least, most }) in &tally.counts {
        let key = (*day, NAMES[usize::from(*name)].to_owned());
        let count = found.remove(&key).unwrap_or(0).saturating_sub(before.get(&key).copied().unwrap_or(0));
        let is_within = (*least..=*most).contains(&count);
        verdict
            .note(!is_within, || format!("{} on {}: answered {count}, sent {least} to {most}", key.1, day_text(*day)));
    }
    // What is left was never sent, so it must have been there before.
    found.retain(|(_, name), _| NAMES.contains(&name.as_str()));
    for ((day, name), count) in found {
        let known = before.get(&(day, name.clone())).copied().unwrap_or(0);
        verdict.compare(|| format!("{name} on {}", day_text(day)), count, known);
    }
    if before.keys().any(|(_, name)| NAMES.contains(&name.as_str())) {
        return Ok(verdict);
    }
    for user in tally.known_users() {
        verify_user(questions, tally, user, &mut verdict).await?;
    }
    Ok(verdict)
}

async fn verify_user(questions: &mut Questions, tally: &Tally, user: u32, verdict: &mut Verdict) -> anyhow::Result<()> {
    let counts = questions.user_counts(user).await?;
    let expected: Counts = tally
        .user_counts(user)
        .into_iter()
        .map(|((day, name), count)| ((day, NAMES[usize::from(name)].to_owned()), count))
        .collect();
    verdict.compare(|| format!("counts of {}", user_id(user)), counts, expected);
    let sessions = questions.user_sessions(user).await?;
    let expected = tally.user_sessions(user).into_iter().map(|(day, sessions)| (day, in_seconds(sessions))).collect();
    verdict.compare(|| format!("sessions of {} (count, seconds)", user_id(user)), sessions, expected);
    verdict.users += 1;
    Ok(())
}

/// As an answer has them: whole seconds, rounded half up.
fn in_seconds(sessions: DaySessions) -> (u64, u64) {
    (sessions.count, (sessions.duration_ms + 500) / 1_000)
}

fn rows_of(answer: &Answer) -> anyhow::Result<Vec<Map<String, Value>>> {
    #[derive(serde::Deserialize)]
    struct Rows {
        data: Vec<Map<String, Value>>,
    }
    let rows: Rows = serde_json::from_slice(&answer.body).with_context(|| answer.text())?;
    Ok(rows.data)
}

fn counts_of(rows: &[Map<String, Value>]) -> anyhow::Result<Counts> {
    let mut counts = Counts::new();
    for row in rows {
        let day = day_of(row)?;
        for (name, count) in row.iter().filter(|(name, _)| *name != "date") {
            counts.insert((day, name.clone()), count.as_u64().context("a count is a whole number")?);
        }
    }
    Ok(counts)
}

fn day_of(row: &Map<String, Value>) -> anyhow::Result<i32> {
    let date: NaiveDate = row.get("date").and_then(Value::as_str).context("a row has a date")?.parse()?;
    Ok(date.to_epoch_days())
}

/// The date of a day, counted from 1970.
///
/// # Errors
/// Where it is beyond the calendar.
pub(crate) fn date(day: i32) -> anyhow::Result<NaiveDate> {
    let midnight = DateTime::from_timestamp(i64::from(day) * 86_400, 0);
    Ok(midnight.with_context(|| format!("day {day} is beyond the calendar"))?.date_naive())
}

fn day_text(day: i32) -> String {
    date(day).map_or_else(|_| day.to_string(), |date| date.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_counts() {
        let answer = Answer {
            status: StatusCode::OK,
            position: None,
            body: r#"{"status":"success","data":[{"date":"1970-01-02","play":24,"stop":22}]}"#.into(),
        };
        let counts = counts_of(&rows_of(&answer).unwrap()).unwrap();
        assert_eq!(counts, Counts::from([((1, "play".to_owned()), 24), ((1, "stop".to_owned()), 22)]));
    }

    #[test]
    fn a_difference_is_told() {
        let mut verdict = Verdict::default();
        verdict.compare(|| "a".to_owned(), 1, 1);
        verdict.compare(|| "b".to_owned(), 1, 2);
        assert_eq!((verdict.compared, verdict.differences), (2, 1));
        assert_eq!(verdict.told, ["b: answered 1, sent 2"]);
    }
}
