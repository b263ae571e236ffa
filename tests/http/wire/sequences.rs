//! Several requests: fetches by other settings, repeated and pipelined requests.

use kazoo_storage::{Base64, KazooStorage, MemoryStore};
use kazoo_storage_test_support::{
    client::{Connection, Pace},
    fixture::{FIXTURES, Fixture, body, kazoo_fetch, target},
    server::{Front, Server},
    stores::Spy,
};

use super::{Expected, assert_fetched, by_case, expected, key_of, replaced, with_body};

/// Since 4.3.106, the second half of the path of a fetch follows the current settings, not those of the upload.
#[tokio::test]
async fn finds_a_file_with_newer_settings() {
    let fixture = by_case("D3-master__put-mp-mini");
    let server = Server::start(Front::Hyper, "/prefix", KazooStorage::new(MemoryStore::new())).await;
    let mut connection = Connection::open(server.address).await;
    assert_eq!(connection.exchange(&fixture.request, Pace::Whole).await.status, 201);
    let stored = target(&fixture.request);
    for suffix in [
        "",
        "/",
        "?",
        "?media_id=1",
        "/5d41402abc4b2a76b9719d911017c592.mp3?media_id=1",
        "/unknown_account/1a2b3c4d5e6f708192a3b4c5d6e7f809/DOC/5d41402abc4b2a76b9719d911017c592.mp3",
        "//abs/base/ACC/DOC/ATT?from=x&media_id=1",
        "/0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7%2F202401",
    ] {
        let fetch = kazoo_fetch(&[stored, suffix.as_bytes()].concat());
        let fetched = connection.exchange(&fetch, Pace::Whole).await;
        assert_fetched(&fetched, &fixture.content, "audio/mpeg", suffix);
    }
    // A name that only starts with the stored name is another name.
    for suffix in ["x", ".bak", "%2Fx"] {
        let fetch = kazoo_fetch(&[stored, suffix.as_bytes()].concat());
        connection.exchange(&fetch, Pace::Whole).await.refusal(404);
    }
}

/// A load balancer may send the fetch of a probe to another server than its upload.
#[tokio::test]
async fn answers_a_probe_that_another_server_stored() {
    for front in [Front::Hyper, Front::Axum] {
        let server = Server::start(front, "/prefix", KazooStorage::new(MemoryStore::new())).await;
        let mut connection = Connection::open(server.address).await;
        let mut probes = 0;
        for fixture in FIXTURES.iter().filter(|fixture| fixture.is_probe()) {
            let fetched = connection.exchange(fixture.fetch.as_ref().unwrap(), Pace::Whole).await;
            assert_fetched(&fetched, &fixture.content, "text/plain", &fixture.case);
            probes += 1;
        }
        assert!(probes > 10, "{probes}");
    }
}

/// An attachment may be JSON. Only the first part is the metadata.
#[tokio::test]
async fn does_not_take_a_json_attachment_as_metadata() {
    let fixture = by_case("D3-master__put-mp-mini");
    let json = b"[1, 2, 3]";
    let body = replaced(body(&fixture.request), &fixture.content, json);
    let body = replaced(&body, b"content-type: audio/mpeg", b"content-type: application/json");
    let store = Spy::memory();
    let server = Server::start(Front::Hyper, "/prefix", KazooStorage::new(store.clone())).await;
    let mut connection = Connection::open(server.address).await;
    let stored = connection
        .exchange(&with_body(&fixture.request, &body), Pace::Whole)
        .await;
    assert_eq!(stored.status, 201, "{stored:?}");
    let fetched = connection.exchange(fixture.fetch.as_ref().unwrap(), Pace::Whole).await;
    assert_fetched(&fetched, json, "application/json", &fixture.case);
    assert_eq!(store.metadata_of(&key_of(fixture)).await, fixture.metadata);
}

/// KAZOO's client sends everything over one connection, even after a refusal.
#[tokio::test]
async fn serves_everything_over_one_connection() {
    for front in [Front::Hyper, Front::Axum] {
        let server = Server::start(front, "/prefix", KazooStorage::new(MemoryStore::new())).await;
        let mut connection = Connection::open(server.address).await;
        let at_prefix = |fixture: &&Fixture| {
            fixture.dialect() == "D3" && fixture.mount() == "/prefix" && fixture.what() != "folder-both-space"
        };
        for fixture in FIXTURES.iter().filter(at_prefix) {
            let stored = connection.exchange(&fixture.request, Pace::Whole).await;
            let Expected::Content(content) = expected(fixture, Base64::Detect) else {
                stored.refusal(400);
                continue;
            };
            assert_eq!(stored.status, 201, "{}: {stored:?}", fixture.case);
            for fetch in fixture.fetch.iter().chain([&kazoo_fetch(target(&fixture.request))]) {
                let fetched = connection.exchange(fetch, Pace::Whole).await;
                assert_fetched(&fetched, &content, &fixture.content_type, &fixture.case);
            }
            connection
                .exchange(&kazoo_fetch(b"/prefix/no/such/file"), Pace::Whole)
                .await
                .refusal(404);
        }
    }
}

/// An upload and its fetch, pipelined, are answered in order.
#[tokio::test]
async fn answers_pipelined_requests_in_order() {
    let fixture = by_case("D3-master__put-mp-mini");
    for front in [Front::Hyper, Front::Axum] {
        let server = Server::start(front, "/prefix", KazooStorage::new(MemoryStore::new())).await;
        for pace in [Pace::Whole, Pace::Pieces(7)] {
            let mut connection = Connection::open(server.address).await;
            let fetch = fixture.fetch.as_ref().unwrap();
            connection.send(&[&fixture.request[..], fetch].concat(), pace).await;
            assert_eq!(connection.receive().await.status, 201);
            let fetched = connection.receive().await;
            assert_fetched(&fetched, &fixture.content, "audio/mpeg", &fixture.case);
        }
    }
}

/// KAZOO repeats an upload without an answer, even while the first is still being sent.
#[tokio::test]
async fn accepts_a_repeated_upload() {
    let fixture = by_case("D3-master__put-mp-mp3");
    let store = Spy::memory();
    let server = Server::start(Front::Hyper, "/prefix", KazooStorage::new(store.clone())).await;
    let (half, rest) = fixture.request.split_at(fixture.request.len() - 100);
    let mut first = Connection::open(server.address).await;
    first.send(half, Pace::Whole).await;
    let mut second = Connection::open(server.address).await;
    for _ in 0..3 {
        assert_eq!(second.exchange(&fixture.request, Pace::Whole).await.status, 201);
    }
    first.send(rest, Pace::Whole).await;
    assert_eq!(first.receive().await.status, 201);
    assert_eq!(store.stored(), vec![key_of(fixture); 4]);
    let fetched = first.exchange(fixture.fetch.as_ref().unwrap(), Pace::Whole).await;
    assert_fetched(&fetched, &fixture.content, "audio/mpeg", &fixture.case);
}
