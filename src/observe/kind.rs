//! The kind of a stored file: voicemail, call recording, fax or other.

use crate::{kazoo_id::AttachmentKind, key::BlobKey, metadata::Metadata};

/// Returns the kind of the file under `key`, as the metrics name it.
pub(super) fn of(key: &BlobKey, metadata: Option<&Metadata>) -> &'static str {
    let source = metadata.and_then(|metadata| metadata.text("source_type"));
    source
        .and_then(|source| AttachmentKind::from_source_type(&source))
        .or_else(|| key.segments().rev().find_map(AttachmentKind::from_name))
        .map_or("other", AttachmentKind::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(path: &str, json: Option<&'static str>) -> &'static str {
        let metadata = json.map(|json| Metadata::from_json(json).unwrap());
        of(&BlobKey::from_path(path).unwrap(), metadata.as_ref())
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
