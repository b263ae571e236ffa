//! [`Attachment`]: one file that KAZOO stores.

use bytes::Bytes;

use super::document::Document;
use crate::{error::Result, probe::Probe};

/// A file, and the document that it is attached to.
///
/// ```
/// use kazoo_storage::client::{Attachment, Document};
///
/// let document = Document::from_json(r#"{"_id":"202401-9f86d081"}"#)?;
/// let message = Attachment::new("0c8f1c4a", document, "message.mp3", "ID3…");
/// assert_eq!(message.content_type(), "audio/mpeg");
/// # Ok::<(), kazoo_storage::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
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

    /// Its media type: that of its name's ending, of which those of voicemail, recordings and faxes are known here, and
    /// `application/octet-stream` for any other, unless it was given.
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

/// The pieces of an account's id that its databases are named by.
fn split(account: &str) -> Option<(&str, &str, &str)> {
    let is_id = account.len() == 32 && account.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (first, rest) = account.split_at_checked(2).filter(|_| is_id)?;
    let (second, rest) = rest.split_at_checked(2)?;
    Some((first, second, rest))
}
