//! [`Handler`]: KAZOO's storage handler with its settings, and what it puts on the wire. No I/O.

use std::fmt;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, header};

use super::{
    attachment::Attachment,
    dialect::{Dialect, FetchTarget},
    multipart::{self, Boundary},
    name::name,
    url::{StorageUrl, not_sent},
};
use kazoo_storage::{
    Result,
    settings::raw::{Folders, RawSettings},
};

/// The name of the header that older releases repeat the `content-type` in.
const CONTENT_TYPE_AGAIN: HeaderName = HeaderName::from_static("content_type");

/// KAZOO's HTTP storage handler with the settings that an administrator gave it.
///
/// It makes requests and sends none, so that another client can: [`Client`](super::Client) is the one at hand.
///
/// ```
/// use kazoo_storage_client::{Attachment, Boundary, Dialect, Document, Handler};
///
/// let handler = Handler::new("http://user:secret@storage.example.com:8080/some_prefix")?;
/// let document = Document::from_json(r#"{"_id":"DOC","folder":"new"}"#)?;
/// let message = Attachment::new("ACC", document, "message.mp3", "ID3…");
///
/// let store = handler.store(&Dialect::D3, &message, &Boundary::random()?)?;
/// assert_eq!(store.request.uri(), "/some_prefix/ACC/DOC/message.mp3");
/// let fetch = handler.fetch(&Dialect::D3, &store.url, &message)?;
/// assert_eq!(
///     fetch.request.uri(),
///     "/some_prefix/ACC/DOC/message.mp3/ACC/DOC/message.mp3?folder=new&id=DOC"
/// );
/// # Ok::<(), kazoo_storage::Error>(())
/// ```
#[derive(Clone)]
pub struct Handler {
    url: StorageUrl,
    settings: RawSettings,
}

/// What KAZOO stores a file with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// PUT.
    Put,
    /// POST.
    Post,
}

/// A request on its way: what is sent, and where to.
///
/// The request's target is path and query alone, as it stands in the request line, and its headers are in KAZOO's order, so
/// that hyper's HTTP/1 client puts on the wire what KAZOO does, byte for byte.
#[derive(Clone)]
pub struct Outgoing {
    /// The URL that is asked for; of a store, the one that KAZOO keeps to fetch the file by.
    pub url: StorageUrl,
    /// What is sent.
    pub request: Request<Bytes>,
}

impl Handler {
    /// A handler that stores raw bodies with PUT below `url`, with KAZOO's default names.
    pub fn new(url: impl Into<String>) -> Result<Self> {
        let url = StorageUrl::parse(url)?;
        let settings = RawSettings {
            url: url.as_str().to_owned(),
            verb: Method::PUT,
            send_multipart: false,
            base64_encode_data: false,
            field_list: None,
            field_separator: None,
            file: None,
            folders: Folders::default(),
        };
        Ok(Self { url, settings })
    }

    /// The handler with these settings: an object of them, or a storage document with one HTTP handler, as
    /// [`KazooSettings`](kazoo_storage::KazooSettings) reads it. What that refuses because nothing can come of it is taken here:
    /// KAZOO takes it too.
    pub fn from_json(json: &str) -> Result<Self> {
        let settings = RawSettings::from_json(json)?;
        let url = StorageUrl::parse(&*settings.url)?;
        Ok(Self { url, settings })
    }

    /// Stores with this verb.
    #[must_use]
    pub fn verb(mut self, verb: Verb) -> Self {
        self.settings.verb = match verb {
            Verb::Put => Method::PUT,
            Verb::Post => Method::POST,
        };
        self
    }

    /// The setting `send_multipart`.
    #[must_use]
    pub fn send_multipart(mut self, on: bool) -> Self {
        self.settings.send_multipart = on;
        self
    }

    /// The setting `base64_encode_data`, which does nothing without `send_multipart`.
    #[must_use]
    pub fn base64_encode_data(mut self, on: bool) -> Self {
        self.settings.base64_encode_data = on;
        self
    }

    /// The URL of the settings.
    #[must_use]
    pub fn url(&self) -> &StorageUrl {
        &self.url
    }

