//! The storage service on hyper, without a router.

use std::convert::Infallible;

use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use kazoo_storage::{Body, KazooStorage, MemoryStore};
use kazoo_storage_test_support::{
    client::{Connection, Framing, Pace, chunked, request},
    fixture::kazoo_fetch,
    server::{Counted, Front, Server},
    stores::Spy,
};
use tower::{ServiceBuilder, service_fn};

/// Answers with the request that it received, so that a test detects changes.
async fn echo(request: Request<Counted<Incoming>>) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let text = format!("{} {} {}", head.method, head.uri, String::from_utf8_lossy(&body));
    Ok(Response::new(Body::from(text)))
}

/// Requests outside of the mount reach the inner service unchanged.
#[tokio::test]
async fn passes_other_paths_on_unchanged() {
    let storage = KazooStorage::new(MemoryStore::new());
    let service = ServiceBuilder::new()
        .layer(storage.mount("/kazoo"))
        .service(service_fn(echo));
    let server = Server::hyper(service).await;
    let mut connection = Connection::open(server.address).await;
    for target in [
        "/",
        "/other?a=b&c=%20",
        "/kazoos/ACC/DOC/ATT",
        "/kazo",
        "/Kazoo/ACC/DOC/ATT",
        "/ACC/kazoo/DOC",
        "/kazoo%2FACC/DOC/ATT",
    ] {
        for method in ["PUT", "DELETE"] {
            let body = if method == "PUT" { "body" } else { "" };
            let answer = connection
                .exchange(&request(method, target, &[], body), Pace::Whole)
                .await;
            assert_eq!(
                String::from_utf8_lossy(&answer.body),
                format!("{method} {target} {body}")
            );
        }
    }
    let stored = connection
        .exchange(&request("PUT", "/kazoo/ACC/DOC/ATT", &[], "ID3"), Pace::Whole)
        .await;
    assert_eq!(stored.status, 201);
    let fetched = connection
        .exchange(&kazoo_fetch(b"/kazoo/ACC/DOC/ATT"), Pace::Whole)
        .await;
    assert_eq!(fetched.body, b"ID3");
    for nothing in ["/kazoo", "/kazoo/", "/kazoo?x=y"] {
        connection
            .exchange(&kazoo_fetch(nothing.as_bytes()), Pace::Whole)
            .await
            .refusal(400);
    }
}

/// Several mounts stand in front of each other.
#[tokio::test]
async fn mounts_stack() {
    let (first, second) = (Spy::memory(), Spy::memory());
    let service = ServiceBuilder::new()
        .layer(KazooStorage::new(first.clone()).mount("/a"))
        .layer(KazooStorage::new(second.clone()).mount("/a-b/c"))
        .service(service_fn(echo));
    let server = Server::hyper(service).await;
    let mut connection = Connection::open(server.address).await;
    for target in ["/a/A/B/C", "/a-b/c/A/B/C"] {
        let stored = connection
            .exchange(&request("PUT", target, &[], target), Pace::Whole)
            .await;
        assert_eq!(stored.status, 201, "{stored:?}");
    }
    assert_eq!(first.content("A/B/C").await.unwrap(), b"/a/A/B/C");
    assert_eq!(second.content("A/B/C").await.unwrap(), b"/a-b/c/A/B/C");
    let other = connection.exchange(&kazoo_fetch(b"/a-b"), Pace::Whole).await;
    assert_eq!(other.body, b"GET /a-b ");
}

/// The empty prefix covers every path.
#[tokio::test]
async fn without_a_prefix_every_path_is_a_file() {
    let server = Server::start(Front::Hyper, "", KazooStorage::new(MemoryStore::new())).await;
    let mut connection = Connection::open(server.address).await;
    let stored = connection
        .exchange(&request("POST", "/A/B/C", &[], "ID3"), Pace::Whole)
        .await;
    assert_eq!(stored.status, 201);
    assert_eq!(
        connection.exchange(&kazoo_fetch(b"/A/B/C"), Pace::Whole).await.body,
        b"ID3"
    );
    connection.exchange(&kazoo_fetch(b"/"), Pace::Whole).await.refusal(400);
}

