use crate::cluster::{Behaviour, NEXT_OFFSET, NOW_MS, Processor};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Endpoint, Server};
use track_proto::v1::partitions_server::PartitionsServer;
use track_query_api::owners::{Connect, Owners, channel};
use track_query_api::{Config, QueryApi};

const DAY: &str = "/metrics?start_date=2025-01-01&end_date=2025-01-01";

/// A service that finds processors by their urls, over TCP.
fn service(timeout: Duration) -> (Arc<Owners>, QueryApi) {
    let connect: Connect = Arc::new(|url| {
        let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| error.to_string())?;
        Ok(channel(endpoint.connect_lazy()))
    });
    let owners = Arc::new(Owners::new(connect));
    let api = QueryApi::new(Config { timeout, ..Config::default() }, owners.clone(), Arc::new(|| NOW_MS));
    (owners, api)
}

async fn listen(processor: Processor) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = Server::builder().add_service(PartitionsServer::new(processor));
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    url
}

/// Where nobody listens any more.
async fn dead_url() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn the_next_is_asked_where_nobody_listens() {
    let (owners, api) = service(Duration::from_secs(10));
    let alive = Processor::new([(0, Behaviour::Counts(vec![(20_089, "play", 3)]))]);
    let url = listen(alive.clone()).await;
    owners.apply("dead".into(), Some(alive.owner(dead_url().await, NEXT_OFFSET + 1, 1)), Instant::now());
    owners.apply("alive".into(), Some(alive.owner(url, NEXT_OFFSET, 1)), Instant::now());
    let response = warp::test::request().path(DAY).reply(&api.routes()).await;
    let expected = r#"{"status":"success","data":[{"date":"2025-01-01","play":3}]}"#;
    assert_eq!((response.status().as_u16(), response.body().as_ref()), (200, expected.as_bytes()));
}

#[tokio::test]
async fn nobody_listens() {
    let (owners, api) = service(Duration::from_secs(10));
    let dead = Processor::new([(0, Behaviour::Hang)]);
    owners.apply("dead".into(), Some(dead.owner(dead_url().await, NEXT_OFFSET, 1)), Instant::now());
    let response = warp::test::request().path(DAY).reply(&api.routes()).await;
    assert_eq!(response.status().as_u16(), 503);
}

#[tokio::test]
async fn a_hanging_call_ends_with_the_query() {
    let (owners, api) = service(Duration::from_millis(50));
    let hanging = Processor::new([(0, Behaviour::Hang)]);
    let url = listen(hanging.clone()).await;
    owners.apply("hanging".into(), Some(hanging.owner(url, NEXT_OFFSET, 1)), Instant::now());
    let response = warp::test::request().path(DAY).reply(&api.routes()).await;
    assert_eq!(response.status().as_u16(), 503);
}
