//! One answer of one partition: the freshest processor first, another one where that fails or takes longer than nearly all
//! calls do, and the partition's new owner where it has just moved.

use crate::latency::Latency;
use crate::owners::{Candidate, Channel, Owners, Seen};
use crate::scatter::Answer;
use futures::future::{BoxFuture, FutureExt as _, TryFutureExt as _};
use futures::stream::{FuturesUnordered, StreamExt as _};
use std::collections::HashMap;
use std::error::Error as _;
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
}

/// What became of a call.
enum Call {
    UnderWay,
    /// Whoever has failed is asked again once it has said after this that it is there.
    Failed(Instant),
}

/// The first answer that comes, `None` where there is none in time. Whoever serves the partition is asked one after the other:
/// the next where the one before has failed, or has not answered in the time that nearly all do.
pub(crate) async fn first_answer<A: Answer>(
    request: &QueryRequest,
    owners: &Owners,
    latency: &Latency,
    patience: Patience,
) -> Option<A> {
    let partition = request.partition;
    let mut last_call = Instant::now();
    let moved_by = patience.deadline.min(last_call + patience.move_max);
    let mut news = owners.news();
    let mut called: HashMap<String, Call> = HashMap::new();
    let mut calls = FuturesUnordered::new();
    // Whether whatever failed may be due to a move; an answer that can't be given stays so.
    let mut may_have_moved = true;
    let mut may_hedge = true;
    loop {
        news.mark_unchanged();
        let may_call = |candidate: &Candidate| match called.get(&candidate.instance) {
            None => true,
            Some(Call::UnderWay) => false,
            Some(Call::Failed(before)) => candidate.heard > *before,
        };
        let next = owners.candidates(partition, Instant::now()).into_iter().find(may_call);
        if calls.is_empty() && next.is_none() {
            // It may be on its way to another processor, which will say so.
            let may_come = may_have_moved && owners.was_served_lately(partition, Instant::now());
            if may_come && matches!(timeout_at(moved_by, news.changed()).await, Ok(Ok(()))) {
                continue;
            }
            if called.is_empty() {
                say_failed("no_owner");
                tracing::warn!(partition, "no processor serves a partition");
            }
            return None;
        }
        let hedge_at = last_call + latency.nearly_all();
        let has_next = next.is_some();
        let call_next = tokio::select! {
            biased;
            Some((instance, heard, answer)) = calls.next(), if !calls.is_empty() => match answer {
                Ok(answer) => {
                    let instance: String = instance;
                    owners.note_call(&instance, Seen::There, Instant::now());
                    return Some(answer);
                }
                Err(status) => {
                    let (instance, status): (String, Status) = (instance, status);
                    say_failed(reason(status.code()));
                    let code = status.code();
                    owners.note_call(&instance, seen(&status, request), Instant::now());
                    tracing::warn!(partition, instance, ?code, message = status.message(), "a processor gave no answer");
                    called.insert(instance, Call::Failed(heard));
                    may_have_moved = matches!(code, Code::Unavailable | Code::NotFound);
                    if Instant::now() >= patience.deadline {
                        return None;
                    }
                    false
                }
            },
            () = std::future::ready(()), if calls.is_empty() => true,
            () = tokio::time::sleep_until(hedge_at), if has_next && may_hedge => {
                may_hedge = latency.spend();
                if may_hedge {
                    metrics::counter!("track_query_hedges_total").increment(1);
                }
                may_hedge
            }
            Ok(()) = news.changed() => false,
        };
        if let Some(Candidate { instance, channel, heard, .. }) = next.filter(|_| call_next) {
            last_call = Instant::now();
            called.insert(instance.clone(), Call::UnderWay);
            calls.push(async move { (instance, heard, ask::<A>(request, channel, latency, patience.deadline).await) });
        }
    }
}

/// What a failed call shows of the processor.
fn seen(status: &Status, request: &QueryRequest) -> Seen {
    let is_absent = match status.code() {
        // Who asks for a position is kept waiting by who is there.
        Code::DeadlineExceeded | Code::Cancelled => request.min_offset.is_none(),
        // A status that came over the wire has no source; a connection that failed is one.
        _ => status.source().is_some(),
    };
    if is_absent { Seen::Absent } else { Seen::There }
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

    #[test]
    fn who_refuses_is_there_and_who_says_nothing_is_not() {
        let (plain, waiting) =
            (QueryRequest::default(), QueryRequest { min_offset: Some(7), ..QueryRequest::default() });
        for status in [Status::unavailable("restoring"), Status::not_found("not here"), Status::internal("broken")] {
            assert_eq!(seen(&status, &plain), Seen::There, "{status}");
        }
        for status in [Status::deadline_exceeded("no answer in time"), Status::cancelled("Timeout expired")] {
            assert_eq!((seen(&status, &plain), seen(&status, &waiting)), (Seen::Absent, Seen::There), "{status}");
        }
    }

    #[tokio::test]
    async fn a_refused_connection_is_a_processor_that_is_unavailable() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let nobody = channel(Endpoint::from_shared(url).unwrap().connect_lazy());
        let deadline = Instant::now() + Duration::from_secs(10);
        let asked = ask::<CountsAnswer>(&QueryRequest::default(), nobody, &Latency::default(), deadline).await;
        let status = asked.unwrap_err();
        assert_eq!((status.code(), seen(&status, &QueryRequest::default())), (Code::Unavailable, Seen::Absent));
    }
}
