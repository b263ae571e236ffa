//! Base64: the first bytes of the input are options, followed by the body.

#![no_main]

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode};
use kazoo_storage::{
    Base64, DecodeBase64,
    metadata::{MediaPart, TransferEncoding},
};
use kazoo_storage_fuzz::{
    oracle,
    pieces::{Cuts, End, Pieces},
    service::through,
};
use libfuzzer_sys::fuzz_target;

const TYPES: [Option<&str>; 4] = [
    None,
    Some("audio/mpeg"),
    Some("text/plain; charset=utf-8"),
    Some("image/SVG+XML "),
];

/// Flag: the body is repeated until it is longer than one step of the decoder.
const LONG: u8 = 0x20;
const LEN: usize = 70_000;

fuzz_target!(|input: &[u8]| {
    let Some((cuts, [mode, meant, body @ ..])) = Cuts::take(input) else {
        return;
    };
    let body = match meant & LONG {
        0 => body,
        _ => &body.repeat(LEN / body.len().max(1)),
    };
    let mode = [Base64::Detect, Base64::Declared, Base64::Off][usize::from(mode % 3)];
    let media_part = meant & 1 == 0;
    let content_type = TYPES[usize::from(meant >> 1 & 3)].map(HeaderValue::from_static);
    // A declared length may be wrong.
    let declared = match meant >> 3 & 3 {
        0 => None,
        1 => Some(body.len() + 1),
        _ => Some(body.len()),
    };
    // The encoding that the part declares.
    let said = match meant >> 6 {
        2 => Some(true),
        3 => Some(false),
        _ => None,
    };
    let part = MediaPart::new(said.map(|base64| match base64 {
        true => TransferEncoding::Base64,
        false => TransferEncoding::Identity,
    }));
    let send = |cuts, end| {
        let mut request = Request::put("/").body(Pieces::new(body, cuts, end)).unwrap();
        let headers = request.headers_mut();
        headers.extend(content_type.clone().map(|value| (http::header::CONTENT_TYPE, value)));
        headers.extend(declared.map(|len| (http::header::CONTENT_LENGTH, len.into())));
        if media_part {
            request.extensions_mut().insert(part);
        }
        through(&DecodeBase64::new(mode), request)
    };

    let came = send(Cuts::NONE, End::Clean);
    assert_eq!(send(cuts, End::Clean), came, "the result depends on the pieces");
    assert!(send(cuts, End::Broken).is_err(), "an interrupted body is accepted");

    let body = Bytes::copy_from_slice(body);
    let expected = oracle::decode(mode, media_part, said, content_type.as_ref(), &body);
    let Ok(came) = came else {
        let miscounted = declared.is_some_and(|len| len != body.len());
        assert!(expected.is_none() || miscounted, "{came:?} instead of {expected:?}");
        assert_eq!(came, Err(StatusCode::BAD_REQUEST));
        return;
    };
    assert_eq!(Some(&came.body), expected.as_ref());
    // The declared length must not exceed the decoded body.
    let length = came.headers.get("content-length").cloned();
    let kept = declared.map(HeaderValue::from);
    if came.body != body {
        assert_eq!(length, None);
    } else if !body.is_empty() {
        assert_eq!(length, kept);
    }
});
