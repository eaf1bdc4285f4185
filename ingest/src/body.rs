//! The request's body, read as a stream, so that chunked bodies work and no cap depends on what a client announces.

use crate::error::Refusal;
use crate::inflight::Held;
use crate::unpack::{Encoding, Unpacker};
use bytes::{Buf, Bytes};
use futures::{Stream, StreamExt as _};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, EXPECT};
use std::fmt::Display;
use std::pin::{Pin, pin};
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// How much of a refused body is read and thrown away. Closing a connection on unread bytes resets it, and then most
/// clients never see the answer; so we listen on for a while, as other servers do (nginx: `lingering_close`).
const DISCARDED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// A client that sends nothing for so long while it is refused is waiting for the answer.
const DISCARD_IDLE_MAX: Duration = Duration::from_millis(500);

/// How much room there is at least for what is unpacked at a step.
const ROOM_BYTES: usize = 4 * 1024;

/// What a route takes.
#[derive(Debug)]
pub(crate) struct Rules {
    /// Largest body, in bytes: as it is sent, and unpacked.
    pub(crate) bytes_max: usize,
    /// Content codings besides `identity`.
    pub(crate) encodings: &'static [Encoding],
}

/// Reads the whole body, unpacked. What it takes in memory is added to `held`.
///
/// # Errors
/// [`Refusal`] where the body is too large, encoded in another way, damaged, cut short, or not there by `deadline`.
pub(crate) async fn read<S, B, E>(
    headers: &HeaderMap,
    body: S,
    rules: &Rules,
    deadline: Instant,
    held: &mut Held,
) -> Result<Bytes, Refusal>
where
    S: Stream<Item = Result<B, E>> + Send,
    B: Buf + Send,
    E: Display + Send,
{
    let mut body = pin!(body);
    let result =
        timeout_at(deadline, take(headers, body.as_mut(), rules, held)).await.unwrap_or(Err(Refusal::BodyTimeout));
    // Who expects a 100 (Continue) has not sent the body yet, and won't once it sees the answer.
    if result.as_ref().is_err_and(Refusal::leaves_body_unread) && !headers.contains_key(EXPECT) {
        // In time or not, the answer is the same.
        let _ = timeout_at(deadline, discard(body)).await;
    }
    result
}

async fn take<S, B, E>(
    headers: &HeaderMap,
    mut body: Pin<&mut S>,
    rules: &Rules,
    held: &mut Held,
) -> Result<Bytes, Refusal>
where
    S: Stream<Item = Result<B, E>> + Send,
    B: Buf + Send,
    E: Display + Send,
{
    let encoding = Encoding::of(headers, rules.encodings)?;
    let bytes_expected = content_length(headers);
    if bytes_expected.is_some_and(|bytes| bytes > rules.bytes_max) {
        return Err(Refusal::TooLarge { bytes_max: rules.bytes_max });
    }
    let Some(encoding) = encoding else { return whole(body, rules.bytes_max, held).await };

    let mut unpacker = Unpacker::new(encoding, Buffer::new(rules.bytes_max, held))?;
    let mut packed_bytes = 0;
    while let Some(chunk) = body.next().await {
        let mut chunk = chunk.map_err(cut)?;
        packed_bytes += chunk.remaining();
        if packed_bytes > rules.bytes_max {
            return Err(Refusal::TooLarge { bytes_max: rules.bytes_max });
        }
        while chunk.has_remaining() {
            let bytes = chunk.chunk().len();
            unpacker.push(chunk.chunk())?;
            chunk.advance(bytes);
        }
    }
    unpacker.finish()
}

/// A body without encoding. One that comes in one chunk, as small ones do, is not copied.
async fn whole<S, B, E>(mut body: Pin<&mut S>, bytes_max: usize, held: &mut Held) -> Result<Bytes, Refusal>
where
    S: Stream<Item = Result<B, E>> + Send,
    B: Buf + Send,
    E: Display + Send,
{
    let mut first = Bytes::new();
    while first.is_empty() {
        let Some(chunk) = body.next().await else { return Ok(first) };
        let mut chunk = chunk.map_err(cut)?;
        if chunk.remaining() > bytes_max {
            return Err(Refusal::TooLarge { bytes_max });
        }
        held.grow(chunk.remaining())?;
        first = chunk.copy_to_bytes(chunk.remaining());
    }
    let mut next = body.next().await.transpose().map_err(cut)?;
    if next.is_none() {
        return Ok(first);
    }
    held.shrink(first.len());
    let mut buffer = Buffer::new(bytes_max, held);
    buffer.extend(&first)?;
    drop(first);
    while let Some(mut chunk) = next {
        while chunk.has_remaining() {
            let bytes = chunk.chunk().len();
            buffer.extend(chunk.chunk())?;
            chunk.advance(bytes);
        }
        next = body.next().await.transpose().map_err(cut)?;
    }
    Ok(buffer.into_bytes())
}

async fn discard<S, B, E>(mut body: Pin<&mut S>)
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
{
    let mut bytes = 0;
    while bytes < DISCARDED_BYTES_MAX
        && let Ok(Some(Ok(chunk))) = timeout(DISCARD_IDLE_MAX, body.next()).await
    {
        bytes += chunk.remaining();
    }
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn cut(error: impl Display) -> Refusal {
    tracing::debug!(%error, "a body ended early");
    Refusal::Cut
}

/// A body as it grows: never over its cap, never more than is accounted for.
#[derive(Debug)]
pub(crate) struct Buffer<'h> {
    bytes: Vec<u8>,
    bytes_max: usize,
    held: &'h mut Held,
}

