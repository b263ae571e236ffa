//! Stores that fail, and probes with the wrong content.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kazoo_storage::{
    Base64, Error, ErrorKind, KazooStorage, MemoryStore,
    store::{Fault, FaultyStore, Operation},
};
use kazoo_storage_test_support::{
    client::{Connection, Pace, request},
    fixture::kazoo_fetch,
    server::{Front, Server},
    stores::Spy,
};

use super::{FRONTS, JSON, NEW, OLD, OLD_CONTENT, Site, multipart, put, put_multipart};

/// Returns a store whose operations fail at this byte of a file.
fn failing(kind: ErrorKind, offset: u64) -> FaultyStore<MemoryStore> {
    let error = Error::new(kind, "the disk behind the store has a problem");
    let store = FaultyStore::new(MemoryStore::new());
    store.inject(Operation::ALL, Fault::Fail(error.clone()));
    store.inject([Operation::Put], Fault::FailAt { offset, error });
    store
}

#[tokio::test]
async fn answers_507_for_a_full_store() {
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
async fn answers_503_for_an_unavailable_store() {
    for front in FRONTS {
        for offset in [0, u64::MAX] {
            let store = failing(ErrorKind::Unavailable, offset);
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
async fn fails_a_probe_of_a_failing_store_without_retry_after() {
    let token = "7f3c2a90b1d4e6f8a0c2e4f618293a4b";
    let target = format!("/prefix/ACC/DOC/{token}_test_credentials_file.txt");
    let content = format!("some random content: {token}");
    for (kind, status) in [
        (ErrorKind::Unavailable, 503),
        (ErrorKind::StorageFull, 507),
        (ErrorKind::Internal, 500),
    ] {
        let store = failing(kind, 0);
        for front in FRONTS {
            let server = Server::start(front, "/prefix", KazooStorage::new(store.clone())).await;
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
async fn refuses_a_probe_with_other_content() {
    let token = "7f3c2a90b1d4e6f8a0c2e4f618293a4b";
    let target = format!("/prefix/ACC/DOC/{token}_test_credentials_file.txt");
    let text = format!("some random content: {token}");
    let encoded = STANDARD.encode(&text);
    let mut site = Site::with(Front::Hyper, |storage| storage.base64(Base64::Off)).await;
    for (body, hint) in [
        ("", "empty"),
        (&format!("some random content: {}", "0".repeat(32)), "other content"),
        (&*encoded, "base64"),
        (&format!("--B\r\n\r\n{text}\r\n--B--"), "multipart"),
        (&format!("\r\n--B\r\n\r\n{text}\r\n--B--"), "multipart"),
        (&format!("{text}\n"), "other content"),
        (&"x".repeat(100_000), "other content"),
    ] {
        let bad = request("PUT", &target, &[("content-type", "text/plain")], body);
        let message = site.refused(&bad, 400).await;
        assert!(message.contains(hint), "{message}");
    }
}

/// The answer to an internal error of a store reveals no internals.
#[tokio::test]
async fn answers_500_for_an_internal_error() {
    let store = failing(ErrorKind::Internal, u64::MAX);
    let server = Server::start(Front::Hyper, "/prefix", KazooStorage::new(store)).await;
    let mut connection = Connection::open(server.address).await;
    let answer = connection.exchange(&put(NEW, "ID3"), Pace::Whole).await;
    answer.refusal(500);
    assert_eq!(answer.header("retry-after"), None);
}
