//! HTTP/1.1 by hand, over a plain socket: a test says exactly which bytes go out, also ones that no client would send.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// How long a read or a write may stand still before the test fails: longer than any deadline of the server.
const STALL_MAX: Duration = Duration::from_secs(40);
/// How many bytes one chunk of a chunked body carries.
const CHUNK_BYTES: usize = 64 * 1024;

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// The path with its query.
    pub target: String,
    /// In order, as they go out.
    pub headers: Vec<(String, String)>,
    /// The bytes as they go out.
    pub body: Vec<u8>,
    /// Sends the body in chunks, without saying its length beforehand.
    pub chunked: bool,
}

impl Request {
    /// A request without a body.
    #[must_use]
    pub fn new(method: &str, target: impl Into<String>) -> Self {
        Self { method: method.to_owned(), target: target.into(), headers: Vec::new(), body: Vec::new(), chunked: false }
    }

    /// A GET.
    #[must_use]
    pub fn get(target: impl Into<String>) -> Self {
        Self::new("GET", target)
    }

    /// A POST of `body`, without a Content-Type.
    #[must_use]
    pub fn post(target: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::new("POST", target) }
    }

    /// A POST of JSON that says so.
    #[must_use]
    pub fn post_json(target: impl Into<String>, body: &Value) -> Self {
        Self::post(target, body.to_string()).header("content-type", "application/json")
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without saying how long the body is.
    #[must_use]
    pub fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
    }

    /// The bytes of the request.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if !self.has("host") {
            head.push_str("host: track\r\n");
        }
        for (name, value) in &self.headers {
            // Writing to a string does not fail.
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if self.chunked {
            head.push_str("transfer-encoding: chunked\r\n");
        } else if !self.has("content-length") && (self.method == "POST" || !self.body.is_empty()) {
            let _ = write!(head, "content-length: {}\r\n", self.body.len());
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        if self.chunked {
            for chunk in self.body.chunks(CHUNK_BYTES) {
                bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
        } else {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }

    /// Sends it on a connection of its own and reads the answer.
    ///
    /// # Errors
    /// Where there is no connection, no answer, or one that is not HTTP.
    pub fn send(&self, to: SocketAddr) -> Result<Answer> {
        self.send_within(to, STALL_MAX)
    }

    /// The same for who does not wait that long for the next bytes.
    ///
    /// # Errors
    /// As [`Request::send`].
    pub fn send_within(&self, to: SocketAddr, stall_max: Duration) -> Result<Answer> {
        let request = if self.has("connection") { self.clone() } else { self.clone().header("connection", "close") };
        let mut connection = Connection::open_within(to, stall_max)?;
        // A server that has seen enough may answer and close before everything is written: the answer counts.
        let written = connection.write(&request.to_bytes());
        match connection.read_answer(&self.method) {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => bail!("{} {}: closed without an answer (written: {written:?})", self.method, self.target),
            Err(error) => Err(error.context(format!("{} {} (written: {written:?})", self.method, self.target))),
        }
    }
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// In order; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The bytes, out of their chunks.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of this name (in lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// Where it is not.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {self}"))
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        write!(f, "{} {}", self.status, body.chars().take(600).collect::<String>())
    }
}

/// A connection that stays open between requests, and whose bytes the test writes itself where it wants to.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Where nobody listens.
    pub fn open(to: SocketAddr) -> Result<Self> {
        Self::open_within(to, STALL_MAX)
    }

    fn open_within(to: SocketAddr, stall_max: Duration) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&to, stall_max).with_context(|| format!("connect to {to}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(stall_max))?;
        stream.set_write_timeout(Some(stall_max))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// What the system says, for example that the other side has closed.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Says that nothing more will be written; answers can still be read.
    ///
    /// # Errors
    /// What the system says.
    pub fn half_close(&mut self) -> io::Result<()> {
        self.stream.get_mut().shutdown(Shutdown::Write)
    }

    /// Sends a request and reads its answer; the connection can be used again.
    ///
    /// # Errors
    /// Where the connection ends first, or the answer is not HTTP.
    pub fn send(&mut self, request: &Request) -> Result<Answer> {
        self.write(&request.to_bytes())?;
        self.read_answer(&request.method)?.context("closed without an answer")
    }

    /// Reads the next answer, to a request of this method; `None` where the other side has closed before its first byte.
    ///
    /// # Errors
    /// Where it is not HTTP, or ends before its end.
    pub fn read_answer(&mut self, method: &str) -> Result<Option<Answer>> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            read => read.context("no status line")?,
        };
        let rest = line.strip_prefix("HTTP/1.1 ").or(line.strip_prefix("HTTP/1.0 "));
        let status = rest.and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
        let status: u16 = status.with_context(|| format!("not a status line: {line:?}"))?;
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            ensure!(self.stream.read_line(&mut line)? > 0, "ended within the headers");
            let line = line.trim_end_matches(['\r', '\n']);
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').with_context(|| format!("not a header: {line:?}"))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        if status == 100 {
            return self.read_answer(method);
        }
        if method == "HEAD" || status == 204 || status == 304 {
            return Ok(Some(answer));
        }
        answer.body = self.read_body(&answer)?;
        Ok(Some(answer))
    }

    fn read_body(&mut self, answer: &Answer) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        if answer.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            loop {
                let mut line = String::new();
                self.stream.read_line(&mut line)?;
                let length =
                    usize::from_str_radix(line.trim(), 16).with_context(|| format!("not a chunk: {line:?}"))?;
                let start = body.len();
                body.resize(start + length, 0);
                self.stream.read_exact(&mut body[start..])?;
                let mut end = String::new();
                self.stream.read_line(&mut end)?;
                if length == 0 {
                    return Ok(body);
                }
            }
        }
        match answer.header("content-length") {
            Some(length) => {
                body.resize(length.parse().context("content-length")?, 0);
                self.stream.read_exact(&mut body).context("the body is shorter than its content-length")?;
            }
            None => {
                self.stream.read_to_end(&mut body)?;
            }
        }
        Ok(body)
    }
}
