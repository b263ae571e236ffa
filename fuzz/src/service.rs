//! A service behind a layer that records the forwarded request.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use kazoo_storage::{Body, Error, Metadata};
use tower::{Service, ServiceExt as _};

use crate::{pieces::Pieces, run::run};

/// A whole request that the service received.
#[derive(Debug, PartialEq, Eq)]
pub struct Forwarded {
    pub headers: HeaderMap,
    /// The metadata in the extensions.
    pub json: Option<Bytes>,
    pub body: Bytes,
}

/// Records the request if its body ends cleanly.
#[derive(Clone, Debug, Default)]
pub struct Inner(Arc<Mutex<Option<Forwarded>>>);

impl Service<Request<Body>> for Inner {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let kept = Arc::clone(&self.0);
        Box::pin(async move {
            let (head, body) = request.into_parts();
            Ok(match body.collect().await {
                Ok(body) => {
                    let json = head.extensions.get::<Metadata>().map(Metadata::as_json).cloned();
                    *kept.lock().unwrap() = Some(Forwarded {
                        headers: head.headers,
                        json,
                        body: body.to_bytes(),
                    });
                    Response::new(Body::empty())
                }
                Err(error) => Error::from_body(error).to_response(),
            })
        })
    }
}

/// Sends `request` through `layer`. Returns the forwarded request, or the status of the refusal.
pub fn through<L>(layer: &L, request: Request<Pieces>) -> Result<Forwarded, StatusCode>
where
    L: tower::Layer<Inner>,
    L::Service: Service<Request<Pieces>, Response = Response<Body>, Error = Infallible>,
{
    let inner = Inner::default();
    let kept = Arc::clone(&inner.0);
    let Ok(answer) = run(layer.layer(inner).oneshot(request));
    let forwarded = kept.lock().unwrap().take();
    assert_eq!(
        answer.status().is_success(),
        forwarded.is_some(),
        "a success is a whole request, and a whole request a success"
    );
    forwarded.ok_or_else(|| {
        assert_refusal(&answer);
        answer.status()
    })
}

/// Asserts that `answer` is an error that KAZOO's client survives and shows.
pub fn assert_refusal<B>(answer: &Response<B>) {
    let status = answer.status().as_u16();
    assert!(
        matches!(status, 400..=418 | 421..=424 | 426 | 428 | 429 | 431 | 444 | 451 | 501..=508 | 510 | 511),
        "{status}"
    );
    assert_eq!(answer.headers()["content-type"], "application/json");
}
