//! [`Metadata`]: the JSON document that KAZOO sends before the media, and the mark [`MediaPart`].

use std::fmt;

use bytes::Bytes;
use serde_json::{Map, Value, value::RawValue};

use crate::{
    encoding::TransferEncoding,
    error::{Error, ErrorKind, Result},
};

/// The public fields of the KAZOO document that a file is attached to: one JSON object.
///
/// It is the first part of a multipart upload (`send_multipart`), and a request extension behind
/// [`SplitMultipart`](crate::SplitMultipart). The bytes are kept exactly as they came; fields are read on demand.
///
/// ```
/// use kazoo_storage::Metadata;
///
/// let metadata = Metadata::from_json(r#"{"id":"DOC","metadata":{"call_id":"b3f6"}}"#)?;
/// assert_eq!(metadata.field("id").unwrap(), "DOC");
/// assert_eq!(metadata.field("call_id").unwrap(), "b3f6");
/// assert!(metadata.field("owner_id").is_none());
/// # Ok::<(), kazoo_storage::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Metadata(Bytes);

impl Metadata {
    /// Takes `json` if it is one JSON object, whole; otherwise [`ErrorKind::InvalidMetadata`].
    pub fn from_json(json: impl Into<Bytes>) -> Result<Self> {
        let json = json.into();
        let raw: &RawValue = serde_json::from_slice(&json).map_err(|error| {
            Error::new(ErrorKind::InvalidMetadata, format!("the metadata is not JSON: {error}")).with_source(error)
        })?;
        if !raw.get().starts_with('{') {
            return Err(Error::new(
                ErrorKind::InvalidMetadata,
                "the metadata is JSON, but not an object",
            ));
        }
        Ok(Self(json))
    }

    /// The JSON text, as it came.
    #[must_use]
    pub fn as_json(&self) -> &Bytes {
        &self.0
    }

    /// The object's fields.
    #[must_use]
    pub fn to_map(&self) -> Map<String, Value> {
        // The text was found to be an object when it was taken; an object nested too deep to build is empty.
        serde_json::from_slice(&self.0).unwrap_or_default()
    }

    /// The value of `name`: of the object itself, or else of its nested `metadata` object.
    ///
    /// KAZOO stores a document whole but, on fetch, puts only that nested object into the query when there is
    /// one, so the same name is found on both ways.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<Value> {
        let mut map = self.to_map();
        map.remove(name).or_else(|| match map.remove("metadata") {
            Some(Value::Object(mut nested)) => nested.remove(name),
            _ => None,
        })
    }
}

/// Says the length only: the document names callers and their numbers.
impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Metadata({} bytes)", self.0.len())
    }
}

/// Request extension: the body is the media part of what came as a multipart body.
///
/// KAZOO's `base64_encode_data` encodes that part and nothing else, and does not say so.
/// [`DecodeBase64`](crate::DecodeBase64) looks for base64 only where it finds this mark, and goes by the part's
/// `content-transfer-encoding` if there was one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MediaPart {
    /// The `content-transfer-encoding` of the part. No release of KAZOO sends it.
    pub transfer_encoding: Option<TransferEncoding>,
}

impl MediaPart {
    /// A part with this `content-transfer-encoding`, or without one.
    #[must_use]
    pub fn encoded(transfer_encoding: impl Into<Option<TransferEncoding>>) -> Self {
        Self {
            transfer_encoding: transfer_encoding.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_object_is_taken_and_its_bytes_are_kept() {
        let text = "\r\n {\"b\":1, \"a\":63872533230.50}";
        assert_eq!(&Metadata::from_json(text).unwrap().as_json()[..], text.as_bytes());
        for bad in ["", "[]", "\"{}\"", "{", "{}{}", "{\"a\":}", "null", "\u{feff}{}"] {
            let error = Metadata::from_json(bad).expect_err(bad);
            assert_eq!(error.kind(), ErrorKind::InvalidMetadata, "{bad}");
        }
        assert!(Metadata::from_json(&b"{\"a\":\"\xff\"}"[..]).is_err());
    }

    #[test]
    fn the_outer_field_wins_over_the_nested_one() {
        let metadata = Metadata::from_json(r#"{"id":"outer","metadata":{"id":"inner","folder":"new"}}"#).unwrap();
        assert_eq!(metadata.field("id").unwrap(), "outer");
        assert_eq!(metadata.field("folder").unwrap(), "new");
    }

    #[test]
    fn deep_nesting_is_refused_without_a_crash() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        if let Ok(metadata) = Metadata::from_json(deep) {
            assert!(metadata.to_map().is_empty());
        }
    }

    #[test]
    fn debug_keeps_callers_out_of_logs() {
        let metadata = Metadata::from_json(r#"{"caller_id_name":"Anna"}"#).unwrap();
        assert!(!format!("{metadata:?}").contains("Anna"));
    }
}
