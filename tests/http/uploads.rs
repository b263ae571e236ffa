//! Uploads and their headers over sockets: the layout of a multipart body, the encoding of a part, and the digest of a
//! body. Either the intended bytes are stored completely, or nothing is.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kazoo_storage::{Base64, KazooStorage};
use kazoo_storage_test_support::{
    client::{Connection, Pace, Shown, chunked, request},
    fixture::kazoo_fetch,
    server::{Front, Server},
    stores::Spy,
};
use md5::Md5;
use sha2::{Digest as _, Sha256, Sha512};

const FRONTS: [Front; 2] = [Front::Hyper, Front::Axum];
const TARGET: &str = "/prefix/ACC/DOC/message.mp3";
const MULTIPART: (&str, &str) = ("content-type", "multipart/form-data; boundary=B");

/// The ways to send one upload: with a length, whole, in pieces and byte by byte; and chunked.
fn sendings(headers: &[(&str, &str)], body: &[u8]) -> Vec<(Vec<u8>, Pace)> {
    let whole = request("POST", TARGET, headers, body);
    let in_chunks = [headers, &[("transfer-encoding", "chunked")]].concat();
    let in_chunks = request("POST", TARGET, &in_chunks, chunked(body, 7));
    let mut sendings = vec![(whole.clone(), Pace::Whole), (in_chunks, Pace::Whole)];
    if body.len() < 1000 {
        sendings.extend([(whole.clone(), Pace::Pieces(7)), (whole, Pace::Pieces(1))]);
    }
    sendings
}

/// Sends an upload in every way. Asserts that it is stored as `content`, or refused with a status and a message.
async fn send(mode: Base64, case: &str, headers: &[(&str, &str)], body: &[u8], expected: Result<&[u8], (u16, &str)>) {
    for front in FRONTS {
        for (upload, pace) in sendings(headers, body) {
            let store = Spy::memory();
            let storage = KazooStorage::new(store.clone()).base64(mode);
            let server = Server::start(front, "/prefix", storage).await;
            let mut connection = Connection::open(server.address).await;
            let answer = connection.exchange(&upload, pace).await;
            match expected {
                Ok(content) => {
                    assert_eq!(answer.status, 201, "{case}: {answer:?} to {}", Shown(&upload));
                    let mut connection = Connection::open(server.address).await;
                    let fetched = connection.exchange(&kazoo_fetch(TARGET.as_bytes()), Pace::Whole).await;
                    assert!(fetched.status == 200 && fetched.body == content, "{case}: {fetched:?}");
                }
                Err((status, fault)) => {
                    assert_eq!(answer.status, status, "{case}: {answer:?} to {}", Shown(&upload));
                    let message = answer.refusal(status);
                    assert!(message.contains(fault), "{case}: {message}");
                    assert_eq!(store.stored(), [], "{case}");
                }
            }
        }
    }
}

/// A multipart body with this JSON part, followed by this text, which starts with the delimiter of the media.
fn multipart(media: &[u8]) -> Vec<u8> {
    [
        b"--B\r\ncontent-type: application/json\r\n\r\n{\"id\":\"x\"}\r\n--B",
        media,
    ]
    .concat()
}

/// Media that contain each kind of empty line, as a recording may by chance.
const MEDIA: &[u8] = b"RIFF$\0\0\0WAVEfmt \xff\xfe first half\r\n\r\nsecond\n\n\xfb half\r\n!";

#[tokio::test]
async fn stores_the_whole_media_of_every_layout_or_refuses_it() {
    let around = |head: &str, tail: &str| multipart(&[head.as_bytes(), MEDIA, tail.as_bytes()].concat());
    for (case, head, tail) in [
        ("no headers", "\r\n\r\n", "\r\n--B--\r\n"),
        ("one header", "\r\nx: y\r\n\r\n", "\r\n--B--"),
        (
            "a folded header",
            "\r\nx: y;\r\n z\r\ncontent-type: audio/mpeg\r\n\r\n",
            "\r\n--B--\r\n",
        ),
        ("padded delimiters", " \t\r\n\r\n", "\r\n--B-- \r\n"),
        ("an epilogue", "\r\n\r\n", "\r\n--B--\r\nan epilogue"),
    ] {
        send(Base64::Detect, case, &[MULTIPART], &around(head, tail), Ok(MEDIA)).await;
    }
    for (case, head, tail, fault) in [
        (
            "headers that end in LF",
            "\r\ncontent-type: audio/mpeg\n\n",
            "\r\n--B--",
            "LF",
        ),
        (
            "a header that ends in LF",
            "\r\ncontent-type: audio/mpeg\nx: y\r\n\r\n",
            "\r\n--B--",
            "LF",
        ),
        ("no empty line", "\r\n", "\r\n--B--", "part 2"),
        ("a delimiter that ends in LF", "\n\r\n", "\r\n--B--", ""),
        ("no closing delimiter", "\r\n\r\n", "\r\n--B--ad", "closing delimiter"),
        (
            "two closing delimiters",
            "\r\n\r\n",
            "\r\n--B--\r\nmore\r\n--B--",
            "closing delimiter",
        ),
        (
            "a third part",
            "\r\n\r\n",
            "\r\n--B\r\n\r\nmore\r\n--B--",
            "another part",
        ),
    ] {
        send(
            Base64::Detect,
            case,
            &[MULTIPART],
            &around(head, tail),
            Err((400, fault)),
        )
        .await;
    }
}

