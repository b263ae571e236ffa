//! Bodies in pieces.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    vec,
};

use bytes::Bytes;
use http_body::{Body, Frame};

/// Lengths of the pieces of a body, used in a cycle. They are the first four bytes of an input.
#[derive(Clone, Copy, Debug)]
pub struct Cuts([u8; 4]);

impl Cuts {
    /// One piece.
    pub const NONE: Self = Self([0; 4]);

    /// Returns the cuts and the rest of the input.
    #[must_use]
    pub fn take(input: &[u8]) -> Option<(Self, &[u8])> {
        let (cuts, rest) = input.split_first_chunk()?;
        Some((Self(*cuts), rest))
    }

    /// Maximum number of pieces. More make a fuzzer slow and find nothing.
    const MAX_PIECES: usize = 64;

    /// Splits `bytes`. A cut below 200 is a length; a larger one is a length of 64 to 3584 bytes. If all cuts are 0, there is one piece.
    #[must_use]
    pub fn of(self, bytes: &[u8]) -> Vec<Bytes> {
        let mut rest = bytes;
        let mut pieces = Vec::new();
        if self.0 != [0; 4] {
            for cut in self.0.into_iter().cycle().take(Self::MAX_PIECES - 1) {
                let len = match usize::from(cut) {
                    len @ ..200 => len,
                    long => (long - 199) * 64,
                };
                let Some((piece, behind)) = rest.split_at_checked(len) else {
                    break;
                };
                pieces.push(Bytes::copy_from_slice(piece));
                rest = behind;
                if rest.is_empty() {
                    break;
                }
            }
        }
        pieces.push(Bytes::copy_from_slice(rest));
        pieces
    }
}

/// The end of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Clean,
    /// With an error after its last byte.
    Broken,
}

/// A body that returns `Pending` once before each of its pieces, unless there is only one.
#[derive(Debug)]
pub struct Pieces {
    pieces: vec::IntoIter<Bytes>,
    end: End,
    waits: bool,
    waited: bool,
}

impl Pieces {
    #[must_use]
    pub fn new(body: &[u8], cuts: Cuts, end: End) -> Self {
        let pieces = cuts.of(body);
        Self {
            waits: pieces.len() > 1,
            pieces: pieces.into_iter(),
            end,
            waited: false,
        }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.waited = self.waits && !self.waited;
        if self.waited {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(match (self.pieces.next(), self.end) {
            (Some(piece), _) => Some(Ok(Frame::data(piece))),
            (None, End::Clean) => None,
            (None, End::Broken) => Some(Err(io::ErrorKind::ConnectionReset.into())),
        })
    }
}
