//! The server on real sockets.

use super::{Socket, tls};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    ended: JoinHandle<()>,
    /// Told by `/slow` when it has been asked.
    asked: Arc<Notify>,
    /// Lets `/slow` answer.
    answer: Arc<Notify>,
}

/// Answers the body it is sent; `/slow` waits to be let.
fn serve(acceptor: Option<tokio_rustls::TlsAcceptor>, drain_timeout: Duration) -> Server {
    let socket = Socket::bind("public", "listen", "127.0.0.1:0".parse().unwrap(), acceptor).unwrap();
    let (address, stop) = (socket.address(), CancellationToken::new());
    let (asked, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let service = {
        let (asked, answer) = (asked.clone(), answer.clone());
        tower::service_fn(move |request: Request<Incoming>| {
            let (asked, answer) = (asked.clone(), answer.clone());
            async move {
                if request.uri().path() == "/slow" {
                    asked.notify_one();
                    answer.notified().await;
                }
                let version = format!("{:?}", request.version());
                let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                let response = Response::builder().header("version", version).body(Full::new(body)).unwrap();
                Ok::<_, Infallible>(response)
            }
        })
    };
    let ended = tokio::spawn(socket.listen().unwrap().serve(service, stop.clone(), drain_timeout));
    Server { address, stop, ended, asked, answer }
}

async fn patiently<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it hangs")
}

fn client() -> reqwest::ClientBuilder {
    // Another test may have been first; all install the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
}

/// Sends bytes and reads until the server closes the connection.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    patiently(stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn both_versions_of_http_on_one_port() {
    let server = serve(None, PATIENCE);
    let url = format!("http://{}/echo", server.address);
    for (client, version) in [
        (client().http1_only().build().unwrap(), "HTTP/1.1"),
        (client().http2_prior_knowledge().build().unwrap(), "HTTP/2.0"),
    ] {
        let response = client.post(&url).body("hello").send().await.unwrap();
        assert_eq!(response.headers()["version"], version);
        assert_eq!(response.text().await.unwrap(), "hello");
    }
}

#[tokio::test]
async fn a_request_under_way_is_finished_before_the_server_ends() {
    let server = serve(None, PATIENCE);
    let idle = TcpStream::connect(server.address).await.unwrap();
    let (address, asked) = (server.address, server.asked.clone());
    let request = tokio::spawn(exchange(address, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"));
    patiently(asked.notified()).await;

    server.stop.cancel();
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!server.ended.is_finished(), "a request is still under way");
    server.answer.notify_one();
    let answer = patiently(request).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    patiently(server.ended).await.unwrap();
    drop(idle);
}

#[tokio::test]
async fn draining_has_a_deadline() {
    let server = serve(None, Duration::from_millis(50));
    let request = tokio::spawn(exchange(server.address, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"));
    patiently(server.asked.notified()).await;
    server.stop.cancel();
    patiently(server.ended).await.unwrap();
    assert_eq!(patiently(request).await.unwrap(), "", "nobody let it answer");
}

#[tokio::test]
async fn an_http2_request_under_way_is_finished_too() {
    let server = serve(None, PATIENCE);
    let client = client().http2_prior_knowledge().build().unwrap();
    let request = tokio::spawn(client.get(format!("http://{}/slow", server.address)).send());
    patiently(server.asked.notified()).await;
    server.stop.cancel();
    server.answer.notify_one();
    assert_eq!(patiently(request).await.unwrap().unwrap().status(), 200);
    patiently(server.ended).await.unwrap();
}

#[tokio::test]
async fn what_is_not_http_is_refused_and_hurts_nobody() {
    let server = serve(None, PATIENCE);
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nLong: {}\r\n\r\n", "x".repeat(100 * 1024));
    for (bytes, code) in [
        (b"\x16\x03\x01\x02\x00\r\n\r\n".as_slice(), "400"),
        (b"GET / HTTP/9.9\r\n\r\n", "400"),
        (long.as_bytes(), "431"),
    ] {
        let answer = exchange(server.address, bytes).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{answer}");
    }
    let response = client().build().unwrap().get(format!("http://{}/echo", server.address)).send().await.unwrap();
    assert_eq!(response.status(), 200);
}

struct Certificate {
    folder: tempfile::TempDir,
    pem: String,
}

impl Certificate {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        std::fs::write(folder.path().join("cert.pem"), cert.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), signing_key.serialize_pem()).unwrap();
        Self { folder, pem: cert.pem() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[tokio::test]
async fn tls_speaks_the_version_that_the_client_chose() {
    let certificate = Certificate::new();
    let acceptor = tls::acceptor(&certificate.path("cert.pem"), &certificate.path("key.pem")).unwrap();
    let server = serve(Some(acceptor), PATIENCE);
    let url = format!("https://{}/echo", server.address);
    let root = reqwest::Certificate::from_pem(certificate.pem.as_bytes()).unwrap();
    for (client, version) in [(client(), "HTTP/2.0"), (client().http1_only(), "HTTP/1.1")] {
        let client = client.tls_certs_only([root.clone()]).build().unwrap();
        let response = client.post(&url).body("hello").send().await.unwrap();
        assert_eq!(response.headers()["version"], version);
        assert_eq!(response.bytes().await.unwrap(), Bytes::from_static(b"hello"));
    }
    let stranger = client().tls_certs_only([]).build().unwrap();
    assert!(stranger.get(&url).send().await.is_err(), "nobody vouches for this certificate");

    // One that never finishes its handshake does not hold up the end.
    let _silent = TcpStream::connect(server.address).await.unwrap();
    server.stop.cancel();
    patiently(server.ended).await.unwrap();
}

#[test]
fn a_certificate_that_is_of_no_use_is_named() {
    let (certificate, other) = (Certificate::new(), Certificate::new());
    let (cert, key) = (certificate.path("cert.pem"), certificate.path("key.pem"));
    std::fs::write(certificate.path("empty.pem"), "").unwrap();
    for (cert, key, named, reason) in [
        (certificate.path("none.pem"), key.clone(), "--tls-cert", "No such file"),
        (certificate.path("empty.pem"), key.clone(), "--tls-cert", "no certificate"),
        (key.clone(), key, "--tls-cert", "no certificate"),
        (cert.clone(), cert.clone(), "--tls-key", "no private key"),
        (cert.clone(), certificate.path("none.pem"), "--tls-key", "No such file"),
        (cert, other.path("key.pem"), "--tls-key", "key"),
    ] {
        let error = tls::acceptor(&cert, &key).err().unwrap().to_string();
        assert!(error.contains(named) && error.contains(reason), "{error}");
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_named_with_its_flag() {
    let first = Socket::bind("public", "listen", "127.0.0.1:0".parse().unwrap(), None).unwrap();
    let address = first.address();
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens yet");
    let _listener = first.listen().unwrap();
    let error = Socket::bind("admin", "admin-listen", address, None).err().unwrap().to_string();
    assert!(error.contains(&format!("--admin-listen {address}")) && error.contains("another port"), "{error}");
}

#[tokio::test]
async fn the_url_is_one_that_can_be_reached() {
    let socket = Socket::bind("public", "listen", "0.0.0.0:0".parse().unwrap(), None).unwrap();
    assert_eq!(socket.url(), format!("http://127.0.0.1:{}", socket.address().port()));
}
