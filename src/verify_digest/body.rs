//! [`Verified`]: compares a body with its digests.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::fields::Check;
use crate::{
    body::Body,
    digest::Hasher,
    error::{Error, ErrorKind, Result},
};

/// A body that ends cleanly only if it matches the digests in its headers.
pub(super) struct Verified {
    body: Body,
    checks: Vec<Check>,
    /// One for each algorithm in `checks`.
    hashers: Vec<Hasher>,
    matches: bool,
}

impl Verified {
    pub(super) fn new(body: Body, checks: Vec<Check>) -> Self {
        let mut algorithms: Vec<_> = checks.iter().map(|check| check.algorithm).collect();
        algorithms.sort_unstable();
        algorithms.dedup();
        Self {
            body,
            checks,
            hashers: algorithms.into_iter().map(Hasher::new).collect(),
            matches: false,
        }
    }

    fn verify(&mut self) -> Result<()> {
        let found: Vec<_> = self
            .hashers
            .drain(..)
            .map(|hasher| (hasher.algorithm(), hasher.finish()))
            .collect();
        for check in &self.checks {
            if !found
                .iter()
                .any(|(algorithm, digest)| *algorithm == check.algorithm && *digest == check.digest)
            {
                let message = format!(
                    "the body does not match the {} in the header {}, so it was corrupted in transit: send it again",
                    check.algorithm, check.header
                );
                return Err(Error::new(ErrorKind::DigestMismatch, message));
            }
        }
        self.matches = true;
        Ok(())
    }
}

impl HttpBody for Verified {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        if self.matches {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()?;
        if let Some(data) = frame.as_ref().and_then(Frame::data_ref) {
            for hasher in &mut self.hashers {
                hasher.update(data);
            }
        }
        if frame.is_none() {
            self.verify()?;
        }
        Poll::Ready(frame.map(Ok))
    }

    /// Returns `true` only after the comparison: a reader that sees `true` may skip the last poll.
    fn is_end_stream(&self) -> bool {
        self.matches
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