/// If the first delimiter is not on its own line, the part after it would become a preamble.
#[tokio::test]
async fn refuses_a_delimiter_that_is_hidden_in_the_preamble() {
    let body = multipart(&[b"\r\n\r\n", MEDIA, b"\r\n--B--"].concat());
    for front in ["\n", " ", "x\n", "--B\n"] {
        let body = [front.as_bytes(), &body].concat();
        send(
            Base64::Detect,
            front,
            &[MULTIPART],
            &body,
            Err((400, "first delimiter")),
        )
        .await;
    }
    let body = [b"a preamble\r\n", &body[..]].concat();
    send(Base64::Detect, "a preamble", &[MULTIPART], &body, Ok(MEDIA)).await;
}

#[tokio::test]
async fn refuses_two_content_types() {
    let body = multipart(&[b"\r\n\r\n", MEDIA, b"\r\n--B--"].concat());
    let other = ("content-type", "audio/mpeg");
    for headers in [[MULTIPART, other], [other, MULTIPART]] {
        let refused = Err((400, "two different content-types"));
        send(Base64::Detect, "two types", &headers, &body, refused).await;
    }
    send(
        Base64::Detect,
        "one type, twice",
        &[MULTIPART, MULTIPART],
        &body,
        Ok(MEDIA),
    )
    .await;
}

#[tokio::test]
async fn keeps_lines_that_only_begin_like_a_delimiter() {
    for line in [
        "--B--ad luck",
        "--Bx",
        "--B -",
        "--B-",
        "--B-- x",
        "--B\r",
        "--B--\r",
        "--B\n--B--\n",
    ] {
        let media = format!("first half\r\n{line}, second half");
        let body = multipart(format!("\r\ncontent-type: audio/x-wav\r\n\r\n{media}\r\n--B--").as_bytes());
        send(Base64::Detect, line, &[MULTIPART], &body, Ok(media.as_bytes())).await;
    }
}

/// A media part with these headers.
fn part(headers: &str, media: &[u8]) -> Vec<u8> {
    multipart(&[format!("\r\n{headers}\r\n").as_bytes(), media, b"\r\n--B--"].concat())
}

#[tokio::test]
async fn respects_the_transfer_encoding_of_a_part_in_every_mode() {
    let media: Vec<u8> = (0..=u8::MAX).collect();
    let text = STANDARD.encode(&media);
    let lines: Vec<&[u8]> = text.as_bytes().chunks(76).collect();
    let lines = [&lines.join(&b"\r\n"[..])[..], b"\r\n"].concat();
    for mode in [Base64::Off, Base64::Detect, Base64::Declared] {
        let of = |encoding: &str, text: &[u8]| part(&format!("content-transfer-encoding: {encoding}\r\n"), text);
        for (encoding, text, expected) in [
            ("base64", &lines[..], Ok(&media[..])),
            ("Base64", text.as_bytes(), Ok(&media)),
            ("base64", b"", Ok(b"")),
            ("base64", b"SUQ*", Err((400, "content-transfer-encoding"))),
            ("base64", b"SUQzA", Err((400, "content-transfer-encoding"))),
            ("binary", text.as_bytes(), Ok(text.as_bytes())),
            ("7bit", text.as_bytes(), Ok(text.as_bytes())),
            ("quoted-printable", b"ID3=04", Err((415, "content-transfer-encoding"))),
            ("x-unknown", b"ID3", Err((415, "content-transfer-encoding"))),
        ] {
            let case = format!("{mode:?} {encoding} {text:?}");
            send(mode, &case, &[MULTIPART], &of(encoding, text), expected).await;
        }
    }
}

#[tokio::test]
async fn never_decodes_silence() {
    for kind in ["application/octet-stream", "audio/basic", "audio/x-wav", ""] {
        let headers = if kind.is_empty() {
            String::new()
        } else {
            format!("content-type: {kind}\r\n")
        };
        let silence = [b'U'; 8000];
        send(
            Base64::Detect,
            kind,
            &[MULTIPART],
            &part(&headers, &silence),
            Ok(&silence),
        )
        .await;
        let raw: &[(&str, &str)] = &[("content-type", kind)];
        send(Base64::Declared, kind, raw, &silence, Ok(&silence)).await;
    }
}

