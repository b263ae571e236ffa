//! Bodies that are not multipart as KAZOO writes it, or not the base64 that the settings declare.

use kazoo_storage::Base64;
use kazoo_storage_test_support::{
    client::{Connection, Pace, request},
    server::Front,
};

use super::{FRONTS, JSON, NEW, OLD, Site, multipart, put_multipart};

#[tokio::test]
async fn names_the_part_of_multipart_that_is_not_kazoos() {
    let large = [b"{\"a\":\"", &*vec![b'x'; 1 << 20], b"\"}"].concat();
    let json = |text: &'static str| ("application/json", text.as_bytes());
    let media: (&str, &[u8]) = ("audio/mpeg", b"ID3");
    for front in FRONTS {
        let mut site = Site::new(front).await;
        for target in [OLD, NEW] {
            for (case, parts, status, named) in [
                ("no media part", vec![JSON], 400, "media"),
                ("no part", vec![], 400, "no part"),
                ("an array", vec![json("[1,2]"), media], 400, "part 1"),
                ("a string", vec![json("\"{}\""), media], 400, "part 1"),
                ("nothing", vec![json(""), media], 400, "part 1"),
                ("half an object", vec![json("{\"a\":"), media], 400, "part 1"),
                ("two objects", vec![json("{}{}"), media], 400, "part 1"),
                (
                    "no UTF-8",
                    vec![("application/json", b"{\"a\":\"\xff\"}"), media],
                    400,
                    "part 1",
                ),
                (
                    "1 MiB and more",
                    vec![("application/json", &large), media],
                    413,
                    "part 1",
                ),
                ("three parts", vec![JSON, media, media], 400, "part"),
            ] {
                let message = site.refused(&put_multipart(target, multipart(&parts)), status).await;
                assert!(message.contains(named), "{case}: {message}");
            }
            for (case, body) in [
                ("empty", &b""[..]),
                ("no delimiter", b"ID3 and some sound"),
                (
                    "another boundary",
                    b"\r\n--C\r\ncontent-type: audio/mpeg\r\n\r\nID3\r\n--C--",
                ),
                ("headers without an end", b"\r\n--B\r\ncontent-type: audio/mpeg"),
                ("a header without a colon", b"\r\n--B\r\nrubbish\r\n\r\nID3\r\n--B--"),
            ] {
                let message = site.refused(&put_multipart(target, body), 400).await;
                assert!(message.contains("multipart"), "{case}: {message}");
            }
            for content_type in [
                "multipart/mixed",
                "multipart/mixed; boundary=",
                "multipart/form-data; boundary=\"\"",
            ] {
                let bad = request("PUT", target, &[("content-type", content_type)], "ID3 and some sound");
                let message = site.refused(&bad, 400).await;
                assert!(message.contains("boundary"), "{content_type}: {message}");
            }
        }
    }
}

/// A configured limit applies too.
#[tokio::test]
async fn refuses_metadata_over_the_limit() {
    let mut site = Site::with(Front::Hyper, |storage| storage.max_metadata(JSON.1.len() - 1)).await;
    let body = multipart(&[JSON, ("audio/mpeg", b"ID3")]);
    let message = site.refused(&put_multipart(NEW, &body), 413).await;
    assert!(message.contains("part 1") && message.contains("28 bytes"), "{message}");
    let site = Site::with(Front::Hyper, |storage| storage.max_metadata(JSON.1.len())).await;
    let answer = Connection::open(site.server.address)
        .await
        .exchange(&put_multipart(NEW, &body), Pace::Whole)
        .await;
    assert_eq!(answer.status, 201);
}

/// The bytes around the parts are limited. A client that writes everything before it reads still gets the answer.
#[tokio::test]
async fn limits_the_bytes_outside_of_parts() {
    let preamble = [&vec![b'x'; 20 << 20][..], &multipart(&[JSON, ("audio/mpeg", b"ID3")])].concat();
    let header = [
        b"\r\n--B\r\nx-padding: ",
        &vec![b'x'; 5 << 20][..],
        b"\r\ncontent-type: audio/mpeg\r\n\r\nID3\r\n--B--",
    ]
    .concat();
    let headers = [
        b"\r\n--B\r\n",
        "x-padding: xxxxxxxx\r\n".repeat(100_000).as_bytes(),
        b"\r\nID3\r\n--B--",
    ]
    .concat();
    let epilogue = [
        &multipart(&[JSON, ("audio/mpeg", b"ID3")])[..],
        &b"\r\n"[..],
        &vec![b'x'; 20 << 20],
    ]
    .concat();
    let thousand = multipart(&vec![JSON; 1000]);
    for front in FRONTS {
        let mut site = Site::new(front).await;
        for (case, body) in [
            ("a preamble of 20 MB", &preamble),
            ("a part header of 5 MB", &header),
            ("a hundred thousand part headers", &headers),
            ("a thousand parts", &thousand),
        ] {
            let mut connection = site.open().await;
            let answer = connection.exchange(&put_multipart(NEW, body), Pace::Whole).await;
            assert!(matches!(answer.status, 400 | 413), "{case}: {answer:?}");
            answer.refusal(answer.status);
            site.assert_untouched().await;
        }
        // The epilogue is not part of the file. A server may read it or not.
        let mut connection = site.open().await;
        let answer = connection
            .exchange(&put_multipart("/prefix/A/B/C", &epilogue), Pace::Whole)
            .await;
        assert!(matches!(answer.status, 201 | 400 | 413), "{answer:?}");
    }
}

