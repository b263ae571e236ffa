//! GET and HEAD.

use std::{ops::Range, time::SystemTime};

use http::{HeaderValue, Method, Response, StatusCode, Uri, Version, header, request};

use super::{
    body::ExactLength,
    conditions::{self, Verdict},
    headers, range,
};
use crate::{
    body::Body,
    error::{Error, ErrorKind, Result},
    key::{BlobKey, Candidates},
    outcome::Outcome,
    store::{Blob, BlobInfo, BlobStore, ByteRange, GetResult},
};

/// Maximum length of a file that is read before the response starts, in bytes.
const READ_AHEAD: u64 = 64 << 10;

/// Maximum number of attempts to fetch a range of a file that is replaced between `head` and `get`.
const MAX_ATTEMPTS: usize = 8;

/// Responds with the first candidate that exists.
pub(super) async fn fetch<S: BlobStore>(store: &S, head: &request::Parts) -> Result<Response<Body>> {
    let one;
    let candidates = match (head.extensions.get::<Candidates>(), head.extensions.get::<BlobKey>()) {
        (Some(candidates), _) => candidates,
        (None, Some(key)) => {
            one = Candidates::from(key.clone());
            &one
        }
        (None, None) => {
            return Err(Error::new(
                ErrorKind::Internal,
                "the request has no BlobKey among its extensions",
            ));
        }
    };
    for key in candidates.iter() {
        match fetch_one(store, key, head).await {
            // The next candidate may exist.
            Err(error) if error.is_not_found() => {}
            answered => return answered,
        }
    }
    Err(Error::new(
        ErrorKind::NotFound,
        "no file is stored under this name, nor under a shorter one that it may refer to",
    ))
}

async fn fetch_one<S: BlobStore>(store: &S, key: &BlobKey, head: &request::Parts) -> Result<Response<Body>> {
    let is_head = head.method == Method::HEAD;
    let wanted = if is_head { None } else { range::requested(&head.headers) };
    if wanted.is_none() && !is_head && !conditions::any(&head.headers) {
        return match store.get(key, None).await? {
            GetResult::Blob(blob) => send(key, blob, head, StatusCode::OK).await,
            GetResult::Redirect(location) => redirect(key, &location),
        };
    }
    for _ in 0..MAX_ATTEMPTS {
        let info = store.head(key).await?;
        let now = SystemTime::now();
        match conditions::of_fetch(&head.headers, &info, now) {
            Verdict::Proceed => {}
            Verdict::NotModified => return Ok(not_modified(key, &info, head)),
            Verdict::Failed => {
                let message = "the file under this name does not meet the conditions of the request";
                return Err(Error::new(ErrorKind::PreconditionFailed, message));
            }
        }
        if is_head {
            return Ok(describe(key, &info, head));
        }
        let range = match wanted.filter(|_| conditions::range_holds(&head.headers, &info, now)) {
            Some(wanted) => match wanted.of(info.len) {
                // Passes both ends, so that the range denotes the same bytes to the store.
                Ok(range) => Some(ByteRange::FromTo(range.start, range.end - 1)),
                Err(error) => return Ok(not_satisfiable(&error, info.len)),
            },
            None => None,
        };
        match store.get(key, range).await {
            Ok(GetResult::Redirect(location)) => return redirect(key, &location),
            Ok(GetResult::Blob(blob)) if blob.info == info => {
                let partial = range.map_or(StatusCode::OK, |_| StatusCode::PARTIAL_CONTENT);
                return send(key, blob, head, partial).await;
            }
            // The file was replaced between `head` and `get`.
            Ok(GetResult::Blob(_)) => {}
            Err(error) if error.kind() == ErrorKind::RangeNotSatisfiable => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::new(
        ErrorKind::Unavailable,
        "the file is being replaced faster than it can be read; fetch it again",
    ))
}

/// Responds with the bytes of `blob`: 200, or 206 for a range, even if it covers the whole file.
async fn send(key: &BlobKey, blob: Blob, head: &request::Parts, status: StatusCode) -> Result<Response<Body>> {
    let Blob { info, range, mut body } = blob;
    let Range { start, end } = range;
    let len = end.saturating_sub(start);
    if len <= READ_AHEAD {
        let read = body
            .collect_up_to(usize::try_from(len).unwrap_or(usize::MAX))
            .await
            .map_err(unreadable)?;
        match read {
            Some(read) if read.len() as u64 == len => body = Body::from(read),
            _ => {
                let message = "the store returned fewer or more bytes than it announced";
                return Err(Error::new(ErrorKind::Internal, message));
            }
        }
    } else {
        body = Body::new(ExactLength::new(body, len, accepts_chunks(head)));
    }
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if status == StatusCode::PARTIAL_CONTENT {
        let last = end.saturating_sub(1);
        content_range(&mut response, format!("bytes {start}-{last}/{}", info.len));
    }
    headers::file(response.headers_mut(), &info, head);
    response.extensions_mut().insert(Outcome::Fetched {
        key: key.clone(),
        len: info.len,
    });
    Ok(response)
}

/// Returns `true` if the client is KAZOO, which sends neither `user-agent` nor `accept`, and accepts chunks. A response
/// over HTTP/1.0 has no chunks: without a length, a truncated body would be indistinguishable from a complete one.
fn accepts_chunks(head: &request::Parts) -> bool {
    let is_kazoo = !head.headers.contains_key(header::USER_AGENT) && !head.headers.contains_key(header::ACCEPT);
    is_kazoo && head.version >= Version::HTTP_11
}

/// Converts an error of a stored file's body. Other bodies come from the client, so their errors have another status.
fn unreadable(error: Error) -> Error {
    if error.kind() == ErrorKind::IncompleteBody {
        Error::new(ErrorKind::Unavailable, "the stored file cannot be read at the moment").with_source(error)
    } else {
        error
    }
}

fn describe(key: &BlobKey, info: &BlobInfo, head: &request::Parts) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    headers::file(response.headers_mut(), info, head);
    response.headers_mut().insert(header::CONTENT_LENGTH, info.len.into());
    response
        .extensions_mut()
        .insert(Outcome::Described { key: key.clone() });
    response
}

fn not_modified(key: &BlobKey, info: &BlobInfo, head: &request::Parts) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    headers::version(response.headers_mut(), info, head);
    response
        .extensions_mut()
        .insert(Outcome::NotModified { key: key.clone() });
    response
}

fn not_satisfiable(error: &Error, len: u64) -> Response<Body> {
    let mut response = error.to_response();
    content_range(&mut response, format!("bytes */{len}"));
    response
}

fn content_range(response: &mut Response<Body>, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(header::CONTENT_RANGE, value);
    }
}

fn redirect(key: &BlobKey, location: &Uri) -> Result<Response<Body>> {
    let location = Some(location)
        .filter(|location| location.scheme().is_some() && location.authority().is_some())
        .and_then(|location| HeaderValue::try_from(location.to_string()).ok())
        .ok_or_else(|| Error::new(ErrorKind::Internal, "the store redirects to a URI that is not absolute"))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::FOUND;
    response.headers_mut().insert(header::LOCATION, location);
    // A signed URL grants access to anyone who has it.
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, no_store);
    response
        .extensions_mut()
        .insert(Outcome::Redirected { key: key.clone() });
    Ok(response)
}
