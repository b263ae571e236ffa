//! The kind of a stored file, from its metadata or its name.

use super::Metadata;
use crate::{kazoo_id::AttachmentKind, key::BlobKey};

impl AttachmentKind {
    /// Returns the kind of the file under `key`, or `None` for other files, such as greetings and music on hold.
    ///
    /// The `source_type` in `metadata` decides, if it names a kind. Otherwise the name that KAZOO gave the file decides:
    /// `call_recording_….mp3` is a recording; `received_file_….tiff`, `fax_file.tiff`, `pdf_file.pdf` and
    /// `original_file.…` belong to a fax; 32 hexadecimal digits before `.mp3` or `.wav` are voicemail.
    ///
    /// ```
    /// use kazoo_storage::{BlobKey, kazoo_id::AttachmentKind};
    ///
    /// let key = BlobKey::from_path("/ACCOUNT/202401-DOCUMENT/fax_file.tiff")?;
    /// assert_eq!(AttachmentKind::of(&key, None), Some(AttachmentKind::Fax));
    /// # Ok::<(), kazoo_storage::Error>(())
    /// ```
    #[must_use]
    pub fn of(key: &BlobKey, metadata: Option<&Metadata>) -> Option<Self> {
        let source = metadata.and_then(|metadata| metadata.text("source_type"));
        source
            .and_then(|source| Self::from_source_type(&source))
            .or_else(|| key.segments().rev().find_map(Self::from_name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(path: &str, json: Option<&'static str>) -> &'static str {
        let metadata = json.map(|json| Metadata::from_json(json).unwrap());
        let kind = AttachmentKind::of(&BlobKey::from_path(path).unwrap(), metadata.as_ref());
        kind.map_or("other", AttachmentKind::as_str)
    }

    #[test]
    fn determines_the_kind_from_the_metadata_or_the_name() {
        for (path, expected) in [
            ("A/202401-D/5d41402abc4b2a76b9719d911017c592.mp3", "voicemail"),
            ("A-D-5d41402abc4b2a76b9719d911017c592.wav", "voicemail"),
            ("A/D/5d41402abc4b2a76b9719d911017c592.pdf", "other"),
            ("A/D/call_recording_b3f6@10.0.0.5.mp3", "call_recording"),
            ("A/D/received_file_202401-e4da.tiff", "fax"),
            ("A/D/original_file.docx", "fax"),
            ("A/D/my%20greeting.mp3", "other"),
            ("A/D/noext", "other"),
            ("A/D/é.mp3", "other"),
        ] {
            assert_eq!(kind(path, None), expected, "{path}");
        }
        for (json, expected) in [
            (r#"{"source_type":"voicemail"}"#, "voicemail"),
            (r#"{"metadata":{"source_type":"incoming_fax"}}"#, "fax"),
            (r#"{"source_type":"kzc_recording"}"#, "call_recording"),
            (r#"{"source_type":"upload"}"#, "fax"),
            (r#"{"source_type":7}"#, "fax"),
            ("{}", "fax"),
        ] {
            assert_eq!(kind("A/D/fax_file.tiff", Some(json)), expected, "{json}");
        }
    }
}
