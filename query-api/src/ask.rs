//! One answer of one partition: the freshest processor first, another one where that fails or takes longer than nearly all
//! calls do, and the partition's new owner where it has just moved.

use crate::latency::Latency;
use crate::owners::{Candidate, Channel, Owners};
use crate::scatter::Answer;
use futures::future::{BoxFuture, FutureExt as _, TryFutureExt as _};
use futures::stream::{FuturesUnordered, StreamExt as _};
use std::collections::HashMap;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};
use tonic::body::Body;
use tonic::{Code, Request, Status};
use tower::{BoxError, Service};
use track_proto::v1::QueryRequest;
use track_proto::v1::partitions_client::PartitionsClient;

/// The largest answer of one partition that is taken in, in bytes; tonic alone stops at 4 MiB, some 150,000 rows.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A client over a channel.
pub(crate) type Client = PartitionsClient<Caller>;

/// The channel with an error of a concrete type: rustc can't see that a future over `dyn Error` converted into itself
/// is `Send`.
#[derive(Clone)]
pub(crate) struct Caller(Channel);

/// The channel broke, or was never there. Its source tells tonic which status that is.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct CallError(#[source] BoxError);

impl Service<http::Request<Body>> for Caller {
    type Response = http::Response<Body>;
    type Error = CallError;
    type Future = BoxFuture<'static, Result<http::Response<Body>, CallError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.0.poll_ready(context).map_err(CallError)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        self.0.call(request).map_err(CallError).boxed()
    }
}

/// By when there must be an answer, and for how long the owner of a partition that has just moved is waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) deadline: Instant,
    pub(crate) move_max: Duration,
    /// How long what a processor said of itself counts.
    pub(crate) stale_after: Duration,
}

/// The first answer that comes; `None` where there is none in time.
pub(crate) async fn first_answer<A: Answer>(
    request: &QueryRequest,
    owners: &Owners,
    latency: &Latency,
    patience: Patience,
) -> Option<A> {
    let partition = request.partition;
    let began = Instant::now();
    let moved_by = patience.deadline.min(began + patience.move_max);
    let mut news = owners.news();
    // Who has failed is asked again once it has said that it is there.
    let mut failed: HashMap<String, Instant> = HashMap::new();
    loop {
        news.mark_unchanged();
        let heard_since = before_now(patience.stale_after);
        let mut candidates = owners.candidates(partition, heard_since);
        candidates.retain(|candidate| failed.get(&candidate.instance).is_none_or(|last| candidate.heard > *last));
        if candidates.is_empty() && failed.is_empty() && !owners.was_served(partition, heard_since) {
            say_failed("no_owner");
            tracing::warn!(partition, "no processor serves a partition");
            return None;
        }
        failed.extend(candidates.iter().map(|candidate| (candidate.instance.clone(), candidate.heard)));
        if let Some(answer) = race(request, candidates, latency, patience.deadline).await {
            return Some(answer);
        }
        // It may be on its way to another processor, which will say so.
        if !matches!(timeout_at(moved_by, news.changed()).await, Ok(Ok(()))) {
            return None;
        }
    }
}

/// The first answer of one of `candidates`, who are asked one after the other: the next where the one before has failed, or
/// has not answered in the time that nearly all do.
async fn race<A: Answer>(
    request: &QueryRequest,
    candidates: Vec<Candidate>,
    latency: &Latency,
    deadline: Instant,
) -> Option<A> {
    let mut rest = candidates.into_iter();
    let mut asked = FuturesUnordered::new();
    let mut next = rest.next();
    loop {
        if let Some(Candidate { instance, channel, .. }) = next.take() {
            asked.push(async move { (instance, ask::<A>(request, channel, latency, deadline).await) });
        }
        let takes_long = tokio::time::sleep(latency.nearly_all());
        tokio::select! {
            answered = asked.next() => match answered? {
                (_, Ok(answer)) => return Some(answer),
                (instance, Err(status)) => {
                    say_failed(reason(status.code()));
                    let (partition, code) = (request.partition, status.code());
                    tracing::warn!(partition, instance, ?code, message = status.message(), "a processor gave no answer");
                    next = rest.next();
                }
            },
            () = takes_long, if rest.len() > 0 => {
                metrics::counter!("track_query_hedges_total").increment(1);
                next = rest.next();
            }
        }
    }
}

async fn ask<A: Answer>(
    request: &QueryRequest,
    channel: Channel,
    latency: &Latency,
    deadline: Instant,
) -> Result<A, Status> {
    let began = Instant::now();
    let within = deadline.saturating_duration_since(began);
    let client = PartitionsClient::new(Caller(channel)).max_decoding_message_size(ANSWER_BYTES_MAX);
    let mut call = Request::new(request.clone());
    // So that a processor waits for min_offset no longer than anybody listens.
    call.set_timeout(within);
    let answer = match timeout(within, A::ask(client, call)).await {
        Ok(response) => response?.into_inner(),
        Err(_) => return Err(Status::deadline_exceeded("no answer in time")),
    };
    let Some(min_offset) = request.min_offset else {
        latency.record(began.elapsed());
        return Ok(answer);
    };
    if answer.as_of().is_none_or(|as_of| as_of.next_offset <= min_offset) {
        return Err(Status::failed_precondition("the answer does not reach min_offset"));
    }
    Ok(answer)
}

/// That long ago.
pub(crate) fn before_now(duration: Duration) -> Instant {
    let now = Instant::now();
    now.checked_sub(duration).unwrap_or(now)
}

fn say_failed(reason: &'static str) {
    metrics::counter!("track_query_partition_failures_total", "reason" => reason).increment(1);
}

fn reason(code: Code) -> &'static str {
    match code {
        Code::Unavailable => "unavailable",
        Code::NotFound => "not_found",
        Code::FailedPrecondition => "failed_precondition",
        Code::DeadlineExceeded | Code::Cancelled => "timeout",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::owners::channel;
    use tonic::transport::Endpoint;
    use track_proto::v1::CountsAnswer;

    #[tokio::test]
    async fn a_refused_connection_is_a_processor_that_is_unavailable() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let nobody = channel(Endpoint::from_shared(url).unwrap().connect_lazy());
        let deadline = Instant::now() + Duration::from_secs(10);
        let asked = ask::<CountsAnswer>(&QueryRequest::default(), nobody, &Latency::default(), deadline).await;
        assert_eq!(asked.unwrap_err().code(), Code::Unavailable);
    }
}
