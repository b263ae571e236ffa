//! Bad input is refused with a message that names the fault, and nothing of it is stored.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kazoo_storage::{
    Base64, BlobKey, ErrorKind, ExtractKey, KazooStorage, MemoryStore, PathKey, ServeBlobs, extract_key::QueryKey,
    settings::KazooSettings,
};
use kazoo_storage_test_support::{
    client::{Answer, Connection, PATIENCE, Pace, Shown, chunked, find, request},
    fixture::kazoo_fetch,
    server::{Front, Server},
    stores::{Failing, Kind, Sloppy, Spy, When},
};
use tokio::{task::yield_now, time::timeout};
use tower::Layer as _;

const FRONTS: [Front; 2] = [Front::Hyper, Front::Axum];

/// The target of a file that is stored beforehand.
const OLD: &str = "/prefix/ACC/DOC/message.mp3";
const OLD_CONTENT: &[u8] = b"the older file";
/// A target without a file.
const NEW: &str = "/prefix/ACC/DOC/other.mp3";

/// A server with an older file in its store.
struct Site {
    server: Server,
    store: Spy,
    /// Number of connections opened.
    opened: usize,
}

impl Site {
    async fn new(front: Front) -> Self {
        Self::with(front, |storage| storage).await
    }

    async fn with(front: Front, configure: impl FnOnce(KazooStorage) -> KazooStorage) -> Self {
        Self::on(Kind::Memory, front, configure).await
    }

    async fn on(kind: Kind, front: Front, configure: impl FnOnce(KazooStorage) -> KazooStorage) -> Self {
        let store = Spy::open(kind);
        let server = Server::start(front, "/prefix", configure(KazooStorage::new(store.clone()))).await;
        let mut site = Self {
            server,
            store,
            opened: 0,
        };
        let put = request("PUT", OLD, &[("content-type", "audio/mpeg")], OLD_CONTENT);
        let answer = site.open().await.exchange(&put, Pace::Whole).await;
        assert_eq!(answer.status, 201);
        site
    }

    async fn open(&mut self) -> Connection {
        self.opened += 1;
        Connection::open(self.server.address).await
    }

    /// Asserts that only the older file is stored, unchanged, and that the server works.
    async fn assert_untouched(&mut self) {
        let stored = self.store.stored();
        assert_eq!(stored, [BlobKey::from_path("ACC/DOC/message.mp3").unwrap()]);
        let mut connection = self.open().await;
        let old = connection.exchange(&kazoo_fetch(OLD.as_bytes()), Pace::Whole).await;
        assert_eq!((old.status, &old.body[..]), (200, OLD_CONTENT));
        connection
            .exchange(&kazoo_fetch(NEW.as_bytes()), Pace::Whole)
            .await
            .refusal(404);
    }

    /// Sends a bad request whole, before reading anything. Asserts that it is refused with `status` and that
    /// its connection, or else a new one, still works. Returns the message.
    async fn refused(&mut self, bad: &[u8], status: u16) -> String {
        let mut connection = self.open().await;
        let answer = connection.exchange(bad, Pace::Whole).await;
        assert_eq!(answer.status, status, "{answer:?} to {}", Shown(bad));
        let message = answer.refusal(status);
        if !is_closing(&answer) {
            let old = connection.exchange(&kazoo_fetch(OLD.as_bytes()), Pace::Whole).await;
            assert_eq!((old.status, &old.body[..]), (200, OLD_CONTENT), "after {answer:?}");
        }
        self.assert_untouched().await;
        message
    }
}

fn is_closing(answer: &Answer) -> bool {
    answer.header("connection") == Some("close")
}

/// An upload with a raw body.
fn put(target: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    request("PUT", target, &[("content-type", "audio/mpeg")], body)
}

/// An upload with a multipart body whose boundary is `B`.
fn put_multipart(target: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    request(
        "PUT",
        target,
        &[("content-type", "multipart/form-data; boundary=B")],
        body,
    )
}

