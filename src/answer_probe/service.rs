use std::{
    fmt,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body as HttpBody;
use tower_service::Service;

use super::layer::Check;
use crate::{
    body::Body,
    error::{BoxError, Error, ErrorKind, Result},
    framing::guard,
    key::BlobKey,
    outcome::Outcome,
    probe::Probe,
    reject::ResponseFuture,
};

/// How much of a body is read to compare it with a probe's content of 53 bytes: enough to see what was sent instead.
const MAX_BODY: usize = 8 << 10;

/// Service of [`AnswerProbe`](super::AnswerProbe).
#[derive(Clone)]
pub struct AnswerProbeService<S> {
    pub(super) inner: S,
    pub(super) check: Check,
}

impl<S, B, ResBody> Service<Request<B>> for AnswerProbeService<S>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Some(probe) = request.extensions().get().and_then(|key: &BlobKey| Probe::of(key)) else {
            return ResponseFuture::inner(self.inner.call(request));
        };
        match *request.method() {
            Method::PUT | Method::POST => {
                let check = (self.check)();
                let (mut head, body) = request.into_parts();
                let body = guard(&mut head, body);
                ResponseFuture::work(async move {
                    let stored = async {
                        compare(&probe, body).await?;
                        check.await
                    };
                    Ok(match stored.await {
                        Ok(()) => answer(StatusCode::CREATED, Body::empty()),
                        Err(error) => error.with_retry_after(None).into_response(),
                    })
                })
            }
            Method::GET | Method::HEAD => {
                let mut response = answer(StatusCode::OK, probe.content().into());
                let headers = response.headers_mut();
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
                headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
                ResponseFuture::ready(response)
            }
            _ => ResponseFuture::inner(self.inner.call(request)),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for AnswerProbeService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerProbeService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

fn answer(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.extensions_mut().insert(Outcome::Probed);
    response
}

/// Whether `body` is the content of `probe`; the error says what it looks like instead.
async fn compare(probe: &Probe, mut body: Body) -> Result<()> {
    let expected = probe.content();
    let received = body.collect_up_to(MAX_BODY).await?;
    if received.as_ref() == Some(&expected) {
        return Ok(());
    }
    let hint = match received.as_deref() {
        Some(b"") => "the body is empty: something between KAZOO and this service drops it",
        Some(text) if text.starts_with(b"c29tZSByYW5kb20g") => {
            "the body is its base64: set this service to decode it (base64 declared or detect), or base64_encode_data to false"
        }
        Some(text) if text.starts_with(b"--") || text.starts_with(b"\r\n--") => {
            "the body is multipart, but its content-type is not: something between KAZOO and this service changes it"
        }
        _ => "the body is something else: something between KAZOO and this service changes it",
    };
    Err(Error::new(
        ErrorKind::InvalidProbe,
        format!("the credentials test file has not the content that its name implies; {hint}"),
    ))
}
