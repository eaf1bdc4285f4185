//! A request's way from its body to the log and to the answer, without a network and with a log that takes everything:
//! unpack, decode, validate, envelope, answer.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::future::{BoxFuture, ready};
use std::io::Write as _;
use std::sync::Arc;
use track_ingest::{Config, Ingest};
use track_log::{Append, AppendError, NewRecord, Position};

const BATCH: usize = 1_000;

/// Takes everything at once and keeps nothing.
struct Nowhere;

impl Append for Nowhere {
    fn partition_count(&self) -> u32 {
        1
    }

    fn append(&self, records: Vec<NewRecord>) -> BoxFuture<'static, Result<Vec<Position>, AppendError>> {
        Box::pin(ready(Ok((0..records.len() as u64).map(|offset| Position { partition: 0, offset }).collect())))
    }

    fn check_ready(&self) -> Result<(), String> {
        Ok(())
    }
}

fn line(n: usize) -> String {
    format!(
        r#"{{"event":"page_view","user_id":"user-{n}","timestamp":"2025-06-01T12:00:00.{:03}Z","metadata":{{"source":"web","country":"DE","app":"4.12.3","page":"/videos/{n:07}","quality":"1080p","device":"{:016x}"}}}}"#,
        n % 1_000,
        n.wrapping_mul(0x9e37_79b9_7f4a_7c15),
    )
}

fn requests(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let routes = Ingest::new(Config::default(), Arc::new(Nowhere), Arc::new(|| 1_748_790_000_000)).routes();
    let lines: String = (0..BATCH).map(|n| line(n) + "\n").collect();
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(lines.as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    let cases = [
        ("one event", "/track", line(1).into_bytes(), None, 1),
        ("1,000 events", "/track/batch", lines.into_bytes(), None, BATCH),
        ("1,000 events, gzip", "/track/batch", packed, Some("gzip"), BATCH),
    ];
    let mut group = c.benchmark_group("request");
    for (name, path, body, encoding, events) in cases {
        group.throughput(Throughput::Elements(events as u64));
        group.bench_function(name, |b| {
            b.to_async(&runtime).iter(|| async {
                let request = warp::test::request().method("POST").path(path).body(&body);
                let request = match encoding {
                    Some(encoding) => request.header("content-encoding", encoding),
                    None => request,
                };
                let answer = request.filter(&routes).await.unwrap();
                assert!(answer.status().is_success());
            });
        });
    }
    group.finish();
}

criterion_group!(benches, requests);
criterion_main!(benches);
