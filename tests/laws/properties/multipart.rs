//! Splitting of multipart bodies, compared with the oracle and with `multer`.

use std::{convert::Infallible, vec};

use bytes::Bytes;
use futures_util::{FutureExt as _, future, stream};
use http::{HeaderValue, Request, StatusCode};
use kazoo_storage::SplitMultipart;
use proptest::{collection::vec, option, prelude::*, sample::select};
use tower::Layer as _;

use super::{Forwarded, Pieces, config, through};
use crate::oracle;

/// The parts of a complete multipart body, read by `multer`.
fn multer(body: &[u8], boundary: &str) -> Option<Vec<Bytes>> {
    let body = stream::once(future::ready(Ok::<_, Infallible>(Bytes::copy_from_slice(body))));
    let mut multipart = multer::Multipart::new(body, boundary);
    let read = async {
        let mut parts = Vec::new();
        while let Some(field) = multipart.next_field().await? {
            parts.push(field.bytes().await?);
        }
        Ok::<_, multer::Error>(parts)
    };
    // The body is complete, so the future is ready at once.
    read.now_or_never()?.ok()
}

/// The request that must reach the service behind `SplitMultipart`.
fn upload_of(body: &[u8], boundary: &str) -> Forwarded {
    let upload = oracle::split(body, boundary, SplitMultipart::DEFAULT_MAX_METADATA).ok()?;
    let latin = |value: HeaderValue| value.as_bytes().iter().copied().map(char::from).collect();
    Some((upload.json, upload.content_type.map(latin), upload.content))
}

/// Boundaries of KAZOO's old and new alphabets, some short enough to occur by chance.
fn boundary() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z0-9_-]{1,4}",
        "[A-Za-z0-9_-]{64}",
        "[A-Za-z0-9+/]{3,70}",
        "-{1,6}"
    ]
}

/// Media made of pieces of delimiters.
fn media(boundary: String) -> impl Strategy<Value = (String, Vec<u8>)> {
    let almost: Vec<Vec<u8>> = (1..=boundary.len())
        .map(|len| format!("\r\n--{}", &boundary[..len - 1]).into_bytes())
        .chain([
            b"\r\n".to_vec(),
            b"\r".to_vec(),
            b"\n".to_vec(),
            b"-".to_vec(),
            b"--".to_vec(),
            b"\r\n--".to_vec(),
            b"\r\n\r\n".to_vec(),
            boundary.clone().into_bytes(),
            format!("--{boundary}").into_bytes(),
            format!("\n--{boundary}\r\n").into_bytes(),
            format!("--{boundary}--").into_bytes(),
            format!("\r\n--{boundary}--ad luck").into_bytes(),
            format!("\r\n--{boundary}ness\r\n").into_bytes(),
            format!("\r\n--{boundary} \r").into_bytes(),
            b"content-type: audio/mpeg\r\n\r\n".to_vec(),
            b"\x00\xff".to_vec(),
        ])
        .collect();
    let pieces = prop_oneof![3 => select(almost), 1 => vec(any::<u8>(), 0..40)];
    let media = vec(pieces, 0..12).prop_map(|pieces| pieces.concat());
    // KAZOO chooses a boundary that does not occur in its content.
    let of = boundary.clone();
    let without = media.prop_filter("has a delimiter", move |media: &Vec<u8>| {
        oracle::delimiters(&[b"\r\n", &media[..], b"\r\n"].concat(), &of).is_empty()
    });
    (Just(boundary), without)
}

fn multipart(boundary: &str, json: &str, media: &[u8]) -> Vec<u8> {
    let head = format!(
        "\r\n--{boundary}\r\ncontent-type: application/json\r\n\r\n{json}\r\n--{boundary}\r\n\
         content-disposition: form-data; name=a;b=c\r\ncontent-type: audio/mpeg\r\n\r\n"
    );
    [head.as_bytes(), media, format!("\r\n--{boundary}--").as_bytes()].concat()
}

