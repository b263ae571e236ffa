//! The requests that reach the inner service, or the uploads that reach the store.

use std::{
    convert::Infallible,
    future::Future,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http::{Extensions, HeaderMap, Method, Request, Response, Uri, Version, header};
use http_body::{Body as HttpBody, SizeHint};
use http_body_util::BodyExt as _;
use kazoo_storage::{
    BlobInfo, BlobKey, BlobStore, Body, ByteRange, Error, ErrorKind, GetResult, MemoryStore, Metadata, PutResult,
    Upload, error::BoxError, key::Candidates, metadata::MediaPart,
};
use tower::Service;

/// An extension that no layer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark(pub(crate) u32);

/// A body, read to its end and polled again.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Read {
    pub(crate) data: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
    /// The kind and the message of the error it ended with.
    pub(crate) end: Result<(), (ErrorKind, String)>,
    /// `true` if `is_end_stream` confirms the end.
    pub(crate) confirmed: bool,
    /// `true` if it ended cleanly or returned data when it was polled again after its error.
    pub(crate) recants: bool,
}

/// Reads `body` to its end, and polls it again after an error.
pub(crate) async fn read<B>(body: B) -> Read
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let mut body = pin!(body);
    let mut data = BytesMut::new();
    let mut trailers = None;
    let end = loop {
        match body.frame().await {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(chunk) => data.extend_from_slice(&chunk),
                Err(frame) => trailers = frame.into_trailers().ok(),
            },
            Some(Err(error)) => {
                let error = Error::from_body(error);
                break Err((error.kind(), error.message().to_owned()));
            }
            None => break Ok(()),
        }
    };
    let confirmed = body.is_end_stream();
    let mut recants = false;
    for _ in 0..3 {
        recants |= end.is_err() && (body.is_end_stream() || !matches!(body.frame().await, Some(Err(_))));
    }
    Read {
        data: data.freeze(),
        trailers,
        end,
        confirmed,
        recants,
    }
}

/// A request as it reached the inner service, or an upload as it reached the store.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) extensions: Extensions,
    pub(crate) hint: SizeHint,
    pub(crate) body: Read,
}

impl Seen {
    pub(crate) fn key(&self) -> Option<&BlobKey> {
        self.extensions.get()
    }

    pub(crate) fn metadata(&self) -> Option<&Metadata> {
        self.extensions.get()
    }

    /// The head of the same request.
    pub(crate) fn head(&self) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = self.version;
        *request.headers_mut() = self.headers.clone();
        *request.extensions_mut() = self.extensions.clone();
        request
    }

    /// Text that identifies the request. The data before an error may vary.
    pub(crate) fn fingerprint(&self) -> String {
        let body = match &self.body.end {
            Ok(()) => format!("{} {:?}", summary(&self.body.data), self.body.trailers),
            Err(error) => format!("{error:?}"),
        };
        format!(
            "{} {} {:?} {:?} key {:?} candidates {:?} metadata {:?} media part {:?} mark {:?} body {body}",
            self.method,
            self.uri,
            self.version,
            self.headers,
            self.key(),
            self.extensions.get::<Candidates>(),
            self.metadata().map(Metadata::as_json),
            self.extensions.get::<MediaPart>(),
            self.extensions.get::<Mark>(),
        )
    }
}

/// The bytes if they are few, otherwise their number, their start and a hash of all.
pub(crate) fn summary(data: &Bytes) -> String {
    if data.len() <= 64 {
        return format!("{data:?}");
    }
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    format!("{} bytes, {:x}, {:?}…", data.len(), hasher.finish(), data.slice(..32))
}

#[derive(Debug, Default)]
struct Log {
    seen: Vec<Seen>,
    called_unready: usize,
}

/// The innermost service. Records the requests, and calls without readiness.
///
/// It becomes ready on the second poll. A clone of it is not ready.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    log: Arc<Mutex<Log>>,
    polled: bool,
    ready: bool,
}

impl Recorder {
    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.log.lock().unwrap().seen)
    }

    pub(crate) fn called_unready(&self) -> usize {
        self.log.lock().unwrap().called_unready
    }

    /// A store that records its uploads here.
    pub(crate) fn store(&self) -> RecordingStore {
        RecordingStore {
            log: Arc::clone(&self.log),
            memory: MemoryStore::new(),
        }
    }
}

impl Clone for Recorder {
    fn clone(&self) -> Self {
        Self {
            log: Arc::clone(&self.log),
            polled: false,
            ready: false,
        }
    }
}

impl<B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static> Service<Request<B>> for Recorder {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if std::mem::replace(&mut self.polled, true) {
            self.ready = true;
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.polled = false;
        if !std::mem::take(&mut self.ready) {
            self.log.lock().unwrap().called_unready += 1;
        }
        let log = Arc::clone(&self.log);
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = Body::new(body);
            let hint = body.size_hint();
            let body = read(body).await;
            let end = body.end.clone();
            log.lock().unwrap().seen.push(Seen {
                method: head.method,
                uri: head.uri,
                version: head.version,
                headers: head.headers,
                extensions: head.extensions,
                hint,
                body,
            });
            Ok(match end {
                Ok(()) => Response::new(Body::from("inner")),
                Err((kind, message)) => Error::new(kind, message).to_response(),
            })
        })
    }
}

/// A [`MemoryStore`] that records every upload as an equivalent PUT.
#[derive(Debug)]
pub(crate) struct RecordingStore {
    log: Arc<Mutex<Log>>,
    memory: MemoryStore,
}

impl BlobStore for RecordingStore {
    async fn put(&self, upload: Upload) -> Result<PutResult, Error> {
        let hint = upload.len.map_or_else(SizeHint::default, SizeHint::with_exact);
        let mut headers = HeaderMap::new();
        if let Some(content_type) = &upload.content_type {
            headers.insert(header::CONTENT_TYPE, content_type.clone());
        }
        let mut extensions = Extensions::new();
        if let Some(metadata) = &upload.metadata {
            extensions.insert(metadata.clone());
        }
        let body = read(upload.body).await;
        let end = body.end.clone();
        let data = body.data.clone();
        self.log.lock().unwrap().seen.push(Seen {
            method: Method::PUT,
            uri: format!("/{}", upload.key).parse().unwrap(),
            version: Version::HTTP_11,
            headers,
            extensions,
            hint,
            body,
        });
        if let Err((kind, message)) = end {
            return Err(Error::new(kind, message));
        }
        let mut whole = Upload::new(upload.key, data);
        whole.content_type = upload.content_type;
        whole.metadata = upload.metadata;
        self.memory.put(whole).await
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<GetResult, Error> {
        self.memory.get(key, range).await
    }

    async fn head(&self, key: &BlobKey) -> Result<BlobInfo, Error> {
        self.memory.head(key).await
    }

    async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>, Error> {
        self.memory.metadata(key).await
    }
}
