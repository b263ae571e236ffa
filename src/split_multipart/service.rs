use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Method, Request, Response, header, request};
use http_body::Body as HttpBody;
use tower_service::Service;

use super::{
    body::Parts,
    boundary::{ContentType, FirstLine, of_content_type, of_first_line},
    headers::PartHeaders,
};
use crate::{
    body::{Body, poll_data},
    encoding::{ContentEncoding, media_type},
    error::{BoxError, Error, ErrorKind, Result},
    framing::guard,
    metadata::{MediaPart, Metadata},
    reject::{ResponseFuture, take_ready},
};

/// KAZOO up to 4.3.105 sends the `content-type` a second time under this name.
const UNDERSCORED_CONTENT_TYPE: HeaderName = HeaderName::from_static("content_type");

/// Service of [`SplitMultipart`](super::SplitMultipart).
#[derive(Clone, Debug)]
pub struct SplitMultipartService<S> {
    pub(super) inner: S,
    pub(super) max_metadata: usize,
}

impl<S, B, ResBody> Service<Request<B>> for SplitMultipartService<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Future: Send,
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
        let (mut head, body) = request.into_parts();
        let body = guard(&mut head, body);
        let request = Request::from_parts(head, body);
        let mut types = request.headers().get_all(header::CONTENT_TYPE).iter();
        let content_type = match (request.method(), types.next()) {
            (&Method::PUT | &Method::POST, Some(value)) if types.all(|other| other == value) => {
                of_content_type(value.as_bytes())
            }
            (&Method::PUT | &Method::POST, Some(_)) => {
                let message = "the request has more than one content-type; nothing was stored: send one";
                return ResponseFuture::ready(Error::new(ErrorKind::InvalidRequest, message).into_response());
            }
            _ => ContentType::Plain,
        };
        let boundary = match content_type {
            ContentType::Plain => return ResponseFuture::inner(self.inner.call(request)),
            ContentType::Invalid => {
                let message = "the boundary in the content-type is empty, too long, or has unprintable characters";
                return ResponseFuture::ready(Error::new(ErrorKind::InvalidMultipart, message).into_response());
            }
            ContentType::Undelimited => None,
            ContentType::Multipart(boundary) => Some(boundary),
        };
        let mut inner = take_ready(&mut self.inner);
        let max_metadata = self.max_metadata;
        ResponseFuture::work(async move {
            match split(request, boundary, max_metadata).await {
                Ok(request) => Ok(inner.call(request).await?.map(Body::new)),
                Err(error) => Ok(error.into_response()),
            }
        })
    }
}

/// Reads up to the media part, and makes it the request's body.
async fn split(request: Request<Body>, boundary: Option<String>, max_metadata: usize) -> Result<Request<Body>> {
    let (mut head, mut body) = request.into_parts();
    ContentEncoding::refuse_any(&head.headers)?;
    let (ahead, boundary) = match boundary {
        Some(boundary) => (Bytes::new(), boundary),
        None => read_boundary(&mut body).await?,
    };
    let mut parts = Parts::new(ahead, body, &boundary);
    let first = parts.next().await?.ok_or_else(|| {
        let message = "the multipart body has no part; KAZOO sends the JSON and then the media";
        Error::new(ErrorKind::InvalidMultipart, message)
    })?;
    let media = if is_json(&first) {
        let json = parts.collect_up_to(max_metadata).await?.ok_or_else(|| {
            let message =
                format!("part 1 of the multipart body, the JSON metadata, is over the limit of {max_metadata} bytes");
            Error::new(ErrorKind::TooLarge, message)
        })?;
        let metadata = Metadata::from_json(json).map_err(|error| {
            let message = format!("part 1 of the multipart body: {error}");
            Error::new(error.kind(), message).with_source(error)
        })?;
        head.extensions.insert(metadata);
        parts.next().await?.ok_or_else(|| {
            let message = "the multipart body has no media: nothing follows part 1, the JSON metadata";
            Error::new(ErrorKind::InvalidMultipart, message)
        })?
    } else {
        first
    };
    describe(&mut head, media);
    Ok(Request::from_parts(head, parts.into_media()))
}

/// Reads the first line of `body`, which is the delimiter when the `content-type` names no boundary.
async fn read_boundary(body: &mut Body) -> Result<(Bytes, String)> {
    let mut ahead = BytesMut::new();
    loop {
        let invalid = match of_first_line(&ahead) {
            FirstLine::Boundary(boundary) => return Ok((ahead.freeze(), boundary)),
            FirstLine::Incomplete => poll_fn(|cx| poll_data(Pin::new(&mut *body), cx)).await.transpose()?,
            FirstLine::Invalid => None,
        };
        let Some(data) = invalid else {
            let message = "the content-type names no boundary, and the body does not begin with a delimiter line";
            return Err(Error::new(ErrorKind::InvalidMultipart, message));
        };
        ahead.extend_from_slice(&data);
    }
}

fn is_json(part: &PartHeaders) -> bool {
    let content_type = part.content_type.as_ref().map(HeaderValue::as_bytes);
    content_type.is_some_and(|value| media_type(value).eq_ignore_ascii_case(b"application/json"))
}

/// Makes `head` that of a plain upload of `media`.
fn describe(head: &mut request::Parts, media: PartHeaders) {
    head.extensions.insert(MediaPart::new(media.transfer_encoding));
    let headers = &mut head.headers;
    for of_the_whole in [
        header::CONTENT_TYPE,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        UNDERSCORED_CONTENT_TYPE,
    ] {
        headers.remove(of_the_whole);
    }
    if let Some(content_type) = media.content_type {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
}
