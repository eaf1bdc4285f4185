//! One keep-alive connection to track, opened again where it breaks.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer may take; longer than any of track's own deadlines.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Where track listens.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    host: String,
    port: u16,
    header: HeaderValue,
}

impl Address {
    /// From `http://host:port`.
    ///
    /// # Errors
    /// Where it is no such URL.
    pub(crate) fn parse(url: &str) -> anyhow::Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("{url} is not a URL"))?;
        if uri.scheme_str() != Some("http") {
            bail!("{url}: the load generator speaks http:// alone");
        }
        let authority = uri.authority().with_context(|| format!("{url} names no host"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port: authority.port_u16().unwrap_or(80), header: HeaderValue::from_str(authority.as_str())? })
    }
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// Where the events went.
    pub(crate) position: Option<HeaderValue>,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The body, for a message.
    pub(crate) fn text(&self) -> String {
        format!("{}: {}", self.status, String::from_utf8_lossy(&self.body))
    }
}

/// A connection that is used by one request at a time.
pub(crate) struct Connection {
    address: Address,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Connection {
    /// Connects with the first request.
    pub(crate) fn new(address: Address) -> Self {
        Self { address, sender: None }
    }

    /// Connects now.
    ///
    /// # Errors
    /// Where nobody listens.
    pub(crate) async fn open(&mut self) -> anyhow::Result<()> {
        let Address { host, port, .. } = &self.address;
        let stream = TcpStream::connect((host.as_str(), *port)).await.with_context(|| format!("{host}:{port}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Its errors are those of the request under way.
        tokio::spawn(connection);
        self.sender = Some(sender);
        Ok(())
    }

    /// Sends a request and waits for its answer, whatever its status.
    ///
    /// # Errors
    /// Where there is no answer: the request may have been taken all the same.
    pub(crate) async fn send(&mut self, mut request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
        request.headers_mut().insert(HOST, self.address.header.clone());
        if self.sender.as_ref().is_none_or(SendRequest::is_closed) {
            self.open().await?;
        }
        let sender = self.sender.as_mut().context("not connected")?;
        let answered = timeout(ANSWER_WITHIN, async {
            sender.ready().await?;
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(Answer { status: head.status, position: head.headers.get("track-position").cloned(), body })
        });
        match answered.await {
            Ok(Ok(answer)) => Ok(answer),
            failed => {
                // What is still under way on it would be taken for the next answer.
                self.sender = None;
                failed.with_context(|| format!("no answer within {} s", ANSWER_WITHIN.as_secs()))?
            }
        }
    }

    /// A GET.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub(crate) async fn get(&mut self, path: Uri) -> anyhow::Result<Answer> {
        self.send(Request::get(path).body(Full::default())?).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_http_url() {
        let address = Address::parse("http://[::1]:8080").unwrap();
        assert_eq!((address.host.as_str(), address.port), ("::1", 8080));
        assert_eq!(Address::parse("http://localhost").unwrap().port, 80);
        for wrong in ["https://localhost:1", "localhost", "/x"] {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
    }
}
