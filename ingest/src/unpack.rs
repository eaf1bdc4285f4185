//! `Content-Encoding`: which are allowed, and their unpacking under the same cap as any body.

use crate::body::Buffer;
use crate::error::Refusal;
use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, get_error_name};

/// What one gzip decoder takes: inflate's window and state.
const GZIP_STATE_BYTES: usize = 96 * 1024;
/// Members that a gzip body may be made of: each costs a new decoder, so a million empty ones would cost seconds.
const GZIP_MEMBERS_MAX: usize = 10_000;
/// Largest zstd window: 8 MiB, which RFC 9659 sets as the limit of this content coding.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// How much zstd unpacks at a step.
const ZSTD_STEP_BYTES: usize = 32 * 1024;

/// A content coding that we can unpack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Gzip,
    Zstd,
}

impl Encoding {
    /// Its name in `Content-Encoding` and `Accept-Encoding`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// How a body is encoded; `None` where it is not.
    ///
    /// # Errors
    /// [`Refusal::Encoding`] where it is encoded in a way that is not `allowed`, or more than once.
    pub(crate) fn of(headers: &HeaderMap, allowed: &'static [Self]) -> Result<Option<Self>, Refusal> {
        let mut found = None;
        for value in headers.get_all(CONTENT_ENCODING) {
            // A name is ASCII; what can't be read as such is no name we know.
            for name in value.to_str().unwrap_or("?").split(',').map(str::trim) {
                if name.is_empty() || name.eq_ignore_ascii_case("identity") {
                    continue;
                }
                // RFC 9110: x-gzip is to be taken as gzip.
                let canonical = if name.eq_ignore_ascii_case("x-gzip") { "gzip" } else { name };
                let encoding = allowed.iter().find(|encoding| encoding.name().eq_ignore_ascii_case(canonical));
                match (encoding, found) {
                    (Some(encoding), None) => found = Some(*encoding),
                    (Some(_), Some(_)) => return Err(Refusal::Encoding { named: "more than one".into(), allowed }),
                    (None, _) => return Err(Refusal::Encoding { named: format!("\"{name}\""), allowed }),
                }
            }
        }
        Ok(found)
    }
}

/// Unpacks a body as it comes in.
pub(crate) enum Unpacker<'h> {
    Gzip(Box<Gzip<'h>>),
    Zstd(Zstd<'h>),
}

impl<'h> Unpacker<'h> {
    /// # Errors
    /// [`Refusal::Overload`] where there is no memory for it.
    pub(crate) fn new(encoding: Encoding, out: Buffer<'h>) -> Result<Self, Refusal> {
        match encoding {
            Encoding::Gzip => Gzip::new(out).map(|gzip| Self::Gzip(Box::new(gzip))),
            Encoding::Zstd => Zstd::new(out).map(Self::Zstd),
        }
    }

    /// # Errors
    /// [`Refusal`] where the body is damaged, or too large once unpacked.
    pub(crate) fn push(&mut self, packed: &[u8]) -> Result<(), Refusal> {
        match self {
            Self::Gzip(gzip) => gzip.push(packed),
            Self::Zstd(zstd) => zstd.push(packed),
        }
    }

    /// The whole body.
    ///
    /// # Errors
    /// [`Refusal`] where the packed body ended early.
    pub(crate) fn finish(self) -> Result<Bytes, Refusal> {
        match self {
            Self::Gzip(gzip) => gzip.finish(),
            Self::Zstd(zstd) => zstd.finish(),
        }
    }
}

/// One gzip member after the other, straight into the body.
pub(crate) struct Gzip<'h> {
    member: Decompress,
    members: usize,
    /// Between two members, the only place where a body may end.
    member_complete: bool,
    out: Buffer<'h>,
}

impl<'h> Gzip<'h> {
    fn new(mut out: Buffer<'h>) -> Result<Self, Refusal> {
        out.hold(GZIP_STATE_BYTES)?;
        Ok(Self { member: new_member(), members: 1, member_complete: false, out })
    }

    fn push(&mut self, mut packed: &[u8]) -> Result<(), Refusal> {
        // What is unpacked already may not have had room yet.
        let mut more_to_come = false;
        while !packed.is_empty() || more_to_come {
            if self.member_complete {
                self.next_member()?;
            }
            let before = self.member.total_in();
            let member = &mut self.member;
            let unpack = |into: &mut Vec<u8>| member.decompress_vec(packed, into, FlushDecompress::None);
            let (status, filled) = self.out.fill(unpack)?;
            let status = status.map_err(|error| corrupt(Encoding::Gzip, error.to_string()))?;
            let taken = usize::try_from(self.member.total_in() - before).unwrap_or(usize::MAX);
            packed = packed.get(taken..).unwrap_or_default();
            self.member_complete = status == Status::StreamEnd;
            more_to_come = filled && !self.member_complete;
        }
        Ok(())
    }

