//! `Observe` reports each request exactly once, however it ends.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::mpsc::{self, Receiver},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame};
use http_body_util::{BodyExt as _, StreamBody};
use kazoo_storage::{
    Body, Error, ErrorKind, Event, KazooStorage, MemoryStore, Observe, Outcome,
    builder::StorageService,
    observe::{End, Events, Started},
};
use tower::{Layer as _, Service as _, ServiceExt as _, service_fn};

/// An event that outlives its request.
#[derive(Debug)]
struct RecordedEvent {
    method: Method,
    path: String,
    status: Option<StatusCode>,
    outcome: Option<Outcome>,
    bytes_out: u64,
    end: End,
    error: Option<ErrorKind>,
}

fn events() -> (impl Events, Receiver<RecordedEvent>) {
    let (tell, recorded) = mpsc::channel();
    let events = move |event: &Event<'_>| {
        tell.send(RecordedEvent {
            method: event.method.clone(),
            path: event.path.to_owned(),
            status: event.status,
            outcome: event.outcome.cloned(),
            bytes_out: event.bytes_out,
            end: event.end,
            error: event.error.map(Error::kind),
        })
        .unwrap();
    };
    (events, recorded)
}

fn storage() -> (StorageService, Receiver<RecordedEvent>) {
    let (events, recorded) = events();
    let storage = KazooStorage::new(MemoryStore::new()).max_body(200_000).observe(events);
    (storage.into_service(), recorded)
}

/// The only event.
#[track_caller]
fn only(recorded: &Receiver<RecordedEvent>) -> RecordedEvent {
    let event = recorded.try_recv().expect("an event");
    assert!(recorded.try_recv().is_err(), "a request is reported once");
    event
}

fn put(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::put(path).body(body.into()).unwrap()
}

fn failure(event: &RecordedEvent) -> Option<ErrorKind> {
    match &event.outcome {
        Some(Outcome::Failed { error, .. }) => Some(error.kind()),
        _ => None,
    }
}

#[tokio::test]
async fn reports_an_upload_and_a_fetch_after_the_answer() {
    let (service, recorded) = storage();
    for replaces in [false, true] {
        let answer = service
            .clone()
            .oneshot(put("/ACC/DOC/ATT.mp3?token=secret", "ID3"))
            .await
            .unwrap();
        assert!(recorded.try_recv().is_err(), "the answer is not out yet");
        drop(answer);
        let event = only(&recorded);
        let Some(Outcome::Stored { key, len, replaced, .. }) = &event.outcome else {
            panic!("{event:?}");
        };
        assert_eq!(
            (key.to_string(), *len, *replaced),
            ("ACC/DOC/ATT.mp3".to_owned(), 3, replaces)
        );
        assert_eq!((event.method, &*event.path), (Method::PUT, "/ACC/DOC/ATT.mp3"));
        assert_eq!(
            (event.status, event.bytes_out, event.end),
            (Some(StatusCode::CREATED), 0, End::Complete)
        );
    }

    let get = Request::get("/ACC/DOC/ATT.mp3/ACC/DOC/ATT.mp3?caller_id_name=Anna")
        .body(Body::empty())
        .unwrap();
    let answer = service.oneshot(get).await.unwrap();
    assert!(recorded.try_recv().is_err());
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ID3");
    let event = only(&recorded);
    let Some(Outcome::Fetched { key, len, .. }) = &event.outcome else {
        panic!("{event:?}");
    };
    assert_eq!(
        (&*key.to_string(), *len),
        ("ACC/DOC/ATT.mp3", 3),
        "the key, and not the path"
    );
    assert_eq!(
        (&*event.path, event.bytes_out, event.end),
        ("/ACC/DOC/ATT.mp3/ACC/DOC/ATT.mp3", 3, End::Complete)
    );
}

