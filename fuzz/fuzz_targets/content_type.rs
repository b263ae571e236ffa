//! The boundary in a `content-type`: the header's value is the first line of the input, a boundary the second, and the
//! media the rest.

#![no_main]

use http::{HeaderValue, Request, StatusCode};
use kazoo_storage::SplitMultipart;
use kazoo_storage_fuzz::{
    oracle::{ContentType, content_type, is_boundary, split},
    pieces::{Cuts, End, Pieces},
    service::{Forwarded, through},
};
use libfuzzer_sys::fuzz_target;

const JSON: &[u8] = b"{\"id\":\"DOC\"}";

fuzz_target!(|input: &[u8]| {
    let Some((cuts, input)) = Cuts::take(input) else {
        return;
    };
    let mut lines = input.splitn(3, |byte| *byte == b'\n');
    let (Some(value), Some(boundary), Some(media)) = (lines.next(), lines.next(), lines.next()) else {
        return;
    };
    let (Ok(value), Ok(boundary)) = (HeaderValue::from_bytes(value), str::from_utf8(boundary)) else {
        return;
    };
    let send = |body: &[u8], cuts| {
        let body = Pieces::new(body, cuts, End::Clean);
        let request = Request::put("/").header("content-type", &value).body(body).unwrap();
        through(&SplitMultipart::new(), request)
    };
    let either_way = |body: &[u8]| {
        let came = send(body, Cuts::NONE);
        assert_eq!(send(body, cuts), came, "the result depends on the pieces");
        came
    };
    match content_type(Some(&value)) {
        ContentType::Plain => {
            let came = either_way(media).unwrap();
            assert_eq!((came.json, &came.body[..]), (None, media));
            assert_eq!(came.headers["content-type"], value);
        }
        ContentType::Invalid => {
            assert_eq!(either_way(&body(boundary, media)), Err(StatusCode::BAD_REQUEST));
        }
        ContentType::Multipart(named) => {
            expect(&named, media, either_way(&body(&named, media)));
            if !named.starts_with(boundary) {
                let other = body(boundary, media);
                let expected = split(&other, &named, SplitMultipart::DEFAULT_MAX_METADATA);
                assert_eq!(either_way(&other).is_ok(), expected.is_ok());
            }
        }
        // Whitespace after a delimiter is not part of it.
        ContentType::Undelimited if is_boundary(boundary) && boundary.trim_end() == boundary => {
            expect(boundary, media, either_way(&body(boundary, media)));
        }
        ContentType::Undelimited => {
            let _ = either_way(&body(boundary, media));
        }
    }
});

fn body(boundary: &str, media: &[u8]) -> Vec<u8> {
    let delimiter = format!("\r\n--{boundary}");
    [
        delimiter.as_bytes(),
        b"\r\ncontent-type: application/json\r\n\r\n",
        JSON,
        delimiter.as_bytes(),
        b"\r\ncontent-type: audio/mpeg\r\n\r\n",
        media,
        delimiter.as_bytes(),
        b"--",
    ]
    .concat()
}

/// The media are kept unless they contain the delimiter.
fn expect(boundary: &str, media: &[u8], came: Result<Forwarded, StatusCode>) {
    let delimiter = format!("\r\n--{boundary}");
    // The line break at the end of the headers may start a delimiter too.
    let followed = [&b"\r\n"[..], media, delimiter.as_bytes()].concat();
    let first = followed
        .windows(delimiter.len())
        .position(|window| window == delimiter.as_bytes());
    if first != Some(media.len() + 2)
        || JSON
            .windows(delimiter.len())
            .any(|window| window == delimiter.as_bytes())
    {
        return;
    }
    let came = came.unwrap();
    assert_eq!(came.headers["content-type"], "audio/mpeg");
    assert_eq!(
        (came.json.as_deref(), &came.body[..]),
        (Some(JSON), media),
        "{boundary:?}"
    );
}
