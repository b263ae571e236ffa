//! [`FileRecord`]: what the ledger knows of a file.

use std::{fmt, time::SystemTime};

use kazoo_storage::{BlobKey, Metadata, digest::Digest, kazoo_id::AttachmentKind};
/// Maximum length of a call id, a number or a media type in the ledger, in bytes. A longer one is left out.
const MAX_FIELD: usize = 255;

/// A file that the store has, or had.
///
/// `Debug` shows neither numbers nor metadata.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileRecord {
    /// The key of the file. Its accessors return the account, the owner, the document and the attachment.
    pub key: BlobKey,
    /// The kind of the file, or `None` for others, such as greetings.
    pub kind: Option<AttachmentKind>,
    /// The length of the content, in bytes.
    pub size: u64,
    /// The digest of the content. `None` if [`reindex`](crate::Ledger::reindex) found none, or none was set.
    pub sha256: Option<Digest>,
    /// The media type of the upload, if it is at most 255 bytes.
    pub content_type: Option<String>,
    /// The time at which the file was recorded; after [`reindex`](crate::Ledger::reindex), at which it was stored.
    pub stored_at: SystemTime,
    /// The document of the upload, if there was one. Always `None` in an [undelivered event](crate::events::Undelivered) of a
    /// listing: [`Ledger::event_metadata`](crate::Ledger::event_metadata) returns it.
    pub metadata: Option<Metadata>,
    /// The id of the call: the field `call_id` of the document. Like the numbers, only if it is at most 255 bytes.
    pub call_id: Option<String>,
    /// The number of the caller: `caller_id_number`, or `from_number` of a fax.
    pub caller_number: Option<String>,
    /// The number that was called: `callee_id_number`, `to_number` of a fax, or `to_user` of a voicemail.
    pub callee_number: Option<String>,
}

impl FileRecord {
    /// Describes a file that is stored now.
    #[must_use]
    pub fn new(key: &BlobKey, size: u64, metadata: impl Into<Option<Metadata>>) -> Self {
        let metadata = metadata.into();
        let names = [
            "source_type",
            "call_id",
            "caller_id_number",
            "from_number",
            "callee_id_number",
            "to_number",
            "to_user",
        ];
        let texts = metadata
            .as_ref()
            .map(|metadata| metadata.texts(names))
            .unwrap_or_default();
        let [source, call_id, from, fax_from, to, fax_to, user] = texts;
        // As `AttachmentKind::of` does, which would read the document once more.
        let of_document = source.and_then(|source| AttachmentKind::from_source_type(&source));
        let [call_id, from, fax_from, to, fax_to, user] =
            [call_id, from, fax_from, to, fax_to, user].map(|text| text.and_then(field));
        Self {
            kind: of_document.or_else(|| AttachmentKind::of(key, None)),
            call_id,
            caller_number: from.or(fax_from),
            callee_number: to.or(fax_to).or(user),
            key: key.detached(),
            size,
            sha256: None,
            content_type: None,
            stored_at: SystemTime::now(),
            metadata,
        }
    }

    /// Sets or clears the digest of the content.
    #[must_use]
    pub fn with_sha256(mut self, sha256: impl Into<Option<Digest>>) -> Self {
        self.sha256 = sha256.into();
        self
    }

    /// Sets or clears the media type.
    #[must_use]
    pub fn with_content_type(mut self, content_type: Option<&http::HeaderValue>) -> Self {
        let text = content_type.and_then(|value| value.to_str().ok());
        self.content_type = text.and_then(|text| field(text.to_owned()));
        self
    }

    /// Moves the file to another key. It keeps its kind.
    pub(crate) fn with_key(mut self, key: &BlobKey) -> Self {
        self.key = key.detached();
        self
    }

    /// Sets what the end of the upload has shown.
    pub(crate) fn ended(mut self, size: u64, sha256: Digest) -> Self {
        self.size = size;
        self.sha256 = Some(sha256);
        self
    }

    /// Returns the name of the kind, or `other` for a file of no [kind](Self::kind).
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        kind_name(self.kind)
    }

    /// Sets the time at which the file was stored.
    #[must_use]
    pub fn with_stored_at(mut self, stored_at: SystemTime) -> Self {
        self.stored_at = stored_at;
        self
    }
}

impl fmt::Debug for FileRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileRecord")
            .field("key", &self.key)
            .field("kind", &self.kind)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// Returns the name of `kind`, as in metrics.
pub(crate) fn kind_name(kind: Option<AttachmentKind>) -> &'static str {
    kind.map_or("other", AttachmentKind::as_str)
}

/// Returns the kind with this name.
pub(crate) fn kind_named(name: &str) -> Option<AttachmentKind> {
    use AttachmentKind::{CallRecording, Fax, Voicemail};
    [Voicemail, CallRecording, Fax]
        .into_iter()
        .find(|kind| kind.as_str() == name)
}

/// Accepts a value that a database can index and a header can carry.
fn field(text: String) -> Option<String> {
    let fits = !text.is_empty() && text.len() <= MAX_FIELD && !text.chars().any(char::is_control);
    fits.then_some(text)
}
