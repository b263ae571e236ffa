//! [`Content`]: the digest and the end of the content of a body.

use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;

use crate::digest::{Digest, Digester};

/// The content of a body that was read so far.
#[derive(Default)]
pub(super) struct Content {
    digester: Digester,
    len: u64,
    /// The digest of the whole content.
    digest: Option<Digest>,
    act: Act,
}

type ActFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The function of [`Body::at_end`].
#[derive(Default)]
enum Act {
    #[default]
    None,
    Waiting(Box<dyn FnOnce(u64, Digest) -> ActFuture + Send>),
    Running(ActFuture),
}

impl Act {
    fn is_some(&self) -> bool {
        !matches!(self, Self::None)
    }
}

impl Content {
    /// Returns the digest of the whole content, after its end.
    pub(super) fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Returns `true` if a function is to be called at the end.
    pub(super) fn acts(&self) -> bool {
        self.act.is_some()
    }

    /// Sets the function that is called at the end.
    pub(super) fn at_end<F, A>(&mut self, act: F)
    where
        F: FnOnce(u64, Digest) -> A + Send + 'static,
        A: Future<Output = ()> + Send + 'static,
    {
        self.act = Act::Waiting(Box::new(|len, digest| Box::pin(act(len, digest))));
    }

    pub(super) fn update(&mut self, data: &Bytes) {
        self.digester.update(data);
        self.len += data.len() as u64;
    }

    /// Computes the digest, and runs the function. Can be polled again after it is ready.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let digest = *self
            .digest
            .get_or_insert_with(|| mem::take(&mut self.digester).finish());
        if let Act::Waiting(_) = self.act
            && let Act::Waiting(act) = mem::take(&mut self.act)
        {
            self.act = Act::Running(act(self.len, digest));
        }
        if let Act::Running(act) = &mut self.act {
            ready!(act.as_mut().poll(cx));
            self.act = Act::None;
        }
        Poll::Ready(())
    }

    pub(super) fn has_ended(&self) -> bool {
        self.digest.is_some() && !self.act.is_some()
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content")
            .field("len", &self.len)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}
