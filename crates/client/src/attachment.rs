//! [`Attachment`]: one file that KAZOO stores.

use std::fmt;

use bytes::Bytes;

use super::document::Document;
use kazoo_storage::{Result, kazoo_id, probe::Probe};

/// A file and the document that it is attached to.
///
/// ```
/// use kazoo_storage_client::{Attachment, Document};
///
/// let document = Document::from_json(r#"{"_id":"202401-9f86d081"}"#)?;
/// let message = Attachment::new("0c8f1c4a", document, "message.mp3", "ID3…");
/// assert_eq!(message.content_type(), "audio/mpeg");
/// # Ok::<(), kazoo_storage::Error>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Attachment {
    pub(super) account: String,
    pub(super) document: Document,
    pub(super) name: String,
    content_type: Option<String>,
    pub(super) content: Bytes,
}

impl Attachment {
    /// Creates a file of a document of `account`. Files of the whole system have the account `system_data`.
    pub fn new(
        account: impl Into<String>,
        document: Document,
        name: impl Into<String>,
        content: impl Into<Bytes>,
    ) -> Self {
        Self {
            account: account.into(),
            document,
            name: name.into(),
            content_type: None,
            content: content.into(),
        }
    }

    /// Creates the file that KAZOO stores and fetches to test its settings.
    ///
    /// `token`, written as 32 hexadecimal digits, is in its name and in its content. The id of its document is derived from
    /// it.
    pub fn probe(account: impl Into<String>, token: u128) -> Result<Self> {
        let probe = Probe::from_token(token);
        let content = probe.content();
        let document = Document::from_json(&format!(
            r#"{{"att_uuid":"{:032x}","content":"{}","request_id":"{:032x}","id":"{:032x}"}}"#,
            token.rotate_left(32),
            String::from_utf8_lossy(&content),
            token.rotate_left(64),
            token.rotate_left(96),
        ))?;
        Ok(Self::new(account, document, probe.name(), content))
    }

    /// Sets the media type, which otherwise follows from the name.
    #[must_use]
    pub fn with_content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// Returns the account that the file belongs to.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// Returns the document that the file is attached to.
    #[must_use]
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// Returns the name of the file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the content of the file.
    #[must_use]
    pub fn content(&self) -> &Bytes {
        &self.content
    }

    /// Returns the media type: the one set, or the [type](kazoo_id::media_type) for the extension of the name.
    #[must_use]
    pub fn content_type(&self) -> &str {
        if let Some(content_type) = &self.content_type {
            return content_type;
        }
        kazoo_id::media_type(&self.name)
    }

    /// Returns the name of the database that the document is in.
    pub(super) fn database(&self) -> String {
        kazoo_id::database(&self.account, self.document.id())
    }
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachment")
            .field("account", &self.account)
            .field("document", &self.document)
            .field("name", &self.name)
            .field("len", &self.content.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_type_follows_from_the_name_unless_it_is_set() {
        let document = Document::from_json(r#"{"_id":"D"}"#).unwrap();
        let message = Attachment::new("A", document, "a.mp3", "");
        assert_eq!(message.content_type(), "audio/mpeg");
        assert_eq!(message.with_content_type("x/y").content_type(), "x/y");
    }

    #[test]
    fn the_server_recognizes_the_probe() {
        let probe = Attachment::probe("ACC", 0x7f3c).unwrap();
        let key = kazoo_storage::BlobKey::from_segments([probe.name()]).unwrap();
        assert_eq!(Probe::of(&key).unwrap().content(), probe.content());
        assert_eq!(probe.content_type(), "text/plain");
        assert_eq!(probe.document().id().unwrap().len(), 32);
    }
}
