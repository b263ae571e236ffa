//! How the client treats responses: redirects, retries, crashes and truncated bodies.

mod redirects;
mod timeouts;

use std::time::Duration;

use bytes::Bytes;
use kazoo_storage_client::{
    Attachment, Client, Dialect, Document, Failure, FailureKind, FetchedFile, Handler, StorageUrl, StoredFile,
};
use kazoo_storage_test_support::{fixture::target, server::refusing_address};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::Builder,
};

use crate::recorder::{Recorder, answer};

const CONTENT: &str = "ID3 some sound";

/// A timeout for operations that would otherwise never end.
const LONG: Duration = Duration::from_secs(20);

fn attachment() -> Attachment {
    let document = Document::from_json(r#"{"_id":"DOC","metadata":{"folder":"new"}}"#).unwrap();
    Attachment::new("ACC", document, "a.mp3", CONTENT)
}

fn handler(recorder: &Recorder) -> Handler {
    Handler::new(format!("http://{}/p", recorder.address)).unwrap()
}

async fn store(handler: &Handler) -> Result<StoredFile, Failure> {
    Client::new()
        .store(&Dialect::KAZOO_4_3_106, handler, &attachment())
        .await
}

async fn fetch(handler: &Handler) -> Result<FetchedFile, Failure> {
    let stored = handler.url_of(&Dialect::KAZOO_4_3_106, &attachment());
    Client::new()
        .fetch(&Dialect::KAZOO_4_3_106, handler, &stored, &attachment())
        .await
}

/// Returns the method and the target of each recorded request.
fn asked(requests: &[Vec<u8>]) -> Vec<String> {
    let shown = |request: &Vec<u8>| {
        let method = request.split(|byte| *byte == b' ').next().unwrap();
        [method, target(request)].map(String::from_utf8_lossy).join(" ")
    };
    requests.iter().map(shown).collect()
}

/// Accepts a connection and waits for the start of a request.
async fn asked_for_something(server: &TcpListener) -> TcpStream {
    let (mut stream, _) = server.accept().await.unwrap();
    assert_ne!(stream.read(&mut [0; 64]).await.unwrap(), 0);
    stream
}

#[tokio::test]
async fn accepts_any_2xx_for_a_store_and_only_200_for_a_fetch() {
    for status in [200, 201, 202, 204, 206, 226] {
        let recorder = Recorder::start(move |_| answer(status, "", b"")).await;
        let handler = handler(&recorder);
        store(&handler).await.unwrap();
        let fetched = fetch(&handler).await.map_err(|failure| failure.kind()).map(drop);
        let expected = if status == 200 { Ok(()) } else { Err(FailureKind::Crash) };
        assert_eq!(fetched, expected, "{status}");
    }
    for (status, kind) in [(404, FailureKind::Refused), (425, FailureKind::Crash)] {
        let recorder = Recorder::start(move |_| answer(status, "", b"why")).await;
        let failure = fetch(&handler(&recorder)).await.unwrap_err();
        assert_eq!(failure.kind(), kind);
        assert_eq!(failure.answer().unwrap().body(), "why");
        assert!(failure.to_string().contains(&status.to_string()), "{failure}");
    }
}

async fn fetched_of(bytes: &'static str) -> Result<Bytes, (FailureKind, Option<Bytes>)> {
    let recorder = Recorder::start(move |_| bytes.as_bytes().to_vec()).await;
    let fetched = fetch(&handler(&recorder)).await;
    let partial = |failure: Failure| (failure.kind(), failure.answer().map(|answer| answer.body().clone()));
    fetched.map(|fetched| fetched.content).map_err(partial)
}

#[tokio::test]
async fn returns_a_body_unchanged_or_reports_truncation() {
    let close = "connection: close\r\n";
    for (answer, content) in [
        (
            format!("HTTP/1.1 200 OK\r\n{close}content-length: 3\r\ncontent-encoding: gzip\r\n\r\nzip"),
            "zip",
        ),
        (
            format!(
                "HTTP/1.1 200 OK\r\n{close}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-trailer: 1\r\n\r\n"
            ),
            "abc",
        ),
        (format!("HTTP/1.1 200 OK\r\n{close}\r\nto the end"), "to the end"),
    ] {
        assert_eq!(fetched_of(answer.leak()).await.unwrap(), content);
    }
    for (answer, kind, partial) in [
        ("content-length: 4\r\n\r\nabc", FailureKind::Truncated, Some("abc")),
        (
            "transfer-encoding: chunked\r\n\r\n4\r\nabc",
            FailureKind::Truncated,
            Some("abc"),
        ),
        (
            "content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            FailureKind::Broken,
            Some("abc"),
        ),
        ("content-length: x\r\n\r\n", FailureKind::Broken, None),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{close}{answer}").leak();
        assert_eq!(
            fetched_of(answer).await.unwrap_err(),
            (kind, partial.map(Bytes::from)),
            "{answer}"
        );
    }
    assert_eq!(fetched_of("").await.unwrap_err(), (FailureKind::Broken, None));
    assert_eq!(
        fetched_of("SSH-2.0-x\r\nconnection: close\r\n\r\n").await.unwrap_err(),
        (FailureKind::Broken, None)
    );
}

#[tokio::test]
async fn keeps_connections_and_replaces_closed_ones() {
    let recorder = Recorder::start(|request| {
        let close = if request.starts_with(b"GET") {
            "connection: close\r\n"
        } else {
            ""
        };
        answer(200, close, CONTENT.as_bytes())
    })
    .await;
    let handler = handler(&recorder);
    let mut client = Client::new();
    for connections in [1, 2, 3] {
        let stored = client
            .store(&Dialect::KAZOO_4_3_106, &handler, &attachment())
            .await
            .unwrap();
        client
            .store(&Dialect::KAZOO_4_0, &handler, &attachment())
            .await
            .unwrap();
        client
            .fetch(&Dialect::KAZOO_4_3_106, &handler, &stored.url, &attachment())
            .await
            .unwrap();
        assert_eq!(recorder.connections(), connections);
    }
}

#[tokio::test]
async fn limits_the_length_of_a_response() {
    let recorder = Recorder::start(|_| answer(200, "", CONTENT.as_bytes())).await;
    let handler = handler(&recorder);
    let url = handler.url_of(&Dialect::KAZOO_4_3_106, &attachment());
    for (max, kind) in [(CONTENT.len(), None), (CONTENT.len() - 1, Some(FailureKind::TooLong))] {
        let mut client = Client::new().max_answer(max);
        let fetched = client
            .fetch(&Dialect::KAZOO_4_3_106, &handler, &url, &attachment())
            .await;
        assert_eq!(fetched.err().map(|failure| failure.kind()), kind);
    }
}

/// Detects a connection that the server closed without notice before the next request.
#[test]
fn does_not_reuse_a_connection_closed_meanwhile() {
    let theirs = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let recorder = theirs.block_on(Recorder::start(|_| answer(200, "nothing-is-said-of: close\r\n", b"")));
    let handler = handler(&recorder);
    let mut client = Client::new();
    // The client's runtime does not run between the requests.
    let ours = Builder::new_current_thread().enable_all().build().unwrap();
    for connections in 1..10 {
        ours.block_on(client.store(&Dialect::KAZOO_4_3_106, &handler, &attachment()))
            .unwrap();
        theirs.block_on(recorder.all_closed());
        assert_eq!(recorder.connections(), connections);
    }
}

#[tokio::test]
async fn reports_refused_connections_and_tls_errors() {
    let (_socket, address) = refusing_address();
    let url = StorageUrl::parse(format!("http://{address}/p")).unwrap();
    let failure = store(&Handler::new(url.as_str()).unwrap()).await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Connect);
    let nowhere = format!("http://{}/p", "x".repeat(64));
    let failure = store(&Handler::new(nowhere).unwrap()).await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Resolve);
    // A server without TLS.
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/p", plain.local_addr().unwrap());
    let answering = tokio::spawn(async move {
        let (mut stream, _) = plain.accept().await.unwrap();
        stream.write_all(&answer(400, "", b"plain HTTP here")).await.unwrap();
        stream
    });
    let failure = store(&Handler::new(url).unwrap()).await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Tls);
    answering.await.unwrap();
    let failure = store(&Handler::new("http://h/a b").unwrap()).await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::NotSent);
}
