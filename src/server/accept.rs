//! Takes connections until told to stop, then lets those that are left finish.

use super::Listener;
use super::connection::{self, Connection};
use hyper::body::Incoming;
use std::io::ErrorKind;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::BoxError;

/// How long to wait when the system gives no more connections, out of file descriptors for example: some will be closed.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(500);

impl Listener {
    /// Serves until `stop`; then takes no more connections and lets requests under way finish, for at most
    /// `drain_timeout`. Connections left by then are closed.
    pub(crate) async fn serve<S, B>(self, service: S, stop: CancellationToken, drain_timeout: Duration)
    where
        S: tower::Service<http::Request<Incoming>, Response = http::Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError> + Send,
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let connections = TaskTracker::new();
        let close = CancellationToken::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.tcp.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let tls = self.tls.clone();
                    let connection = Connection { peer, stop: stop.clone(), close: close.clone() };
                    connections.spawn(connection::serve(connection, stream, tls, service.clone()));
                }
                // One connection's own misfortune.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
                    ) => {}
                Err(error) => {
                    tracing::error!(listener = self.name, %error, connections = connections.len(), "can't accept connections");
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = tokio::time::sleep(ACCEPT_AGAIN_AFTER) => {}
                    }
                }
            }
        }

        drop(self.tcp);
        connections.close();
        tracing::info!(
            listener = self.name,
            connections = connections.len(),
            "no longer listening; finishing requests"
        );
        if tokio::time::timeout(drain_timeout, connections.wait()).await.is_err() {
            tracing::warn!(
                listener = self.name,
                connections = connections.len(),
                "closing connections that are still busy"
            );
            close.cancel();
            connections.wait().await;
        }
    }
}
