//! Retries and timeouts.

use std::{
    future::pending,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use kazoo_storage_client::{Attachment, Client, Dialect, Document, FailureKind, Handler, Timeouts};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::oneshot,
    time::timeout,
};

use super::{CONTENT, LONG, asked_for_something, attachment, handler, store};
use crate::recorder::{Recorder, answer};

#[tokio::test]
async fn retries_the_same_request_after_a_503() {
    let count = AtomicUsize::new(0);
    let recorder = Recorder::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => answer(503, "retry-after: 0\r\n", b"busy"),
        _ => answer(201, "", b""),
    })
    .await;
    store(&handler(&recorder)).await.unwrap();
    let requests = recorder.take();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|request| *request == requests[0]));
    // A server error closes the connection.
    assert_eq!(recorder.connections(), 3);
}

#[tokio::test]
async fn gives_up_retrying_after_the_timeout() {
    let recorder = Recorder::start(|_| answer(503, "retry-after: 99\r\n", b"")).await;
    let failure = store(&handler(&recorder)).await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Waiting);
    assert_eq!(recorder.take().len(), 1);
    let recorder = Recorder::start(|_| answer(503, "retry-after: 100\r\n", b"")).await;
    assert_eq!(
        store(&handler(&recorder)).await.unwrap_err().kind(),
        FailureKind::Refused
    );

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let handler = Handler::new(format!("http://{}", silent.local_addr().unwrap())).unwrap();
    let timeouts = Timeouts {
        response: Duration::from_millis(1),
        ..Timeouts::default()
    };
    let mut client = Client::new().timeouts(timeouts);
    let failure = client
        .store(&Dialect::KAZOO_4_3_106, &handler, &attachment())
        .await
        .unwrap_err();
    assert_eq!(failure.kind(), FailureKind::TimedOut);
}

/// Retries without a delay also end.
#[tokio::test]
async fn gives_up_retrying_without_delay_after_the_timeout() {
    let recorder = Recorder::start(|_| answer(503, "retry-after: 0\r\n", b"")).await;
    let timeouts = Timeouts {
        retry: Duration::from_millis(50),
        ..Timeouts::default()
    };
    let mut client = Client::new().timeouts(timeouts);
    let (handler, attachment) = (handler(&recorder), attachment());
    let stored = timeout(LONG, client.store(&Dialect::KAZOO_4_3_106, &handler, &attachment)).await;
    assert_eq!(stored.unwrap().unwrap_err().kind(), FailureKind::Waiting);
    assert!(recorder.take().len() > 1);
}

/// Covers every step that a server can leave undone, on new and on reused connections.
#[tokio::test]
async fn every_step_has_a_timeout() {
    let long = || {
        Attachment::new(
            "ACC",
            Document::from_json(r#"{"_id":"DOC"}"#).unwrap(),
            "a.mp3",
            vec![0; 32 << 20],
        )
    };
    let timeouts = Timeouts {
        connect: Duration::from_millis(200),
        response: Duration::from_millis(200),
        ..Timeouts::default()
    };
    for (scheme, attachment, sends, repeats, kind) in [
        ("http", attachment(), "", false, FailureKind::TimedOut),
        // No buffer holds this body, and the server does not read it.
        ("http", long(), "", false, FailureKind::TimedOut),
        (
            "http",
            attachment(),
            "HTTP/1.1 200 OK\r\ncontent-le",
            false,
            FailureKind::TimedOut,
        ),
        (
            "http",
            attachment(),
            "HTTP/1.1 100 Continue\r\n\r\n",
            true,
            FailureKind::TimedOut,
        ),
        (
            "http",
            attachment(),
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n",
            false,
            FailureKind::TimedOut,
        ),
        (
            "http",
            attachment(),
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            false,
            FailureKind::TimedOut,
        ),
        ("https", attachment(), "", false, FailureKind::Tls),
    ] {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{scheme}://{}", server.local_addr().unwrap());
        let silent = tokio::spawn(async move {
            let mut stream = asked_for_something(&server).await;
            while stream.write_all(sends.as_bytes()).await.is_ok() && repeats {}
            pending::<()>().await;
        });
        let handler = Handler::new(url).unwrap();
        let mut client = Client::new().timeouts(timeouts);
        let stored = timeout(LONG, client.store(&Dialect::KAZOO_4_3_106, &handler, &attachment)).await;
        assert_eq!(stored.unwrap().unwrap_err().kind(), kind, "{scheme} {sends:?}");
        silent.abort();
    }
}

/// An early response leaves part of a body unsent on a connection that is kept.
#[tokio::test]
async fn times_out_on_a_reused_connection_with_an_unread_body() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let handler = Handler::new(format!("http://{}", server.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        let mut stream = asked_for_something(&server).await;
        stream.write_all(&answer(201, "", b"")).await.unwrap();
        pending::<()>().await;
    });
    let timeouts = Timeouts {
        response: Duration::from_secs(3),
        ..Timeouts::default()
    };
    let mut client = Client::new().timeouts(timeouts);
    let document = Document::from_json(r#"{"_id":"DOC"}"#).unwrap();
    let long = Attachment::new("ACC", document, "a.mp3", vec![0; 32 << 20]);
    let stored = client.store(&Dialect::KAZOO_4_0, &handler, &long).await.unwrap();
    let fetched = timeout(LONG, client.fetch(&Dialect::KAZOO_4_0, &handler, &stored.url, &long)).await;
    assert_eq!(fetched.unwrap().unwrap_err().kind(), FailureKind::TimedOut);
}

/// After an early response, the next request waits only for the rest of the body.
#[tokio::test]
async fn reuses_a_connection_after_the_rest_of_a_body_is_sent() {
    for len in (1..20).map(|step| step * 400_000) {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let handler = Handler::new(format!("http://{}", server.local_addr().unwrap())).unwrap();
        let (taken, is_taken) = oneshot::channel();
        let serving = tokio::spawn(async move {
            let mut stream = asked_for_something(&server).await;
            stream.write_all(&answer(201, "", b"")).await.unwrap();
            is_taken.await.unwrap();
            let (mut received, mut end) = (0, Vec::new());
            while received < len || !end.ends_with(b"\r\n\r\n") {
                end.drain(..end.len().saturating_sub(4));
                let read = stream.read_buf(&mut end).await.unwrap();
                assert_ne!(read, 0);
                received += read;
            }
            stream.write_all(&answer(200, "", CONTENT.as_bytes())).await.unwrap();
        });
        let document = Document::from_json(r#"{"_id":"DOC"}"#).unwrap();
        let long = Attachment::new("ACC", document, "a.mp3", vec![0; len]);
        let mut client = Client::new();
        let stored = client.store(&Dialect::KAZOO_4_0, &handler, &long).await.unwrap();
        taken.send(()).unwrap();
        let fetched = timeout(LONG, client.fetch(&Dialect::KAZOO_4_0, &handler, &stored.url, &long)).await;
        assert_eq!(
            fetched.expect("what was sent is read").unwrap().content,
            CONTENT,
            "{len}"
        );
        serving.await.unwrap();
    }
}
