//! Responses to KAZOO: the framing, and responses that are cut off.

use kazoo_storage::{
    BlobKey, BlobStore as _, Error, ErrorKind, KazooStorage, MemoryStore, Upload,
    store::{Fault, FaultyStore, Operation},
};
use kazoo_storage_test_support::{
    client::{Connection, Framing, Pace, request},
    fixture::kazoo_fetch,
    server::{Front, Server},
    stores::Redirecting,
};

use super::{ANNOUNCED, FILE, Site, media};

/// KAZOO sends neither `user-agent` nor `accept`. Its older clients accept a body shorter than its
/// `content-length` as complete, so only content that is read before the response starts has a length.
#[tokio::test]
async fn sends_a_large_file_to_kazoo_in_chunks() {
    for len in [0, 1, ANNOUNCED - 1, ANNOUNCED, ANNOUNCED + 1, 5 * ANNOUNCED + 7] {
        let content = media(len);
        let mut site = Site::with(&content).await;
        let to_kazoo = site.send(&kazoo_fetch(FILE.as_bytes())).await;
        assert_eq!(to_kazoo.status, 200);
        assert!(to_kazoo.body == content, "{len} bytes");
        let announced = len <= ANNOUNCED;
        let framing = if announced { Framing::Length } else { Framing::Chunked };
        assert_eq!(to_kazoo.framing, framing, "{len} bytes");

        let to_a_player = site.get(&[("user-agent", "player/1.0")]).await;
        assert_eq!(to_a_player.status, 200);
        assert!(to_a_player.body == content, "{len} bytes");
        assert_eq!(to_a_player.framing, Framing::Length, "{len} bytes");
        for answer in [to_kazoo, to_a_player] {
            assert_eq!(answer.header("content-type"), Some("audio/mpeg"));
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        }
    }
}

#[tokio::test]
async fn sends_a_file_without_a_type_as_an_octet_stream() {
    let mut site = Site::empty().await;
    assert_eq!(site.send(&request("PUT", FILE, &[], "x")).await.status, 201);
    let fetched = site.send(&kazoo_fetch(FILE.as_bytes())).await;
    assert_eq!(fetched.header("content-type"), Some("application/octet-stream"));
}

#[tokio::test]
async fn answers_404_for_an_absent_file() {
    let mut site = Site::empty().await;
    assert!(!site.send(&kazoo_fetch(FILE.as_bytes())).await.refusal(404).is_empty());
    let head = site.send(&request("HEAD", FILE, &[], "")).await;
    assert_eq!((head.status, head.framing), (404, Framing::Bodiless));
    // The connection stays usable.
    site.store(b"now").await;
    assert_eq!(site.get(&[]).await.body, b"now");
}

/// The same request over HTTP/1.0.
fn http10(request: &[u8]) -> Vec<u8> {
    let request = String::from_utf8(request.to_vec()).unwrap();
    request.replacen(" HTTP/1.1\r\n", " HTTP/1.0\r\n", 1).into_bytes()
}

/// HTTP/1.0 has no chunks: only a length distinguishes a truncated body from a complete one.
#[tokio::test]
async fn sends_a_length_to_http_1_0_clients() {
    let content = media(5 * ANNOUNCED + 7);
    for front in [Front::Hyper, Front::Axum] {
        let server = Server::start(front, "/prefix", KazooStorage::new(MemoryStore::new())).await;
        let put = request("PUT", FILE, &[], &content);
        let mut connection = Connection::open(server.address).await;
        assert_eq!(connection.exchange(&put, Pace::Whole).await.status, 201);
        let len = content.len().to_string();
        for (headers, end) in [
            (&[][..], content.len()),
            (&[("user-agent", "nginx")], content.len()),
            (&[("connection", "close")], content.len()),
            (&[("connection", "keep-alive")], content.len()),
            (&[("range", "bytes=0-299999")], 300_000),
        ] {
            let mut connection = Connection::open(server.address).await;
            let answer = connection
                .exchange(&http10(&request("GET", FILE, headers, "")), Pace::Whole)
                .await;
            assert_eq!(answer.framing, Framing::Length, "{front:?} {headers:?}");
            assert!(answer.body == content[..end], "{front:?} {headers:?}");
            let mut connection = Connection::open(server.address).await;
            let head = connection
                .exchange(&http10(&request("HEAD", FILE, headers, "")), Pace::Whole)
                .await;
            assert_eq!(head.header("content-length"), Some(&*len), "{front:?} {headers:?}");
        }
    }
}

