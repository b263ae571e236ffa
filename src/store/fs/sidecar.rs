//! The format of a sidecar: JSON with the media type, metadata and digest of a file.

use bytes::Bytes;
use http::HeaderValue;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::version::Version;
use crate::{
    digest::Digest,
    error::{Error, ErrorKind, Result},
    metadata::Metadata,
};

/// The maximum length of a sidecar, in bytes. The store never writes a longer one.
pub(super) const MAX_LEN: u64 = 64 << 20;

/// The facts about a content besides its bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// `None` for media that was not uploaded.
    pub(super) digest: Option<Digest>,
    pub(super) content_type: Option<HeaderValue>,
    pub(super) metadata: Option<Metadata>,
}

/// The JSON of a sidecar: the facts about a content, and about the content that it replaced.
#[derive(Debug, Serialize, Deserialize)]
struct Entry<'a> {
    /// The content that this entry describes.
    version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    metadata: Option<&'a RawValue>,
    /// The white space before and after the metadata object, which nested JSON does not preserve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metadata_space: Option<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    previous: Option<Box<Entry<'a>>>,
    /// The checksum of the fields above, as JSON without white space. `None` if another program wrote the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crc32: Option<String>,
}

/// Returns the text of a sidecar for the content with this `version` and these `facts`, which replaces `previous`.
pub(super) fn write(version: Version, facts: &Facts, previous: Option<(Version, &Facts)>) -> Result<Vec<u8>> {
    let mut entry = entry(version, facts)?;
    if let Some((version, facts)) = previous {
        entry.previous = Some(Box::new(sealed(self::entry(version, facts)?)?));
    }
    let mut text = serde_json::to_vec_pretty(&sealed(entry)?).map_err(unwritable)?;
    text.push(b'\n');
    if text.len() as u64 > MAX_LEN {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!("the metadata is too long: with that of the replaced file, this store accepts {MAX_LEN} bytes"),
        ));
    }
    Ok(text)
}

fn entry(version: Version, facts: &Facts) -> Result<Entry<'_>> {
    let json = facts.metadata.as_ref().map_or(&[][..], |metadata| metadata.as_json());
    let metadata: Option<&RawValue> = match json {
        [] => None,
        json => Some(serde_json::from_slice(json).map_err(unwritable)?),
    };
    let space = |space: &[u8]| String::from_utf8_lossy(space).into_owned();
    let before = space(
        json.get(..json.len() - json.trim_ascii_start().len())
            .unwrap_or_default(),
    );
    let after = space(json.get(json.trim_ascii_end().len()..).unwrap_or_default());
    Ok(Entry {
        version: version.to_string(),
        sha256: facts.digest.map(|digest| digest.to_string()),
        // Each byte of the header becomes the character with its number, so that none is lost.
        content_type: facts
            .content_type
            .as_ref()
            .map(|value| value.as_bytes().iter().copied().map(char::from).collect()),
        metadata,
        metadata_space: (!before.is_empty() || !after.is_empty()).then_some((before, after)),
        previous: None,
        crc32: None,
    })
}

fn sealed(mut entry: Entry<'_>) -> Result<Entry<'_>> {
    entry.crc32 = Some(checksum(&entry)?);
    Ok(entry)
}

/// Returns the checksum of an entry whose `crc32` is unset.
fn checksum(entry: &Entry<'_>) -> Result<String> {
    let json = serde_json::to_vec(entry).map_err(unwritable)?;
    Ok(format!("{:08x}", crc32fast::hash(&json)))
}

fn unwritable(error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Internal, "the metadata cannot be written as JSON").with_source(error)
}

/// Returns the facts about the content with this `version`, or `None` if the sidecar describes other contents.
///
/// A malformed sidecar describes no content. The media can still be fetched.
pub(super) fn read(text: &[u8], version: Version) -> Option<Facts> {
    let mut entry: Entry<'_> = serde_json::from_slice(text).ok()?;
    if !version.is(&entry.version) {
        entry = *entry.previous.filter(|entry| version.is(&entry.version))?;
    }
    let content_type = entry.content_type.and_then(|text| {
        let bytes: Option<Vec<u8>> = text.chars().map(|char| u8::try_from(char).ok()).collect();
        HeaderValue::from_bytes(&bytes?).ok()
    });
    let metadata = entry.metadata.and_then(|raw| {
        let json = match entry.metadata_space {
            Some((before, after)) => Bytes::from([&before, raw.get(), &after].concat()),
            None => Bytes::copy_from_slice(raw.get().as_bytes()),
        };
        Metadata::from_json(json).ok()
    });
    Some(Facts {
        digest: entry.sha256.as_deref().and_then(Digest::from_hex),
        content_type,
        metadata,
    })
}

