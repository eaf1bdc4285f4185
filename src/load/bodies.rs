//! Requests made beforehand, so that sending costs little: their bodies, and what each holds.

use super::events::{Event, Events};
use super::tally::{Fate, Tally};
use super::words::Words;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    /// Its body, packed where that was asked for.
    pub(crate) body: Bytes,
    /// How many events it has.
    pub(crate) events: usize,
}

/// All requests of a run.
#[derive(Debug)]
pub(crate) struct Plan {
    /// In the order in which they are to be sent.
    pub(crate) requests: Vec<Prepared>,
    events: Vec<Event>,
}

impl Plan {
    /// Requests of `batch` events each, the last with what is left.
    ///
    /// # Errors
    /// Where packing fails.
    pub(crate) fn make(events: Events, words: &Words, batch: usize, gzip: bool) -> anyhow::Result<Self> {
        let events: Vec<Event> = events.collect();
        let mut requests = Vec::with_capacity(events.len().div_ceil(batch));
        for share in events.chunks(batch) {
            let mut text = String::new();
            for event in share {
                words.json(event, &mut text);
                text.push('\n');
            }
            let body = if gzip { pack(text.as_bytes())? } else { text.into_bytes() };
            requests.push(Prepared { body: body.into(), events: share.len() });
        }
        Ok(Self { requests, events })
    }

    /// What must be counted once every request has met its fate, with a sample of so many of all `users`.
    pub(crate) fn tally(&self, fates: &[Fate], sample: u32, users: u32) -> Tally {
        let mut tally = Tally::new(sample, users);
        let mut events = self.events.iter();
        for (request, fate) in self.requests.iter().zip(fates) {
            for event in events.by_ref().take(request.events) {
                tally.add(event, *fate);
            }
        }
        tally
    }
}

fn pack(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body)?;
    encoder.finish()
}