#[tokio::test]
async fn reports_a_refusal_with_its_kind() {
    let (service, recorded) = storage();
    let delete = Request::delete("/ACC/DOC/ATT").body(Body::empty()).unwrap();
    let get = Request::get("/ACC/DOC/ATT").body(Body::empty()).unwrap();
    let multipart = Request::put("/ACC/DOC/ATT").header("content-type", "multipart/mixed; boundary=B");
    for (request, kind) in [
        (put("/ACC/%2E%2E/ATT", "ID3"), ErrorKind::InvalidKey),
        (put("/ACC/DOC/ATT", Bytes::from(vec![0; 200_001])), ErrorKind::TooLarge),
        (
            multipart.body(Body::from("nothing")).unwrap(),
            ErrorKind::InvalidMultipart,
        ),
        (get, ErrorKind::NotFound),
        (delete, ErrorKind::MethodNotAllowed),
    ] {
        let answer = service.clone().oneshot(request).await.unwrap();
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        let event = only(&recorded);
        assert_eq!(failure(&event), Some(kind), "{event:?}");
        assert_eq!(event.status, Some(kind.status()));
        assert_eq!((event.bytes_out, event.end), (text.len() as u64, End::Complete));
    }
}

#[tokio::test]
async fn reports_an_upload_with_a_broken_connection_as_a_failure() {
    let (service, recorded) = storage();
    let frames = [
        Ok(Frame::data(Bytes::from_static(b"ID3"))),
        Err(io::Error::from(io::ErrorKind::ConnectionReset)),
    ];
    let body = StreamBody::new(Frames(frames.into_iter()));
    drop(
        service
            .oneshot(Request::put("/ACC/DOC/ATT").body(body).unwrap())
            .await
            .unwrap(),
    );
    let event = only(&recorded);
    assert_eq!(failure(&event), Some(ErrorKind::IncompleteBody));
    assert_eq!(event.status, Some(StatusCode::BAD_REQUEST));
}

/// A stream of the items of an iterator.
struct Frames<I>(I);

impl<I: Iterator + Unpin> futures_core::Stream for Frames<I> {
    type Item = I::Item;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<I::Item>> {
        Poll::Ready(self.0.next())
    }
}

#[test]
fn reports_a_client_that_disconnects_before_the_answer() {
    let (events, recorded) = events();
    let never = service_fn(async |_: Request<Body>| std::future::pending::<Result<Response<Body>, Infallible>>().await);
    let mut service = Observe::new(events).layer(never);
    let mut future = Box::pin(service.call(put("/ACC/DOC/ATT", "ID3")));
    assert!(
        future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );
    assert!(recorded.try_recv().is_err());
    drop(future);
    let event = only(&recorded);
    assert_eq!((event.status, event.end), (None, End::Disconnected));
    assert!(event.outcome.is_none());
    // Even if it was never polled.
    drop(service.call(put("/ACC/DOC/ATT", "ID3")));
    assert_eq!(only(&recorded).end, End::Disconnected);
}

#[tokio::test]
async fn reports_a_client_that_disconnects_within_the_answer() {
    let (service, recorded) = storage();
    let stored = service
        .clone()
        .oneshot(put("/ACC/DOC/ATT", Bytes::from(vec![7; 100_000])))
        .await;
    drop(stored);
    only(&recorded);
    let get = || Request::get("/ACC/DOC/ATT").body(Body::empty()).unwrap();

    drop(service.clone().oneshot(get()).await.unwrap());
    let event = only(&recorded);
    assert_eq!(
        (event.status, event.bytes_out, event.end),
        (Some(StatusCode::OK), 0, End::Disconnected)
    );
    assert!(matches!(event.outcome, Some(Outcome::Fetched { .. })));

    let mut body = service.oneshot(get()).await.unwrap().into_body();
    let mut taken = 0;
    while let Some(frame) = body.frame().await {
        taken += frame.unwrap().into_data().unwrap().len() as u64;
    }
    drop(body);
    let event = only(&recorded);
    assert_eq!((event.bytes_out, event.end, event.error), (taken, End::Complete, None));
    assert_eq!(taken, 100_000);
}

#[tokio::test]
async fn reports_an_answer_that_fails_midway() {
    let (events, recorded) = events();
    let broken = service_fn(async |_: Request<Body>| {
        let frames = [
            Ok(Frame::data(Bytes::from_static(b"half"))),
            Err(io::Error::other(Error::new(ErrorKind::Damaged, "not what it was"))),
        ];
        Ok::<_, Infallible>(Response::new(StreamBody::new(Frames(frames.into_iter()))))
    });
    let answer = Observe::new(events).layer(broken).oneshot(put("/", "")).await.unwrap();
    assert!(answer.into_body().collect().await.is_err());
    let event = only(&recorded);
    assert_eq!(
        (event.status, event.bytes_out, event.end, event.error),
        (Some(StatusCode::OK), 4, End::Failed, Some(ErrorKind::Damaged))
    );
}

