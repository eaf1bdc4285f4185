//! Whether an answer may be given: what was acknowledged before the question, and what was sent by the time of the answer, are
//! its bounds.

use crate::cluster::PARTITIONS;
use crate::history::{Journey, Known, partition_of};
use anyhow::{Context as _, Result, bail, ensure};
use chrono::DateTime;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use track_harness::answers;
use track_harness::http::Answer;
use track_oracle::{Counts, Query};

/// A broker that is starved may say that it is there before it says what there is.
const AS_OF_SLACK_MS: i64 = 1_000;

/// A question and what frames its answer.
pub struct Asked<'a> {
    pub path: &'a str,
    pub query: Query,
    /// What the answer must include: what had positions when it was asked, where those went along.
    pub before: Option<&'a Known>,
    /// What it can include: what was sent when it was answered.
    pub after: &'a Known,
    pub allows_partial: bool,
}

/// Whether a 503 is an honest one, and whether it names partitions.
pub fn refusal(answer: &Answer, partition: Option<u32>, allows_partial: bool) -> Result<bool> {
    ensure!(answer.header("retry-after").is_some(), "no Retry-After");
    let body = answer.json()?;
    let message = body["message"].as_str().unwrap_or_default();
    ensure!(body["status"] == "error" && message.starts_with("Failed to fetch"), "not the error that it should be");
    let Some(named) = body.get("partitions") else { return Ok(false) };
    let named = partitions(named)?;
    ensure!(!named.is_empty() && partition.is_none_or(|partition| named == [partition]), "the wrong partitions");
    ensure!(!allows_partial, "what there is would have been enough");
    Ok(true)
}

impl Asked<'_> {
    /// Whether it is partial, where it may be given.
    pub fn check(&self, answer: &Answer) -> Result<bool> {
        ensure!(answer.status == 200, "{answer}");
        let body = answer.json()?;
        ensure!(body["status"] == "success", "{answer}");
        let missing = body.get("missingPartitions").map_or(Ok(Vec::new()), partitions)?;
        ensure!(self.allows_partial || missing.is_empty(), "nobody asked for an answer without {missing:?}");
        let as_of = answer.header("track-as-of").map(DateTime::parse_from_rfc3339).transpose()?;
        let as_of_ms = as_of.map(|as_of| as_of.timestamp_millis() - AS_OF_SLACK_MS);
        let bounds = Bounds { asked: self, as_of_ms };
        let data = &body["data"];
        match &self.query.user {
            Some(user) if missing.is_empty() => bounds.check_user(user, data)?,
            Some(user) => {
                ensure!(missing == [partition_of(user)] && *data == json!([]), "{user} is not there: {answer}");
            }
            None if self.path == "/metrics" => bounds.check_counts(data, &missing)?,
            None => bounds.check_sessions(data)?,
        }
        Ok(!missing.is_empty())
    }
}

/// A question, and what its answer says of itself.
struct Bounds<'a> {
    asked: &'a Asked<'a>,
    /// Everything acknowledged before must be in it.
    as_of_ms: Option<i64>,
}

