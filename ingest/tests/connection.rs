//! What only a real connection shows: bodies without length, slow ones, cut ones, and clients that write on.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod memory;

use memory::{MemoryLog, Mood, ingest};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use track_ingest::Config;

const EVENT: &str = r#"{"event":"play","user_id":"u1"}"#;

async fn serve(log: &Arc<MemoryLog>, request_timeout: Duration) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = ingest(log, Config { request_timeout, ..Config::default() }).routes();
    tokio::spawn(warp::serve(routes).incoming(listener).run());
    address
}

/// Sends the pieces one after the other, then reads the whole answer.
async fn send(address: SocketAddr, pieces: &[&[u8]], half_close: bool) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    for piece in pieces {
        stream.write_all(piece).await.unwrap();
        stream.flush().await.unwrap();
    }
    if half_close {
        stream.shutdown().await.unwrap();
    }
    let mut answer = Vec::new();
    let deadline = Duration::from_secs(20);
    tokio::time::timeout(deadline, stream.read_to_end(&mut answer)).await.expect("an answer in time").unwrap();
    String::from_utf8(answer).unwrap()
}

fn head(more: &str) -> Vec<u8> {
    format!("POST /track HTTP/1.1\r\nhost: t\r\nconnection: close\r\n{more}\r\n\r\n").into_bytes()
}

fn chunk(body: &str) -> Vec<u8> {
    format!("{:x}\r\n{body}\r\n", body.len()).into_bytes()
}

#[tokio::test]
async fn a_chunked_body_is_read() {
    let log = MemoryLog::new(Mood::Takes);
    let address = serve(&log, Duration::from_secs(10)).await;
    let (head, a, b) = (head("transfer-encoding: chunked"), chunk(&EVENT[..9]), chunk(&EVENT[9..]));
    let answer = send(address, &[&head, &a, &b, b"0\r\n\r\n"], false).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(log.events().len(), 1);
}

#[tokio::test]
async fn a_body_that_stops_coming_is_given_up() {
    let log = MemoryLog::new(Mood::Takes);
    let address = serve(&log, Duration::from_millis(50)).await;
    for more in ["content-length: 31", "transfer-encoding: chunked"] {
        let answer = send(address, &[&head(more), b"5\r\n{\"eve"], false).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains(r#"{"status":"error","message":"the body did not arrive in time"}"#), "{answer}");
    }
    assert_eq!(log.events().len(), 0);
}

#[tokio::test]
async fn a_body_cut_short_is_not_logged() {
    let log = MemoryLog::new(Mood::Takes);
    let address = serve(&log, Duration::from_secs(10)).await;
    let answer = send(address, &[&head("content-length: 100"), EVENT.as_bytes()], true).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let answer = send(address, &[&head("transfer-encoding: chunked"), &chunk(EVENT)], true).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let answer = send(address, &[&head("transfer-encoding: chunked"), b"zz\r\n"], false).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(log.events().len(), 0);
}

#[tokio::test]
async fn a_client_that_writes_all_before_it_reads_sees_why_it_was_refused() {
    let log = MemoryLog::new(Mood::Takes);
    let address = serve(&log, Duration::from_secs(20)).await;
    let piece = chunk(&" ".repeat(100_000));
    let mut pieces = vec![head("transfer-encoding: chunked")];
    pieces.extend(vec![piece; 100]);
    pieces.push(b"0\r\n\r\n".to_vec());
    let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
    let answer = send(address, &pieces, false).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(log.events().len(), 0);
}

#[tokio::test]
async fn a_client_that_waits_for_a_go_is_not_told_to_go_on() {
    let log = MemoryLog::new(Mood::Takes);
    let address = serve(&log, Duration::from_secs(20)).await;
    let answer = send(address, &[&head("content-length: 100000\r\nexpect: 100-continue")], false).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}
