//! One connection, from the handshake to its end, and how long each step of it may take.

use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::{BoxError, ServiceExt as _};

const TLS_HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// From an open connection to its first request.
const FIRST_REQUEST_MAX: Duration = Duration::from_secs(30);
/// From one request to the end of the next one's headers on HTTP/1.1, idle time included: longer than the 60 s for which load
/// balancers keep idle connections, so that it is they who close and no request meets a closing connection.
const NEXT_REQUEST_MAX: Duration = Duration::from_secs(75);
/// All headers of a request together.
const HEADER_BYTES_MAX: usize = 64 * 1024;
/// Requests at one time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 256;
/// On HTTP/2 a peer that is gone is noticed by asking.
const PING_EVERY: Duration = Duration::from_secs(20);

/// What a connection needs to know besides its bytes.
pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    /// Finish what is under way and take nothing more.
    pub(super) stop: CancellationToken,
    /// Be gone.
    pub(super) close: CancellationToken,
}

pub(super) async fn serve<S, B>(connection: Connection, stream: TcpStream, tls: Option<TlsAcceptor>, service: S)
where
    S: tower::Service<http::Request<Incoming>, Response = http::Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError> + Send,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let peer = connection.peer;
    // Answers are small and written at once: Nagle's algorithm would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "TCP_NODELAY");
    }
    let Some(tls) = tls else { return talk(connection, stream, service).await };
    let handshake = tokio::select! {
        () = connection.stop.cancelled() => return,
        handshake = timeout(TLS_HANDSHAKE_MAX, tls.accept(stream)) => handshake,
    };
    match handshake {
        Ok(Ok(stream)) => talk(connection, stream, service).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
        Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
    }
}

async fn talk<I, S, B>(connection: Connection, stream: I, service: S)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: tower::Service<http::Request<Incoming>, Response = http::Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError> + Send,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let Connection { peer, stop, close } = connection;
    let asked = Arc::new(AtomicBool::new(false));
    let service = {
        let asked = Arc::clone(&asked);
        hyper::service::service_fn(move |request| {
            asked.store(true, Ordering::Relaxed);
            service.clone().oneshot(request)
        })
    };

    let http = protocols();
    let mut talk = pin!(http.serve_connection(TokioIo::new(stream), service));
    // Hyper's own timeouts begin when it knows the protocol; a client that never says it would stay for ever.
    let mut first_request = pin!(sleep(FIRST_REQUEST_MAX));
    let (mut stopping, mut waiting) = (false, true);
    loop {
        tokio::select! {
            ended = talk.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%peer, error, "connection ended");
                }
                return;
            }
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                talk.as_mut().graceful_shutdown();
            }
            () = close.cancelled() => return,
            () = first_request.as_mut(), if waiting => {
                waiting = false;
                if !asked.load(Ordering::Relaxed) {
                    tracing::debug!(%peer, "no request came");
                    return;
                }
            }
        }
    }
}

fn protocols() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(NEXT_REQUEST_MAX).max_buf_size(HEADER_BYTES_MAX);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_EVERY)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEADER_BYTES_MAX).unwrap_or(u32::MAX));
    http
}