#[tokio::test]
async fn reports_a_service_that_fails() {
    let (events, recorded) = events();
    let failing = service_fn(async |_: Request<Body>| Err::<Response<Body>, _>("broken"));
    let error = Observe::new(events)
        .layer(failing)
        .oneshot(put("/", ""))
        .await
        .unwrap_err();
    assert_eq!(error, "broken");
    let event = only(&recorded);
    assert_eq!((event.status, event.end), (None, End::Failed));
}

#[tokio::test]
async fn reports_the_answer_to_head_as_complete_without_its_body() {
    let (service, told) = storage();
    let answer = service
        .oneshot(Request::head("/ACC/DOC/missing.mp3").body(Body::empty()).unwrap())
        .await
        .unwrap();
    assert!(!answer.body().is_end_stream(), "hyper sends its length");
    drop(answer);
    let event = only(&told);
    assert_eq!(
        (failure(&event), event.bytes_out, event.end),
        (Some(ErrorKind::NotFound), 0, End::Complete)
    );
}

/// A server drops a body that reports its end without polling it. This is not a client that disconnected.
#[tokio::test]
async fn reports_an_answer_without_a_body_as_complete() {
    let (events, recorded) = events();
    let empty = service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::empty())));
    let answer = Observe::new(events).layer(empty).oneshot(put("/", "")).await.unwrap();
    assert!(answer.body().is_end_stream());
    drop(answer);
    assert_eq!(only(&recorded).end, End::Complete);
}

/// Records the order of its calls.
struct Diary(mpsc::Sender<String>, &'static str);

impl Events for Diary {
    fn started(&self, request: &Started<'_>) {
        let Started {
            request_id,
            method,
            path,
            ..
        } = request;
        self.0
            .send(format!("{} begins {request_id} {method} {path}", self.1))
            .unwrap();
    }

    fn finished(&self, event: &Event<'_>) {
        let Event {
            request_id,
            bytes_in,
            probe,
            ..
        } = event;
        self.0
            .send(format!("{} ends {request_id} {bytes_in} {probe}", self.1))
            .unwrap();
    }
}

#[tokio::test]
async fn reports_to_both_of_a_pair_under_one_id() {
    let (tell, recorded) = mpsc::channel();
    let pair = (Diary(tell.clone(), "one"), Diary(tell, "two"));
    let service = KazooStorage::new(MemoryStore::new()).observe(pair).into_service();
    let name = "7f3c2a90b1d4e6f8a0c2e4f618293a4b_test_credentials_file.txt";
    for (path, body, sees) in [
        ("/ACC/DOC/ATT.mp3?from=x", "ID3", "3 false"),
        (&*format!("/ACC/DOC/{name}"), "no probe's", "10 true"),
        ("/ACC/DOC/EMPTY", "", "0 false"),
    ] {
        let mut request = put(path, body);
        let id = "0f6a-1".parse().unwrap();
        request.headers_mut().insert("x-request-id", id);
        drop(service.clone().oneshot(request).await.unwrap());
        let path = path.split('?').next().unwrap();
        for expected in [
            format!("one begins 0f6a-1 PUT {path}"),
            format!("two begins 0f6a-1 PUT {path}"),
            format!("one ends 0f6a-1 {sees}"),
            format!("two ends 0f6a-1 {sees}"),
        ] {
            assert_eq!(recorded.try_recv().unwrap(), expected);
        }
    }
    assert!(recorded.try_recv().is_err());
}

/// Bytes that were sent but not read are not counted.
#[tokio::test]
async fn counts_only_bytes_that_were_read() {
    let (tell, recorded) = mpsc::channel();
    let events = move |event: &Event<'_>| tell.send(event.bytes_in).unwrap();
    let refuse =
        service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Error::new(ErrorKind::Forbidden, "no").to_response()));
    drop(Observe::new(events).layer(refuse).oneshot(put("/A", "12345")).await);
    assert_eq!(recorded.try_recv(), Ok(0));
}
