use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header, request};
use http_body::Body as HttpBody;
use tower_service::Service;

use super::{fetch::fetch, store::store};
use crate::{
    body::Body,
    error::{BoxError, Error, ErrorKind, Result},
    framing::guard,
    key::BlobKey,
    store::BlobStore,
};

/// Innermost service: answers requests with a [`BlobKey`] from a [`BlobStore`].
///
/// It expects the key among the request's extensions, where [`ExtractKey`](crate::ExtractKey) inserts it, and the
/// [`Metadata`](crate::Metadata), if any, where [`SplitMultipart`](crate::SplitMultipart) inserts it.
///
/// | request | response |
/// | --- | --- |
/// | PUT, POST | 201 when the whole body is stored, even if it replaces an older file |
/// | GET | 200 with the file and the media type it was stored with; 404; 302 if the store returns another location |
/// | GET with `Range` | 206, or 416; several ranges at once are answered with the whole file |
/// | GET, HEAD with `If-None-Match`, `If-Modified-Since`, `If-Match`, `If-Unmodified-Since` | 304 or 412 as required |
/// | PUT, POST with `If-Match`, `If-None-Match`, `If-Unmodified-Since` | 412 as required, and nothing is stored; 400 for a malformed list of entity tags |
/// | HEAD | the headers of GET |
/// | any other | 405 with `Allow` |
///
/// KAZOO accepts only 200 for a fetch, and crashes on 206 and 304. It never sends the headers that request them.
///
/// A 201 requires two things: the store reports success, and [`ServeBlobs`] itself has seen the clean end of the body.
/// Over HTTP/2 that is the declared length or the end of the stream: a body wrapper in front that does not forward
/// `is_end_stream` makes uploads without `content-length` a 400.
///
/// A fetch that fails midway never looks complete: files up to 64 KiB are read before the response starts, and larger
/// ones are sent in chunks to KAZOO (which sends neither `user-agent` nor `accept`), because its older HTTP clients
/// accept a body shorter than its `content-length` as complete. A client that uses HTTP/1.0, such as nginx by default,
/// does not support chunks: its responses have a `content-length`.
///
/// The conditions of an upload are evaluated twice: before the body is read, so that the client need not send a body
/// that would be rejected, and by the store when it commits ([`Precondition`](crate::store::Precondition)). The store's
/// result is decisive. Of several uploads with `If-None-Match: *`, or with the same entity tag in `If-Match`, exactly
/// one is stored.
///
/// A range is sent to a client whose `If-Range` names the strong entity tag, or exactly the date, of its copy. A date
/// identifies one version: `Last-Modified` is omitted in the second in which the file was stored, while another upload
/// may still replace it, and a date in a condition never matches a file in that second.
///
/// A browser displays audio, raster images, video, PDF and plain text; any other file has
/// `content-disposition: attachment`. A fetch is `cache-control: private, no-cache`, or `no-store` if the
/// [`Grant`](crate::Grant) is by address alone; a redirect and an error are `no-store`.
///
/// A store that is [`Unavailable`](crate::ErrorKind::Unavailable) is a 503 with `Retry-After`: KAZOO's client waits and
/// repeats the request, so that nothing is lost. [`RetryAfter`](crate::RetryAfter) limits how long.
///
/// ```
/// use http::{Request, StatusCode};
/// use http_body_util::BodyExt;
/// use kazoo_storage::{Body, ExtractKey, MemoryStore, PathKey, ServeBlobs};
/// use tower::{ServiceBuilder, ServiceExt};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let service = ServiceBuilder::new().layer(ExtractKey::new(PathKey)).service(ServeBlobs::new(MemoryStore::new()));
/// let put = Request::put("/ACC/DOC/ATT.mp3").header("content-type", "audio/mpeg").body(Body::from("ID3")).unwrap();
/// assert_eq!(service.clone().oneshot(put).await.unwrap().status(), StatusCode::CREATED);
/// let get = Request::get("/ACC/DOC/ATT.mp3").body(Body::empty()).unwrap();
/// let answer = service.oneshot(get).await.unwrap();
/// assert_eq!(answer.headers()["content-type"], "audio/mpeg");
/// assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ID3");
/// # });
/// ```
pub struct ServeBlobs<S> {
    store: Arc<S>,
}

impl<S: BlobStore> ServeBlobs<S> {
    /// Serves the files of `store`.
    pub fn new(store: S) -> Self {
        Self { store: Arc::new(store) }
    }
}

impl<S: BlobStore, B> Service<Request<B>> for ServeBlobs<S>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let store = Arc::clone(&self.store);
        let (mut head, body) = request.into_parts();
        let body = guard(&mut head, body);
        Box::pin(async move {
            Ok(answer(&*store, head, body)
                .await
                .unwrap_or_else(|error| error.to_response()))
        })
    }
}

impl<S> Clone for ServeBlobs<S> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
        }
    }
}

impl<S> fmt::Debug for ServeBlobs<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeBlobs").finish_non_exhaustive()
    }
}

async fn answer<S: BlobStore>(blobs: &S, head: request::Parts, body: Result<Body>) -> Result<Response<Body>> {
    let key = head.extensions.get::<BlobKey>().cloned().ok_or_else(|| {
        let message = "the request has no BlobKey among its extensions; put ExtractKey in front of ServeBlobs";
        Error::new(ErrorKind::Internal, message)
    })?;
    match head.method {
        Method::PUT | Method::POST => store(blobs, &key, head, body?).await,
        Method::GET | Method::HEAD => fetch(blobs, &head).await,
        _ => Ok(method_not_allowed()),
    }
}

fn method_not_allowed() -> Response<Body> {
    let message = "the method is not supported; KAZOO stores with PUT or POST and fetches with GET";
    let mut response = Error::new(ErrorKind::MethodNotAllowed, message).to_response();
    let allow = HeaderValue::from_static("GET, HEAD, PUT, POST");
    response.headers_mut().insert(header::ALLOW, allow);
    response
}
