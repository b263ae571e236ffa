//! [`MetadataKey`]: the key in the metadata.

use std::borrow::Cow;

use http::request::Parts;

use super::KeyExtractor;
use crate::{
    error::{Error, ErrorKind, Result},
    key::{BlobKey, Candidates},
    metadata::Metadata,
};

/// Takes the key from a field of the metadata: in the JSON part of an upload, in the query of a fetch.
///
/// Use it for `field_list: []` and for a URL with a `#fragment`: KAZOO then sends every file to the same target, and
/// only the metadata distinguishes them. It requires `send_multipart`. The layer must be inside
/// [`SplitMultipart`](crate::SplitMultipart), as in [`KazooStorage`](crate::KazooStorage).
///
/// KAZOO uploads the complete document, and fetches it by the fields of the nested `metadata` object, if there is one.
/// The fields of that object therefore take precedence. The first field that exists is the key, as one segment. For
/// KAZOO's documents, `media_id`, `id`, `call_id`, in this order, give the same key for upload and fetch: voicemail has
/// the first in the nested object, recordings and faxes have the second. `call_id` is last, because a call may have
/// several recordings.
#[derive(Clone, Debug)]
pub struct MetadataKey {
    fields: Vec<Cow<'static, str>>,
}

impl MetadataKey {
    /// Uses the first of `fields` that the metadata contains.
    pub fn new<I>(fields: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<Cow<'static, str>>,
    {
        Self {
            fields: fields.into_iter().map(Into::into).collect(),
        }
    }

    fn missing(&self, location: &str) -> Error {
        let fields = self.fields.join("`, `");
        Error::new(
            ErrorKind::InvalidKey,
            format!("{location} has none of the fields `{fields}`, which distinguish files at the same URL"),
        )
    }
}

impl KeyExtractor for MetadataKey {
    fn key(&self, request: &Parts) -> Result<BlobKey> {
        let metadata = request.extensions.get::<Metadata>().ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidKey,
                "the request has no metadata, which distinguishes files at the same URL; set send_multipart to true in the \
                 storage settings, or set field_list",
            )
        })?;
        let value = metadata.first_scalar(&self.fields);
        BlobKey::from_segments([value.ok_or_else(|| self.missing("the JSON part"))?])
    }

    fn candidates(&self, request: &Parts) -> Result<Candidates> {
        let query = request.uri.query().unwrap_or_default().as_bytes();
        let value = self.fields.iter().find_map(|field| {
            form_urlencoded::parse(query).find_map(|(name, value)| (name == *field).then_some(value))
        });
        let value = value.ok_or_else(|| self.missing("the query"))?;
        BlobKey::from_segments([value]).map(Candidates::from)
    }

    fn reads_metadata(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(query: &str, metadata: Option<&'static str>) -> Parts {
        let (mut parts, ()) = http::Request::post(format!("/?{query}")).body(()).unwrap().into_parts();
        parts.extensions.extend(http::Extensions::new());
        if let Some(json) = metadata {
            parts.extensions.insert(Metadata::from_json(json).unwrap());
        }
        parts
    }

    #[test]
    fn upload_and_fetch_have_the_same_key() {
        let extractor = MetadataKey::new(["media_id", "id", "call_id"]);
        let stored = parts(
            "",
            Some(r#"{"id":"DOC","metadata":{"call_id":"ZGQ4@10.1.2.3:5060;x=1&y=2"}}"#),
        );
        let fetched = parts("folder=new&call_id=ZGQ4%4010.1.2.3%3A5060%3Bx%3D1%26y%3D2", None);
        let key = extractor.key(&stored).unwrap();
        assert_eq!(key.attachment(), "ZGQ4@10.1.2.3:5060;x=1&y=2");
        assert_eq!(extractor.candidates(&fetched).unwrap().first(), &key);
        // A field that is neither a string nor a number is skipped.
        let numbered = parts("", Some(r#"{"id":42,"metadata":{"media_id":null,"call_id":["x"]}}"#));
        let key = extractor.key(&numbered).unwrap();
        assert_eq!(extractor.candidates(&parts("id=42", None)).unwrap().first(), &key);
    }

    #[test]
    fn two_recordings_of_one_call_have_two_keys() {
        let extractor = MetadataKey::new(["media_id", "id", "call_id"]);
        let key = |json| extractor.key(&parts("", Some(json))).unwrap();
        let recording = key(r#"{"call_id":"ZGQ4","id":"DOC1"}"#);
        assert_ne!(recording, key(r#"{"call_id":"ZGQ4","id":"DOC2"}"#));
        let fetched = parts("call_id=ZGQ4&id=DOC1", None);
        assert_eq!(extractor.candidates(&fetched).unwrap().first(), &recording);
        // A document without a fetchable field is stored too.
        assert_eq!(key(r#"{"id":"DOC","metadata":{}}"#).attachment(), "DOC");
    }

    #[test]
    fn names_the_missing_field() {
        let extractor = MetadataKey::new(["media_id"]);
        assert!(
            extractor
                .key(&parts("", None))
                .unwrap_err()
                .message()
                .contains("send_multipart")
        );
        assert!(
            extractor
                .key(&parts("", Some("{}")))
                .unwrap_err()
                .message()
                .contains("media_id")
        );
        assert!(
            extractor
                .candidates(&parts("id=1", None))
                .unwrap_err()
                .message()
                .contains("media_id")
        );
    }
}
