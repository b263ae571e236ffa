//! The format of an object: the content, its media type, and its JSON document.

use std::{borrow::Cow, time::SystemTime};

use bytes::Bytes;
use http::HeaderValue;
use object_store::{Attribute, Attributes, ObjectMeta, UpdateVersion};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::error::damaged;
use crate::{
    error::{Error, ErrorKind, Result},
    metadata::Metadata,
    store::BlobInfo,
};

/// The attribute that holds a document.
///
/// Attributes are HTTP headers with a prefix, and in Azure also C# identifiers, so the name has only letters.
const METADATA: Attribute = Attribute::Metadata(Cow::Borrowed("kazoometadata"));

/// The attribute with the length of the document at the end of the object.
const TRAILER: Attribute = Attribute::Metadata(Cow::Borrowed("kazootrailer"));

/// The attribute that identifies an upload, to find it again if its response was lost.
pub(super) const UPLOAD: Attribute = Attribute::Metadata(Cow::Borrowed("kazooupload"));

/// The maximum length of a document in an attribute, encoded. S3 accepts 2 KiB of names and values in total.
const MAX_ATTRIBUTE: usize = 2000;

/// The ASCII characters that are encoded in an attribute. Headers lose spaces at their ends, and signing merges
/// adjacent ones.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// The description that is stored with the content.
pub(super) struct Description {
    pub(super) attributes: Attributes,
    /// The document, if it is too long for an attribute and is stored after the content.
    pub(super) trailer: Option<Bytes>,
}

impl Description {
    pub(super) fn new(content_type: Option<&HeaderValue>, metadata: Option<&Metadata>) -> Result<Self> {
        let mut attributes = Attributes::new();
        if let Some(content_type) = content_type {
            let text = content_type.to_str().map_err(|error| {
                let message = "the content-type contains bytes that are not ASCII; nothing was stored";
                Error::new(ErrorKind::InvalidRequest, message).with_source(error)
            })?;
            attributes.insert(Attribute::ContentType, text.to_owned().into());
        }
        let mut trailer = None;
        if let Some(metadata) = metadata {
            let json = metadata.as_json();
            if let Some(encoded) = encode(json) {
                attributes.insert(METADATA, encoded.into());
            } else {
                attributes.insert(TRAILER, json.len().to_string().into());
                trailer = Some(json.clone());
            }
        }
        Ok(Self { attributes, trailer })
    }
}

/// Encodes the document for an attribute, if it fits.
fn encode(json: &[u8]) -> Option<String> {
    if json.len() > MAX_ATTRIBUTE {
        return None;
    }
    let encoded = utf8_percent_encode(std::str::from_utf8(json).ok()?, ENCODED).to_string();
    (encoded.len() <= MAX_ATTRIBUTE).then_some(encoded)
}

/// The engine's description of a stored object.
pub(super) struct Object {
    pub(super) info: BlobInfo,
    /// The entity tag as the engine writes it, for conditions.
    pub(super) e_tag: Option<String>,
    /// The version, for a PUT that replaces only this version.
    pub(super) version: UpdateVersion,
    /// The identifier of the upload, if it was conditional.
    pub(super) upload: Option<String>,
    pub(super) document: Document,
}

/// The location of an object's JSON document.
pub(super) enum Document {
    None,
    Attribute(String),
    /// At the end of the object, with this length.
    Trailer(u64),
}

