//! Brings two states of one partition to the same offset.
//!
//! States in a folder stand where they stand. A running processor can be asked for an offset that is still ahead of it, and
//! never for one that it has passed: where records come faster than we ask, we ask for one further ahead.

use super::states::{Refusal, States};
use anyhow::bail;
use track_log::{Offset, Partition};

/// How often an offset is chosen anew. The distance doubles at least, so that the fastest log is overtaken.
const TRIES: u32 = 12;

/// What `ask` says of both at one offset.
pub(super) async fn at_one_offset<T>(
    a: &States,
    b: &States,
    partition: Partition,
    ask: impl AsyncFn(&States, Offset) -> Result<T, Refusal>,
) -> anyhow::Result<(Offset, T, T)> {
    let mut tried: Option<Offset> = None;
    let mut ahead = 0;
    for _ in 0..TRIES {
        let (at_a, at_b) = tokio::try_join!(a.offset(partition), b.offset(partition))?;
        if let Some(tried) = tried {
            // By so much we were too slow the last time.
            ahead = ahead.max(at_a.max(at_b).saturating_sub(tried)) * 2;
        }
        let offset = match (a.is_still(), b.is_still()) {
            (true, true) if at_a != at_b => {
                bail!("{a} is at offset {at_a} and {b} at {at_b}: two folders can't be brought to one offset")
            }
            (true, _) => at_a,
            (false, true) => at_b,
            (false, false) => at_a.max(at_b) + ahead,
        };
        match tokio::try_join!(ask(a, offset), ask(b, offset)) {
            Ok((in_a, in_b)) => return Ok((offset, in_a, in_b)),
            Err(Refusal::Failed(error)) => return Err(error),
            Err(Refusal::Passed) if a.is_still() || b.is_still() => {
                let (still, at, running) = if a.is_still() { (a, at_a, b) } else { (b, at_b, a) };
                bail!("{still} is at offset {at}, and {running} is past it")
            }
            Err(Refusal::Passed) => tried = Some(offset),
            // Nobody writes any more: where they are now is where they will be.
            Err(Refusal::NotReached) => (tried, ahead) = (None, 0),
        }
    }
    bail!("{a} and {b} did not come to one offset in {TRIES} tries")
}
