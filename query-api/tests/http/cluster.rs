//! Processors inside the test: a tonic server each, without a network, saying and noting down what a test wants.

use futures::stream::BoxStream;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status};
use track_proto::v1::partitions_server::{Partitions, PartitionsServer};
use track_proto::v1::{
    AsOf, BucketCount, CountsAnswer, DigestAnswer, DigestRequest, EventCounts, Owner, PartitionState, PartitionStatus,
    QueryRequest, RowHashes, RowsRequest, SessionRow, SessionsAnswer, StatusAnswer, StatusRequest,
};
use track_query_api::owners::{Connect, Owners, channel};
use track_query_api::{Config, QueryApi};

/// How far the state of each processor is.
pub(crate) const NEXT_OFFSET: u64 = 1_000;

/// What the query service takes for now.
pub(crate) const NOW_MS: i64 = 1_735_689_600_000;

/// What a processor does when it is asked about a partition.
#[derive(Clone)]
pub(crate) enum Behaviour {
    /// Answers.
    Counts(Vec<(i64, &'static str, u64)>),
    /// Answers.
    Sessions(Vec<(i64, u64, u64)>),
    /// Fails.
    Fail(Code),
    /// Says nothing, ever.
    Hang,
    /// Breaks.
    Panic,
}

/// A request as a processor saw it.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) request: QueryRequest,
    /// The header that says for how long somebody listens.
    pub(crate) grpc_timeout: Option<String>,
}

/// One processor.
#[derive(Clone)]
pub(crate) struct Processor {
    behaviours: Arc<BTreeMap<u32, Behaviour>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Processor {
    pub(crate) fn new(behaviours: impl IntoIterator<Item = (u32, Behaviour)>) -> Self {
        Self { behaviours: Arc::new(behaviours.into_iter().collect()), asked: Arc::default() }
    }

    /// What it says of itself: that it serves what it has a behaviour for, and is at `next_offset`.
    pub(crate) fn owner(&self, url: String, next_offset: u64, partition_count: u32) -> Owner {
        let partitions = self.behaviours.keys().map(|partition| PartitionStatus {
            partition: *partition,
            state: PartitionState::Serving.into(),
            as_of: Some(AsOf { next_offset, ..AsOf::default() }),
            ..PartitionStatus::default()
        });
        Owner { url, partitions: partitions.collect(), partition_count, ..Owner::default() }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The partitions it was asked about, ascending.
    pub(crate) fn asked_partitions(&self) -> Vec<u32> {
        let mut partitions: Vec<_> = self.asked().iter().map(|asked| asked.request.partition).collect();
        partitions.sort_unstable();
        partitions
    }

    async fn behave(&self, request: Request<QueryRequest>) -> Result<Behaviour, Status> {
        let grpc_timeout = request.metadata().get("grpc-timeout").map(|value| value.to_str().unwrap().to_owned());
        let request = request.into_inner();
        let behaviour = self.behaviours.get(&request.partition).cloned();
        self.asked.lock().unwrap().push(Asked { request, grpc_timeout });
        match behaviour {
            None => Err(Status::not_found("not here")),
            Some(Behaviour::Fail(code)) => Err(Status::new(code, "as told")),
            Some(Behaviour::Hang) => std::future::pending().await,
            Some(Behaviour::Panic) => panic!("as told"),
            Some(behaviour) => Ok(behaviour),
        }
    }
}

fn as_of() -> Option<AsOf> {
    Some(AsOf {
        next_offset: NEXT_OFFSET,
        stream_time_ms: 0,
        log_end_offset: NEXT_OFFSET,
        complete_to_ms: NOW_MS - 250,
    })
}

#[tonic::async_trait]
impl Partitions for Processor {
    async fn counts(&self, request: Request<QueryRequest>) -> Result<Response<CountsAnswer>, Status> {
        let Behaviour::Counts(rows) = self.behave(request).await? else { panic!("was told to answer sessions") };
        let events = rows.into_iter().map(|(bucket, event, count)| EventCounts {
            event: event.into(),
            buckets: vec![BucketCount { bucket, count }],
        });
        Ok(Response::new(CountsAnswer { as_of: as_of(), events: events.collect() }))
    }

    async fn sessions(&self, request: Request<QueryRequest>) -> Result<Response<SessionsAnswer>, Status> {
        let Behaviour::Sessions(rows) = self.behave(request).await? else { panic!("was told to answer counts") };
        let rows =
            rows.into_iter().map(|(bucket, count, duration_ms_sum)| SessionRow { bucket, count, duration_ms_sum });
        Ok(Response::new(SessionsAnswer { as_of: as_of(), rows: rows.collect() }))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusAnswer>, Status> {
        Err(Status::unimplemented("no query asks this"))
    }

    async fn digest(&self, _: Request<DigestRequest>) -> Result<Response<DigestAnswer>, Status> {
        Err(Status::unimplemented("no query asks this"))
    }

    type RowsStream = BoxStream<'static, Result<RowHashes, Status>>;

    async fn rows(&self, _: Request<RowsRequest>) -> Result<Response<Self::RowsStream>, Status> {
        Err(Status::unimplemented("no query asks this"))
    }
}

/// Processors, what is known of them, and the service that asks them.
pub(crate) struct Cluster {
    processors: Arc<Mutex<HashMap<String, Processor>>>,
    pub(crate) owners: Arc<Owners>,
    pub(crate) api: QueryApi,
    partition_count: u32,
}

impl Cluster {
    /// A query there may take ten seconds: longer than any answer that comes at all.
    pub(crate) fn new(partition_count: u32) -> Self {
        Self::with_timeout(partition_count, Duration::from_secs(10))
    }

    pub(crate) fn with_timeout(partition_count: u32, timeout: Duration) -> Self {
        let processors = Arc::new(Mutex::new(HashMap::<String, Processor>::new()));
        let at = processors.clone();
        let connect: Connect = Arc::new(move |url| {
            let processor = at.lock().unwrap().get(url).cloned().ok_or("nobody there")?;
            Ok(channel(PartitionsServer::new(processor)))
        });
        let owners = Arc::new(Owners::new(connect));
        let config = Config { timeout, ..Config::default() };
        let api = QueryApi::new(config, owners.clone(), Arc::new(|| NOW_MS));
        Self { processors, owners, api, partition_count }
    }

    /// Adds a processor that serves what it has a behaviour for, its state being at [`NEXT_OFFSET`].
    pub(crate) fn add(&self, instance: &str, behaviours: impl IntoIterator<Item = (u32, Behaviour)>) -> Processor {
        self.add_heard_at(instance, NEXT_OFFSET, Instant::now(), behaviours)
    }

    /// The same, which says that it is at `next_offset` and was heard of at `heard`.
    pub(crate) fn add_heard_at(
        &self,
        instance: &str,
        next_offset: u64,
        heard: Instant,
        behaviours: impl IntoIterator<Item = (u32, Behaviour)>,
    ) -> Processor {
        let processor = Processor::new(behaviours);
        let url = format!("http://{instance}:8082");
        self.processors.lock().unwrap().insert(url.clone(), processor.clone());
        let owner = processor.owner(url, next_offset, self.partition_count);
        self.owners.apply(instance.into(), Some(owner), heard);
        processor
    }

    /// `GET path`, as (code, body).
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let response = self.respond(warp::test::request().path(path)).await;
        (response.status().as_u16(), String::from_utf8(response.into_body().into()).unwrap())
    }

    /// The whole response to a request. Every one is JSON.
    pub(crate) async fn respond(&self, request: warp::test::RequestBuilder) -> http::Response<bytes::Bytes> {
        let response = request.reply(&self.api.routes()).await;
        assert_eq!(response.headers()[http::header::CONTENT_TYPE], "application/json");
        response
    }
}
