//! `track load`: makes events, sends them, and checks the answers against what it sent.
//!
//! In the order in which an event meets them:
//!
//! - [`events`]: from a seed to events; [`words`]: an event as JSON, as an envelope, as CSV
//! - [`bodies`]: requests made beforehand; [`fill`]: topics, folders and files instead of requests
//! - [`pace`], [`connection`], [`send`]: each request when it is due, over keep-alive connections
//! - [`freshness`] and [`ask`]: probes and questions, meanwhile or instead
//! - [`tally`] and [`verify`]: what must be counted, and whether it is
//! - [`latency`] and [`report`]: what was measured, as a table or as JSON
//!
//! It runs on one thread: it shares the machine with what it measures.

mod ask;
mod bodies;
mod connection;
mod events;
mod fill;
mod freshness;
mod latency;
mod pace;
mod report;
mod send;
mod tally;
mod verify;
mod words;

pub(crate) use ask::Kind;

use crate::clock;
use crate::flags::{LoadFlags, Target};
use anyhow::{Context as _, ensure};
use bodies::Plan;
use connection::Address;
use events::{Events, Shape};
use freshness::{Freshness, Probing};
use pace::Pace;
use report::Report;
use send::{Sending, Sent};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tally::{Fate, Tally};
use tokio_util::sync::CancellationToken;
use track_proto::calendar::utc_day;
use verify::Questions;
use words::Words;

/// Does what the flags ask for and prints what came of it. 1 where an answer differs from what was sent, or nothing works.
pub(crate) fn main(flags: &LoadFlags) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let report = runtime.context("no thread to run on").and_then(|runtime| runtime.block_on(run(flags)));
    match report {
        Ok(report) => {
            println!("{}", if flags.json { report.json() } else { report.table() });
            if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: &LoadFlags) -> anyhow::Result<Report> {
    let now_ms = clock::system()();
    let shape = shape(flags, now_ms)?;
    let words = Words::new(shape.until_ms, shape.seed);
    if let Some(kind) = flags.ask {
        return ask(flags, kind, shape).await;
    }
    let events = Events::new(shape.clone())?;
    let began = Instant::now();
    let written = match flags.to {
        Target::Http => {
            ensure!(shape.until_ms <= now_ms, "--until is in the future: track would replace those times with its own");
            return post(flags, events, &words, shape.until_ms).await;
        }
        Target::Nothing => return check(flags, events).await,
        Target::Kafka => fill::topic(&flags.kafka.config(), events, &words, now_ms).await?,
        Target::Folder => {
            fill::folder(&flags.data_dir, flags.kafka.partitions, events, &words, &clock::system()).await?
        }
        Target::Csv => fill::csv(&flags.file, events, &words)?,
        Target::Ndjson => fill::ndjson(&flags.file, events, &words)?,
    };
    Ok(Report::written(written, began.elapsed()))
}

fn shape(flags: &LoadFlags, now_ms: i64) -> anyhow::Result<Shape> {
    ensure!(flags.event_ids >= flags.duplicates, "--event-ids must be at least --duplicates: each of those has one");
    Ok(Shape {
        events: flags.events,
        users: flags.users,
        seed: flags.seed,
        until_ms: flags.until.unwrap_or(now_ms),
        span_ms: i64::try_from(flags.span.as_millis()).context("--span is too long")?,
        late_share: flags.late,
        duplicate_share: flags.duplicates,
        id_share: flags.event_ids,
    })
}

/// Posts everything, then checks what is answered.
async fn post(flags: &LoadFlags, events: Events, words: &Words, until_ms: i64) -> anyhow::Result<Report> {
    let began = Instant::now();
    let plan = Plan::make(events, words, usize::from(flags.batch), flags.gzip)?;
    let prepared = began.elapsed();
    let query = Address::parse(flags.query_url())?;
    // Whatever becomes of a request, these are the days that it can touch.
    let all = vec![Fate::Acknowledged; plan.requests.len()];
    let days = plan.tally(&all, 0, flags.users).days().unwrap_or((utc_day(until_ms), utc_day(until_ms)));
    let mut questions = Questions::new(query.clone(), days);
    let before = if flags.skip_verify { BTreeMap::new() } else { questions.counts().await? };

    let probing = Probing { ingest: Address::parse(&flags.url)?, query, until_ms };
    let began = Instant::now();
    let (sent, freshness) = send_and_probe(flags, &plan, &probing).await?;
    let mut report = Report::posted(&plan, &sent, prepared, freshness);
    if !flags.skip_verify {
        questions.include(&sent.positions);
        questions.counts().await?;
        report.counted_after(began.elapsed());
        let tally = plan.tally(&sent.fates, flags.sample, flags.users);
        report.verified(verify::verify(&mut questions, &tally, &before).await?);
    }
    Ok(report)
}

async fn send_and_probe(
    flags: &LoadFlags,
    plan: &Plan,
    probing: &Probing,
) -> anyhow::Result<(Sent, Option<Freshness>)> {
    let sending = Sending {
        address: probing.ingest.clone(),
        connections: usize::from(flags.connections),
        batch: usize::from(flags.batch),
        gzip: flags.gzip,
    };
    // A request is due when its first event is.
    let rate = flags.rate.map(|rate| rate / f64::from(flags.batch));
    let pace = Pace::start(plan.requests.len(), rate, flags.duration)?;
    let Some(probes_per_second) = flags.freshness else {
        return Ok((send::send(&sending, plan, &pace).await?, None));
    };
    let done = CancellationToken::new();
    let probes = Pace::start(usize::MAX >> 1, Some(probes_per_second), None)?;
    let (sent, freshness) = tokio::join!(
        async {
            let sent = send::send(&sending, plan, &pace).await;
            done.cancel();
            sent
        },
        freshness::probe(probing, &probes, done.cancelled()),
    );
    Ok((sent?, Some(freshness?)))
}

/// Checks the answers of a track that was given these events, and nothing else.
async fn check(flags: &LoadFlags, events: Events) -> anyhow::Result<Report> {
    let mut tally = Tally::new(flags.sample, flags.users);
    events.for_each(|event| tally.add(&event, Fate::Acknowledged));
    let days = tally.days().context("there are no events to check")?;
    let mut questions = Questions::new(Address::parse(flags.query_url())?, days);
    let began = Instant::now();
    let verdict = verify::verify(&mut questions, &tally, &BTreeMap::new()).await?;
    let mut report = Report::written(0, began.elapsed());
    report.verified(verdict);
    Ok(report)
}

async fn ask(flags: &LoadFlags, kind: Kind, shape: Shape) -> anyhow::Result<Report> {
    let until = verify::date(utc_day(shape.until_ms))?;
    let count = usize::try_from(flags.events)?;
    let questions = ask::questions(kind, count, until, &mut Events::new(shape)?)?;
    let pace = Pace::start(count, flags.rate, flags.duration)?;
    let address = Address::parse(flags.query_url())?;
    Ok(Report::asked(&ask::ask(&address, usize::from(flags.connections), &questions, &pace).await?))
}

/// So many a second.
fn rate(count: u64, took: Duration) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a rate")]
    let count = count as f64;
    count / took.as_secs_f64().max(f64::EPSILON)
}
