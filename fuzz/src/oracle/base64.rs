//! Decodes a complete body.

use std::collections::HashSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::HeaderValue;
use kazoo_storage::{Base64, probe::Probe};

/// The decoded body, or `None` if the body is treated as base64 and is invalid. `declared` is the encoding that the part declares.
#[must_use]
pub fn decode(
    mode: Base64,
    media_part: bool,
    declared: Option<bool>,
    content_type: Option<&HeaderValue>,
    body: &Bytes,
) -> Option<Bytes> {
    if let Some(base64) = declared.filter(|_| media_part) {
        let joined: Vec<u8> = body.iter().copied().filter(|byte| !b" \t\r\n".contains(byte)).collect();
        return if base64 {
            STANDARD.decode(joined).ok().map(Bytes::from)
        } else {
            Some(body.clone())
        };
    }
    let encoded = match (mode, media_part) {
        (Base64::Off, _) | (Base64::Detect, false) => false,
        (Base64::Declared, true) => true,
        (Base64::Declared, false) | (Base64::Detect, true) => is_certain(content_type, body),
    };
    if encoded {
        STANDARD.decode(body).ok().map(Bytes::from)
    } else {
        Some(body.clone())
    }
}

/// Returns `true` if the start of `body` is base64 that decodes to a known format, or to media with many different letters.
fn is_certain(content_type: Option<&HeaderValue>, body: &[u8]) -> bool {
    let start = &body[..body.len().min(1024)];
    let whole = body.len() <= 1024;
    let padding = start
        .iter()
        .rev()
        .take_while(|byte| whole && **byte == b'=')
        .count()
        .min(2);
    let letters = &start[..start.len() - padding];
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    let Ok(decoded) = STANDARD.decode(start) else {
        return false;
    };
    if start.is_empty() || !letters.iter().all(is_letter) {
        return false;
    }
    if content_type.is_some_and(is_textual) {
        return whole && Probe::is_content(&decoded);
    }
    let at = |from: usize, text: &[u8]| decoded.get(from..).is_some_and(|rest| rest.starts_with(text));
    let known: [&[u8]; 15] = [
        b"OggS\0",
        b"fLaC",
        b"caff\0\x01",
        b"#!AMR",
        b".snd",
        b"\x1a\x45\xdf\xa3",
        b"II*\0",
        b"MM\0*",
        b"%PDF-",
        b"%!PS",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"GIF8",
        b"PK\x03\x04",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    ];
    let boxed = [
        ("RIFF", "WAVE"),
        ("RIFX", "WAVE"),
        ("RF64", "WAVE"),
        ("RIFF", "AVI "),
        ("RIFF", "WEBP"),
        ("FORM", "AIF"),
    ];
    if known.iter().any(|text| at(0, text))
        || at(4, b"ftyp")
        || boxed
            .iter()
            .any(|(outer, inner)| at(0, outer.as_bytes()) && at(8, inner.as_bytes()))
        || (at(0, b"ID3")
            && decoded.len() > 5
            && (2..=4).contains(&decoded[3])
            && decoded[4] != 255
            && decoded[5] % 16 == 0)
    {
        return true;
    }
    let value = content_type
        .map_or(&b""[..], HeaderValue::as_bytes)
        .trim_ascii_start()
        .to_ascii_lowercase();
    let essence = value.split(|byte| *byte == b';').next().unwrap();
    let media: [&[u8]; 4] = [b"audio/", b"image/", b"video/", b"application/pdf"];
    let different = start.iter().collect::<HashSet<_>>().len();
    let frame = decoded.len() > 2 && {
        let [first, second, third] = [decoded[0], decoded[1], decoded[2]];
        let (version, layer, bitrate, rate) = (second >> 3 & 3, second >> 1 & 3, third >> 4, third >> 2 & 3);
        first == 255 && second >= 0xe0 && version != 1 && layer != 0 && bitrate != 0 && bitrate != 15 && rate != 3
    };
    media.iter().any(|kind| essence.starts_with(kind))
        && ((start.len() >= 256 && different >= 40) || (frame && different >= 8))
}

fn is_textual(content_type: &HeaderValue) -> bool {
    let value = String::from_utf8_lossy(content_type.as_bytes()).to_ascii_lowercase();
    let essence = value.split(';').next().unwrap().trim_matches([' ', '\t']);
    let exact = ["application/json", "application/xml"].contains(&essence);
    exact || essence.starts_with("text/") || essence.ends_with("+json") || essence.ends_with("+xml")
}