impl Object {
    pub(super) fn new(meta: &ObjectMeta, attributes: &Attributes) -> Result<Self> {
        let document = if let Some(len) = attributes.get(&TRAILER) {
            let len = len.parse().ok().filter(|len| *len <= meta.size);
            Document::Trailer(len.ok_or_else(|| {
                damaged("the attribute `kazootrailer` of the object is not a valid length; another program wrote it")
            })?)
        } else if let Some(encoded) = attributes.get(&METADATA) {
            Document::Attribute(encoded.as_ref().to_owned())
        } else {
            Document::None
        };
        let trailer = match document {
            Document::Trailer(len) => len,
            Document::None | Document::Attribute(_) => 0,
        };
        let content_type = attributes.get(&Attribute::ContentType);
        let len = meta.size.saturating_sub(trailer);
        // Without a digest: engines verify their data themselves, and attributes are sent before the content.
        let info = BlobInfo::new(len)
            .with_content_type(content_type.and_then(|text| HeaderValue::from_str(text.as_ref()).ok()))
            .with_etag(meta.e_tag.as_deref().and_then(|e_tag| etag(e_tag, len)))
            .with_modified(SystemTime::from(meta.last_modified));
        Ok(Self {
            info,
            e_tag: meta.e_tag.clone(),
            version: UpdateVersion {
                e_tag: meta.e_tag.clone(),
                version: meta.version.clone(),
            },
            upload: attributes.get(&UPLOAD).map(|upload| upload.as_ref().to_owned()),
            document,
        })
    }

    /// Returns the length of the document after the content.
    pub(super) fn trailer(&self) -> u64 {
        match self.document {
            Document::Trailer(len) => len,
            Document::None | Document::Attribute(_) => 0,
        }
    }
}

/// Decodes the document in an attribute.
pub(super) fn decode(encoded: &str) -> Result<Metadata> {
    Metadata::from_json(percent_decode_str(encoded).collect::<Vec<u8>>()).map_err(|error| {
        damaged("the attribute `kazoometadata` of the object is not a JSON object; another program wrote it")
            .with_source(error)
    })
}

/// Returns the entity tag of a content of `len` bytes; `e_tag` is the engine's tag of its object, possibly without
/// quotes.
///
/// The engine's tag may be a digest of the object. Two contents share it if the document in one object is content in
/// the other. The length determines where the content ends, so the combination is unique.
fn etag(e_tag: &str, len: u64) -> Option<HeaderValue> {
    let (weak, tag) = e_tag.strip_prefix("W/").map_or(("", e_tag), |tag| ("W/", tag));
    let opaque = tag
        .strip_prefix('"')
        .and_then(|tag| tag.strip_suffix('"'))
        .unwrap_or(tag);
    HeaderValue::try_from(format!("{weak}\"{opaque}.{len}\""))
        .ok()
        .filter(|_| !opaque.contains('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_preserves_a_document_byte_for_byte() {
        for json in [
            "{}",
            "\r\n {\"b\" : 1,\n\t\"a\":\"100 %25  ü\"} \n",
            r#"{"name":"\"\\\/","from":"+1 (415) 555"}"#,
        ] {
            let encoded = encode(json.as_bytes()).unwrap();
            assert!(encoded.bytes().all(|byte| byte.is_ascii_graphic()), "{encoded}");
            assert_eq!(&decode(&encoded).unwrap().as_json()[..], json.as_bytes());
        }
    }

    #[test]
    fn stores_a_long_document_after_the_content() {
        for (letter, fits) in [("x", 1_990), ("é", 331)] {
            for (count, stays) in [(fits, true), (fits + 10, false)] {
                let json = format!(r#"{{"n":"{}"}}"#, letter.repeat(count));
                let metadata = Metadata::from_json(json.clone()).unwrap();
                let description = Description::new(None, Some(&metadata)).unwrap();
                assert_eq!(
                    description.attributes.get(&METADATA).is_some(),
                    stays,
                    "{count} {letter}"
                );
                assert_eq!(description.trailer, (!stays).then(|| Bytes::from(json)));
            }
        }
    }

    #[test]
    fn a_tag_contains_the_length_of_the_content() {
        for (e_tag, expected) in [
            ("\"5f3c-2\"", Some("\"5f3c-2.13\"")),
            ("5f3c", Some("\"5f3c.13\"")),
            ("W/\"5f3c\"", Some("W/\"5f3c.13\"")),
            ("", Some("\".13\"")),
            ("\"", None),
            ("\"5\"3\"", None),
            ("5\n", None),
        ] {
            let tag = etag(e_tag, 13);
            assert_eq!(tag.as_ref().map(|tag| tag.to_str().unwrap()), expected, "{e_tag}");
        }
    }
}