    /// The URL that `attachment` is stored at, and kept by.
    #[must_use]
    pub fn url_of(&self, dialect: &Dialect, attachment: &Attachment) -> StorageUrl {
        self.url.with_name(&name(&self.settings, dialect, attachment), false)
    }

    /// The request that stores `attachment`.
    ///
    /// [`ErrorKind::InvalidRequest`](kazoo_storage::ErrorKind::InvalidRequest) where KAZOO sends nothing, or what is no HTTP: a name
    /// or a folder that no request line can hold, credentials that it crashes on.
    pub fn store(&self, dialect: &Dialect, attachment: &Attachment, boundary: &Boundary) -> Result<Outgoing> {
        let url = self.url_of(dialect, attachment);
        if dialect.needs_port {
            url.check_user()?;
        }
        let parts = self
            .settings
            .send_multipart
            .then(|| multipart::body(dialect, attachment, self.settings.base64_encode_data, boundary));
        let (content_type, body) = parts
            .flatten()
            .unwrap_or_else(|| (attachment.content_type().to_owned(), attachment.content.clone()));
        let content_type = HeaderValue::try_from(content_type)
            .map_err(|error| not_sent("the media type is no text of a header").with_source(error))?;

        let verb = self.settings.verb.clone();
        outgoing(dialect, verb, url, Some(content_type), body)
    }

    /// The request that fetches `attachment`, which is kept by the URL `stored`, with the settings and the document of
    /// today.
    ///
    /// [`ErrorKind::InvalidMetadata`](kazoo_storage::ErrorKind::InvalidMetadata) for a `null` that would be in the query, on which
    /// KAZOO crashes; otherwise as [`store`](Self::store).
    pub fn fetch(&self, dialect: &Dialect, stored: &StorageUrl, attachment: &Attachment) -> Result<Outgoing> {
        let name = || name(&self.settings, dialect, attachment);
        let url = match dialect.fetch {
            FetchTarget::Stored => stored.clone(),
            FetchTarget::StoredAndName => stored
                .with_name(&name(), false)
                .with_query(&attachment.document.query(dialect)?),
            FetchTarget::SettingsAndName => self
                .url
                .with_name(&name(), true)
                .with_query(&attachment.document.query(dialect)?),
        };
        if dialect.needs_port {
            url.check_user()?;
        }
        let url = if dialect.mangles_credentials {
            url.put_together()?
        } else {
            url
        };
        outgoing(dialect, Method::GET, url, None, Bytes::new())
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Outgoing {
    /// The same request to where a redirect leads, with the credentials of that URL; what becomes a GET has no body.
    pub(super) fn redirected(&self, dialect: &Dialect, url: StorageUrl, method: Method) -> Result<Self> {
        if method == *self.request.method() {
            let content_type = self.request.headers().get(header::CONTENT_TYPE).cloned();
            let body = self.request.body().clone();
            return outgoing(dialect, method, url, content_type, body);
        }
        outgoing(dialect, method, url, None, Bytes::new())
    }
}

/// Shows nothing of the target and of the body, which are about callers.
impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("method", self.request.method())
            .field("url", &self.url)
            .field("len", &self.request.body().len())
            .finish_non_exhaustive()
    }
}

/// A request with its headers in KAZOO's order.
fn outgoing(
    dialect: &Dialect,
    method: Method,
    url: StorageUrl,
    content_type: Option<HeaderValue>,
    body: Bytes,
) -> Result<Outgoing> {
    let again = content_type.clone().filter(|_| dialect.repeats_content_type);
    // KAZOO keeps the URL as is; its HTTP client normalizes it for each request.
    let asked = if dialect.normalizes_url {
        url.check_characters()?;
        url.normalized()
    } else {
        url.clone()
    };
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_LENGTH, Some(body.len().into())),
        // Empty, and sent all the same.
        (header::TE, Some(HeaderValue::from_static(""))),
        (header::HOST, Some(asked.host_header()?)),
        (header::AUTHORIZATION, asked.authorization()?),
        (header::CONNECTION, Some(HeaderValue::from_static("keep-alive"))),
        (CONTENT_TYPE_AGAIN, again),
    ];
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = asked.target()?;
    let headers = headers.into_iter().filter_map(|(name, value)| Some((name, value?)));
    request.headers_mut().extend(headers);
    Ok(Outgoing { url, request })
}
