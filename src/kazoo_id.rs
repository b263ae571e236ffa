//! Identifiers and names that KAZOO generates: accounts, documents, months, attachments and their media types.
//!
//! An id is 32 hexadecimal digits. The id of a document in a database of one month begins with that month, such as
//! `202401-9f86d081884c7d659a2feaa0c55ad015`.
//!
//! ```
//! use kazoo_storage::kazoo_id::{self, AttachmentKind};
//!
//! assert!(kazoo_id::is_document("202401-9f86d081884c7d659a2feaa0c55ad015"));
//! assert_eq!(kazoo_id::media_type("message.mp3"), "audio/mpeg");
//! assert_eq!(AttachmentKind::from_name("fax_file.tiff"), Some(AttachmentKind::Fax));
//! ```

/// Length of an id, in bytes.
pub const ID_LEN: usize = 32;

/// Maximum length of a document's id, in bytes.
pub const MAX_DOCUMENT_LEN: usize = "YYYYMM-".len() + ID_LEN;

/// Names in place of an account's id: for files of the whole system, and for documents without an account.
pub const ACCOUNT_PLACEHOLDERS: [&str; 2] = ["system_data", "unknown_account"];

/// Fixed parts of the attachment names that KAZOO generates.
pub const ATTACHMENT_NAMES: [&str; 6] = [
    "call_recording",
    "fax_file",
    "original_file",
    "pdf_file",
    "received_file",
    "test_credentials_file",
];

/// Suffix of the name of the probe, the file with which KAZOO tests its settings.
pub const PROBE_SUFFIX: &str = "_test_credentials_file.txt";

/// Extensions of the attachments that KAZOO stores, each with its media type.
pub const EXTENSIONS: [(&str, &str); 18] = [
    ("mp3", "audio/mpeg"),
    ("wav", "audio/x-wav"),
    ("ogg", "audio/ogg"),
    ("mp4", "video/mp4"),
    ("webm", "video/webm"),
    ("mov", "video/quicktime"),
    ("tiff", "image/tiff"),
    ("tif", "image/tiff"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("pdf", "application/pdf"),
    ("txt", "text/plain"),
    ("json", "application/json"),
    (
        "docx",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ),
    ("doc", "application/msword"),
    ("bin", "application/octet-stream"),
];

/// Prefix of the name of a call recording. A recording of a callflow with a separate URL is stored under this name
/// alone.
const RECORDING_PREFIX: &str = "call_recording_";

/// The kind of an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttachmentKind {
    /// A voicemail message.
    Voicemail,
    /// A call recording.
    CallRecording,
    /// A fax.
    Fax,
}

impl AttachmentKind {
    /// Returns the kind that a document's `source_type` names.
    #[must_use]
    pub fn from_source_type(source: &str) -> Option<Self> {
        match source {
            "voicemail" => Some(Self::Voicemail),
            "incoming_fax" | "outgoing_fax" => Some(Self::Fax),
            source if source.contains("recording") => Some(Self::CallRecording),
            _ => None,
        }
    }

    /// Returns the kind of an attachment whose name KAZOO generated.
    ///
    /// The generated part may be anywhere in `segment`, because the settings can put other fields before it.
    #[must_use]
    pub fn from_name(segment: &str) -> Option<Self> {
        if segment.contains(RECORDING_PREFIX) {
            return Some(Self::CallRecording);
        }
        if ["received_file_", "original_file.", "fax_file.tiff", "pdf_file.pdf"]
            .iter()
            .any(|name| segment.contains(name))
        {
            return Some(Self::Fax);
        }
        let (name, extension) = segment.rsplit_once('.')?;
        let id = name.get(name.len().checked_sub(ID_LEN)?..)?;
        (matches!(extension, "mp3" | "wav") && is_id(id)).then_some(Self::Voicemail)
    }

    /// Returns the name of this kind, as in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Voicemail => "voicemail",
            Self::CallRecording => "call_recording",
            Self::Fax => "fax",
        }
    }
}

