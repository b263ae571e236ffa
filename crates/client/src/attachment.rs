//! [`Attachment`]: one file that KAZOO stores.

use std::fmt;

use bytes::Bytes;

use super::document::Document;
use kazoo_storage::{Result, probe::Probe};

/// A file, and the document that it is attached to.
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
    /// The file `name` of a document of `account`; `system_data` is the account of files of the whole system.
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

    /// The file that KAZOO stores and fetches to try its settings, as one of `account`, with `token` (written as 32
    /// hexadecimal digits) in its name and in its content. Its document's id is made of `token` too.
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

    /// The same file of another media type than its name says.
    #[must_use]
    pub fn with_content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// The account it belongs to.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The document it is attached to.
    #[must_use]
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its bytes.
    #[must_use]
    pub fn content(&self) -> &Bytes {
        &self.content
    }

    /// Its media type: the given one, or else the type for the name's extension. The types of voicemail, recordings,
    /// faxes, pictures and videos are known; any other file is `application/octet-stream`.
    #[must_use]
    pub fn content_type(&self) -> &str {
        if let Some(given) = &self.content_type {
            return given;
        }
        let (_, ending) = self.name.rsplit_once('.').unwrap_or_default();
        match &*ending.to_ascii_lowercase() {
            "mp3" => "audio/mpeg",
            "wav" => "audio/x-wav",
            "tif" | "tiff" => "image/tiff",
            "pdf" => "application/pdf",
            "txt" => "text/plain",
            "png" => "image/png",
            "jpg" | "jpeg" => "image/jpeg",
            "gif" => "image/gif",
            "mp4" => "video/mp4",
            "webm" => "video/webm",
            "mov" => "video/quicktime",
            _ => "application/octet-stream",
        }
    }

    /// The name of the database that the document is in: that of one month if its id begins with one.
    pub(super) fn database(&self) -> String {
        let account = &self.account;
        let Some((first, second, rest)) = split(account) else {
            return account.clone();
        };
        let database = format!("account/{first}/{second}/{rest}");
        let month = self
            .document
            .id()
            .and_then(|id| id.split_once('-'))
            .map(|(month, _)| month);
        match month {
            Some(month) if month.len() == 6 && month.bytes().all(|byte| byte.is_ascii_digit()) => {
                format!("{database}-{month}")
            }
            _ => database,
        }
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

/// The pieces of an account's id that its databases are named by.
fn split(account: &str) -> Option<(&str, &str, &str)> {
    let is_id = account.len() == 32 && account.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (first, rest) = account.split_at_checked(2).filter(|_| is_id)?;
    let (second, rest) = rest.split_at_checked(2)?;
    Some((first, second, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7";

    fn attachment(account: &str, id: &str, name: &str) -> Attachment {
        let document = Document::from_json(&format!(r#"{{"_id":"{id}"}}"#)).unwrap();
        Attachment::new(account, document, name, "")
    }

    #[test]
    fn the_media_type_is_that_of_the_ending() {
        for (name, media_type) in [
            ("a.mp3", "audio/mpeg"),
            ("A.B.MP3", "audio/mpeg"),
            ("a.wav", "audio/x-wav"),
            ("a.tif", "image/tiff"),
            ("a.tiff", "image/tiff"),
            ("a.pdf", "application/pdf"),
            ("a.txt", "text/plain"),
            ("a.JPG", "image/jpeg"),
            ("a.mp4", "video/mp4"),
            ("mp3", "application/octet-stream"),
            ("a.xyz", "application/octet-stream"),
        ] {
            assert_eq!(attachment("A", "D", name).content_type(), media_type, "{name}");
        }
        assert_eq!(
            attachment("A", "D", "a.mp3").with_content_type("x/y").content_type(),
            "x/y"
        );
    }

    #[test]
    fn a_document_of_a_month_is_in_a_database_of_that_month() {
        for (account, id, database) in [
            (ACCOUNT, "202401-1", "account/0c/8f/1c4ab2d9e3f70c8f1c4ab2d9e3f7-202401"),
            (ACCOUNT, "20240-1", "account/0c/8f/1c4ab2d9e3f70c8f1c4ab2d9e3f7"),
            (ACCOUNT, "1", "account/0c/8f/1c4ab2d9e3f70c8f1c4ab2d9e3f7"),
            ("system_data", "202401-1", "system_data"),
        ] {
            assert_eq!(attachment(account, id, "a").database(), database);
        }
    }

    #[test]
    fn a_probe_is_what_the_server_knows_as_one() {
        let probe = Attachment::probe("ACC", 0x7f3c).unwrap();
        let key = kazoo_storage::BlobKey::from_segments([probe.name()]).unwrap();
        assert_eq!(Probe::of(&key).unwrap().content(), probe.content());
        assert_eq!(probe.content_type(), "text/plain");
        assert_eq!(probe.document().id().unwrap().len(), 32);
    }
}