/// Returns a store with a file of `len` bytes, of which only the first `intact` ones can be read.
async fn truncated(len: usize, intact: u64) -> FaultyStore<MemoryStore> {
    let store = FaultyStore::new(MemoryStore::new());
    let key = BlobKey::from_path("ACC/DOC/message.mp3").unwrap();
    store.put(Upload::new(key, vec![0; len])).await.unwrap();
    let error = Error::new(ErrorKind::Unavailable, "the disk went away");
    store.inject([Operation::Get], Fault::FailAt { offset: intact, error });
    store
}

/// A response whose read fails midway never looks complete.
#[tokio::test]
async fn never_completes_a_truncated_response() {
    for (len, intact) in [
        (1 << 20, 200_000),
        (1 << 20, ANNOUNCED as u64),
        (1 << 20, (1 << 20) - 1),
    ] {
        for front in [Front::Hyper, Front::Axum] {
            let server = Server::start(front, "/prefix", KazooStorage::new(truncated(len, intact).await)).await;
            for fetch in [
                kazoo_fetch(FILE.as_bytes()),
                request("GET", FILE, &[], ""),
                request("GET", FILE, &[("connection", "close")], ""),
                request("GET", FILE, &[("user-agent", "player/1.0")], ""),
                request("GET", FILE, &[("range", "bytes=0-")], ""),
                request(
                    "GET",
                    FILE,
                    &[("range", "bytes=100-"), ("user-agent", "player/1.0")],
                    "",
                ),
            ] {
                for fetch in [http10(&fetch), fetch] {
                    let mut connection = Connection::open(server.address).await;
                    connection.send(&fetch, Pace::Whole).await;
                    let whole = connection.try_receive(false).await;
                    assert!(whole.is_err(), "{intact} of {len}: {whole:?}");
                }
            }
        }
    }
    // A small file is read before the response starts, so the response can still be an error.
    for intact in [0, 10, 999] {
        let server = Server::start(
            Front::Hyper,
            "/prefix",
            KazooStorage::new(truncated(1000, intact).await),
        )
        .await;
        let mut connection = Connection::open(server.address).await;
        let answer = connection.exchange(&kazoo_fetch(FILE.as_bytes()), Pace::Whole).await;
        answer.refusal(503);
    }
}

/// A store may redirect a fetch, but never an upload: KAZOO's client repeats a redirected POST as a GET
/// without a body, and takes its success for a stored file.
#[tokio::test]
async fn redirects_fetches_only() {
    let location = "https://cdn.example.net/ACC/DOC/message.mp3?signature=x";
    let store = Redirecting {
        location: location.parse().unwrap(),
    };
    let server = Server::start(Front::Hyper, "/prefix", KazooStorage::new(store)).await;
    let mut connection = Connection::open(server.address).await;
    let fetched = connection.exchange(&kazoo_fetch(FILE.as_bytes()), Pace::Whole).await;
    assert_eq!(fetched.status, 302);
    assert_eq!(fetched.header("location"), Some(location));
    // The URL may be signed: it is a credential.
    assert_eq!(fetched.header("cache-control"), Some("no-store"));
    for method in ["PUT", "POST"] {
        for condition in [
            ("content-type", "audio/mpeg"),
            ("if-none-match", "*"),
            ("if-match", "\"other\""),
            ("if-modified-since", "Sat, 01 Jan 2050 00:00:00 GMT"),
            ("range", "bytes=0-1"),
        ] {
            let stored = connection
                .exchange(&request(method, FILE, &[condition], "x"), Pace::Whole)
                .await;
            assert!(
                !(300..400).contains(&stored.status),
                "{method} {condition:?}: {stored:?}"
            );
            assert_eq!(stored.header("location"), None);
        }
    }
}