/// Returns `true` if `text` is an id.
#[must_use]
pub fn is_id(text: &str) -> bool {
    text.len() == ID_LEN && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns `true` if `text` is an account's id or one of the [`ACCOUNT_PLACEHOLDERS`].
#[must_use]
pub fn is_account(text: &str) -> bool {
    is_id(text) || ACCOUNT_PLACEHOLDERS.contains(&text)
}

/// Returns `true` if `text` is a document's id.
#[must_use]
pub fn is_document(text: &str) -> bool {
    is_id(split_month(text).map_or(text, |(_, id)| id))
}

/// Returns `true` if `name` is that of a recording of a callflow that has a separate URL.
#[must_use]
pub fn is_direct_recording(name: &str) -> bool {
    name.starts_with(RECORDING_PREFIX)
}

/// Returns `true` if `text` can be a document type: letters from `a` to `z` and `_`.
#[must_use]
pub fn is_document_type(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// Splits the month from a document's id: `202401-ID` into `202401` and `ID`.
#[must_use]
pub fn split_month(document: &str) -> Option<(&str, &str)> {
    let is_month = |text: &str| text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit());
    document.split_once('-').filter(|(month, _)| is_month(month))
}

/// Returns the length of the id of an account or a document that `text` begins with.
///
/// The id ends at the first character that is neither a letter nor a digit.
#[must_use]
pub fn prefix_len(text: &str) -> Option<usize> {
    let id = split_month(text).map_or(text, |(_, id)| id);
    let (digits, rest) = id.split_at_checked(ID_LEN)?;
    let ends = rest.chars().next().is_none_or(|letter| !letter.is_alphanumeric());
    (is_id(digits) && ends).then_some(text.len() - rest.len())
}

/// Returns the name of the database that holds `document`: the account's, or that of one month.
#[must_use]
pub fn database(account: &str, document: Option<&str>) -> String {
    let parts = account.split_at_checked(2).filter(|_| is_id(account));
    let Some((first, (second, rest))) = parts.and_then(|(first, rest)| Some((first, rest.split_at_checked(2)?))) else {
        return account.to_owned();
    };
    match document.and_then(split_month) {
        Some((month, _)) => format!("account/{first}/{second}/{rest}-{month}"),
        None => format!("account/{first}/{second}/{rest}"),
    }
}

/// Returns the media type for the extension of `name`.
#[must_use]
pub fn media_type(name: &str) -> &'static str {
    let (_, extension) = name.rsplit_once('.').unwrap_or_default();
    let known = EXTENSIONS
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(extension));
    known.map_or("application/octet-stream", |(_, media_type)| media_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7";

    #[test]
    fn the_last_extension_decides_the_media_type_in_any_case() {
        for (name, expected) in [
            ("7f3c.mp3", "audio/mpeg"),
            ("A.B.MP3", "audio/mpeg"),
            ("a.wav", "audio/x-wav"),
            ("a.ogg", "audio/ogg"),
            ("a.Mp4", "video/mp4"),
            ("fax.tif", "image/tiff"),
            ("FAX.TIFF", "image/tiff"),
            ("a.mp3.pdf", "application/pdf"),
            ("a.png", "image/png"),
            ("a.jpg", "image/jpeg"),
            ("a.JPG", "image/jpeg"),
            ("a.jpeg", "image/jpeg"),
            ("a.gif", "image/gif"),
            ("a.txt", "text/plain"),
            ("a.json", "application/json"),
            ("mp3", "application/octet-stream"),
            ("a.xyz", "application/octet-stream"),
            ("a.unknown", "application/octet-stream"),
        ] {
            assert_eq!(media_type(name), expected, "{name}");
        }
    }

    #[test]
    fn recognizes_accounts_and_documents() {
        assert!(is_account(ID) && is_account("system_data") && is_account("unknown_account"));
        for other in ["+4930123456", "", &format!("{ID}.mp3"), &format!("202401-{ID}")] {
            assert!(!is_account(other), "{other}");
        }
        assert!(is_document(ID) && is_document(&format!("202401-{ID}")));
        assert!(!is_document(&format!("20240-{ID}")) && !is_document("202401-"));
    }

    #[test]
    fn an_id_ends_at_a_separator() {
        for (text, len) in [
            (format!("{ID}-x"), Some(32)),
            (format!("202401-{ID}.mp3"), Some(39)),
            (format!("{ID}0"), None),
            (format!("x{ID}"), None),
            (format!("{ID}é"), None),
            (String::new(), None),
        ] {
            assert_eq!(prefix_len(&text), len, "{text}");
        }
    }

    #[test]
    fn a_document_of_a_month_is_in_the_database_of_that_month() {
        for (account, id, expected) in [
            (ID, "202401-1", "account/0c/8f/1c4ab2d9e3f70c8f1c4ab2d9e3f7-202401"),
            (ID, "20240-1", "account/0c/8f/1c4ab2d9e3f70c8f1c4ab2d9e3f7"),
            (ID, "1", "account/0c/8f/1c4ab2d9e3f70c8f1c4ab2d9e3f7"),
            ("system_data", "202401-1", "system_data"),
        ] {
            assert_eq!(database(account, Some(id)), expected);
        }
    }
}
