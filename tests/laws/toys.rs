//! Layers that break one law each. The harness detects every one of them, and accepts one that breaks none.

use std::future::Future;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::BodyExt as _;
use kazoo_storage::Body;
use tower::{Service as _, service_fn, util::BoxCloneSyncService};

use crate::{
    body::{Script, Step},
    laws::{self, Verdict},
    seen::{Recorder, read},
    table::{
        Subject,
        sample::{ALL, Expect, Sample, put},
    },
};

type Law = fn(&Subject) -> Verdict;

const LAWS: [(&str, Law); 6] = [
    ("samples", laws::samples_are_as_expected),
    ("pass-through", laws::pass_through),
    ("plain-out", laws::plain_out),
    ("chunk-blind", laws::chunk_blind),
    ("ready", laws::ready),
    ("all-or-error", laws::ends::all_or_error),
];

/// A layer that changes the request and calls the inner service correctly.
fn toy<F, Fut>(name: &'static str, change: F) -> Subject
where
    F: Fn(Request<Body>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Request<Body>> + Send + 'static,
{
    Subject::of(name, move |recorder: Recorder| {
        let change = change.clone();
        BoxCloneSyncService::new(service_fn(move |request| {
            let (mut inner, changed) = (recorder.clone(), change(request));
            async move {
                let request = changed.await;
                inner_ready(&mut inner).await.call(request).await
            }
        }))
    })
    .plain(&put("/ACC/DOC/ATT", Some("audio/mpeg")), ALL)
    .sample(Sample::new(
        "an x in front",
        put("/ACC/DOC/ATT", None),
        "xmedia",
        Expect::Emitted("media".into(), None),
    ))
}

async fn inner_ready(inner: &mut Recorder) -> &mut Recorder {
    tower::ServiceExt::<Request<Body>>::ready(inner).await.unwrap()
}

/// Removes a leading `x` from a body without a type.
async fn strip(request: Request<Body>) -> Request<Body> {
    if request.headers().contains_key(header::CONTENT_TYPE) {
        return request;
    }
    let (mut head, body) = request.into_parts();
    let read = read(body).await;
    let declared = head
        .headers
        .remove(header::CONTENT_LENGTH)
        .map(|len| len.to_str().unwrap().parse().unwrap());
    let cut = read.end.is_err() || declared.is_some_and(|len: usize| len != read.data.len());
    let data = read
        .data
        .strip_prefix(b"x")
        .map_or(read.data.clone(), Bytes::copy_from_slice);
    let steps = [Some(Step::Data(data)), cut.then_some(Step::Fail)];
    let body = Script::new(steps.into_iter().flatten());
    let body = if cut { Body::new(Sticky(body)) } else { Body::new(body) };
    Request::from_parts(head, body)
}

/// A body that keeps failing once it has failed.
struct Sticky(Script);

impl http_body::Body for Sticky {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, std::io::Error>>> {
        let frame = std::task::ready!(std::pin::Pin::new(&mut self.0).poll_frame(cx));
        let frame = frame.unwrap_or_else(|| Err(std::io::ErrorKind::ConnectionReset.into()));
        std::task::Poll::Ready(Some(frame))
    }
}

/// A body without a size hint.
struct Hintless(Body);

impl http_body::Body for Hintless {
    type Data = Bytes;
    type Error = kazoo_storage::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, kazoo_storage::Error>>> {
        std::pin::Pin::new(&mut self.0).poll_frame(cx)
    }
}

#[track_caller]
fn breaks_only(subject: &Subject, broken: &[&str]) {
    for (law, holds) in LAWS {
        let verdict = holds(subject);
        assert_eq!(
            verdict.is_err(),
            broken.contains(&law),
            "{}: {law}: {verdict:?}",
            subject.name
        );
    }
}

#[test]
fn accepts_a_correct_layer() {
    breaks_only(&toy("strips", strip), &[]);
}

#[test]
fn detects_a_change_to_a_plain_request() {
    breaks_only(
        &toy("adds a header", |mut request| {
            request.headers_mut().insert("x-toy", "1".parse().unwrap());
            strip(request)
        }),
        &["pass-through"],
    );
    breaks_only(
        &toy("forgets the extensions", |mut request| {
            request.extensions_mut().clear();
            strip(request)
        }),
        &["pass-through"],
    );
    let forgets_the_length = toy("forgets the length", |request| {
        strip(request.map(|body| Body::new(Hintless(body))))
    });
    breaks_only(&forgets_the_length, &["pass-through"]);
}

#[test]
fn detects_an_incomplete_rewrite() {
    let subject = toy("strips one of many", strip).sample(Sample::new(
        "two",
        put("/", None),
        "xxmedia",
        Expect::Emitted("xmedia".into(), None),
    ));
    breaks_only(&subject, &["plain-out"]);
}

#[test]
fn detects_a_layer_that_reads_only_the_first_chunk() {
    let subject = toy("looks at the first chunk", async |request: Request<Body>| {
        if request.headers().contains_key(header::CONTENT_TYPE) {
            return request;
        }
        let (head, mut body) = request.into_parts();
        let first = body
            .frame()
            .await
            .and_then(|frame| frame.ok()?.into_data().ok())
            .unwrap_or_default();
        let first = first
            .strip_prefix(b"xm")
            .map_or(first.clone(), |rest| [b"m", rest].concat().into());
        let rest = read(body).await.data;
        let body = Script::new([Step::Data(first), Step::Data(rest)]);
        Request::from_parts(head, Body::new(body))
    });
    assert!(laws::chunk_blind(&subject).is_err());
}

#[test]
fn detects_an_error_that_becomes_a_clean_end() {
    breaks_only(
        &toy("swallows errors", async |request: Request<Body>| {
            if request.headers().contains_key(header::CONTENT_TYPE) {
                return request;
            }
            let (mut head, body) = request.into_parts();
            head.headers.remove(header::CONTENT_LENGTH);
            let data = read(body).await.data;
            strip(Request::from_parts(head, Body::from(data))).await
        }),
        &["all-or-error"],
    );
}

#[test]
fn detects_a_call_of_a_clone() {
    let subject = Subject::of("calls a clone", |recorder| {
        BoxCloneSyncService::new(service_fn(move |request| {
            let mut inner = recorder.clone();
            async move {
                let request = strip(request).await;
                inner_ready(&mut inner).await;
                let answer: Response<Body> = inner.clone().call(request).await?;
                Ok(answer)
            }
        }))
    })
    .plain(&put("/", Some("audio/mpeg")), ALL);
    breaks_only(&subject, &["ready"]);
}
