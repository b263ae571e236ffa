//! How the client treats responses: redirects, retries, crashes and truncated bodies.

use std::{
    future::pending,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use kazoo_storage_client::{
    Attachment, Client, Dialect, Document, Failure, FailureKind, Fetched, Handler, StorageUrl, Stored, Timeouts, Verb,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::Builder,
    sync::oneshot,
    time::timeout,
};

use crate::recorder::{Recorder, answer};
use kazoo_storage_test_support::fixture::{body, target};

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

async fn store(handler: &Handler) -> Result<Stored, Failure> {
    Client::new()
        .store(&Dialect::KAZOO_4_3_106, handler, &attachment())
        .await
}

async fn fetch(handler: &Handler) -> Result<Fetched, Failure> {
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

/// Redirects everything below `/p` to `location` with `status`, and answers 200 to other requests.
async fn redirecting(status: u16, location: &'static str) -> Recorder {
    Recorder::start(move |request| {
        if target(request).starts_with(b"/p/") {
            answer(status, &format!("location: {location}\r\n"), b"")
        } else {
            answer(200, "", b"elsewhere")
        }
    })
    .await
}

#[tokio::test]
async fn a_redirected_put_is_sent_again_and_kept_at_the_new_url() {
    let other = Recorder::start(|_| answer(201, "", b"")).await;
    let to = format!("http://{}/q/a.mp3?signature=x", other.address);
    let recorder = Recorder::start({
        let to = to.clone();
        move |_| answer(302, &format!("location: {to}\r\n"), b"")
    })
    .await;
    let stored = store(&handler(&recorder)).await.unwrap();
    assert_eq!(stored.url.as_str(), to);
    assert!(!stored.is_lost());
    let [again] = other.take().try_into().unwrap();
    let again: Vec<u8> = again;
    assert_eq!(asked(std::slice::from_ref(&again)), ["PUT /q/a.mp3?signature=x"]);
    assert_eq!(body(&again), CONTENT.as_bytes());
    // Nothing else differs.
    let first = String::from_utf8(recorder.take().remove(0)).unwrap();
    let first = first.replace("/p/ACC/DOC/a.mp3", "/q/a.mp3?signature=x");
    let first = first.replace(&recorder.address.to_string(), &other.address.to_string());
    assert_eq!(String::from_utf8(again).unwrap(), first);
}

#[tokio::test]
async fn an_endlessly_redirected_put_is_sent_eleven_times() {
    let recorder = Recorder::start(|request| {
        let host = String::from_utf8_lossy(request);
        let (_, host) = host.split_once("host: ").unwrap();
        answer(
            301,
            &format!("location: http://{}/p/x\r\n", host.lines().next().unwrap()),
            b"",
        )
    })
    .await;
    let failure = store(&handler(&recorder)).await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Redirect);
    assert_eq!(failure.history().redirects.len(), 10);
    assert_eq!(recorder.take().len(), 11);
}

#[tokio::test]
async fn a_put_follows_no_other_redirect() {
    for (status, kind) in [
        (301, FailureKind::Redirect),
        (303, FailureKind::Crash),
        (307, FailureKind::Crash),
        (308, FailureKind::Crash),
    ] {
        let recorder = redirecting(status, "/q").await;
        let failure = store(&handler(&recorder)).await.unwrap_err();
        assert_eq!(failure.kind(), kind, "{status}");
        assert_eq!(recorder.take().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_redirected_post_loses_the_file_and_counts_as_stored() {
    for status in [301, 302, 303] {
        let recorder = redirecting(status, "/q").await;
        let stored = store(&handler(&recorder).verb(Verb::Post)).await.unwrap();
        assert!(stored.is_lost(), "{status}");
        // KAZOO will fetch it where it is not stored.
        assert!(stored.url.as_str().ends_with("/p/ACC/DOC/a.mp3"));
        let requests = recorder.take();
        assert_eq!(asked(&requests), ["POST /p/ACC/DOC/a.mp3", "GET /q"]);
        assert_eq!(body(&requests[1]), b"");
    }
    let recorder = redirecting(307, "/q").await;
    let stored = store(&handler(&recorder).verb(Verb::Post)).await.unwrap();
    assert!(!stored.is_lost());
    let requests = recorder.take();
    assert_eq!(asked(&requests), ["POST /p/ACC/DOC/a.mp3", "POST /q"]);
    assert_eq!(body(&requests[1]), CONTENT.as_bytes());
}

#[tokio::test]
async fn a_redirected_fetch_is_followed() {
    for status in [301, 302, 303, 307] {
        let recorder = redirecting(status, "/q").await;
        let fetched = fetch(&handler(&recorder)).await.unwrap();
        assert_eq!(fetched.content, "elsewhere", "{status}");
        assert_eq!(fetched.history.redirects.len(), 1);
        assert_eq!(
            asked(&recorder.take()),
            ["GET /p/ACC/DOC/a.mp3/ACC/DOC/a.mp3?folder=new", "GET /q"]
        );
    }
    let recorder = redirecting(308, "/q").await;
    assert_eq!(fetch(&handler(&recorder)).await.unwrap_err().kind(), FailureKind::Crash);
}

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

/// Accepts a connection and waits for the start of a request.
async fn asked_for_something(server: &TcpListener) -> TcpStream {
    let (mut stream, _) = server.accept().await.unwrap();
    assert_ne!(stream.read(&mut [0; 64]).await.unwrap(), 0);
    stream
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
        let does_nothing_else = tokio::spawn(async move {
            let mut stream = asked_for_something(&server).await;
            while stream.write_all(sends.as_bytes()).await.is_ok() && repeats {}
            pending::<()>().await;
        });
        let handler = Handler::new(url).unwrap();
        let mut client = Client::new().timeouts(timeouts);
        let stored = timeout(LONG, client.store(&Dialect::KAZOO_4_3_106, &handler, &attachment)).await;
        assert_eq!(stored.unwrap().unwrap_err().kind(), kind, "{scheme} {sends:?}");
        does_nothing_else.abort();
    }
}

/// An early response leaves part of a body unsent on a connection that is kept.
#[tokio::test]
async fn a_reused_connection_with_an_unread_body_times_out() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let handler = Handler::new(format!("http://{}", server.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        let mut stream = asked_for_something(&server).await;
        stream.write_all(&answer(201, "", b"")).await.unwrap();
        pending::<()>().await;
    });
    let timeouts = Timeouts {
        response: Duration::from_secs(1),
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

#[tokio::test]
async fn success_is_any_2xx_of_a_store_and_200_of_a_fetch() {
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
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
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
