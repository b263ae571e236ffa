use std::borrow::Cow;

use http::request::Parts;

use super::KeyExtractor;
use crate::{
    error::{Error, ErrorKind, Result},
    key::{BlobKey, Candidates},
    metadata::Metadata,
};

/// The key is a field of the metadata: of the JSON part when a file is stored, of the query when it is fetched.
///
/// This fits `field_list: []` and a URL with a `#fragment`: KAZOO then sends every file to the same target, and
/// only the metadata tells them apart. It needs `send_multipart`. Put the layer behind
/// [`SplitMultipart`](crate::SplitMultipart); [`KazooStorage`](crate::KazooStorage) does.
///
/// A document is stored whole, and fetched by the fields of its nested `metadata` object if it has one: that object's
/// come first, then the document's own. The first of the fields that is there is the key, as one segment. For every
/// document that KAZOO has, `media_id`, `id`, `call_id` in this order name one key both ways: voicemail has the first in
/// that object, recordings and faxes have the second; a call may have several recordings, so its own id comes last.
#[derive(Clone, Debug)]
pub struct MetadataKey {
    fields: Vec<Cow<'static, str>>,
}

impl MetadataKey {
    /// The key is the first of `fields` that the metadata has.
    pub fn new<I>(fields: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<Cow<'static, str>>,
    {
        Self {
            fields: fields.into_iter().map(Into::into).collect(),
        }
    }

    fn missing(&self, place: &str) -> Error {
        let fields = self.fields.join("`, `");
        Error::new(
            ErrorKind::InvalidKey,
            format!("{place} has no field `{fields}` to tell this file from others at the same URL"),
        )
    }
}

impl KeyExtractor for MetadataKey {
    fn key(&self, request: &Parts) -> Result<BlobKey> {
        let metadata = request.extensions.get::<Metadata>().ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidKey,
                "the request carries no metadata to tell this file from others at the same URL; set \
                 send_multipart to true in the storage settings, or give field_list its fields",
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
    fn store_and_fetch_name_the_same_key() {
        let extractor = MetadataKey::new(["media_id", "id", "call_id"]);
        let stored = parts(
            "",
            Some(r#"{"id":"DOC","metadata":{"call_id":"ZGQ4@10.1.2.3:5060;x=1&y=2"}}"#),
        );
        let fetched = parts("folder=new&call_id=ZGQ4%4010.1.2.3%3A5060%3Bx%3D1%26y%3D2", None);
        let key = extractor.key(&stored).unwrap();
        assert_eq!(key.attachment(), "ZGQ4@10.1.2.3:5060;x=1&y=2");
        assert_eq!(extractor.candidates(&fetched).unwrap().first(), &key);
        // A field that is no text and no number tells nothing apart, and the next one is taken.
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
        // What no fetch will name is kept all the same.
        assert_eq!(key(r#"{"id":"DOC","metadata":{}}"#).attachment(), "DOC");
    }

    #[test]
    fn what_is_missing_is_named() {
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