impl<'h> Buffer<'h> {
    pub(crate) fn new(bytes_max: usize, held: &'h mut Held) -> Self {
        Self { bytes: Vec::new(), bytes_max, held }
    }

    /// # Errors
    /// [`Refusal::TooLarge`] or [`Refusal::Overload`], before anything is allocated.
    pub(crate) fn extend(&mut self, more: &[u8]) -> Result<(), Refusal> {
        let len = self.bytes.len() + more.len();
        if len > self.bytes_max {
            return Err(Refusal::TooLarge { bytes_max: self.bytes_max });
        }
        self.make_room(len)?;
        self.bytes.extend_from_slice(more);
        Ok(())
    }

    /// Has `write` put something into the room behind the body, and tells too whether that is full now: then there may be more.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`] where something comes after the cap has been reached, or [`Refusal::Overload`].
    pub(crate) fn fill<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> Result<(T, bool), Refusal> {
        if self.bytes.len() >= self.bytes_max {
            // Only the end may come.
            let mut beyond = Vec::with_capacity(1);
            let written = write(&mut beyond);
            let too_large = Refusal::TooLarge { bytes_max: self.bytes_max };
            return if beyond.is_empty() { Ok((written, false)) } else { Err(too_large) };
        }
        self.make_room((self.bytes.len() + ROOM_BYTES).min(self.bytes_max))?;
        let written = write(&mut self.bytes);
        Ok((written, self.bytes.len() == self.bytes.capacity()))
    }

    /// Room for a body of so many bytes, which must not be more than the cap.
    fn make_room(&mut self, bytes: usize) -> Result<(), Refusal> {
        let capacity = self.bytes.capacity();
        if bytes > capacity {
            let capacity_wanted = (capacity * 2).clamp(bytes, self.bytes_max);
            self.held.grow(capacity_wanted - capacity)?;
            self.bytes.reserve_exact(capacity_wanted - self.bytes.len());
        }
        Ok(())
    }

    /// Accounts for memory beside the body itself.
    ///
    /// # Errors
    /// [`Refusal::Overload`].
    pub(crate) fn hold(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.held.grow(bytes)
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        self.bytes.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inflight::Inflight;
    use futures::stream;
    use std::time::Duration;

    const RULES: Rules = Rules { bytes_max: 100, encodings: &[Encoding::Gzip] };

    async fn read_chunks(chunks: Vec<Result<&'static [u8], &'static str>>, bytes_max: usize) -> Result<Bytes, Refusal> {
        let mut held = Inflight::new(bytes_max).hold();
        let deadline = Instant::now() + Duration::from_secs(10);
        read(&HeaderMap::new(), stream::iter(chunks), &RULES, deadline, &mut held).await
    }

    #[tokio::test]
    async fn chunks_become_one_body() {
        assert_eq!(read_chunks(vec![], 1_000).await.unwrap(), "");
        assert_eq!(read_chunks(vec![Ok(b""), Ok(b"one")], 1_000).await.unwrap(), "one");
        assert_eq!(read_chunks(vec![Ok(b"a"), Ok(b""), Ok(b"bc"), Ok(b"d")], 1_000).await.unwrap(), "abcd");
    }

    #[tokio::test]
    async fn the_cap_holds_for_one_chunk_and_for_many() {
        assert_eq!(read_chunks(vec![Ok(&[b'a'; 100])], 1_000).await.unwrap().len(), 100);
        assert_eq!(read_chunks(vec![Ok(&[b'a'; 50]), Ok(&[b'a'; 50])], 1_000).await.unwrap().len(), 100);
        assert!(matches!(read_chunks(vec![Ok(&[b'a'; 101])], 1_000).await, Err(Refusal::TooLarge { bytes_max: 100 })));
        let many = vec![Ok(&[b'a'; 60] as &[u8]), Ok(&[b'a'; 60])];
        assert!(matches!(read_chunks(many, 1_000).await, Err(Refusal::TooLarge { bytes_max: 100 })));
    }

    #[tokio::test]
    async fn the_memory_of_all_requests_is_bounded() {
        assert!(matches!(read_chunks(vec![Ok(&[b'a'; 60])], 50).await, Err(Refusal::Overload)));
        assert!(matches!(read_chunks(vec![Ok(&[b'a'; 40]), Ok(&[b'a'; 40])], 50).await, Err(Refusal::Overload)));
    }

    #[tokio::test]
    async fn a_body_cut_short_is_said() {
        assert!(matches!(read_chunks(vec![Ok(b"{"), Err("reset")], 1_000).await, Err(Refusal::Cut)));
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_given_up() {
        let mut held = Inflight::new(1_000).hold();
        let body = stream::iter([Ok::<_, &str>(&b"{"[..])]).chain(stream::pending());
        let deadline = Instant::now() + Duration::from_millis(20);
        let result = read(&HeaderMap::new(), body, &RULES, deadline, &mut held).await;
        assert!(matches!(result, Err(Refusal::BodyTimeout)));
    }

    #[tokio::test]
    async fn what_is_refused_is_still_read_unless_the_client_waits_for_a_go() {
        for (expect, chunks_left) in [(None, 0), (Some("100-continue"), 3)] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_LENGTH, "180".parse().unwrap());
            headers.extend(expect.map(|expect| (EXPECT, expect.parse().unwrap())));
            let mut body = stream::iter([[b'a'; 60]; 3].iter().map(|chunk| Ok::<_, &str>(&chunk[..])));
            let mut held = Inflight::new(1_000).hold();
            let deadline = Instant::now() + Duration::from_secs(10);
            let result = read(&headers, &mut body, &RULES, deadline, &mut held).await;
            assert!(matches!(result, Err(Refusal::TooLarge { .. })));
            assert_eq!(body.count().await, chunks_left);
        }
    }
}
