use std::{future::poll_fn, pin::Pin};

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Method, Request, header, request};
use http_body::Body as HttpBody;

use super::{
    SplitMultipart,
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
    rewrite::{Rewrite, Rewritten},
};

/// KAZOO up to 4.3.105 sends the `content-type` a second time under this name.
const UNDERSCORED_CONTENT_TYPE: HeaderName = HeaderName::from_static("content_type");

impl<B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static> Rewrite<B> for SplitMultipart {
    type Body = Body;

    fn rewrite(&self, request: Request<B>) -> Rewritten<Body> {
        let (mut head, body) = request.into_parts();
        let (body, content_type) = match guard(&mut head, body).and_then(|body| Ok((body, content_type(&head)?))) {
            Ok(request) => request,
            Err(error) => return error.into(),
        };
        let boundary = match content_type {
            ContentType::Plain => return Rewritten::Request(Request::from_parts(head, body)),
            ContentType::Undelimited => None,
            ContentType::Multipart(boundary) => Some(boundary),
            ContentType::Invalid => {
                let message = "the boundary in the content-type is empty, too long, or has unprintable characters";
                return Error::new(ErrorKind::InvalidMultipart, message).into();
            }
        };
        Rewritten::later(split(head, body, boundary, self.max_metadata))
    }
}

/// The type of an upload's body. The bodies of other requests are not split.
fn content_type(head: &request::Parts) -> Result<ContentType> {
    let mut types = head.headers.get_all(header::CONTENT_TYPE).iter();
    match (&head.method, types.next()) {
        (&Method::PUT | &Method::POST, Some(value)) if types.all(|other| other == value) => {
            Ok(of_content_type(value.as_bytes()))
        }
        (&Method::PUT | &Method::POST, Some(_)) => {
            let message = "the request has two different content-types: send one";
            Err(Error::new(ErrorKind::InvalidRequest, message))
        }
        _ => Ok(ContentType::Plain),
    }
}

/// Reads up to the media part, and makes it the request's body.
async fn split(
    mut head: request::Parts,
    mut body: Body,
    boundary: Option<String>,
    max_metadata: usize,
) -> Result<Request<Body>> {
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
