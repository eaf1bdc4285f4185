//! Exactly one answer from every partition, or its number among the missing.

use crate::ask::{Client, Patience, first_answer};
use crate::latency::Latency;
use crate::owners::Owners;
use std::sync::Arc;
use tokio::task::JoinSet;
use tonic::{Request, Response, Status};
use track_proto::v1::{AsOf, CountsAnswer, QueryRequest, SessionsAnswer};

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
/// One alone, as for a user, needs no task of its own.
pub(crate) async fn gather<A: Answer>(
    requests: Vec<QueryRequest>,
    owners: &Arc<Owners>,
    latency: &Arc<Latency>,
    patience: Patience,
) -> Gathered<A> {
    if let [request] = requests.as_slice() {
        let answer = first_answer::<A>(request, owners, latency, patience).await;
        let missing = if answer.is_none() { vec![request.partition] } else { Vec::new() };
        return Gathered { answers: answer.into_iter().collect(), missing };
    }
    let mut unanswered: Vec<u32> = requests.iter().map(|request| request.partition).collect();
    let mut asked = JoinSet::new();
    for request in requests {
        let (owners, latency) = (Arc::clone(owners), Arc::clone(latency));
        let ask = async move { (request.partition, first_answer::<A>(&request, &owners, &latency, patience).await) };
        asked.spawn(ask);
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