    fn next_member(&mut self) -> Result<(), Refusal> {
        self.members += 1;
        if self.members > GZIP_MEMBERS_MAX {
            return Err(corrupt(Encoding::Gzip, format!("more than {GZIP_MEMBERS_MAX} members")));
        }
        (self.member, self.member_complete) = (new_member(), false);
        Ok(())
    }

    fn finish(self) -> Result<Bytes, Refusal> {
        if self.member_complete {
            Ok(self.out.into_bytes())
        } else {
            Err(corrupt(Encoding::Gzip, "it ends early".into()))
        }
    }
}

/// With deflate's largest window, of 32 KiB; the checksum at its end is checked.
fn new_member() -> Decompress {
    Decompress::new_gzip(15)
}

/// One zstd frame after the other.
pub(crate) struct Zstd<'h> {
    context: DCtx<'static>,
    context_bytes: usize,
    step: Box<[u8]>,
    out: Buffer<'h>,
    /// Between two frames, the only place where a body may end.
    frame_complete: bool,
}

impl<'h> Zstd<'h> {
    fn new(mut out: Buffer<'h>) -> Result<Self, Refusal> {
        let mut context = DCtx::try_create().ok_or(Refusal::Overload)?;
        let context_bytes = context.sizeof();
        out.hold(context_bytes + ZSTD_STEP_BYTES)?;
        context.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX)).map_err(damaged)?;
        Ok(Self { context, context_bytes, step: vec![0; ZSTD_STEP_BYTES].into(), out, frame_complete: false })
    }

    fn push(&mut self, packed: &[u8]) -> Result<(), Refusal> {
        let mut input = InBuffer::around(packed);
        while input.pos() < packed.len() || !self.frame_complete {
            let mut output = OutBuffer::around(&mut self.step[..]);
            let wanted = self.context.decompress_stream(&mut output, &mut input).map_err(damaged)?;
            let unpacked_bytes = output.pos();
            self.frame_complete = wanted == 0;
            // The window is allocated once a frame's header says how large it is.
            let context_bytes = self.context.sizeof();
            self.out.hold(context_bytes.saturating_sub(self.context_bytes))?;
            self.context_bytes = self.context_bytes.max(context_bytes);
            self.out.extend(&self.step[..unpacked_bytes])?;
            if input.pos() == packed.len() && unpacked_bytes < ZSTD_STEP_BYTES {
                break;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Bytes, Refusal> {
        if self.frame_complete {
            Ok(self.out.into_bytes())
        } else {
            Err(corrupt(Encoding::Zstd, "it ends early".into()))
        }
    }
}

fn damaged(code: usize) -> Refusal {
    corrupt(Encoding::Zstd, get_error_name(code).into())
}

fn corrupt(encoding: Encoding, detail: String) -> Refusal {
    Refusal::Corrupt { encoding: encoding.name(), detail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inflight::Inflight;
    use crate::testing::{gzip, zstd};
    use proptest::prelude::*;

    const BOTH: &[Encoding] = &[Encoding::Gzip, Encoding::Zstd];

    fn unpack(encoding: Encoding, packed: &[u8], step: usize, bytes_max: usize) -> Result<Bytes, Refusal> {
        let mut held = Inflight::new(64 << 20).hold();
        let mut unpacker = Unpacker::new(encoding, Buffer::new(bytes_max, &mut held))?;
        for chunk in packed.chunks(step.max(1)) {
            unpacker.push(chunk)?;
        }
        unpacker.finish()
    }

    fn named(values: &[&str], allowed: &'static [Encoding]) -> Result<Option<Encoding>, Refusal> {
        let headers = values.iter().map(|value| (CONTENT_ENCODING, value.parse().unwrap())).collect();
        Encoding::of(&headers, allowed)
    }

    #[test]
    fn encodings_are_named_in_many_ways() {
        assert_eq!(named(&[], BOTH).unwrap(), None);
        for none in ["", "identity", "Identity, "] {
            assert_eq!(named(&[none], BOTH).unwrap(), None, "{none}");
        }
        for gzip in ["gzip", "GZIP", "x-gzip", " X-GZip ", "identity, gzip"] {
            assert_eq!(named(&[gzip], &[Encoding::Gzip]).unwrap(), Some(Encoding::Gzip), "{gzip}");
        }
        assert_eq!(named(&["zstd"], BOTH).unwrap(), Some(Encoding::Zstd));
        for not in
            [&["br"][..], &["zstd"], &["gzip, gzip"], &["gzip", "gzip"], &["gzip, br"], &["deflate"], &["gzip;q=1"]]
        {
            assert!(matches!(named(not, &[Encoding::Gzip]), Err(Refusal::Encoding { .. })), "{not:?}");
        }
    }

    #[test]
    fn members_and_frames_are_joined() {
        let two = |pack: fn(&[u8]) -> Vec<u8>| [pack(b"one "), pack(b""), pack(b"two")].concat();
        for step in [1, 7, 1_000] {
            assert_eq!(unpack(Encoding::Gzip, &two(gzip), step, 100).unwrap(), "one two");
            assert_eq!(unpack(Encoding::Zstd, &two(zstd), step, 100).unwrap(), "one two");
        }
    }

    #[test]
    fn the_cap_is_exact_and_checked_while_unpacking() {
        for (encoding, pack) in [(Encoding::Gzip, gzip as fn(&[u8]) -> Vec<u8>), (Encoding::Zstd, zstd)] {
            let packed = pack(&vec![b' '; 1 << 20]);
            assert_eq!(unpack(encoding, &packed, 4_096, 1 << 20).unwrap().len(), 1 << 20);
            assert!(matches!(unpack(encoding, &packed, 4_096, (1 << 20) - 1), Err(Refusal::TooLarge { .. })));
        }
    }

    #[test]
    fn a_bomb_takes_no_more_memory_than_the_cap() {
        let bomb = gzip(&vec![0; 64 << 20]);
        assert!(bomb.len() < 100_000);
        let cap = 64 * 1024;
        let inflight = Inflight::new(GZIP_STATE_BYTES + cap);
        let mut held = inflight.hold();
        let mut unpacker = Unpacker::new(Encoding::Gzip, Buffer::new(cap, &mut held)).unwrap();
        assert!(matches!(unpacker.push(&bomb), Err(Refusal::TooLarge { .. })));
    }

    #[test]
    fn a_window_beyond_the_rfc_is_refused() {
        // Magic, descriptor without single segment, window exponent 17: 2^27 bytes.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 0x01, 0x00, 0x00];
        let Err(Refusal::Corrupt { detail, .. }) = unpack(Encoding::Zstd, &frame, 100, 100) else { panic!("refused") };
        assert!(detail.contains("memory"), "{detail}");
    }

    #[test]
    fn what_is_cut_short_or_damaged_is_refused() {
        for (encoding, packed) in
            [(Encoding::Gzip, gzip(b"hello hello hello")), (Encoding::Zstd, zstd(b"hello hello hello"))]
        {
            for end in 0..packed.len() {
                let result = unpack(encoding, &packed[..end], 100, 100);
                assert!(matches!(result, Err(Refusal::Corrupt { .. })), "{encoding:?} cut at {end}: {result:?}");
            }
            let garbage_after = [&packed[..], b"garbage"].concat();
            assert!(matches!(unpack(encoding, &garbage_after, 100, 100), Err(Refusal::Corrupt { .. })));
            assert!(matches!(unpack(encoding, b"{\"event\":\"play\"}", 100, 100), Err(Refusal::Corrupt { .. })));
        }
        let mut wrong_sum = gzip(b"hello");
        let sum_at = wrong_sum.len() - 8;
        wrong_sum[sum_at] ^= 1;
        assert!(matches!(unpack(Encoding::Gzip, &wrong_sum, 100, 100), Err(Refusal::Corrupt { .. })));
    }

    #[test]
    fn a_flood_of_empty_members_is_refused() {
        let flood = gzip(b"").repeat(GZIP_MEMBERS_MAX + 1);
        assert!(matches!(unpack(Encoding::Gzip, &flood, 100_000, 100), Err(Refusal::Corrupt { .. })));
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(body: Vec<u8>, step in 1..100_usize) {
            prop_assert_eq!(&unpack(Encoding::Gzip, &gzip(&body), step, 1 << 20).unwrap()[..], &body[..]);
            prop_assert_eq!(&unpack(Encoding::Zstd, &zstd(&body), step, 1 << 20).unwrap()[..], &body[..]);
        }

        #[test]
        fn arbitrary_bytes_never_panic(packed: Vec<u8>, flip: prop::sample::Index, step in 1..100_usize) {
            let _ = unpack(Encoding::Gzip, &packed, step, 1 << 20);
            let _ = unpack(Encoding::Zstd, &packed, step, 1 << 20);
            for pack in [gzip, zstd] {
                let mut damaged = pack(&packed);
                let at = flip.index(damaged.len());
                damaged[at] ^= 0x41;
                let _ = unpack(Encoding::Gzip, &damaged, step, 1 << 20);
                let _ = unpack(Encoding::Zstd, &damaged, step, 1 << 20);
            }
        }
    }
}
