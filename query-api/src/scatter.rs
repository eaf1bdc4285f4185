//! Exactly one answer from every partition, or its number among the missing.

use crate::owners::{Candidate, Channel};
use futures::future::{BoxFuture, FutureExt as _, TryFutureExt as _};
use std::collections::HashMap;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tonic::body::Body;
use tonic::{Code, Request, Response, Status};
use tower::{BoxError, Service};
use track_proto::v1::partitions_client::PartitionsClient;
use track_proto::v1::{AsOf, CountsAnswer, QueryRequest, SessionsAnswer};

/// The largest answer of one partition that is taken in, in bytes; tonic alone stops at 4 MiB, some 150,000 rows.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

type Client = PartitionsClient<Caller>;

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

/// What one partition answers: names the call that fetches it.
pub(crate) trait Answer: Sized + Send + 'static {
    fn ask(
        client: Client,
        request: Request<QueryRequest>,
    ) -> impl Future<Output = Result<Response<Self>, Status>> + Send;
    fn as_of(&self) -> Option<&AsOf>;
}

impl Answer for CountsAnswer {
    async fn ask(mut client: Client, request: Request<QueryRequest>) -> Result<Response<Self>, Status> {
        client.counts(request).await
    }

    fn as_of(&self) -> Option<&AsOf> {
        self.as_of.as_ref()
    }
}

impl Answer for SessionsAnswer {
    async fn ask(mut client: Client, request: Request<QueryRequest>) -> Result<Response<Self>, Status> {
        client.sessions(request).await
    }

    fn as_of(&self) -> Option<&AsOf> {
        self.as_of.as_ref()
    }
}

/// What the partitions answered, in no order.
pub(crate) struct Gathered<A> {
    pub(crate) answers: Vec<A>,
    /// Partitions without an answer, ascending.
    pub(crate) missing: Vec<u32>,
}

/// Asks all at once. A task each, so that large answers are decoded on several cores; dropping the future ends them all.
pub(crate) async fn gather<A: Answer>(
    requests: Vec<QueryRequest>,
    mut candidates: HashMap<u32, Vec<Candidate>>,
    deadline: Instant,
) -> Gathered<A> {
    let mut unanswered: Vec<u32> = requests.iter().map(|request| request.partition).collect();
    let mut asked = JoinSet::new();
    for request in requests {
        let candidates = candidates.remove(&request.partition).unwrap_or_default();
        asked.spawn(async move { (request.partition, ask_in_turn::<A>(&request, candidates, deadline).await) });
    }
    let mut answers = Vec::with_capacity(unanswered.len());
    while let Some(joined) = asked.join_next().await {
        // A task that panicked leaves its partition unanswered.
        if let Ok((partition, Some(answer))) = joined {
            unanswered.retain(|other| *other != partition);
            answers.push(answer);
        }
    }
    Gathered { answers, missing: unanswered }
}

/// The first answer that one of the candidates gives. Each gets an equal share of the time left, so that a silent one
/// leaves some to the next.
async fn ask_in_turn<A: Answer>(request: &QueryRequest, candidates: Vec<Candidate>, deadline: Instant) -> Option<A> {
    let partition = request.partition;
    if candidates.is_empty() {
        failed("no_owner");
        tracing::warn!(partition, "no processor serves a partition");
    }
    let mut left = u32::try_from(candidates.len()).unwrap_or(u32::MAX);
    for candidate in candidates {
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        left -= 1;
        match ask::<A>(request, candidate.channel, share).await {
            Ok(answer) => return Some(answer),
            Err(status) => {
                failed(reason(status.code()));
                let instance = candidate.instance;
                tracing::warn!(partition, instance, code = ?status.code(), message = status.message(), "a processor gave no answer");
            }
        }
    }
    None
}

async fn ask<A: Answer>(request: &QueryRequest, channel: Channel, within: Duration) -> Result<A, Status> {
    let client = PartitionsClient::new(Caller(channel)).max_decoding_message_size(ANSWER_BYTES_MAX);
    let mut call = Request::new(request.clone());
    // So that a processor waits for min_offset no longer than anybody listens.
    call.set_timeout(within);
    let answer = match timeout(within, A::ask(client, call)).await {
        Ok(response) => response?.into_inner(),
        Err(_) => return Err(Status::deadline_exceeded("no answer in time")),
    };
    let next_offset = answer.as_of().map_or(0, |as_of| as_of.next_offset);
    if request.min_offset.is_some_and(|min_offset| next_offset <= min_offset) {
        return Err(Status::failed_precondition("the answer does not reach min_offset"));
    }
    Ok(answer)
}

fn failed(reason: &'static str) {
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

    #[tokio::test]
    async fn a_refused_connection_is_a_processor_that_is_unavailable() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let nobody = channel(Endpoint::from_shared(url).unwrap().connect_lazy());
        let asked = ask::<CountsAnswer>(&QueryRequest::default(), nobody, Duration::from_secs(10)).await;
        assert_eq!(asked.unwrap_err().code(), Code::Unavailable);
    }
}