/// A multipart body in KAZOO's layout, with the media type of each part.
fn multipart(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (content_type, content) in parts {
        body.extend_from_slice(
            format!("\r\n--B\r\ncontent-disposition: form-data; name=x y\r\ncontent-type: {content_type}\r\n\r\n")
                .as_bytes(),
        );
        body.extend_from_slice(content);
    }
    body.extend_from_slice(b"\r\n--B--");
    body
}

const JSON: (&str, &[u8]) = ("application/json", br#"{"id":"DOC","name":"message"}"#);

// ---- bodies that end early ----

/// An unfinished upload leaves no file and does not change the older one, however the client disconnects.
#[tokio::test]
async fn a_connection_cut_at_any_byte_of_a_body_stores_nothing() {
    let small = multipart(&[JSON, ("audio/mpeg", b"ID3 and some sound")]);
    let encoded = multipart(&[JSON, ("audio/mpeg", STANDARD.encode("ID3 and some sound").as_bytes())]);
    let chunks = [
        b"PUT /prefix/ACC/DOC/other.mp3 HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n",
        &chunked(b"ID3 and some sound", 5)[..],
    ]
    .concat();
    for kind in Kind::ALL {
        for (case, whole) in [
            ("multipart", put_multipart(NEW, &small)),
            ("multipart over an older file", put_multipart(OLD, &small)),
            ("base64", put_multipart(OLD, &encoded)),
            ("raw", put(OLD, "ID3 and some sound")),
            ("chunked", chunks.clone()),
        ] {
            let mut site = Site::on(*kind, Front::Hyper, |storage| storage).await;
            let files = site.store.files();
            let head = find(&whole, b"\r\n\r\n").unwrap() + 4;
            for cut in head..whole.len() {
                let mut connection = site.open().await;
                connection.send(&whole[..cut], Pace::Whole).await;
                if cut % 2 == 0 {
                    connection.finish().await;
                    if let Ok(answer) = connection.try_receive(false).await {
                        answer.refusal(400);
                    }
                } else {
                    connection.reset();
                }
            }
            // Every request has ended, and none was stored.
            site.server.ended(site.opened).await;
            site.assert_untouched().await;
            timeout(PATIENCE, async {
                // Staged files are removed in the background.
                while site.store.files() != files {
                    yield_now().await;
                }
            })
            .await
            .expect("nothing is left behind");
            // The same bytes are accepted when complete.
            let answer = site.open().await.exchange(&whole, Pace::Whole).await;
            assert_eq!(answer.status, 201, "{case}: {answer:?}");
        }
    }
}

/// The body has its declared length, but the multipart content ends early.
#[tokio::test]
async fn multipart_without_its_closing_delimiter_is_400() {
    let whole = multipart(&[JSON, ("audio/mpeg", b"ID3 and some sound")]);
    for front in FRONTS {
        let mut site = Site::new(front).await;
        let mut connection = site.open().await;
        for target in [OLD, NEW] {
            for cut in 0..whole.len() {
                let answer = connection
                    .exchange(&put_multipart(target, &whole[..cut]), Pace::Whole)
                    .await;
                answer.refusal(400);
            }
        }
        site.assert_untouched().await;
    }
}

/// Even a store that reports success for everything cannot acknowledge an incomplete upload.
#[tokio::test]
async fn a_store_that_breaks_its_contract_acknowledges_nothing() {
    let body = multipart(&[JSON, ("audio/mpeg", b"ID3 and some sound")]);
    let unclosed = &body[..body.len() - 2];
    for reads in [true, false] {
        let server = Server::start(Front::Hyper, "/prefix", KazooStorage::new(Sloppy { reads })).await;
        for (bad, all_sent) in [
            (put_multipart(NEW, unclosed), true),
            (request("PUT", NEW, &[("content-length", "100")], "only this"), false),
            (
                request("PUT", NEW, &[("transfer-encoding", "chunked")], "5\r\nID3..\r\nzz\r\n"),
                true,
            ),
        ] {
            let mut connection = Connection::open(server.address).await;
            connection.send(&bad, Pace::Whole).await;
            if !all_sent {
                connection.finish().await;
            }
            if let Ok(answer) = connection.try_receive(false).await {
                assert!(!(200..300).contains(&answer.status), "{answer:?}");
            }
        }
    }
}

/// Such a body ends with the connection, which is indistinguishable from a broken connection.
#[tokio::test]
async fn an_http_1_0_upload_without_its_length_is_400() {
    for front in FRONTS {
        let mut site = Site::new(front).await;
        for target in [OLD, NEW] {
            let bad = format!("PUT {target} HTTP/1.0\r\nhost: h\r\ncontent-type: audio/mpeg\r\n\r\nID3");
            let answer = site.open().await.exchange(bad.as_bytes(), Pace::Whole).await;
            assert!(answer.refusal(400).contains("content-length"));
            site.assert_untouched().await;
        }
    }
}

/// `ServeBlobs` detects incomplete bodies without `LimitBody` in front of it.
#[tokio::test]
async fn an_ambiguous_or_unfinished_body_is_400_without_limit_body_too() {
    let store = Spy::memory();
    let service = ExtractKey::new(PathKey).layer(ServeBlobs::new(store.clone()));
    let router = axum::Router::new().fallback_service(service.clone());
    for server in [Server::hyper(service).await, Server::axum(router).await] {
        for bad in [
            "PUT /ACC/DOC/a HTTP/1.0\r\nhost: h\r\n\r\nID3",
            "PUT /ACC/DOC/a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: gzip, chunked\r\n\r\n3\r\nID3\r\n0\r\n\r\n",
            "PUT /ACC/DOC/a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nID3\r\n",
            "PUT /ACC/DOC/a HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\nID3",
        ] {
            let mut connection = Connection::open(server.address).await;
            connection.send(bad.as_bytes(), Pace::Whole).await;
            connection.finish().await;
            connection.receive().await.refusal(400);
            assert_eq!(store.stored(), [], "{bad}");
        }
    }
}

#[tokio::test]
async fn malformed_chunks_are_400() {
    for front in FRONTS {
        let mut site = Site::new(front).await;
        for target in [OLD, NEW] {
            for chunks in [
                "zz\r\nID3\r\n0\r\n\r\n",
                "3\r\nID3\r\n-1\r\n\r\n",
                "3\r\nID3XX0\r\n\r\n",
                "3\r\nID3\r\nfffffffffffffffff\r\n\r\n",
                "3\r\nID3\r\n\r\n\r\n",
            ] {
                let bad = request("PUT", target, &[("transfer-encoding", "chunked")], chunks);
                let answer = site.open().await.exchange(&bad, Pace::Whole).await;
                answer.refusal(400);
                site.assert_untouched().await;
            }
        }
    }
}

// ---- targets ----

/// httpc sends such a target for a file named `..`. It would occupy the directory of later files.
#[tokio::test]
async fn an_upload_without_a_name_is_400() {
    for front in FRONTS {
        let mut site = Site::new(front).await;
        for target in [
            "/prefix/ACC/",
            "/prefix/ACC/OWNER/",
            "/prefix/ACC/DOC/",
            "/prefix/ACC/DOC/message.mp3/",
            "/prefix/ACC//?x=y",
        ] {
            for method in ["PUT", "POST"] {
                let message = site.refused(&request(method, target, &[], "ID3"), 400).await;
                assert!(message.contains("rename the file"), "{target}: {message}");
            }
            for pace in [Pace::Pieces(7), Pace::Pieces(1)] {
                let answer = site.open().await.exchange(&put(target, "ID3"), pace).await;
                answer.refusal(400);
                site.assert_untouched().await;
            }
        }
        // A fetch ignores the trailing slash.
        let fetch = kazoo_fetch(format!("{OLD}/").as_bytes());
        let old = site.open().await.exchange(&fetch, Pace::Whole).await;
        assert_eq!((old.status, &old.body[..]), (200, OLD_CONTENT));
    }
}

#[tokio::test]
async fn an_upload_without_a_name_in_its_query_is_400() {
    let store = Spy::memory();
    let storage = KazooStorage::new(store.clone()).key(QueryKey::new("recording"));
    let server = Server::start(Front::Hyper, "/prefix", storage).await;
    let mut connection = Connection::open(server.address).await;
    for value in ["ACC/", "ACC/DOC/", "ACC/DOC/a.mp3/&x=y"] {
        let bad = put(&format!("/prefix?recording={value}"), "ID3");
        let message = connection.exchange(&bad, Pace::Whole).await.refusal(400);
        assert!(message.contains("rename the file"), "{value}: {message}");
    }
    assert_eq!(store.stored(), []);
    // The path is not part of the key here, so its end does not matter.
    let good = put("/prefix/?recording=ACC/DOC/a.mp3", "ID3");
    assert_eq!(connection.exchange(&good, Pace::Whole).await.status, 201);
}

/// Known settings determine the minimum number of segments.
#[tokio::test]
async fn an_upload_with_fewer_segments_than_the_settings_make_is_400() {
    const ONE_URL: &str = r#""field_list":[],"send_multipart":true"#;
    let json = put_multipart("/prefix/", multipart(&[JSON, ("audio/mpeg", b"ID3")]));
    for (settings, good, bad) in [
        (
            "",
            &["/prefix/A/D/a.mp3", "/prefix/A/O/D/a.mp3", "/prefix/A/B/C/D/E"][..],
            &["/prefix/A", "/prefix/A/D"][..],
        ),
        (
            r#""folder_base_path":"/in/","folder_path":"x/""#,
            &["/prefix/in//x//A/D/a"],
            &["/prefix/in/x/A/D", "/prefix/A/D/a"],
        ),
        (
            r#""field_list":[{"arg":"id"},{"field":"x"},{"arg":"attachment"}]"#,
            &["/prefix/D/a"],
            &["/prefix/D"],
        ),
        (
            r#""field_list":["a/b",{"group":["x-",{"arg":"id"}]},{"arg":"attachment"}]"#,
            &["/prefix/a/b/x-D/a"],
            &["/prefix/a/b/a"],
        ),
        (r#""field_separator":"-""#, &["/prefix/A-D-a.mp3"], &[]),
        // Direct recordings have other settings.
        (
            "",
            &["/prefix/call_recording_1.mp3", "/prefix/x/call_recording_2.mp3?from=1"],
            &["/prefix/recording_1.mp3"],
        ),
        (ONE_URL, &[], &[]),
    ] {
        let rest = if settings.is_empty() {
            String::new()
        } else {
            format!(",{settings}")
        };
        let settings = format!(r#"{{"url":"http://h/prefix","verb":"put"{rest}}}"#);
        let store = Spy::memory();
        let storage = KazooStorage::from_settings(store.clone(), &KazooSettings::from_json(&settings).unwrap());
        let server = Server::start(Front::Hyper, "/prefix", storage).await;
        let mut connection = Connection::open(server.address).await;
        for target in bad {
            let message = connection.exchange(&put(target, "ID3"), Pace::Whole).await.refusal(400);
            assert!(
                message.contains("KAZOO sends at least"),
                "{settings}, {target}: {message}"
            );
        }
        assert_eq!(store.stored(), [], "{settings}");
        for target in good {
            let answer = connection.exchange(&put(target, "ID3"), Pace::Whole).await;
            assert_eq!(answer.status, 201, "{settings}, {target}: {answer:?}");
        }
        // The regular target of every file.
        if rest.contains(ONE_URL) {
            assert_eq!(connection.exchange(&json, Pace::Whole).await.status, 201);
        }
    }
}

// ---- multipart ----

#[tokio::test]
async fn multipart_that_is_not_kazoos_is_refused_and_the_part_is_named() {
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
async fn metadata_over_a_set_limit_is_413() {
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

// ---- base64 ----

#[tokio::test]
async fn invalid_base64_is_400_and_the_offset_is_named() {
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
async fn media_wrongly_declared_as_base64_names_the_setting() {
    let mut site = Site::with(Front::Hyper, |storage| storage.base64(Base64::Declared)).await;
    let body = multipart(&[JSON, ("audio/mpeg", b"ID3\x04 plain sound")]);
    let message = site.refused(&put_multipart(NEW, body), 400).await;
    assert!(message.contains("base64_encode_data"), "{message}");
}

// ---- names ----

#[tokio::test]
async fn names_that_break_a_rule_are_400_and_the_rule_is_named() {
    let long = format!("/prefix/ACC/DOC/{}", "x".repeat(BlobKey::MAX_SEGMENT_LEN + 1));
    for front in FRONTS {
        let mut site = Site::new(front).await;
        for (target, rule) in [
            ("/prefix/ACC/DOC/..", "`..`"),
            ("/prefix/ACC/../DOC", "`..`"),
            ("/prefix/ACC/%2E%2E/DOC", "`..`"),
            ("/prefix/ACC/%2e./DOC", "`..`"),
            ("/prefix/ACC/.%2e/DOC", "`..`"),
            ("/prefix/ACC/./DOC", "`.`"),
            ("/prefix/ACC/%2E/DOC", "`.`"),
            ("/prefix/ACC/DOC/a%00b", "NUL"),
            ("/prefix/ACC/DOC/a%0Ab", "control"),
            ("/prefix/ACC/DOC/a%0D%0Ab", "control"),
            ("/prefix/ACC/DOC/a%7Fb", "control"),
            ("/prefix/ACC/DOC/a%C2%85b", "control"),
            ("/prefix/ACC/DOC/%FF%FE", "UTF-8"),
            ("/prefix/ACC/DOC/%C3", "UTF-8"),
            ("/prefix/ACC/DOC/%C0%AE%C0%AE", "UTF-8"),
            (&*long, "1024"),
            ("/prefix/", "names no file"),
            ("/prefix", "names no file"),
            ("/prefix///", "names no file"),
            ("/prefix/?media_id=x", "names no file"),
        ] {
            for method in ["PUT", "POST", "GET"] {
                let message = site.refused(&request(method, target, &[], ""), 400).await;
                assert!(message.contains(rule), "{method} {target}: {message}");
            }
        }
        // A fetch may repeat the longest key, an upload may not.
        for (method, segments) in [("PUT", 1), ("POST", 1), ("GET", 2)].map(|(m, n)| (m, n * BlobKey::MAX_SEGMENTS + 1))
        {
            let target = format!("/prefix{}", "/x".repeat(segments));
            let message = site.refused(&request(method, &target, &[], ""), 400).await;
            assert!(message.contains("segments"), "{method}: {message}");
        }
    }
}

/// An encoded character in a name is data: never a separator, never decoded twice.
#[tokio::test]
async fn takes_encoded_characters_of_a_name_as_data() {
    for (front, kind) in FRONTS
        .into_iter()
        .flat_map(|front| Kind::ALL.iter().map(move |kind| (front, *kind)))
    {
        let longest = "x".repeat(match kind {
            // An object's whole name has 1024 bytes.
            Kind::Objects => BlobKey::MAX_SEGMENT_LEN - "ACC/DOC/".len(),
            _ => BlobKey::MAX_SEGMENT_LEN,
        });
        let store = Spy::open(kind);
        let server = Server::start(front, "/prefix", KazooStorage::new(store.clone())).await;
        let mut connection = Connection::open(server.address).await;
        let names = [
            (&*longest, &*longest),
            ("a%2Fb.mp3", "a/b.mp3"),
            ("%2Fetc%2Fpasswd", "/etc/passwd"),
            ("..%2F..%2Fb.mp3", "../../b.mp3"),
            ("a%5Cb.mp3", "a\\b.mp3"),
            ("..%5Cb.mp3", "..\\b.mp3"),
            ("50%2520off.mp3", "50%20off.mp3"),
            ("%252E%252E", "%2E%2E"),
            ("a%25.mp3", "a%.mp3"),
            ("...", "..."),
            ("..mp3", "..mp3"),
            ("%20", " "),
            ("a+b.mp3", "a+b.mp3"),
            ("a%2Bb.mp3", "a+b.mp3"),
            ("gr%C3%BC%C3%9Fe.mp3", "grüße.mp3"),
        ];
        for (encoded, _) in names {
            let target = format!("/prefix/ACC/DOC/{encoded}");
            let answer = connection.exchange(&put(&target, encoded), Pace::Whole).await;
            assert_eq!(answer.status, 201, "{encoded}: {answer:?}");
        }
        // Read back after all are stored, which reveals files that replace each other.
        for (encoded, name) in names {
            let same_file_twice = name == "a+b.mp3";
            let target = format!("/prefix/ACC/DOC/{encoded}");
            let fetched = connection.exchange(&kazoo_fetch(target.as_bytes()), Pace::Whole).await;
            assert_eq!(fetched.status, 200, "{encoded}");
            assert!(
                same_file_twice || fetched.body == encoded.as_bytes(),
                "{encoded}: {fetched:?}"
            );
            let key = BlobKey::from_segments(["ACC", "DOC", name]).unwrap();
            assert!(store.stored().contains(&key), "{encoded} is {name}");
        }
        for other in [
            "/prefix/ACC/DOC/a/b.mp3",
            "/prefix/etc/passwd",
            "/prefix/b.mp3",
            "/prefix/ACC/DOC/50%20off.mp3",
        ] {
            let fetched = connection.exchange(&kazoo_fetch(other.as_bytes()), Pace::Whole).await;
            fetched.refusal(404);
        }
    }
}

// ---- sizes ----

/// The client writes its whole body slowly before it reads. It still receives the refusal.
#[tokio::test]
async fn a_body_over_the_limit_is_413_and_can_be_read() {
    const MAX: usize = 10_000;
    for front in FRONTS {
        let mut site = Site::with(front, |storage| storage.max_body(MAX as u64)).await;
        for (len, pace) in [
            (MAX + 1, Pace::Pieces(997)),
            (MAX * 30, Pace::Pieces(4096)),
            (5 << 20, Pace::Pieces(256 << 10)),
            (20 << 20, Pace::Whole),
        ] {
            let body = vec![b'x'; len];
            let declared = put(NEW, &body);
            let discovered = request("POST", OLD, &[("transfer-encoding", "chunked")], chunked(&body, 8192));
            for bad in [declared, discovered] {
                let mut connection = site.open().await;
                let answer = connection.exchange(&bad, pace).await;
                let message = answer.refusal(413);
                assert!(message.contains("10000"), "{message}");
                site.assert_untouched().await;
            }
        }
        // A body of exactly the limit is accepted, with a declared length and without.
        let body = vec![b'x'; MAX];
        for good in [
            put("/prefix/A/B/C", &body),
            request(
                "PUT",
                "/prefix/A/B/D",
                &[("transfer-encoding", "chunked")],
                chunked(&body, 777),
            ),
        ] {
            let answer = site.open().await.exchange(&good, Pace::Whole).await;
            assert_eq!(answer.status, 201, "{answer:?}");
        }
    }
}

/// A fault within the limit is reported instead of the excess, however the body is split.
#[tokio::test]
async fn reports_a_fault_before_the_limit() {
    let mut site = Site::with(Front::Hyper, |storage| storage.max_body(200)).await;
    let body = format!("--B\r\ncontent-type\0: x\r\n\r\n{}", "x".repeat(500));
    let headers = [
        ("content-type", "multipart/mixed; boundary=B"),
        ("transfer-encoding", "chunked"),
    ];
    for chunk in [1000, 100, 7] {
        let bad = request("PUT", NEW, &headers, chunked(body.as_bytes(), chunk));
        let answer = site.open().await.exchange(&bad, Pace::Whole).await;
        answer.refusal(400);
        site.assert_untouched().await;
    }
}

/// An absurd declared length is refused at once, without an allocation.
#[tokio::test]
async fn an_absurd_length_is_refused() {
    let mut site = Site::new(Front::Hyper).await;
    let mut connection = site.open().await;
    let bad = request("PUT", NEW, &[("content-length", "9000000000000000000")], "ID3");
    connection.send(&bad, Pace::Whole).await;
    connection.finish().await;
    if let Ok(answer) = connection.try_receive(false).await {
        answer.refusal(413);
    }
    site.server.ended(site.opened).await;
    site.assert_untouched().await;
}

// ---- methods ----

#[tokio::test]
async fn other_methods_are_405_with_allow() {
    for front in FRONTS {
        let mut site = Site::new(front).await;
        for method in ["DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "MKCOL"] {
            let mut connection = site.open().await;
            let answer = connection.exchange(&request(method, OLD, &[], ""), Pace::Whole).await;
            answer.refusal(405);
            let allow = answer.header("allow").expect("Allow");
            let mut allowed: Vec<_> = allow.split(',').map(str::trim).collect();
            allowed.sort_unstable();
            assert_eq!(allowed, ["GET", "HEAD", "POST", "PUT"], "{method}");
            site.assert_untouched().await;
        }
    }
}

// ---- stores that fail ----

#[tokio::test]
async fn a_full_store_is_507() {
    for front in FRONTS {
        let store = Spy::new(MemoryStore::with_capacity(100), None);
        let server = Server::start(front, "/prefix", KazooStorage::new(store.clone())).await;
        let mut connection = Connection::open(server.address).await;
        assert_eq!(
            connection.exchange(&put(OLD, OLD_CONTENT), Pace::Whole).await.status,
            201
        );
        for body in [vec![b'x'; 101], vec![b'x'; 1 << 20]] {
            for target in [OLD, NEW] {
                let answer = connection.exchange(&put(target, &body), Pace::Whole).await;
                answer.refusal(507);
                assert_eq!(answer.header("retry-after"), None, "waiting makes no room");
                assert_eq!(store.content("ACC/DOC/message.mp3").await.as_deref(), Some(OLD_CONTENT));
                assert_eq!(store.content("ACC/DOC/other.mp3").await, None);
            }
        }
        // The connection and the store still work.
        let old = connection.exchange(&kazoo_fetch(OLD.as_bytes()), Pace::Whole).await;
        assert_eq!(old.body, OLD_CONTENT);
    }
}

/// KAZOO's client waits for 1 to 99 seconds and retries, so no voicemail is lost.
#[tokio::test]
async fn an_unavailable_store_is_503_with_retry_after() {
    for front in FRONTS {
        for when in [When::AtOnce, When::AtTheEnd] {
            let store = Failing {
                kind: ErrorKind::Unavailable,
                when,
            };
            let server = Server::start(front, "/prefix", KazooStorage::new(store)).await;
            for bad in [
                put(NEW, vec![b'x'; 1 << 20]),
                put_multipart(NEW, multipart(&[JSON, ("audio/mpeg", b"ID3")])),
                kazoo_fetch(NEW.as_bytes()),
            ] {
                let answer = Connection::open(server.address).await.exchange(&bad, Pace::Whole).await;
                answer.refusal(503);
                let seconds: u8 = answer.header("retry-after").expect("Retry-After").parse().unwrap();
                assert!((1..=99).contains(&seconds), "{seconds}");
            }
        }
    }
}

/// An administrator waits for the answer to a probe, and KAZOO's client would retry without end.
#[tokio::test]
async fn a_probe_of_a_failing_store_has_no_retry_after() {
    let token = "7f3c2a90b1d4e6f8a0c2e4f618293a4b";
    let target = format!("/prefix/ACC/DOC/{token}_test_credentials_file.txt");
    let content = format!("some random content: {token}");
    for (kind, status) in [
        (ErrorKind::Unavailable, 503),
        (ErrorKind::StorageFull, 507),
        (ErrorKind::Internal, 500),
    ] {
        let store = Failing {
            kind,
            when: When::AtOnce,
        };
        for front in FRONTS {
            let server = Server::start(front, "/prefix", KazooStorage::new(store)).await;
            let mut connection = Connection::open(server.address).await;
            for bad in [
                request("PUT", &target, &[("content-type", "text/plain")], &content),
                put_multipart(&target, multipart(&[JSON, ("text/plain", content.as_bytes())])),
            ] {
                let answer = connection.exchange(&bad, Pace::Whole).await;
                let message = answer.refusal(status);
                assert!(message.contains("disk"), "{message}");
                assert_eq!(answer.header("retry-after"), None);
            }
        }
    }
}

/// The content of a modified probe tells which setting is wrong.
#[tokio::test]
async fn a_probe_with_another_content_is_400() {
    let token = "7f3c2a90b1d4e6f8a0c2e4f618293a4b";
    let target = format!("/prefix/ACC/DOC/{token}_test_credentials_file.txt");
    let text = format!("some random content: {token}");
    let encoded = STANDARD.encode(&text);
    let mut site = Site::with(Front::Hyper, |storage| storage.base64(Base64::Off)).await;
    for (body, hint) in [
        ("", "empty"),
        (&format!("some random content: {}", "0".repeat(32)), "something else"),
        (&*encoded, "base64"),
        (&format!("--B\r\n\r\n{text}\r\n--B--"), "multipart"),
        (&format!("\r\n--B\r\n\r\n{text}\r\n--B--"), "multipart"),
        (&format!("{text}\n"), "something else"),
        (&"x".repeat(100_000), "something else"),
    ] {
        let bad = request("PUT", &target, &[("content-type", "text/plain")], body);
        let message = site.refused(&bad, 400).await;
        assert!(message.contains(hint), "{message}");
    }
}

/// The answer to an internal error of a store reveals no internals.
#[tokio::test]
async fn an_internal_error_is_500() {
    let store = Failing {
        kind: ErrorKind::Internal,
        when: When::AtTheEnd,
    };
    let server = Server::start(Front::Hyper, "/prefix", KazooStorage::new(store)).await;
    let mut connection = Connection::open(server.address).await;
    let answer = connection.exchange(&put(NEW, "ID3"), Pace::Whole).await;
    answer.refusal(500);
    assert_eq!(answer.header("retry-after"), None);
}

mod fs {
    use super::*;
    use kazoo_storage::FsStore;

    /// A file and a file beneath it are distinct, in either order.
    #[tokio::test]
    async fn stores_a_file_and_a_file_beneath_it() {
        for front in FRONTS {
            let root = tempfile::tempdir().unwrap();
            let server = Server::start(front, "/prefix", KazooStorage::new(FsStore::open(root.path()).unwrap())).await;
            let mut connection = Connection::open(server.address).await;
            let paths = ["/ACC/DOC", "/ACC/DOC/ATT.mp3", "/SYS/DOC.1/ATT.mp3", "/SYS/DOC.1"]
                .map(|path| format!("/prefix{path}"));
            for path in &paths {
                assert_eq!(connection.exchange(&put(path, path), Pace::Whole).await.status, 201);
            }
            for path in &paths {
                let kept = connection.exchange(&kazoo_fetch(path.as_bytes()), Pace::Whole).await;
                assert_eq!(kept.body, path.as_bytes());
            }
        }
    }

    /// A directory that someone created in the root is not replaced.
    #[tokio::test]
    async fn a_directory_in_the_place_of_a_file_is_409_and_named() {
        for front in FRONTS {
            let root = tempfile::tempdir().unwrap();
            let server = Server::start(front, "/prefix", KazooStorage::new(FsStore::open(root.path()).unwrap())).await;
            let mut connection = Connection::open(server.address).await;
            std::fs::create_dir_all(root.path().join("ACC/DOC/ATT.mp3")).unwrap();
            let refused = connection
                .exchange(&put("/prefix/ACC/DOC/ATT.mp3", "ID3"), Pace::Whole)
                .await;
            let message = refused.refusal(409);
            assert!(
                message.contains("name 3 of its path in the storage root") && message.contains("is a directory"),
                "{message}"
            );
        }
    }
}
