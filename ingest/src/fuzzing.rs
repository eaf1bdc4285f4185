//! What must hold of any body. Run by `fuzz/` with what libFuzzer thinks of, and below with proptest.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a body that breaks what must hold is found by a panic")]

use crate::body::{self, Rules};
use crate::error::{Reason, Refusal};
use crate::inflight::Inflight;
use crate::unpack::Encoding;
use crate::{Config, Ingest};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::future::{BoxFuture, FutureExt as _, ready};
use futures::stream;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, HeaderValue};
use serde_json::Value;
use std::convert::Infallible;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;
use track_log::{Append, AppendError, NewRecord, Position};
use track_proto::event;
use track_proto::event::METADATA_BYTES_MAX;

/// 2025-06-01T12:00:00Z.
const NOW_MS: i64 = 1_748_779_200_000;
const BODY: Rules = Rules { bytes_max: 64 * 1024, encodings: &[Encoding::Gzip, Encoding::Zstd] };

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().unwrap();
}

/// The first byte is how the rest is sent. Bit 0: as a batch; bits 1 and 2: `Content-Encoding` none, gzip, zstd or
/// unknown; bit 3: packed that way here, not by the fuzzer; the upper four bits: into how large chunks it is cut.
///
/// # Panics
/// Where a request is not answered 200 or by a refusal of ours, an event on the log breaks a rule, or how a body is cut
/// makes a difference.
pub fn body(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else { return };
    let is_batch = how & 1 == 1;
    let encoding = [None, Some("gzip"), Some("zstd"), Some("br")][usize::from(how >> 1 & 3)];
    let sent = match encoding {
        Some("gzip") if how & 8 != 0 => gzip(bytes),
        Some("zstd") if how & 8 != 0 => zstd::encode_all(bytes, 1).unwrap(),
        _ => bytes.to_vec(),
    };
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            check_answer(is_batch, encoding, &sent).await;
            check_chunks(encoding, &sent, 1 << (how >> 4)).await;
        });
    });
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

async fn check_answer(is_batch: bool, encoding: Option<&str>, sent: &[u8]) {
    let log = Arc::new(Taken::default());
    let ingest = Ingest::new(Config::default(), Arc::clone(&log) as _, Arc::new(|| NOW_MS));
    let path = if is_batch { "/track/batch" } else { "/track" };
    let request = warp::test::request().method("POST").path(path).body(sent);
    let request = match encoding {
        Some(encoding) => request.header(CONTENT_ENCODING, encoding),
        None => request,
    };
    let answer = request.reply(&ingest.routes()).await;
    let said: Value = serde_json::from_slice(answer.body()).expect("an answer is JSON");
    let taken = log.records.lock().unwrap();
    match answer.status().as_u16() {
        200 => {
            assert_eq!(said["status"], "success");
            assert!(if is_batch { said["accepted"] == taken.len() } else { taken.len() == 1 }, "{said}");
        }
        400 | 413 | 415 => {
            assert_eq!(said["status"], "error");
            assert!(said["message"].as_str().is_some_and(|message| !message.is_empty()), "{said}");
            assert!(taken.is_empty());
        }
        status => panic!("answered {status}: {said}"),
    }
    taken.iter().for_each(check_record);
    // Where JSON has one meaning, so has the event.
    if let ([record], false, None) = (&taken[..], is_batch, encoding)
        && let Ok(value) = serde_json::from_slice::<Value>(sent)
    {
        let event = event::decode(Some(&record.key), &record.value).unwrap();
        assert_eq!((value["event"].as_str(), value["user_id"].as_str()), (Some(&*event.event), Some(&*event.user_id)));
        assert_eq!(value["event_id"].is_string(), event.client_event_id);
    }
}