/// A client that expects `100 Continue`, such as curl, receives it.
#[tokio::test]
async fn answers_expect_100_continue() {
    let server = Server::start(Front::Hyper, "/kazoo", KazooStorage::new(MemoryStore::new())).await;
    let mut connection = Connection::open(server.address).await;
    let head = request(
        "PUT",
        "/kazoo/A/B/C",
        &[("expect", "100-continue"), ("content-length", "3")],
        "",
    );
    connection.send(&head, Pace::Whole).await;
    assert_eq!(connection.receive_interim().await, 100);
    connection.send(b"ID3", Pace::Whole).await;
    assert_eq!(connection.receive().await.status, 201);
}

#[tokio::test]
async fn accepts_chunked_bodies() {
    let server = Server::start(Front::Hyper, "/kazoo", KazooStorage::new(MemoryStore::new())).await;
    let mut connection = Connection::open(server.address).await;
    let content: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    for size in [1000, 65_536, 200_000] {
        let put = request(
            "PUT",
            "/kazoo/A/B/C",
            &[("transfer-encoding", "chunked")],
            chunked(&content, size),
        );
        assert_eq!(connection.exchange(&put, Pace::Pieces(10_007)).await.status, 201);
        let fetched = connection.exchange(&kazoo_fetch(b"/kazoo/A/B/C"), Pace::Whole).await;
        assert!(fetched.body == content, "chunks of {size}");
    }
}

/// HTTP/1.0 has neither chunks nor persistent connections.
#[tokio::test]
async fn serves_http_1_0() {
    let server = Server::start(Front::Hyper, "/kazoo", KazooStorage::new(MemoryStore::new())).await;
    for len in [3, 300_000] {
        let content = vec![b'x'; len];
        let put = [
            format!("PUT /kazoo/A/B/C HTTP/1.0\r\ncontent-length: {len}\r\n\r\n").as_bytes(),
            &content,
        ]
        .concat();
        let mut connection = Connection::open(server.address).await;
        assert_eq!(connection.exchange(&put, Pace::Whole).await.status, 201);
        assert!(connection.is_closed().await);

        let mut connection = Connection::open(server.address).await;
        let fetched = connection
            .exchange(b"GET /kazoo/A/B/C HTTP/1.0\r\n\r\n", Pace::Whole)
            .await;
        assert_eq!(fetched.status, 200);
        assert!(fetched.body == content);
        assert!(
            matches!(fetched.framing, Framing::Length | Framing::Close),
            "{:?}",
            fetched.framing
        );
    }
}

/// A proxy may send the target in absolute form.
#[tokio::test]
async fn accepts_a_target_in_absolute_form() {
    for mount in ["/kazoo", ""] {
        let server = Server::start(Front::Hyper, mount, KazooStorage::new(MemoryStore::new())).await;
        let mut connection = Connection::open(server.address).await;
        let put = request("PUT", &format!("http://files.example.net{mount}/A/B/C"), &[], "ID3");
        assert_eq!(connection.exchange(&put, Pace::Whole).await.status, 201);
        let fetch = kazoo_fetch(format!("{mount}/A/B/C").as_bytes());
        assert_eq!(connection.exchange(&fetch, Pace::Whole).await.body, b"ID3");
    }
}

#[tokio::test]
async fn closes_the_connection_on_request() {
    let server = Server::start(Front::Hyper, "/kazoo", KazooStorage::new(MemoryStore::new())).await;
    let mut connection = Connection::open(server.address).await;
    let put = request("PUT", "/kazoo/A/B/C", &[("connection", "close")], "ID3");
    assert_eq!(connection.exchange(&put, Pace::Whole).await.status, 201);
    assert!(connection.is_closed().await);
}