fn split(boundary: Option<&str>, body: &[u8], cuts: &[usize]) -> (StatusCode, Forwarded) {
    let content_type = match boundary {
        Some(boundary) => format!("multipart/form-data; boundary={boundary}"),
        None => "multipart/mixed".to_owned(),
    };
    let request = Request::put("/")
        .header("content-type", content_type)
        .body(Pieces::new(body, cuts))
        .unwrap();
    through(|inner| SplitMultipart::new().layer(inner), request)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn keeps_the_media(
        (boundary, media) in boundary().prop_flat_map(media),
        named in any::<bool>(),
        cuts in vec(any::<usize>(), 0..8),
    ) {
        let json = r#"{"id":"DOC"}"#;
        let body = multipart(&boundary, json, &media);
        let expected = upload_of(&body, &boundary);
        prop_assert_eq!(&expected, &Some((Some(json.into()), Some("audio/mpeg".into()), media.clone().into())));
        // `multer` accepts delimiters within a line too, where KAZOO's boundaries never occur.
        if !media.windows(boundary.len()).any(|window| window == boundary.as_bytes()) {
            prop_assert_eq!(multer(&body, &boundary), Some(vec![json.into(), media.into()]));
        }
        let (status, forwarded) = split(named.then_some(&*boundary), &body, &cuts);
        prop_assert_eq!(status, StatusCode::OK);
        prop_assert_eq!(forwarded, expected);
    }

    /// Every layout that RFC 2046 allows keeps every byte of the media.
    #[test]
    fn keeps_the_media_in_every_layout(
        (boundary, media) in boundary().prop_flat_map(media),
        preamble in select(vec!["", "\r\n", "a preamble\r\n", "\r\n\r\n", "--\r\n"]),
        json in option::of(select(vec!["", "x: y\r\n", "x:\r\n folded\r\n"])),
        headers in select(vec![
            "", "content-type: a/b\r\n", "content-disposition: form-data;\r\n\tname=\"a\"\r\ncontent-type: a/b\r\n",
            "Content-Type:a/b \r\nx:\r\n", "content-type:\r\n a/b\r\n", "x: \u{e9}\r\n",
        ]),
        padding in vec(select(vec!["", " ", "\t ", "        "]), 3),
        epilogue in select(vec!["", "\r\n", "\r\nan epilogue\r\n", "\r\n--\r\n"]),
        cuts in vec(any::<usize>(), 0..8),
    ) {
        let delimiter = |at: usize, closes: &str| format!("--{boundary}{closes}{}", padding[at]);
        let json_part = json.map_or_else(String::new, |more| {
            format!("{}\r\n{more}content-type: application/json\r\n\r\n{{}}\r\n", delimiter(0, ""))
        });
        let head = format!("{preamble}{json_part}{}\r\n{headers}\r\n", delimiter(1, ""));
        let tail = format!("\r\n{}{epilogue}", delimiter(2, "--"));
        let body = [head.as_bytes(), &media, tail.as_bytes()].concat();
        let content_type = headers.to_ascii_lowercase().contains("content-type").then(|| "a/b".to_owned());
        let expected = Some((json.map(|_| "{}".into()), content_type, Bytes::from(media)));
        prop_assert_eq!(&upload_of(&body, &boundary), &expected);
        let (status, forwarded) = split(Some(&boundary), &body, &cuts);
        prop_assert_eq!(status, StatusCode::OK);
        prop_assert_eq!(forwarded, expected);
    }

    /// A damaged body results in what the oracle finds in it, or is refused.
    #[test]
    fn splits_a_damaged_body_like_the_oracle(
        (boundary, media) in boundary().prop_flat_map(media),
        damage in vec((any::<usize>(), option::of(any::<u8>())), 1..3),
        cuts in vec(any::<usize>(), 0..4),
    ) {
        let mut body = multipart(&boundary, "{}", &media);
        for (at, byte) in damage {
            let at = at % body.len();
            match byte {
                Some(byte) => body[at] = byte,
                None => body.truncate(at.max(1)),
            }
        }
        let (status, forwarded) = split(Some(&boundary), &body, &cuts);
        prop_assert_eq!(status.is_success(), forwarded.is_some());
        prop_assert_eq!(forwarded, upload_of(&body, &boundary));
    }

    /// Any sequence of pieces is split as the oracle splits it, or refused.
    #[test]
    fn splits_any_body_like_the_oracle(
        pieces in vec(
            select(vec![
                "--B", "\r\n--B", "--", "\r\n", "\r\n\r\n", "{}", "content-type: audio/mpeg", "x", "B", " ", "\r", "\n", "-",
                "content-type: application/json", "\r\n--B\r\ncontent-type: application/json\r\n\r\n{\"id\":1}",
                "\r\n--B\r\ncontent-type: audio/mpeg\r\n\r\nID3", "\r\n--B\r\nx: y\r\n\r\n", "\r\n--B--", "\r\n--B \t\r\n",
                "\r\n--B\r\n\r\n", "\r\n--B\r\nx: y\n\n", "\n--B\n", "\r\n--B--ad luck", "\r\n--B--\r\n", "\r\n folded",
            ]),
            0..10,
        ),
        cuts in vec(any::<usize>(), 0..8),
    ) {
        let body = pieces.concat().into_bytes();
        let expected = upload_of(&body, "B");
        let (status, forwarded) = split(Some("B"), &body, &cuts);
        prop_assert_eq!(&forwarded, &expected, "{:?}", String::from_utf8_lossy(&body));
        prop_assert_eq!(status.is_success(), expected.is_some());
    }
}

