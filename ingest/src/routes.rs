//! The two routes, each a walk through the modules in order.

use crate::error::{Reason, Refusal};
use crate::inflight::Held;
use crate::unpack::Encoding;
use crate::validate::{Warnings, validate};
use crate::{Ingest, Shared, answer, body, decode, envelope, publish};
use bytes::{Buf, Bytes};
use futures::Stream;
use http::HeaderMap;
use std::fmt::Display;
use tokio::time::Instant;
use warp::Filter;
use warp::reply::Response;

/// What `POST /track` takes.
const ONE: body::Rules = body::Rules { bytes_max: 64 * 1024, encodings: &[Encoding::Gzip] };
/// What `POST /track/batch` takes.
const BATCH: body::Rules = body::Rules { bytes_max: 16 * 1024 * 1024, encodings: &[Encoding::Gzip, Encoding::Zstd] };

impl Ingest {
    /// `POST /track` and `POST /track/batch`. Other paths and methods are rejected for the caller to answer.
    pub fn routes(
        &self,
    ) -> impl Filter<Extract = (Response,), Error = warp::Rejection> + Clone + Send + Sync + 'static {
        let ingest = self.clone();
        let one = warp::path!("track")
            .and(warp::post())
            .and(warp::header::headers_cloned())
            .and(warp::body::stream())
            .then(move |headers, body| ingest.clone().track(headers, body));
        let ingest = self.clone();
        let batch = warp::path!("track" / "batch")
            .and(warp::post())
            .and(warp::header::headers_cloned())
            .and(warp::body::stream())
            .then(move |headers, body| ingest.clone().track_batch(headers, body));
        one.or(batch).unify()
    }

    async fn track<S, B, E>(self, headers: HeaderMap, body: S) -> Response
    where
        S: Stream<Item = Result<B, E>> + Send,
        B: Buf + Send,
        E: Display + Send,
    {
        let result = self.shared.log_one(&headers, body).await;
        self.shared.answered(result)
    }

    async fn track_batch<S, B, E>(self, headers: HeaderMap, body: S) -> Response
    where
        S: Stream<Item = Result<B, E>> + Send,
        B: Buf + Send,
        E: Display + Send,
    {
        let result = self.shared.log_batch(&headers, body).await;
        self.shared.answered(result)
    }
}

impl Shared {
    async fn log_one<S, B, E>(&self, headers: &HeaderMap, body: S) -> Result<Response, Refusal>
    where
        S: Stream<Item = Result<B, E>> + Send,
        B: Buf + Send,
        E: Display + Send,
    {
        let mut held = self.inflight.hold();
        let body = self.read(headers, body, &ONE, &mut held).await?;
        let (records, warnings) = self.one_record(&body)?;
        drop(body);
        let accepted = publish::publish(self, records).await?;
        Ok(answer::logged(&accepted, warnings))
    }

    async fn log_batch<S, B, E>(&self, headers: &HeaderMap, body: S) -> Result<Response, Refusal>
    where
        S: Stream<Item = Result<B, E>> + Send,
        B: Buf + Send,
        E: Display + Send,
    {
        let mut held = self.inflight.hold();
        let body = self.read(headers, body, &BATCH, &mut held).await?;
        let batch = self.batch_of_records(&body, &mut held)?;
        held.shrink(body.len());
        drop(body);
        let events = batch.records.len();
        let accepted = publish::publish(self, batch.records).await?;
        Ok(answer::batch_logged(events, &accepted, &batch.rejected, &batch.warnings))
    }

    async fn read<S, B, E>(
        &self,
        headers: &HeaderMap,
        body: S,
        rules: &body::Rules,
        held: &mut Held,
    ) -> Result<Bytes, Refusal>
    where
        S: Stream<Item = Result<B, E>> + Send,
        B: Buf + Send,
        E: Display + Send,
    {
        body::read(headers, body, rules, Instant::now() + self.request_timeout, held).await
    }

    fn one_record(&self, body: &[u8]) -> Result<(Vec<track_log::NewRecord>, Warnings), Refusal> {
        let now_ms = (self.clock)();
        let event = validate(decode::one(body)?, now_ms)?;
        let mut envelopes = envelope::Envelopes::with_capacity(1, body.len() + envelope::OVERHEAD_BYTES);
        envelopes.push(&event, now_ms, &self.ids);
        Ok((envelopes.into_records(), event.warnings))
    }

    fn batch_of_records(&self, body: &[u8], held: &mut Held) -> Result<Batch, Refusal> {
        let now_ms = (self.clock)();
        let items = decode::batch(body)?;
        let envelope_bytes_expected = body.len() + items.len() * envelope::OVERHEAD_BYTES;
        held.grow(envelope_bytes_expected)?;
        let mut envelopes = envelope::Envelopes::with_capacity(items.len(), envelope_bytes_expected);
        let (mut rejected, mut warnings) = (Vec::new(), Vec::new());
        for (index, item) in items.into_iter().enumerate() {
            match item.and_then(|fields| validate(fields, now_ms)) {
                Ok(event) => {
                    warnings.extend(event.warnings.texts().map(|message| answer::Warned { index, message }));
                    envelopes.push(&event, now_ms, &self.ids);
                }
                Err(flaw) => {
                    self.meters.reject(Reason::from(&flaw), 1);
                    rejected.push(answer::Rejected { index, message: flaw.to_string() });
                }
            }
        }
        // A device that uploads its newest events first would have each of them move the sessions of those before.
        envelopes.sort_by_time();
        let records = envelopes.into_records();
        if records.is_empty() {
            return Err(Refusal::NoneGood { rejected });
        }
        Ok(Batch { records, rejected, warnings })
    }

    fn answered(&self, result: Result<Response, Refusal>) -> Response {
        result.unwrap_or_else(|refusal| {
            if let Some((reason, events)) = refusal.counted() {
                self.meters.reject(reason, events);
            }
            refusal.response()
        })
    }
}

/// A batch on its way to the log.
struct Batch {
    records: Vec<track_log::NewRecord>,
    rejected: Vec<answer::Rejected>,
    warnings: Vec<answer::Warned>,
}
