//! Frames of HTTP/2, and uploads made of them.

use super::{NEW, TARGET};

pub(super) const END_STREAM: u8 = 1;

pub(super) const END_HEADERS: u8 = 4;

pub(super) const NO_ERROR: u32 = 0;

pub(super) const INTERNAL_ERROR: u32 = 2;

pub(super) const CANCEL: u32 = 8;

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&len[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// A header block without indexed fields, in which every length fits in a byte.
pub(super) fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let header = |(name, value): &(&str, &str)| [vec![0], text(name), text(value)].concat();
    headers.iter().flat_map(header).collect()
}

pub(super) fn data(flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(0, flags, 1, payload)
}

pub(super) fn reset(reason: u32) -> Vec<u8> {
    frame(3, 0, 1, &reason.to_be_bytes())
}

pub(super) fn go_away() -> Vec<u8> {
    frame(7, 0, 0, &[0; 8])
}

/// The head of an upload.
pub(super) fn upload(headers: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [
        (":method", "PUT"),
        (":scheme", "http"),
        (":path", TARGET),
        (":authority", "h"),
    ];
    frame(1, END_HEADERS, 1, &block(&[&pseudo, headers].concat()))
}

pub(super) fn trailers() -> Vec<u8> {
    frame(1, END_HEADERS | END_STREAM, 1, &block(&[("x-checksum", "7")]))
}

/// Uploads that never end, each with its description.
pub(super) fn unfinished() -> Vec<(String, Vec<Vec<u8>>)> {
    let mut uploads = Vec::new();
    let ends = [
        ("RST_STREAM(NO_ERROR)", Some(reset(NO_ERROR))),
        ("RST_STREAM(CANCEL)", Some(reset(CANCEL))),
        ("RST_STREAM(INTERNAL_ERROR)", Some(reset(INTERNAL_ERROR))),
        ("GOAWAY", Some(go_away())),
        ("the end of the connection", None),
    ];
    let len = NEW.concat().len().to_string();
    let longer = (NEW.concat().len() + 1).to_string();
    for (end, frames) in ends {
        for (declared, headers) in [
            ("no length", &[][..]),
            ("its length", &[("content-length", &*len)]),
            ("a longer length", &[("content-length", &*longer)]),
        ] {
            for count in 0..=NEW.len() {
                // The declared length has arrived completely.
                if declared == "its length" && count == NEW.len() {
                    continue;
                }
                let chunks = NEW[..count].iter().map(|chunk| data(0, chunk));
                let upload = [upload(headers)].into_iter().chain(chunks).chain(frames.clone());
                uploads.push((format!("{end} behind {count} chunks, {declared}"), upload.collect()));
            }
        }
    }
    uploads
}

/// Uploads that are complete.
pub(super) fn finished() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let len = NEW.concat().len().to_string();
    let [front, back] = NEW;
    let declared = upload(&[("content-length", &*len)]);
    vec![
        (
            "END_STREAM with the last chunk",
            vec![upload(&[]), data(0, front), data(END_STREAM, back)],
        ),
        (
            "END_STREAM behind the last chunk",
            vec![upload(&[]), data(0, front), data(0, back), data(END_STREAM, b"")],
        ),
        ("trailers", vec![upload(&[]), data(0, front), data(0, back), trailers()]),
        (
            "a declared length",
            vec![declared.clone(), data(0, front), data(END_STREAM, back)],
        ),
        (
            "a declared length and trailers",
            vec![declared, data(0, front), data(0, back), trailers()],
        ),
    ]
}
