use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body as HttpBody;

use super::{AnswerProbe, layer::Check};
use crate::{
    body::Body,
    error::{BoxError, Error, ErrorKind, Result},
    framing::guard,
    key::BlobKey,
    outcome::Outcome,
    probe::Probe,
    rewrite::{Rewrite, Rewritten},
};

/// Maximum number of bytes that are compared with a probe's content of 53 bytes. They suffice to recognize what arrived
/// instead.
const MAX_BODY: usize = 8 << 10;

impl<B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static> Rewrite<B> for AnswerProbe {
    type Body = B;

    fn rewrite(&self, request: Request<B>) -> Rewritten<B> {
        let Some(probe) = request.extensions().get().and_then(|key: &BlobKey| Probe::of(key)) else {
            return Rewritten::Request(request);
        };
        match *request.method() {
            Method::PUT | Method::POST => {
                let (mut head, body) = request.into_parts();
                let body = guard(&mut head, body);
                let check = Arc::clone(&self.check);
                Rewritten::later(async move { Rewritten::Response(store(probe, body, check).await) })
            }
            Method::GET | Method::HEAD => Rewritten::Response(fetch(&probe)),
            _ => Rewritten::Request(request),
        }
    }
}

async fn store(probe: Probe, body: Result<Body>, check: Check) -> Response<Body> {
    let stored = async {
        compare(&probe, body?).await?;
        check().await
    };
    match stored.await {
        Ok(()) => answer(StatusCode::CREATED, Body::empty()),
        Err(error) => {
            let mut response = error.to_response();
            response.extensions_mut().insert(probe);
            response
        }
    }
}

fn fetch(probe: &Probe) -> Response<Body> {
    let mut response = answer(StatusCode::OK, probe.content().into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn answer(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.extensions_mut().insert(Outcome::Probed);
    response
}

/// Compares `body` with the content of `probe`. The error describes what arrived instead.
async fn compare(probe: &Probe, mut body: Body) -> Result<()> {
    let expected = probe.content();
    let received = body.collect_up_to(MAX_BODY).await?;
    if received.as_ref() == Some(&expected) {
        return Ok(());
    }
    let hint = match received.as_deref() {
        Some(b"") => "the body is empty: a proxy or other intermediary between KAZOO and this service drops it",
        Some(text) if text.starts_with(b"c29tZSByYW5kb20g") => {
            "the body is base64: set this service to decode it (base64 declared or detect), or base64_encode_data to false"
        }
        Some(text) if text.starts_with(b"--") || text.starts_with(b"\r\n--") => {
            "the body is multipart, but its content-type is not: a proxy or other intermediary between KAZOO and this service changes it"
        }
        _ => "the body has other content: a proxy or other intermediary between KAZOO and this service changes it",
    };
    Err(Error::new(
        ErrorKind::InvalidProbe,
        format!("the credentials test file does not have the content that its name implies; {hint}"),
    ))
}
