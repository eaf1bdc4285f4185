//! Answers `POST /track` and `POST /track/batch` with a constant, having read the body and looked at none of it: what
//! an HTTP service on warp can't be faster than.
//!
//! `warp-constant --listen 127.0.0.1:8080`, until it is told to stop.

use clap::Parser;
use std::net::SocketAddr;
use warp::Filter as _;
use warp::http::header::{CONTENT_TYPE, HeaderValue};

const ANSWER: &str = r#"{"status":"success","message":"Event logged."}"#;

#[derive(Debug, Parser)]
struct Flags {
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() {
    let flags = Flags::parse();
    let routes = warp::path("track").and(warp::post()).and(warp::body::bytes()).map(|_body| {
        let mut answer = warp::reply::Response::new(ANSWER.into());
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        answer
    });
    println!("listening on {}", flags.listen);
    warp::serve(routes).run(flags.listen).await;
}