impl Bounds<'_> {
    /// How many requests of a user must be in the answer.
    fn at_least(&self, user: &str) -> usize {
        let had_position = self.asked.before.and_then(|before| before.journey(user)).map_or(0, Journey::on_log);
        let by_then = |journey: &Journey| self.as_of_ms.map_or(0, |as_of_ms| journey.on_log_by(as_of_ms));
        had_position.max(self.asked.after.journey(user).map_or(0, by_then))
    }

    /// The answer about one user is that of some prefix of what was sent of it.
    fn check_user(&self, user: &str, data: &Value) -> Result<()> {
        let Asked { path, query, .. } = self.asked;
        let sent = self.asked.after.journey(user).context("nobody has sent anything of it")?;
        let at_least = self.at_least(user);
        if sent.states(at_least).any(|events| answers::data(path, &events, query) == *data) {
            return Ok(());
        }
        let earlier = (0..at_least).rev().find(|requests| answers::data(path, &sent.prefix(*requests), query) == *data);
        bail!(
            "{data} is the answer after none of the first {at_least} to {} requests of {user} (but after {earlier:?}), of \
             which {} were acknowledged, with everything before {:?} ms: {sent:#?}",
            sent.requests.len(),
            sent.acknowledged,
            self.as_of_ms,
        )
    }

    /// Each count over all users is between that of what must be in it and that of what can be.
    fn check_counts(&self, data: &Value, missing: &[u32]) -> Result<()> {
        let got = counts(data)?;
        let most = track_oracle::metrics(&self.asked.after.sent(), &self.asked.query);
        for (label, event, count) in each(&got) {
            let most = most.get(label).and_then(|row| row.get(event)).copied().unwrap_or_default();
            ensure!(count <= most, "{label}: {count} × {event}, of which only {most} were sent");
        }
        let there = self.asked.after.users().filter(|(user, _)| !missing.contains(&partition_of(user)));
        let must: Vec<_> = there.flat_map(|(user, journey)| journey.prefix(self.at_least(user))).collect();
        for (label, event, least) in each(&track_oracle::metrics(&must, &self.asked.query)) {
            let count = got.get(label).and_then(|row| row.get(event)).copied().unwrap_or_default();
            ensure!(
                count >= least,
                "{label}: {count} × {event}, of which {least} were acknowledged, without {missing:?}"
            );
        }
        Ok(())
    }

    /// Of all users' sessions only so much can be said while events come: there is no more than one a stop.
    fn check_sessions(&self, data: &Value) -> Result<()> {
        let rows = data.as_array().context("no rows")?;
        let count = |row: &Value| row["sessionCount"].as_u64().filter(|count| *count > 0);
        let sessions = rows.iter().map(count).sum::<Option<u64>>().context("a row without sessions")?;
        let stops = self.asked.after.sent().iter().filter(|event| event.name == "stop").count() as u64;
        ensure!(sessions <= stops, "{sessions} sessions of {stops} stops");
        Ok(())
    }
}

/// Numbers of partitions, ascending.
fn partitions(list: &Value) -> Result<Vec<u32>> {
    let numbers = list.as_array().context("no list")?.iter();
    let numbers = numbers.map(|number| number.as_u64().and_then(|number| u32::try_from(number).ok()));
    let numbers: Vec<_> = numbers.collect::<Option<_>>().context("not numbers of partitions")?;
    ensure!(numbers.is_sorted_by(|a, b| a < b) && numbers.iter().all(|number| *number < PARTITIONS), "{list}");
    Ok(numbers)
}

/// Rows of counts as the oracle has them.
fn counts(data: &Value) -> Result<Counts> {
    let mut counts = Counts::new();
    for row in data.as_array().context("no rows")? {
        let mut row = row.as_object().context("not a row")?.clone();
        let label = row.remove("date").and_then(|date| date.as_str().map(str::to_owned)).context("no date")?;
        ensure!(counts.last_key_value().is_none_or(|(last, _)| *last < label), "{label} is out of order");
        let row = row.into_iter().map(|(event, count)| Some((event, count.as_u64().filter(|count| *count > 0)?)));
        counts.insert(label, row.collect::<Option<BTreeMap<_, _>>>().context("not a count")?);
    }
    Ok(counts)
}

fn each(counts: &Counts) -> impl Iterator<Item = (&String, &String, u64)> {
    counts.iter().flat_map(|(label, row)| row.iter().map(move |(event, count)| (label, event, *count)))
}

