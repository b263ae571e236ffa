//! Whether a body is base64, told by its start.

use super::{Base64, decoder::Decoder};
use crate::probe::Probe;

/// How much of a body is looked at.
pub(super) const PREFIX: usize = 1024;

/// What is known of a body before it is read on.
pub(super) struct Evidence<'a> {
    /// Its first [`PREFIX`] bytes, or all there is.
    pub(super) start: &'a [u8],
    /// Whether `start` is all there is.
    pub(super) whole: bool,
    /// Whether it came as the media part of a multipart body.
    pub(super) media_part: bool,
    pub(super) content_type: Option<&'a [u8]>,
}

/// Whether `mode` takes the body for base64.
pub(super) fn is_base64(mode: Base64, evidence: &Evidence<'_>) -> bool {
    match (mode, evidence.media_part) {
        (Base64::Off, _) | (Base64::Detect, false) => false,
        (Base64::Declared, true) => true,
        (Base64::Declared, false) => looks_encoded(evidence),
        (Base64::Detect, true) => {
            looks_encoded(evidence) && (!evidence.content_type.is_some_and(is_textual) || is_encoded_probe(evidence))
        }
    }
}

/// Whether there is nothing but base64 so far: letters, in a whole body a multiple of four bytes, padded at most at its
/// end.
fn looks_encoded(Evidence { start, whole, .. }: &Evidence<'_>) -> bool {
    let letters = if *whole {
        let unpadded = start.strip_suffix(b"=").unwrap_or(start);
        unpadded.strip_suffix(b"=").unwrap_or(unpadded)
    } else {
        start
    };
    let whole_quads = !whole || start.len().is_multiple_of(4);
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    !start.is_empty() && whole_quads && letters.iter().fold(true, |all, byte| all & is_letter(byte))
}

fn is_encoded_probe(Evidence { start, whole, .. }: &Evidence<'_>) -> bool {
    *whole
        && Decoder::default()
            .decode(start)
            .is_ok_and(|content| Probe::is_content(&content))
}

/// Whether a file of this type may well be base64 text by itself.
fn is_textual(content_type: &[u8]) -> bool {
    let media_type = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    let media_type = media_type.trim_ascii().to_ascii_lowercase();
    media_type.starts_with(b"text/")
        || matches!(&*media_type, b"application/json" | b"application/xml")
        || media_type.ends_with(b"+json")
        || media_type.ends_with(b"+xml")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media<'a>(start: &'a [u8], content_type: &'a str) -> Evidence<'a> {
        Evidence {
            start,
            whole: start.len() < PREFIX,
            media_part: true,
            content_type: Some(content_type.as_bytes()),
        }
    }

    #[test]
    fn detect_takes_only_what_is_base64_beyond_doubt() {
        let long = [b'A'; PREFIX];
        let detects = |start: &[u8], content_type| is_base64(Base64::Detect, &media(start, content_type));
        assert!(detects(b"SUQz", "audio/mpeg"));
        assert!(detects(b"SUQzAA==", "application/octet-stream"));
        assert!(detects(&long, "image/tiff"));
        assert!(!detects(b"", "audio/mpeg"), "nothing to decode");
        assert!(!detects(b"SUQzA", "audio/mpeg"), "no multiple of four");
        assert!(!detects(b"=AAA", "audio/mpeg"));
        assert!(!detects(b"AA=A", "audio/mpeg"));
        assert!(!detects(b"ID3\x04", "audio/mpeg"));
        assert!(!detects(b"SUQz\r\n", "audio/mpeg"));
        assert!(!detects(b"SUQz", "text/plain; charset=utf-8"));
        assert!(!detects(b"SUQz", "application/ld+json"));
        let padded_in_the_middle = [&long[..PREFIX - 1], b"=AAAA"].concat();
        assert!(!detects(&padded_in_the_middle, "audio/mpeg"));
        assert!(!is_base64(
            Base64::Detect,
            &Evidence {
                media_part: false,
                ..media(b"SUQz", "audio/mpeg")
            }
        ));
    }

    #[test]
    fn the_encoded_probe_is_known_by_its_content() {
        let probe = b"c29tZSByYW5kb20gY29udGVudDogN2YzYzJhOTBiMWQ0ZTZmOGEwYzJlNGY2MTgyOTNhNGI=";
        assert!(is_base64(Base64::Detect, &media(probe, "text/plain")));
        assert!(!is_base64(
            Base64::Detect,
            &media(b"c29tZSBvdGhlciBjb250ZW50", "text/plain")
        ));
        assert!(!is_base64(Base64::Detect, &media(&probe[4..], "text/plain")));
    }

    #[test]
    fn declared_decodes_every_media_part_and_plain_bodies_that_look_it() {
        assert!(is_base64(Base64::Declared, &media(b"no base64", "audio/mpeg")));
        let plain = |start| Evidence {
            media_part: false,
            ..media(start, "audio/mpeg")
        };
        assert!(is_base64(Base64::Declared, &plain(b"SUQz")));
        assert!(!is_base64(Base64::Declared, &plain(b"ID3\x04")));
        assert!(!is_base64(Base64::Off, &media(b"SUQz", "audio/mpeg")));
    }
}
