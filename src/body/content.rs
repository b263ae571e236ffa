//! [`Content`]: the digest and the end of the content of a body.

use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;

use crate::{
    digest::{Digest, Digester},
    error::Result,
};

/// The content of a body that was read so far.
#[derive(Default)]
pub(super) struct Content {
    digester: Digester,
    len: u64,
    /// The digest of the whole content.
    digest: Option<Digest>,
    act: Act,
}

type ActFuture = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

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
        A: Future<Output = Result<()>> + Send + 'static,
    {
        self.act = Act::Waiting(Box::new(|len, digest| Box::pin(act(len, digest))));
    }

    pub(super) fn update(&mut self, data: &Bytes) {
        self.digester.update(data);
        self.len += data.len() as u64;
    }

    /// Computes the digest, and runs the function. Can be polled again after it is ready.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let digest = *self
            .digest
            .get_or_insert_with(|| mem::take(&mut self.digester).finish());
        if let Act::Waiting(_) = self.act
            && let Act::Waiting(act) = mem::take(&mut self.act)
        {
            self.act = Act::Running(act(self.len, digest));
        }
        if let Act::Running(act) = &mut self.act {
            let result = ready!(act.as_mut().poll(cx));
            self.act = Act::None;
            return Poll::Ready(result);
        }
        Poll::Ready(Ok(()))
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

#[cfg(test)]
mod tests {
    use std::{
        future, pin,
        sync::{Arc, Mutex},
    };

    use futures_util::{FutureExt as _, stream};
    use http_body::Body as _;
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::{
        body::Body,
        error::{Error, ErrorKind},
    };

    #[tokio::test]
    async fn the_end_waits_for_every_function() {
        let (open, opened) = tokio::sync::oneshot::channel::<()>();
        let seen = Arc::<Mutex<Vec<_>>>::default();
        let note = |seen: &Arc<Mutex<Vec<_>>>, name| {
            let seen = seen.clone();
            move |len, digest| {
                seen.lock().unwrap().push((name, len, digest));
                future::ready(Ok(()))
            }
        };
        let mut body = Body::from("ID3")
            .at_end(note(&seen, "first"))
            .at_end(async move |_, _| {
                drop(opened.await);
                Ok(())
            })
            .at_end(note(&seen, "last"))
            .with_digest();
        assert!(!body.is_end_stream());
        assert!(body.frame().await.is_some());
        assert!(!body.is_end_stream());
        let mut end = pin::pin!(async move {
            let end = body.frame().await;
            (end.is_none(), body)
        });
        assert!((&mut end).now_or_never().is_none());
        let digest = Digest::of(b"ID3");
        assert_eq!(*seen.lock().unwrap(), [("first", 3, digest)]);
        open.send(()).unwrap();
        let (ended, mut body) = end.await;
        assert!(ended && body.is_end_stream() && body.frame().await.is_none());
        assert_eq!(body.digest(), Some(digest));
        assert_eq!(*seen.lock().unwrap(), [("first", 3, digest), ("last", 3, digest)]);
    }

    #[tokio::test]
    async fn a_body_that_fails_has_no_digest_and_no_end() {
        let chunks = stream::iter([Ok("ID"), Err(Error::new(ErrorKind::IncompleteBody, "cut off"))]);
        let mut body = Body::from_stream(chunks).at_end(async |_, _| panic!("the body has not ended"));
        while let Some(Ok(_)) = body.frame().await {}
        assert!(body.frame().await.unwrap().is_err());
        assert_eq!(body.digest(), None);
    }

    #[tokio::test]
    async fn a_function_that_fails_fails_the_body() {
        let mut body = Body::from("ID3").at_end(async |_, _| Err(Error::new(ErrorKind::Unavailable, "full")));
        assert!(body.frame().await.unwrap().is_ok());
        for _ in 0..2 {
            assert_eq!(body.frame().await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
            assert!(!body.is_end_stream());
        }
    }
}