/// The oracle itself is right about the simplest body.
#[test]
fn the_oracle_splits_a_simple_body() {
    let body = multipart("B", "{}", b"ID3\r\n--");
    let contents =
        oracle::parts(&body, "B").map(|parts| parts.into_iter().map(|(_, content)| content).collect::<Vec<_>>());
    assert_eq!(contents, Some(vec!["{}".into(), "ID3\r\n--".into()]));
    assert_eq!(oracle::parts(&body[..body.len() - 1], "B"), None);
}

/// The limit of the JSON part is exact to the byte, however the body is split.
#[test]
fn limits_metadata_to_the_byte() {
    let json = r#"{"id":"202401-DOC"}"#;
    let body = multipart("B", json, b"ID3");
    let at = body
        .windows(json.len())
        .position(|window| window == json.as_bytes())
        .unwrap();
    for cuts in [vec![], (at..at + json.len()).collect()] {
        for (limit, expected) in [
            (json.len(), StatusCode::OK),
            (json.len() - 1, StatusCode::PAYLOAD_TOO_LARGE),
        ] {
            let request = Request::put("/")
                .header("content-type", "multipart/form-data; boundary=B")
                .body(Pieces::new(&body, &cuts))
                .unwrap();
            let layer = SplitMultipart::new().max_metadata(limit);
            let (status, _) = through(|inner| layer.layer(inner), request);
            assert_eq!(status, expected, "{limit} {cuts:?}");
        }
    }
}

/// The first part is the metadata if its type is JSON, as in KAZOO's uploads.
#[test]
fn the_metadata_part_is_optional() {
    for (content_type, alone) in [
        ("content-type: audio/mpeg\r\n", true),
        ("content-type: text/json\r\n", true),
        ("x-other: header\r\n", true),
        ("", true),
        ("content-type: Application/JSON; charset=utf-8\r\n", false),
    ] {
        let body = format!("--B\r\n{content_type}\r\n{{}}\r\n--B--");
        let (status, forwarded) = split(Some("B"), body.as_bytes(), &[]);
        assert_eq!(status.is_success(), alone, "{content_type}");
        let media = forwarded.map(|(json, _, media)| (json, media));
        assert_eq!(media, alone.then_some((None, "{}".into())), "{content_type}");
    }
}
