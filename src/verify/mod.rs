//! `track verify`: whether two folds of one log have the same state, and which row tells them apart where they have not.
//!
//! - [`states`]: where states are, in a folder or in a processor that goes on folding
//! - [`settle`]: asks both at one and the same offset
//! - [`difference`]: walks the rows of both, to the first that only one has or has otherwise

mod difference;
mod settle;
mod states;

use crate::connect;
use crate::flags::{Side, VerifyFlags};
use anyhow::{Context as _, bail};
use difference::Difference;
use states::States;
use std::collections::BTreeMap;
use std::process::ExitCode;
use track_log::{Offset, Partition};
use track_query_api::owners::Connect;

/// What there is to say of a partition.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Equal { offset: Offset },
    Differs { offset: Offset, how: Difference },
}

/// Prints a line for each partition that both have, and ends with 0 where all are equal, 1 where one differs and 2 where one
/// could not be compared.
pub(crate) async fn run(flags: &VerifyFlags) -> ExitCode {
    let compared = match compare_all(flags).await {
        Ok(compared) => compared,
        Err(error) => {
            tracing::error!("{error:#}");
            return ExitCode::from(2);
        }
    };
    let differs = compared.iter().any(|verdict| matches!(verdict, Ok(Verdict::Differs { .. })));
    let is_whole = compared.iter().all(Result::is_ok);
    match (differs, is_whole) {
        (true, _) => ExitCode::from(1),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::from(2),
    }
}

async fn compare_all(flags: &VerifyFlags) -> anyhow::Result<Vec<anyhow::Result<Verdict>>> {
    let connect = connect::over_the_network(flags.trust.tls_ca.as_deref())?;
    if let (Side::Folder(a), Side::Folder(b)) = (&flags.a, &flags.b)
        && let (Ok(a), Ok(b)) = (a.canonicalize(), b.canonicalize())
        && a == b
    {
        bail!("both are the same folder: {}", a.display());
    }
    let (a, b) = (States::open(&flags.a, &connect)?, States::open(&flags.b, &connect)?);
    let mut verdicts = Vec::new();
    for partition in partitions(&a, &b, flags.partition).await? {
        let verdict = compare(&a, &b, partition).await;
        match &verdict {
            Ok(Verdict::Equal { offset }) => println!("partition {partition}  offset {offset}  equal"),
            Ok(Verdict::Differs { offset, how }) => {
                println!("partition {partition}  offset {offset}  differs: {}", how.describe(&a, &b));
            }
            Err(error) => println!("partition {partition}  not compared: {error:#}"),
        }
        verdicts.push(verdict);
    }
    Ok(verdicts)
}

/// The partitions to compare: the one that was asked for, or all that both have.
async fn partitions(a: &States, b: &States, wanted: Option<Partition>) -> anyhow::Result<Vec<Partition>> {
    let (in_a, in_b) = (a.offsets().await?, b.offsets().await?);
    let both: Vec<_> = in_a.keys().copied().filter(|partition| in_b.contains_key(partition)).collect();
    match wanted {
        Some(partition) if both.contains(&partition) => Ok(vec![partition]),
        Some(partition) => {
            let lacking = if in_a.contains_key(&partition) { b } else { a };
            bail!("partition {partition} is not in {lacking}")
        }
        None if both.is_empty() => bail!("no partition is in both, {a} and {b}"),
        None => {
            tell_left_out(&in_a, &in_b, a);
            tell_left_out(&in_b, &in_a, b);
            Ok(both)
        }
    }
}

fn tell_left_out(here: &BTreeMap<Partition, Offset>, there: &BTreeMap<Partition, Offset>, states: &States) {
    for partition in here.keys().filter(|partition| !there.contains_key(partition)) {
        eprintln!("partition {partition} is in {states} alone: left out");
    }
}

/// The offset at which the digests of a partition in two running processors were compared, and whether they are the same there.
///
/// # Errors
/// Where one of them can't be asked, or no offset was found at which both are.
pub(crate) async fn running_agree(
    connect: &Connect,
    (a, b): (&str, &str),
    partition: Partition,
) -> anyhow::Result<(Offset, bool)> {
    let open = |url: &str| States::open(&Side::Url(url.to_owned()), connect);
    let ask = async |states: &States, offset| states.digest(partition, offset).await;
    let (offset, in_a, in_b) = settle::at_one_offset(&open(a)?, &open(b)?, partition, ask).await?;
    Ok((offset, in_a == in_b))
}

async fn compare(a: &States, b: &States, partition: Partition) -> anyhow::Result<Verdict> {
    let ask = async |states: &States, offset| states.digest(partition, offset).await;
    let (offset, in_a, in_b) = settle::at_one_offset(a, b, partition, ask).await?;
    if in_a == in_b {
        return Ok(Verdict::Equal { offset });
    }
    if in_a.stream_time_ms != in_b.stream_time_ms {
        let how = Difference::StreamTime { in_a_ms: in_a.stream_time_ms, in_b_ms: in_b.stream_time_ms };
        return Ok(Verdict::Differs { offset, how });
    }
    // Running ones have gone on since: the rows are those of an offset further ahead.
    let ask = async |states: &States, offset| states.rows(partition, offset).await;
    let (offset, in_a, in_b) =
        settle::at_one_offset(a, b, partition, ask).await.context("the digests differ, but not a row could be read")?;
    let how = difference::first(in_a, in_b).await.context("the digests differ, but the rows could not be read")?;
    Ok(Verdict::Differs { offset, how: how.unwrap_or(Difference::NoLonger) })
}