/// The server reads a bounded part of an endless body, then closes the connection.
#[tokio::test]
async fn closes_on_an_endless_body() {
    /// Maximum number of bytes read of a refused body, including the buffers of the sockets.
    const BOUND: usize = 72 << 20;
    let chunk = [b"100000\r\n", &vec![b'x'; 1 << 20][..], b"\r\n"].concat();
    let mut site = Site::new(Front::Hyper).await;
    for (content_type, start) in [
        ("multipart/form-data; boundary=B", &b""[..]),
        ("multipart/form-data; boundary=B", b"d\r\n\r\n--B\r\nx-long: \r\n"),
        ("multipart/mixed", b""),
    ] {
        let before = site.server.taken.bytes();
        let mut connection = site.open().await;
        let head = request(
            "PUT",
            NEW,
            &[("content-type", content_type), ("transfer-encoding", "chunked")],
            start,
        );
        connection.send(&head, Pace::Whole).await;
        let mut sent = 0;
        while connection.try_send(&chunk, Pace::Whole).await.is_ok() {
            sent += 1;
            assert!(sent << 20 < 4 * BOUND, "the server reads on and on");
        }
        let taken = site.server.taken.bytes() - before;
        assert!(taken < BOUND, "{taken} bytes of {sent} MiB");
        site.assert_untouched().await;
    }
}

#[tokio::test]
async fn names_the_offset_of_invalid_base64() {
    /// Long enough that detection is over before the invalid byte.
    const GOOD: usize = 8192;
    let good = "SUQzBAAA".repeat(GOOD / 8);
    for front in FRONTS {
        for base64 in [Base64::Detect, Base64::Declared] {
            let mut site = Site::with(front, |storage| storage.base64(base64)).await;
            for target in [OLD, NEW] {
                for (case, text, offset) in [
                    ("a byte that is no letter", format!("{good}SU*z{good}"), GOOD + 2),
                    ("a line break", format!("{good}\r\n{good}"), GOOD),
                    ("the other alphabet", format!("{good}SU-_"), GOOD + 2),
                    ("padding in the middle", format!("{good}SUQ={good}"), GOOD + 3),
                    ("nothing but padding", format!("{good}===="), GOOD),
                    ("a letter too many", format!("{good}S"), GOOD + 1),
                    ("padding that is missing", format!("{good}SU"), GOOD + 2),
                    ("a last letter that no byte ends with", format!("{good}SUR="), GOOD + 2),
                ] {
                    let body = multipart(&[JSON, ("audio/mpeg", text.as_bytes())]);
                    // The answer does not depend on how the body is split.
                    for pace in [Pace::Pieces(500), Pace::Whole] {
                        let mut connection = site.open().await;
                        let bad = put_multipart(target, &body);
                        let answer = connection.exchange(&bad, pace).await;
                        assert_eq!(answer.status, 400, "{case}, {base64:?}, {pace:?}: {answer:?}");
                        let message = answer.refusal(400);
                        assert!(message.contains("base64"), "{case}: {message}");
                        assert!(message.contains(&offset.to_string()), "{case}: {offset}: {message}");
                        site.assert_untouched().await;
                    }
                }
            }
        }
    }
}

/// If the settings and the server disagree, the message names the setting.
#[tokio::test]
async fn names_the_setting_for_media_wrongly_declared_as_base64() {
    let mut site = Site::with(Front::Hyper, |storage| storage.base64(Base64::Declared)).await;
    let body = multipart(&[JSON, ("audio/mpeg", b"ID3\x04 plain sound")]);
    let message = site.refused(&put_multipart(NEW, body), 400).await;
    assert!(message.contains("base64_encode_data"), "{message}");
}