#[tokio::test]
async fn refuses_a_content_encoding() {
    for coding in ["gzip", "identity, br", "aws-chunked"] {
        let expected = Err((415, "content-encoding"));
        send(
            Base64::Detect,
            coding,
            &[("content-encoding", coding)],
            b"\x1f\x8b",
            expected,
        )
        .await;
        send(
            Base64::Detect,
            coding,
            &[MULTIPART, ("content-encoding", coding)],
            b"\x1f\x8b",
            expected,
        )
        .await;
        let encoded = part(&format!("content-encoding: {coding}\r\n"), b"\x1f\x8b");
        send(Base64::Detect, coding, &[MULTIPART], &encoded, expected).await;
    }
    send(
        Base64::Detect,
        "identity",
        &[("content-encoding", "identity")],
        b"ID3",
        Ok(b"ID3"),
    )
    .await;
}

/// Every header that declares a digest of `body`.
fn digests(body: &[u8]) -> Vec<(&'static str, String)> {
    let sha_256 = STANDARD.encode(Sha256::digest(body));
    let sha_512 = STANDARD.encode(Sha512::digest(body));
    let md5 = STANDARD.encode(Md5::digest(body));
    vec![
        ("content-md5", md5.clone()),
        ("content-digest", format!("sha-256=:{sha_256}:")),
        ("content-digest", format!("crc32c=:AAAAAA==:, sha-512=:{sha_512}:")),
        (
            "repr-digest",
            format!("sha-256=:{sha_256}:, sha-512=:{sha_512}:, md5=:{md5}:"),
        ),
        ("digest", format!("SHA-256={sha_256}")),
    ]
}

/// The digest covers the body as sent, before decoding.
#[tokio::test]
async fn stores_only_a_body_that_matches_its_digest() {
    let media: Vec<u8> = b"ID3\x04\0\0\0"
        .iter()
        .copied()
        .chain((0..=u8::MAX).cycle().take(200))
        .collect();
    let text = STANDARD.encode(&media);
    for (case, kind, body) in [
        ("raw", ("content-type", "audio/mpeg"), media.clone()),
        ("multipart", MULTIPART, part("content-type: audio/mpeg\r\n", &media)),
        (
            "base64",
            MULTIPART,
            part("content-type: audio/mpeg\r\n", text.as_bytes()),
        ),
    ] {
        let others = [&body[..], b"\n"].concat();
        for ((header, right), (_, wrong)) in digests(&body).into_iter().zip(digests(&others)) {
            let case = format!("{case} {header}");
            send(Base64::Detect, &case, &[kind, (header, &right)], &body, Ok(&media)).await;
            send(
                Base64::Detect,
                &case,
                &[kind, (header, &wrong)],
                &body,
                Err((400, header)),
            )
            .await;
            let both = [kind, (header, &right[..]), ("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")];
            send(Base64::Detect, &case, &both, &body, Err((400, "content-md5"))).await;
        }
    }
    let empty: &[(&str, &str)] = &[("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")];
    send(Base64::Detect, "empty", empty, b"", Err((400, "content-md5"))).await;
    for (header, value) in digests(b"") {
        send(Base64::Detect, header, &[(header, &value)], b"", Ok(b"")).await;
    }
}

#[tokio::test]
async fn refuses_a_digest_that_it_cannot_verify() {
    for (header, value) in [
        ("content-md5", "no digest"),
        ("content-digest", "sha-256=abc"),
        ("content-digest", "crc32c=:AAAAAA==:"),
        ("repr-digest", "sha-256=:AAAA:"),
        ("digest", "SHA=AAAA"),
    ] {
        send(Base64::Detect, value, &[(header, value)], b"ID3", Err((400, header))).await;
    }
}

/// The digest covers every bit of a short upload.
#[tokio::test]
async fn refuses_a_body_with_any_bit_flipped() {
    let media = b"ID3 and some sound";
    let store = Spy::memory();
    let server = Server::start(Front::Hyper, "/prefix", KazooStorage::new(store.clone())).await;
    let mut connection = Connection::open(server.address).await;
    for (kind, body) in [
        (("content-type", "audio/mpeg"), media.to_vec()),
        (MULTIPART, part("", media)),
    ] {
        let digests = digests(&body);
        for bit in 0..body.len() * 8 {
            let mut flipped = body.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let (header, value) = &digests[bit % digests.len()];
            let bad = request("PUT", TARGET, &[kind, (header, value)], &flipped);
            // A multipart body may be refused for its layout or its length before its end.
            connection.exchange(&bad, Pace::Whole).await.refusal(400);
        }
    }
    assert_eq!(store.stored(), []);
}
