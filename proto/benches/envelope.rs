//! Decoding an envelope, with every rule checked.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use track_proto::event::{self, Event, VERSION};

fn envelopes(c: &mut Criterion) {
    let event = Event {
        event_id: "0197294c-8f2b-7a61-9c1f-4b7f0d2c9a11".to_owned(),
        event: "page_view".to_owned(),
        user_id: "user-123456".to_owned(),
        timestamp_ms: 1_748_779_200_000,
        received_at_ms: 1_748_779_200_001,
        metadata: format!(r#"{{"source":"web","page":"/videos/0012345","detail":"{}"}}"#, "x".repeat(64)).into(),
        client_event_id: false,
        version: VERSION,
    };
    let value = event::encode(&event);
    let mut group = c.benchmark_group("envelope");
    group.throughput(Throughput::Elements(1));
    group.bench_function("decode", |b| {
        b.iter(|| event::decode(Some(b"user-123456"), black_box(&value)).unwrap());
    });
    group.bench_function("encode", |b| b.iter(|| event::encode(black_box(&event))));
    group.finish();
}

criterion_group!(benches, envelopes);
criterion_main!(benches);
