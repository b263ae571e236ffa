//! Multipart bodies: the boundary is the first line of the input, the body the rest.

#![no_main]

use http::{Request, StatusCode};
use kazoo_storage::SplitMultipart;
use kazoo_storage_fuzz::{
    oracle::{self, Upload},
    pieces::{Cuts, End, Pieces},
    service::{Forwarded, through},
};
use libfuzzer_sys::fuzz_target;

/// Flag: the `content-type` has no boundary.
const UNNAMED: u8 = 1;
/// Flag: the limit of the JSON is 64 bytes.
const TIGHT: u8 = 2;
/// Flag: the body starts with a preamble of the maximum length.
const PREAMBLE: u8 = 4;

fuzz_target!(|input: &[u8]| {
    let Some((cuts, [flags, input @ ..])) = Cuts::take(input) else {
        return;
    };
    let Some(at) = input.iter().position(|byte| *byte == b'\n') else {
        return;
    };
    let (boundary, body) = (&input[..at], &input[at + 1..]);
    let body = match flags & PREAMBLE {
        0 => body,
        _ => &[&[b'x'; oracle::BETWEEN_PARTS - 150], body].concat(),
    };
    let Some(boundary) = str::from_utf8(boundary)
        .ok()
        .filter(|text| oracle::is_boundary(text) && !text.contains([';', '"', ' ']))
    else {
        return;
    };
    let named = flags & UNNAMED == 0;
    let max_metadata = if flags & TIGHT == 0 {
        SplitMultipart::DEFAULT_MAX_METADATA
    } else {
        64
    };
    let layer = SplitMultipart::new().max_metadata(max_metadata);
    let send = |cuts, end| {
        let content_type = if named {
            format!("multipart/form-data; boundary={boundary}")
        } else {
            "multipart/mixed".to_owned()
        };
        let request = Request::put("/")
            .header("content-type", content_type)
            .header("content-length", body.len())
            .body(Pieces::new(body, cuts, end))
            .unwrap();
        through(&layer, request)
    };

    let came = send(Cuts::NONE, End::Clean);
    assert_eq!(send(cuts, End::Clean), came, "the result depends on the pieces");
    assert!(send(cuts, End::Broken).is_err(), "an interrupted body is accepted");

    let boundary = if named {
        Some(boundary.to_owned())
    } else {
        oracle::first_line(body)
    };
    let Some(boundary) = boundary else {
        assert_eq!(came, Err(StatusCode::BAD_REQUEST));
        return;
    };
    let expected = oracle::split(body, &boundary, max_metadata);
    match (came, expected) {
        (Ok(came), Ok(expected)) => assert_same(came, &expected),
        (Err(StatusCode::PAYLOAD_TOO_LARGE), Ok(_)) => assert!(!oracle::is_small(body)),
        // Which of two faults is reported does not matter.
        (Err(_), Err(_)) => {}
        (came, expected) => panic!("{came:?} instead of {expected:?}"),
    }
});

fn assert_same(came: Forwarded, expected: &Upload) {
    assert!(!came.headers.contains_key("content-length"));
    let found = Upload {
        content_type: came.headers.get("content-type").cloned(),
        json: came.json,
        content: came.body,
        base64: expected.base64,
    };
    assert_eq!(found, *expected);
}
