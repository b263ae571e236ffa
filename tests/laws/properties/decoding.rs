//! Detection and decoding of base64, compared with the oracle.

use std::vec;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, Request, StatusCode};
use kazoo_storage::{Base64, DecodeBase64, metadata::MediaPart};
use proptest::{collection::vec, option, prelude::*, sample::select};
use tower::Layer as _;

use super::{Forwarded, Pieces, config, through};
use crate::oracle;

fn decode(mode: Base64, media_part: bool, content_type: &str, text: &[u8], cuts: &[usize]) -> (StatusCode, Forwarded) {
    let mut request = Request::put("/")
        .header("content-type", content_type)
        .body(Pieces::new(text, cuts))
        .unwrap();
    if media_part {
        request.extensions_mut().insert(MediaPart::default());
    }
    through(|inner| DecodeBase64::new(mode).layer(inner), request)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn decodes_base64_in_pieces(media in vec(any::<u8>(), 1..4000), cuts in vec(any::<usize>(), 0..8)) {
        let text = STANDARD.encode(&media);
        let (status, forwarded) = decode(Base64::Declared, true, "audio/mpeg", text.as_bytes(), &cuts);
        prop_assert_eq!(status, StatusCode::OK);
        prop_assert_eq!(forwarded.map(|(_, _, media)| media), Some(media.into()));
    }

    /// Text close to base64 is decoded if it is valid as a whole, and refused otherwise.
    #[test]
    fn refuses_invalid_base64(
        text in vec(select(&b"ABCDabcd0123+/="[..]), 0..3000),
        damage in option::of((any::<usize>(), any::<u8>())),
        cuts in vec(any::<usize>(), 0..8),
    ) {
        let mut text = text;
        if let Some((at, byte)) = damage
            && !text.is_empty()
        {
            let at = at % text.len();
            text[at] = byte;
        }
        let (status, forwarded) = decode(Base64::Declared, true, "audio/mpeg", &text, &cuts);
        if let Ok(media) = STANDARD.decode(&text) {
            prop_assert_eq!(forwarded.map(|(_, _, media)| media), Some(media.into()));
        } else {
            prop_assert_eq!(status, StatusCode::BAD_REQUEST);
            prop_assert_eq!(forwarded, None);
        }
    }

    /// The first 1024 bytes decide whether a body is base64, however it is split.
    #[test]
    fn detects_base64_by_its_start(
        mode in select(vec![Base64::Detect, Base64::Declared, Base64::Off]),
        media_part in any::<bool>(),
        content_type in select(vec!["audio/mpeg", "TEXT/plain; charset=x", "a/b+json"]),
        // 767 bytes are 1024 letters, the last of them padding.
        media in prop_oneof![0..8_usize, 185..200_usize, 760..776_usize, Just(767), 1000..1100_usize],
        // A known format, many different letters, and silence.
        content in select(vec!["%PDF-", "noise", "silence"]),
        stray in option::weighted(0.3, (0..1500_usize, select(&b"=\n-AB"[..]))),
        more in select(vec!["", "A", "==", "Zm9v"]),
        cuts in vec(any::<usize>(), 0..8),
    ) {
        let media: Vec<u8> = match content {
            "noise" => (0..=u8::MAX).cycle().take(media).collect(),
            "silence" => vec![0x61; media],
            format => format.bytes().chain((0..=u8::MAX).cycle()).take(media).collect(),
        };
        let mut text = STANDARD.encode(media).into_bytes();
        text.extend_from_slice(more.as_bytes());
        if let Some((at, byte)) = stray
            && let Some(replaced) = text.get_mut(at)
        {
            *replaced = byte;
        }
        let value = HeaderValue::from_static(content_type);
        let expected = oracle::decode(mode, media_part, None, Some(&value), &text.clone().into());
        let (status, forwarded) = decode(mode, media_part, content_type, &text, &cuts);
        prop_assert_eq!(status.is_success(), expected.is_some());
        prop_assert_eq!(forwarded.map(|(_, _, media)| media), expected);
    }
}