/// The judge is judged too: what it must find, it finds.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::asking::all_days;
    use crate::history::History;
    use track_oracle::Event;

    fn event(user: &str, number: i64, name: &str) -> Event {
        let at_ms = 1_738_000_000_000 + number * 60_000;
        Event { user: user.into(), name: name.into(), at_ms, id: Some(number.to_string()), arrival_s: 0 }
    }

    /// Two plays and a stop of one user are acknowledged, and a play and a stop are under way.
    fn history() -> History {
        let history = History::default();
        for request in [vec![event("ann", 0, "play")], vec![event("ann", 1, "play"), event("ann", 2, "stop")]] {
            history.begin(&request);
            history.acknowledge(&request, Some(&format!("{}:7", partition_of("ann"))));
        }
        history.begin(&[event("ann", 3, "play"), event("ann", 4, "stop")]);
        history
    }

    fn answer(data: &Value, missing: &[u32]) -> Answer {
        let mut body = json!({"status": "success", "data": data});
        if !missing.is_empty() {
            body["missingPartitions"] = json!(missing);
        }
        Answer { status: 200, headers: Vec::new(), body: body.to_string().into() }
    }

    fn judge(path: &str, user: Option<&str>, wants_all: bool, given: &Answer) -> Result<bool> {
        let (known, [first, last]) = (history().now(), all_days());
        let query = Query { user: user.map(str::to_owned), ..Query::days(first, last) };
        let before = wants_all.then_some(&known);
        Asked { path, query, before, after: &known, allows_partial: true }.check(given)
    }

    #[test]
    fn an_answer_about_a_user_is_that_of_a_prefix() {
        let day = |play: u64, stop: u64| answer(&json!([{"date": "2025-01-27", "play": play, "stop": stop}]), &[]);
        let about_ann = |wants_all, given: &Answer| judge("/metrics", Some("ann"), wants_all, given);
        for whole_or_part_of_the_last in [day(2, 1), day(3, 1), day(2, 2), day(3, 2)] {
            assert!(!about_ann(true, &whole_or_part_of_the_last).unwrap());
        }
        assert!(about_ann(true, &day(4, 2)).is_err(), "one more than was sent");
        let old = answer(&json!([{"date": "2025-01-27", "play": 1}]), &[]);
        assert!(about_ann(true, &old).is_err(), "the rest was acknowledged");
        assert!(about_ann(false, &old).is_ok());
        assert!(about_ann(false, &day(1, 2)).is_err(), "nothing is missing from the middle");
        let session = |seconds: u64| json!([{"date": "2025-01-27", "totalDuration": seconds, "sessionCount": 1, "averageDuration": seconds}]);
        assert!(judge("/sessions", Some("ann"), true, &answer(&session(60), &[])).is_ok());
        assert!(judge("/sessions", Some("ann"), true, &answer(&session(120), &[])).is_err());
    }

    #[test]
    fn an_answer_is_as_complete_as_it_says() {
        let old = json!([{"date": "2025-01-27", "play": 1}]);
        let as_of = |time: &str| Answer { headers: vec![("track-as-of".into(), time.into())], ..answer(&old, &[]) };
        for user in [Some("ann"), None] {
            assert!(judge("/metrics", user, false, &as_of("2025-01-27T00:00:00.000Z")).is_ok());
            assert!(judge("/metrics", user, false, &as_of("9025-01-27T00:00:00.000Z")).is_err());
        }
    }

    #[test]
    fn what_is_missing_must_be_said() {
        let (of_ann, nothing) = (partition_of("ann"), json!([]));
        assert!(judge("/metrics", Some("ann"), true, &answer(&nothing, &[of_ann])).unwrap());
        assert!(judge("/metrics", Some("ann"), true, &answer(&nothing, &[])).is_err());
        assert!(judge("/metrics", Some("ann"), true, &answer(&nothing, &[(of_ann + 1) % PARTITIONS])).is_err());
        assert!(judge("/metrics", None, true, &answer(&nothing, &[of_ann])).unwrap());
        assert!(judge("/metrics", None, true, &answer(&nothing, &[])).is_err());
        let too_many = json!([{"date": "2025-01-27", "play": 4}]);
        assert!(judge("/metrics", None, false, &answer(&too_many, &[])).is_err());
    }
}
