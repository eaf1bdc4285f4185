//! The gRPC service `track.v1.Partitions`, and the one place that decides what a caller may see of an error.

use crate::Shared;
use crate::error::InspectError;
use crate::inspect;
use crate::partition::Owned;
use crate::query;
use crate::state::progress::Progress;
use crate::state::store::StoreError;
use crate::state::view::View;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use std::sync::Arc;
use std::time::Duration;
use tonic::{Code, Request, Response, Status};
use track_proto::v1::partitions_server::Partitions;
use track_proto::v1::{
    CountsAnswer, DigestAnswer, DigestRequest, QueryRequest, RowHashes, RowsRequest, SessionsAnswer, StatusAnswer,
    StatusRequest,
};
use track_proto::view::Question;

/// The longest that a call waits for `min_offset`; callers give up sooner by their own deadline.
const MIN_OFFSET_WAIT_MAX: Duration = Duration::from_secs(30);

/// Answers for the partitions that a processor owns.
#[derive(Clone)]
pub struct PartitionsService {
    shared: Arc<Shared>,
}

impl PartitionsService {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Waits until the partition can answer, then reads it, at one moment of its state.
    async fn answer<R: Send + 'static>(
        &self,
        request: QueryRequest,
        read: impl Fn(&Shared, &View<'_>, &Question) -> Result<(Progress, R), StoreError> + Send + 'static,
    ) -> Result<(track_proto::v1::AsOf, R), Status> {
        let partition = request.partition;
        let min_offset = request.min_offset;
        let question = Question::try_from(request).map_err(|unknown| Status::invalid_argument(unknown.to_string()))?;
        let owned = self
            .shared
            .answering(partition)
            .ok_or_else(|| Status::not_found(format!("partition {partition} is not served here")))?;
        if !owned.answers() {
            return Err(Status::unavailable(owned.restoring_message()));
        }
        if let Some(offset) = min_offset {
            wait_for(&owned, offset).await?;
        }

        // To wake another thread and be woken by it takes longer than most answers, which are in memory.
        let before = owned.completeness();
        if let Some((progress, rows)) = owned.ask_at_hand(|view| read(&self.shared, view, &question)) {
            return Ok((before.as_of(progress), rows));
        }
        let shared = Arc::clone(&self.shared);
        let answer = tokio::task::spawn_blocking(move || {
            let before = owned.completeness();
            let (progress, rows) = owned.ask(|store| read(&shared, &store.view(), &question))?;
            Some((before.as_of(progress), rows))
        })
        .await;
        match answer {
            Ok(Some(answer)) => Ok(answer),
            // Its store has failed or is closed; what is wrong with it is the operator's to read.
            Ok(None) => Err(Status::unavailable(format!("partition {partition} is not served just now"))),
            Err(_) => Err(Status::internal("the partition can't be read")),
        }
    }
}

async fn wait_for(owned: &Owned, offset: track_log::Offset) -> Result<(), Status> {
    match tokio::time::timeout(MIN_OFFSET_WAIT_MAX, owned.wait_for(offset)).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Status::unavailable("the partition is moving")),
        Err(_) => Err(Status::deadline_exceeded("the wanted position is not reached yet")),
    }
}

#[tonic::async_trait]
impl Partitions for PartitionsService {
    async fn counts(&self, request: Request<QueryRequest>) -> Result<Response<CountsAnswer>, Status> {
        let (as_of, events) = self
            .answer(request.into_inner(), |shared, view, question| query::counts(view, shared.spans, question))
            .await?;
        Ok(Response::new(CountsAnswer { as_of: Some(as_of), events }))
    }

    async fn sessions(&self, request: Request<QueryRequest>) -> Result<Response<SessionsAnswer>, Status> {
        let (as_of, rows) = self
            .answer(request.into_inner(), |shared, view, question| {
                query::sessions(view, shared.spans, &shared.rules, question)
            })
            .await?;
        Ok(Response::new(SessionsAnswer { as_of: Some(as_of), rows }))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusAnswer>, Status> {
        Ok(Response::new(StatusAnswer {
            instance: self.shared.config.instance.clone(),
            partitions: self.shared.status(),
        }))
    }

    async fn digest(&self, request: Request<DigestRequest>) -> Result<Response<DigestAnswer>, Status> {
        let DigestRequest { partition, at_offset } = request.into_inner();
        let (as_of, state) = inspect::digest(&self.shared, partition, at_offset).await.map_err(refusal)?;
        let digest = state.digest.to_vec().into();
        Ok(Response::new(DigestAnswer { as_of: Some(as_of), rows: state.rows, digest }))
    }

    type RowsStream = BoxStream<'static, Result<RowHashes, Status>>;

    async fn rows(&self, request: Request<RowsRequest>) -> Result<Response<Self::RowsStream>, Status> {
        let RowsRequest { partition, at_offset } = request.into_inner();
        let mut rows = inspect::rows(&self.shared, partition, at_offset).await.map_err(refusal)?;
        let stream = futures::stream::poll_fn(move |context| rows.poll_recv(context));
        Ok(Response::new(stream.map(|rows| rows.map_err(refusal)).boxed()))
    }
}

/// What a caller sees of a state that can't be looked at.
fn refusal(error: InspectError) -> Status {
    let code = match error {
        InspectError::NotHere { .. } => Code::NotFound,
        InspectError::Moving { .. } => Code::Unavailable,
        InspectError::Passed { .. } => Code::OutOfRange,
        InspectError::NotReached { .. } => Code::DeadlineExceeded,
        InspectError::Unreadable { .. } => Code::Internal,
    };
    Status::new(code, error.to_string())
}