/// Returns the digests of the contents that the sidecar describes, or `None` if it differs from what the store wrote.
pub(super) fn digests(text: &[u8]) -> Option<Vec<Digest>> {
    let mut next = Some(Box::new(serde_json::from_slice::<Entry<'_>>(text).ok()?));
    let mut digests = Vec::new();
    while let Some(mut entry) = next {
        let noted = entry.crc32.take()?;
        if checksum(&entry).ok()? != noted {
            return None;
        }
        next = entry.previous.take();
        // A replaced file that was not uploaded has no digest.
        digests.extend(entry.sha256.as_deref().and_then(Digest::from_hex));
    }
    Some(digests)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn version(secs: u64) -> Version {
        let file = tempfile::tempfile().unwrap();
        file.set_modified(UNIX_EPOCH + Duration::new(secs, 1000)).unwrap();
        Version::of(&file.metadata().unwrap()).unwrap()
    }

    fn facts(content_type: &[u8], metadata: &str) -> Facts {
        Facts {
            digest: Some(Digest::of(content_type)),
            content_type: Some(HeaderValue::from_bytes(content_type).unwrap()),
            metadata: Some(Metadata::from_json(metadata.to_owned()).unwrap()),
        }
    }

    #[test]
    fn returns_the_facts_of_each_content_byte_for_byte() {
        let new = facts(
            b"audio/x-\xe9",
            "\r\n { \"n\": 63872533230.50, \"n\":1, \"s\":\"\\u00e9\" }\t",
        );
        let old = facts(b"audio/mpeg", "{}");
        let text = write(version(2), &new, Some((version(1), &old))).unwrap();
        for (secs, facts) in [(2, new), (1, old)] {
            let read = read(&text, version(secs)).unwrap();
            assert_eq!(read.digest, facts.digest);
            assert_eq!(read.content_type, facts.content_type);
            assert_eq!(read.metadata, facts.metadata);
        }
        assert!(read(&text, version(3)).is_none());
    }

    #[test]
    fn contains_the_metadata_as_plain_json() {
        let facts = Facts {
            digest: Some(Digest::of(b"abc")),
            ..facts(b"audio/mpeg", r#"{"id":"DOC"}"#)
        };
        let text = write(version(7), &facts, None).unwrap();
        let expected = r#"{
  "version": "7.000001000-0",
  "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
  "content_type": "audio/mpeg",
  "metadata": {"id":"DOC"},
  "crc32": "CRC"
}
"#;
        let json = r#"{"version":"7.000001000-0","sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","content_type":"audio/mpeg","metadata":{"id":"DOC"}}"#;
        let crc = format!("{:08x}", crc32fast::hash(json.as_bytes()));
        assert_eq!(String::from_utf8(text).unwrap(), expected.replace("CRC", &crc));
    }

    #[test]
    fn a_malformed_sidecar_describes_no_content() {
        for text in ["", "{", "[]", "{}", "{\"version\":7}", "\0"] {
            assert!(read(text.as_bytes(), version(1)).is_none(), "{text}");
        }
    }

    #[test]
    fn detects_every_flipped_bit() {
        let (old, new) = (facts(b"audio/mpeg", "{}"), facts(b"audio/ogg", r#" {"n": 1}"#));
        let text = write(version(2), &new, Some((version(1), &old))).unwrap();
        let digests = digests(&text).unwrap();
        assert_eq!(digests, [new.digest.unwrap(), old.digest.unwrap()]);
        for at in 0..text.len() {
            let mut flipped = text.clone();
            flipped[at] ^= 1;
            // White space between fields may become other white space.
            let harmless = text[at].is_ascii_whitespace();
            match super::digests(&flipped) {
                None => {}
                Some(found) => assert!(
                    harmless && found == digests,
                    "{at}: {}",
                    String::from_utf8_lossy(&flipped)
                ),
            }
        }
    }
}
