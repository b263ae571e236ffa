//! [`Handler`]: KAZOO's storage handler with its settings. No I/O.

use std::fmt;

use bytes::Bytes;
use http::{HeaderValue, Method};
use kazoo_storage::{
    Result,
    settings::{Folders, RawSettings, StorageUrl},
};

use super::{
    attachment::Attachment,
    dialect::{Dialect, FetchTarget},
    multipart::{self, Boundary},
    name::name,
    request::{Outgoing, not_sent},
};

/// KAZOO's HTTP storage handler with an administrator's settings.
///
/// It builds requests and sends none, so it works with any HTTP client; [`Client`](super::Client) is one.
///
/// ```
/// use kazoo_storage_client::{Attachment, Boundary, Dialect, Document, Handler};
///
/// let handler = Handler::new("http://user:secret@storage.example.com:8080/some_prefix")?;
/// let document = Document::from_json(r#"{"_id":"DOC","folder":"new"}"#)?;
/// let message = Attachment::new("ACC", document, "message.mp3", "ID3…");
///
/// let store = handler.store(&Dialect::KAZOO_4_3_106, &message, &Boundary::random()?)?;
/// assert_eq!(store.request.uri(), "/some_prefix/ACC/DOC/message.mp3");
/// let fetch = handler.fetch(&Dialect::KAZOO_4_3_106, &store.url, &message)?;
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

/// The HTTP method of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// PUT.
    Put,
    /// POST.
    Post,
}

impl Handler {
    /// Creates a handler that stores raw bodies with PUT below `url`, under KAZOO's default names.
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

    /// Reads the settings from a JSON object, or from a storage document with one HTTP handler.
    ///
    /// Accepts what KAZOO accepts, including settings that [`KazooSettings`](kazoo_storage::settings::KazooSettings) rejects because no
    /// server can store files by them.
    pub fn from_json(json: &str) -> Result<Self> {
        let settings = RawSettings::from_json(json)?;
        let url = StorageUrl::parse(&*settings.url)?;
        Ok(Self { url, settings })
    }

    /// Sets the `verb`.
    #[must_use]
    pub fn verb(mut self, verb: Verb) -> Self {
        self.settings.verb = match verb {
            Verb::Put => Method::PUT,
            Verb::Post => Method::POST,
        };
        self
    }

    /// Sets `send_multipart`.
    #[must_use]
    pub fn send_multipart(mut self, on: bool) -> Self {
        self.settings.send_multipart = on;
        self
    }

    /// Sets `base64_encode_data`, which has no effect without `send_multipart`.
    #[must_use]
    pub fn base64_encode_data(mut self, on: bool) -> Self {
        self.settings.base64_encode_data = on;
        self
    }

    /// Returns the settings.
    #[must_use]
    pub fn settings(&self) -> &RawSettings {
        &self.settings
    }

    /// Returns the URL of the settings.
    #[must_use]
    pub fn url(&self) -> &StorageUrl {
        &self.url
    }

    /// Returns the URL at which KAZOO stores `attachment`.
    #[must_use]
    pub fn url_of(&self, dialect: &Dialect, attachment: &Attachment) -> StorageUrl {
        self.url.with_name(&name(&self.settings, dialect, attachment))
    }

    /// Builds the request that stores `attachment`.
    ///
    /// Returns [`ErrorKind::InvalidRequest`](kazoo_storage::ErrorKind::InvalidRequest) if KAZOO sends no valid request: for a
    /// name or a folder that no request line can hold, or for credentials on which it crashes.
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
            .map_err(|error| not_sent("the media type has characters that no header can hold").with_source(error))?;

        let verb = self.settings.verb.clone();
        Outgoing::new(dialect, verb, url, Some(content_type), body)
    }

    /// Builds the request that fetches `attachment`, stored at the URL `stored`, with the current settings and document.
    ///
    /// Returns [`ErrorKind::InvalidMetadata`](kazoo_storage::ErrorKind::InvalidMetadata) for a `null` in the query, on which
    /// KAZOO crashes; otherwise the errors of [`store`](Self::store).
    pub fn fetch(&self, dialect: &Dialect, stored: &StorageUrl, attachment: &Attachment) -> Result<Outgoing> {
        let name = || name(&self.settings, dialect, attachment);
        let url = match dialect.fetch {
            FetchTarget::Stored => stored.clone(),
            FetchTarget::StoredAndName => stored
                .with_name(&name())
                .with_query(&attachment.document.query(dialect)?),
            FetchTarget::SettingsAndName => self
                .url
                .with_name_untrimmed(&name())
                .with_query(&attachment.document.query(dialect)?),
        };
        if dialect.needs_port {
            url.check_user()?;
        }
        let url = if dialect.mangles_credentials {
            url.reassembled()?
        } else {
            url
        };
        Outgoing::new(dialect, Method::GET, url, None, Bytes::new())
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}
