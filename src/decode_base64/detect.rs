//! Detects a base64 body by its headers and its first bytes.

use super::{
    Base64,
    decoder::Decoder,
    signature::{is_known, is_mpeg_frame},
};
use crate::{
    encoding::{TransferEncoding, media_type},
    metadata::MediaPart,
    probe::Probe,
};

/// The number of bytes that are inspected.
pub(super) const PREFIX: usize = 1024;

/// The minimum text length for which the letters and the media type alone identify base64. Random letters of this
/// length contain 63 different ones on average.
const MIN_LETTERS: usize = 256;
const MIN_DIFFERENT: u32 = 40;
/// The minimum number of different letters if the text decodes to an MPEG frame. A raw recording of silence has one or
/// two.
const MIN_DIFFERENT_IN_FRAMES: u32 = 8;

/// The known facts about a body.
pub(super) struct Evidence<'a> {
    /// The first [`PREFIX`] bytes of the body, or all of them if there are fewer.
    pub(super) start: &'a [u8],
    /// `true` if `start` is the whole body.
    pub(super) whole: bool,
    /// The mark of the media part of a multipart body.
    pub(super) media_part: Option<MediaPart>,
    pub(super) content_type: Option<&'a [u8]>,
}

/// The reason to decode a body as base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The part has a `content-transfer-encoding`.
    TransferEncoding,
    /// The mode is [`Base64::Declared`].
    Declared,
    /// The first bytes are certainly base64.
    Start,
}

/// The decision about a body before its content is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// The body is stored as is.
    Keep,
    /// The body is decoded.
    Decode(Reason),
    /// The start of the body decides.
    Inspect,
}

/// Returns the plan for a body: the table in the documentation of [`DecodeBase64`](super::DecodeBase64).
pub(super) fn plan(mode: Base64, media_part: Option<MediaPart>) -> Plan {
    match (mode, media_part.map(|part| part.transfer_encoding)) {
        (_, Some(Some(TransferEncoding::Base64))) => Plan::Decode(Reason::TransferEncoding),
        (_, Some(Some(TransferEncoding::Identity))) | (Base64::Off, _) | (Base64::Detect, None) => Plan::Keep,
        (Base64::Declared, Some(None)) => Plan::Decode(Reason::Declared),
        (Base64::Declared, None) | (Base64::Detect, Some(None)) => Plan::Inspect,
    }
}

/// Returns the reason to decode the body, or `None` if it is stored as is.
pub(super) fn reason(mode: Base64, evidence: &Evidence<'_>) -> Option<Reason> {
    match plan(mode, evidence.media_part) {
        Plan::Keep => None,
        Plan::Decode(reason) => Some(reason),
        Plan::Inspect => is_certain(evidence).then_some(Reason::Start),
    }
}

/// Returns `true` if the body is base64 and not a file that happens to consist of letters.
///
/// A raw recording may consist of letters: silence in A-law is a series of the letter `U`, and a soft tone a few
/// neighboring letters. It has at most 26 different letters, because a signal that ranged from `Z` to `a` would
/// include the punctuation between them.
fn is_certain(evidence: &Evidence<'_>) -> bool {
    if !looks_encoded(evidence) {
        return false;
    }
    let media_type = media_type(evidence.content_type.unwrap_or_default()).to_ascii_lowercase();
    // The start of a longer body may end within a group of four bytes.
    let quads = evidence.start.len() - evidence.start.len() % 4;
    let Ok(decoded) = Decoder::default().decode(evidence.start.get(..quads).unwrap_or_default()) else {
        return false;
    };
    if is_textual(&media_type) {
        return evidence.whole && Probe::is_content(&decoded);
    }
    let different = different(evidence.start);
    let by_letters = evidence.start.len() >= MIN_LETTERS && different >= MIN_DIFFERENT;
    let by_frame = is_mpeg_frame(&decoded) && different >= MIN_DIFFERENT_IN_FRAMES;
    is_known(&decoded) || (is_media(&media_type) && (by_letters || by_frame))
}

/// Returns `true` if the text so far is base64: letters, with padding at the end only. A whole body is a multiple of
/// four bytes.
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

/// Returns the number of different bytes in `text`, which is ASCII.
fn different(text: &[u8]) -> u32 {
    text.iter()
        .fold(0_u128, |seen, byte| seen | 1 << (byte & 0x7f))
        .count_ones()
}

/// Returns `true` for media types whose files may themselves be base64 text.
fn is_textual(media_type: &[u8]) -> bool {
    media_type.starts_with(b"text/")
        || matches!(media_type, b"application/json" | b"application/xml")
        || media_type.ends_with(b"+json")
        || media_type.ends_with(b"+xml")
}

