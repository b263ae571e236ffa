//! What the client makes of answers: redirects, being asked to wait, crashes, bodies that break off.

use std::{
    future::pending,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use kazoo_storage_client::{
    Attachment, Client, Dialect, Document, Failure, FailureKind, Fetched, Handler, Patience, StorageUrl, Stored, Verb,
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

/// What takes so long never ends.
const LONG: Duration = Duration::from_secs(20);

fn attachment() -> Attachment {
    let document = Document::from_json(r#"{"_id":"DOC","metadata":{"folder":"new"}}"#).unwrap();
    Attachment::new("ACC", document, "a.mp3", CONTENT)
}

fn handler(recorder: &Recorder) -> Handler {
    Handler::new(format!("http://{}/p", recorder.address)).unwrap()
}

async fn store(handler: &Handler) -> Result<Stored, Failure> {
    Client::new().store(&Dialect::D3, handler, &attachment()).await
}

async fn fetch(handler: &Handler) -> Result<Fetched, Failure> {
    let stored = handler.url_of(&Dialect::D3, &attachment());
    Client::new().fetch(&Dialect::D3, handler, &stored, &attachment()).await
}

/// The recorded requests, each as its method and its target.
fn asked(requests: &[Vec<u8>]) -> Vec<String> {
    let shown = |request: &Vec<u8>| {
        let method = request.split(|byte| *byte == b' ').next().unwrap();
        [method, target(request)].map(String::from_utf8_lossy).join(" ")
    };
    requests.iter().map(shown).collect()
}

/// Redirects with `status` to `location` what is below `/p`, and answers 200 to everything else.
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
async fn a_redirected_put_is_sent_again_whole_and_kept_by_the_new_url() {
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
    // Nothing else is different.
    let first = String::from_utf8(recorder.take().remove(0)).unwrap();
    let first = first.replace("/p/ACC/DOC/a.mp3", "/q/a.mp3?signature=x");
    let first = first.replace(&recorder.address.to_string(), &other.address.to_string());
    assert_eq!(String::from_utf8(again).unwrap(), first);
}

#[tokio::test]
async fn a_put_that_is_redirected_without_an_end_is_sent_eleven_times() {
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
    assert_eq!(failure.course().redirects.len(), 10);
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
        // It will be asked for where it is not.
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
        assert_eq!(fetched.course.redirects.len(), 1);
        assert_eq!(
            asked(&recorder.take()),
            ["GET /p/ACC/DOC/a.mp3/ACC/DOC/a.mp3?folder=new", "GET /q"]
        );
    }
    let recorder = redirecting(308, "/q").await;
    assert_eq!(fetch(&handler(&recorder)).await.unwrap_err().kind(), FailureKind::Crash);
}

#[tokio::test]
async fn who_is_asked_to_come_again_sends_the_same_again() {
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
    // An error of the server has the connection closed.
    assert_eq!(recorder.connections(), 3);
}

#[tokio::test]
async fn nobody_is_waited_for_longer_than_the_caller_allows() {
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
    let patience = Patience {
        answer: Duration::from_millis(1),
        ..Patience::default()
    };
    let mut client = Client::new().patience(patience);
    let failure = client.store(&Dialect::D3, &handler, &attachment()).await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::TimedOut);
}

/// A connection on which a request has begun.
async fn asked_for_something(server: &TcpListener) -> TcpStream {
    let (mut stream, _) = server.accept().await.unwrap();
    assert_ne!(stream.read(&mut [0; 64]).await.unwrap(), 0);
    stream
}

/// No delay at all is not waited for without an end either.
#[tokio::test]
async fn who_is_asked_to_come_again_at_once_gives_up_in_time() {
    let recorder = Recorder::start(|_| answer(503, "retry-after: 0\r\n", b"")).await;
    let patience = Patience {
        retry: Duration::from_millis(50),
        ..Patience::default()
    };
    let mut client = Client::new().patience(patience);
    let (handler, attachment) = (handler(&recorder), attachment());
    let stored = timeout(LONG, client.store(&Dialect::D3, &handler, &attachment)).await;
    assert_eq!(stored.unwrap().unwrap_err().kind(), FailureKind::Waiting);
    assert!(recorder.take().len() > 1);
}

/// Whatever a server leaves undone, and on a connection that was of use before too.
#[tokio::test]
async fn nothing_is_waited_for_longer_than_an_answer_may_take() {
    let long = || {
        Attachment::new(
            "ACC",
            Document::from_json(r#"{"_id":"DOC"}"#).unwrap(),
            "a.mp3",
            vec![0; 32 << 20],
        )
    };
    let patience = Patience {
        connect: Duration::from_millis(200),
        answer: Duration::from_millis(200),
        ..Patience::default()
    };
    for (scheme, attachment, sends, repeats, kind) in [
        ("http", attachment(), "", false, FailureKind::TimedOut),
        // No buffer holds this body, and nobody reads it.
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
        let mut client = Client::new().patience(patience);
        let stored = timeout(LONG, client.store(&Dialect::D3, &handler, &attachment)).await;
        assert_eq!(stored.unwrap().unwrap_err().kind(), kind, "{scheme} {sends:?}");
        does_nothing_else.abort();
    }
}

/// An answer that comes early leaves a body unsent, on a connection that is then kept.
#[tokio::test]
async fn a_kept_connection_on_which_nothing_more_is_read_is_waited_for_as_long_as_for_an_answer() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let handler = Handler::new(format!("http://{}", server.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        let mut stream = asked_for_something(&server).await;
        stream.write_all(&answer(201, "", b"")).await.unwrap();
        pending::<()>().await;
    });
    let patience = Patience {
        answer: Duration::from_secs(1),
        ..Patience::default()
    };
    let mut client = Client::new().patience(patience);
    let document = Document::from_json(r#"{"_id":"DOC"}"#).unwrap();
    let long = Attachment::new("ACC", document, "a.mp3", vec![0; 32 << 20]);
    let stored = client.store(&Dialect::D0, &handler, &long).await.unwrap();
    let fetched = timeout(LONG, client.fetch(&Dialect::D0, &handler, &stored.url, &long)).await;
    assert_eq!(fetched.unwrap().unwrap_err().kind(), FailureKind::TimedOut);
}

/// An early answer leaves the rest of a body to be sent, and whoever comes next waits for that alone.
#[tokio::test]
async fn a_connection_is_used_again_once_the_rest_of_a_body_is_sent() {
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
        let stored = client.store(&Dialect::D0, &handler, &long).await.unwrap();
        taken.send(()).unwrap();
        let fetched = timeout(LONG, client.fetch(&Dialect::D0, &handler, &stored.url, &long)).await;
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
async fn a_body_comes_as_it_is_or_is_said_to_have_broken_off() {
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
async fn a_connection_is_kept_and_a_closed_one_is_opened_anew() {
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
        let stored = client.store(&Dialect::D3, &handler, &attachment()).await.unwrap();
        client.store(&Dialect::D0, &handler, &attachment()).await.unwrap();
        client
            .fetch(&Dialect::D3, &handler, &stored.url, &attachment())
            .await
            .unwrap();
        assert_eq!(recorder.connections(), connections);
    }
}

#[tokio::test]
async fn an_answer_is_held_up_to_a_length() {
    let recorder = Recorder::start(|_| answer(200, "", CONTENT.as_bytes())).await;
    let handler = handler(&recorder);
    let url = handler.url_of(&Dialect::D3, &attachment());
    for (max, kind) in [(CONTENT.len(), None), (CONTENT.len() - 1, Some(FailureKind::TooLong))] {
        let mut client = Client::new().max_answer(max);
        let fetched = client.fetch(&Dialect::D3, &handler, &url, &attachment()).await;
        assert_eq!(fetched.err().map(|failure| failure.kind()), kind);
    }
}

/// A server that closes and does not say so is found out before the next request, unless the two meet.
#[test]
fn a_connection_that_was_closed_in_the_meantime_is_not_used() {
    let theirs = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let recorder = theirs.block_on(Recorder::start(|_| answer(200, "nothing-is-said-of: close\r\n", b"")));
    let handler = handler(&recorder);
    let mut client = Client::new();
    // Nothing of this runs between the requests.
    let ours = Builder::new_current_thread().enable_all().build().unwrap();
    for connections in 1..10 {
        ours.block_on(client.store(&Dialect::D3, &handler, &attachment()))
            .unwrap();
        theirs.block_on(recorder.all_closed());
        assert_eq!(recorder.connections(), connections);
    }
}

#[tokio::test]
async fn where_nothing_listens_that_is_said() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let url = StorageUrl::parse(format!("http://{address}/p")).unwrap();
    let failure = store(&Handler::new(url.as_str()).unwrap()).await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Connect);
    let nowhere = format!("http://{}/p", "x".repeat(64));
    let failure = store(&Handler::new(nowhere).unwrap()).await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Resolve);
    // Somebody who does not speak TLS.
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