/// What is on the log is an event to every reader.
fn check_record(record: &NewRecord) {
    let event = event::decode(Some(&record.key), &record.value).expect("an event");
    assert!(event.timestamp_ms <= NOW_MS && event.received_at_ms == NOW_MS && !event.event_id.is_empty());
    assert!(event.metadata.len() <= METADATA_BYTES_MAX);
    assert!(event.metadata.is_empty() || event.metadata.starts_with(b"{"));
    if let Ok(metadata) = serde_json::from_slice::<Value>(&event.metadata) {
        assert!(metadata.is_object());
    }
}

/// Chunks are how a network cuts a body, and mean nothing.
async fn check_chunks(encoding: Option<&'static str>, sent: &[u8], chunk_bytes: usize) {
    let mut headers = HeaderMap::new();
    headers.extend(encoding.map(|encoding| (CONTENT_ENCODING, HeaderValue::from_static(encoding))));
    let whole = read(&headers, vec![sent]).await.map_err(|refusal| refusal.counted());
    let chunked = read(&headers, sent.chunks(chunk_bytes).collect()).await.map_err(|refusal| refusal.counted());
    // Of a body that is both damaged and too large, zstd may find the damage before it gives what comes before that.
    let either = |read: &Result<Bytes, _>| matches!(read, Err(Some((Reason::Body | Reason::TooLarge, 1))));
    assert!(
        whole == chunked || encoding == Some("zstd") && either(&whole) && either(&chunked),
        "{whole:?} {chunked:?}"
    );
    assert!(whole.is_ok_and(|body| body.len() <= BODY.bytes_max) || chunked.is_err());
}

async fn read(headers: &HeaderMap, chunks: Vec<&[u8]>) -> Result<Bytes, Refusal> {
    let chunks = stream::iter(chunks.into_iter().map(|chunk| Ok::<_, Infallible>(Bytes::copy_from_slice(chunk))));
    let mut held = Inflight::new(usize::MAX).hold();
    body::read(headers, chunks, &BODY, Instant::now() + Duration::from_secs(60), &mut held).await
}

/// A log that remembers what it took.
#[derive(Default)]
struct Taken {
    records: Mutex<Vec<NewRecord>>,
}

impl Append for Taken {
    fn partition_count(&self) -> u32 {
        1
    }

    fn append(&self, records: Vec<NewRecord>) -> BoxFuture<'static, Result<Vec<Position>, AppendError>> {
        let positions = (0..records.len() as u64).map(|offset| Position { partition: 0, offset }).collect();
        self.records.lock().unwrap().extend(records);
        ready(Ok(positions)).boxed()
    }

    fn check_ready(&self) -> Result<(), String> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::body;
    use proptest::prelude::*;

    #[test]
    fn the_corpus_holds() {
        for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/body")).unwrap() {
            body(&std::fs::read(file.unwrap().path()).unwrap());
        }
    }

    /// JSON or nearly so.
    fn event() -> impl Strategy<Value = String> {
        let name = "event|user_id|event_id|timestamp|metadata|other|\\\\u0065vent";
        let value = r#""[a-z]{0,5}"|"date"|null|true|-?[0-9]{1,3}(\.[0-9])?(e[0-9]{1,3})?|\{\}|\{"a":\[1, ?\{"b":"c"\}\]\}|"\\u[0-9a-f]{4}"|"2025-0[0-9]-[0-3][0-9]T[0-2][0-9]:00:00Z"|"\PC{0,4}"|\[[0-9]{0,2}|\PC{0,3}"#;
        prop::collection::vec((name, value), 0..5).prop_map(|fields| {
            let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
            format!(r#"{{"event":"play","user_id":"u{}",{}}}"#, fields.len(), fields.join(","))
        })
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_hold(how: u8, bytes: Vec<u8>) {
            body(&[&[how][..], &bytes].concat());
        }

        #[test]
        fn events_hold(how: u8, events in prop::collection::vec(event(), 1..4), joint in ",|\n", at: prop::sample::Index) {
            let lines = events.join(&joint);
            let bodies = [lines.clone(), format!("[{lines}]"), lines[..lines.floor_char_boundary(at.index(lines.len()))].to_owned()];
            for text in bodies {
                body(&[&[how][..], text.as_bytes()].concat());
            }
        }
    }
}