/// Returns `true` for media types whose files are never base64 text themselves, unlike `application/octet-stream`,
/// which may be anything.
fn is_media(media_type: &[u8]) -> bool {
    let kinds: [&[u8]; 4] = [b"audio/", b"image/", b"video/", b"application/pdf"];
    kinds.iter().any(|kind| media_type.starts_with(kind))
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    use super::*;

    fn media<'a>(start: &'a [u8], content_type: &'a str) -> Evidence<'a> {
        Evidence {
            start: start.get(..PREFIX).unwrap_or(start),
            whole: start.len() <= PREFIX,
            media_part: Some(MediaPart::default()),
            content_type: Some(content_type.as_bytes()),
        }
    }

    fn detects(start: &[u8], content_type: &str) -> bool {
        reason(Base64::Detect, &media(start, content_type)).is_some()
    }

    fn encode(content: &[u8]) -> Vec<u8> {
        STANDARD.encode(content).into_bytes()
    }

    const TAG: &[u8] = b"ID3\x04\x00\x00\x00\x00\x00\x21";

    #[test]
    fn detects_only_certain_base64() {
        let noise = encode(&(0..=u8::MAX).collect::<Vec<u8>>());
        for kind in ["audio/mpeg", "application/octet-stream", "x"] {
            assert!(detects(&encode(TAG), kind));
            assert!(!detects(TAG, kind));
            assert!(!detects(&[b'U'; 8000], kind));
            assert!(!detects(&encode(TAG)[1..], kind));
            assert!(!detects(&[&encode(TAG)[..], b"\r\n"].concat(), kind));
            assert!(!detects(&[&encode(TAG)[..], b"AAAA"].concat(), kind), "padding inside");
            assert!(!detects(b"", kind), "nothing to decode");
            assert_eq!(detects(&noise, kind), kind == "audio/mpeg", "{kind}");
        }
        for kind in ["text/plain; charset=utf-8", "application/ld+json", "image/svg+xml"] {
            assert!(!detects(&encode(TAG), kind), "{kind}");
        }
        assert!(!detects(&noise[..MIN_LETTERS - 4], "audio/mpeg"));
        assert_eq!(
            reason(
                Base64::Detect,
                &Evidence {
                    media_part: None,
                    ..media(&encode(TAG), "audio/mpeg")
                }
            ),
            None
        );
    }

    #[test]
    fn detects_mpeg_frames_of_media_types_only() {
        let frames = encode(&[&b"\xff\xfb\x90\x64\x00\x0f\xf0"[..], &[0; 20], b"LAME3.100"].concat());
        assert!(detects(&frames, "audio/mpeg"));
        assert!(!detects(&frames, "application/octet-stream"));
        assert!(!detects(b"//sA//sA", "audio/mpeg"), "a few letters");
    }

    #[test]
    fn detects_the_encoded_probe_by_its_content() {
        let probe = b"c29tZSByYW5kb20gY29udGVudDogN2YzYzJhOTBiMWQ0ZTZmOGEwYzJlNGY2MTgyOTNhNGI=";
        assert!(detects(probe, "text/plain"));
        assert!(!detects(b"c29tZSBvdGhlciBjb250ZW50", "text/plain"));
        assert!(!detects(&probe[4..], "text/plain"));
    }

    #[test]
    fn declared_decodes_every_media_part_and_plain_bodies_that_are_certain() {
        let is_base64 = |mode, start, part| {
            reason(
                mode,
                &Evidence {
                    media_part: part,
                    ..media(start, "audio/mpeg")
                },
            )
        };
        let part = Some(MediaPart::default());
        let tag = encode(TAG);
        assert_eq!(is_base64(Base64::Declared, b"no base64", part), Some(Reason::Declared));
        assert_eq!(is_base64(Base64::Declared, &tag, None), Some(Reason::Start));
        assert_eq!(is_base64(Base64::Declared, b"UUUU", None), None);
        assert_eq!(is_base64(Base64::Off, &tag, part), None);
    }

    #[test]
    fn the_transfer_encoding_of_the_part_decides_in_every_mode() {
        for mode in [Base64::Off, Base64::Detect, Base64::Declared] {
            for (encoding, expected) in [
                (TransferEncoding::Base64, Some(Reason::TransferEncoding)),
                (TransferEncoding::Identity, None),
            ] {
                let media_part = Some(MediaPart::new(encoding));
                let tag = encode(TAG);
                let evidence = Evidence {
                    media_part,
                    ..media(&tag, "audio/mpeg")
                };
                assert_eq!(reason(mode, &evidence), expected, "{mode:?}");
            }
        }
    }
}
