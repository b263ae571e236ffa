//! The laws. Each checks one subject, and names the sample that breaks it.

pub(crate) mod ends;

use std::{fmt::Write as _, future::Future};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body::Body as _;
use kazoo_storage::{Body, Metadata, metadata::MediaPart};
use tower::{Service as _, ServiceExt as _};

use crate::{
    body::{Script, Step},
    seen::{Mark, Read, Recorder, Seen, read},
    table::{
        Subject,
        multipart::FORM_DATA,
        sample::{Expect, Sample, media},
    },
};

pub(crate) type Verdict = Result<(), String>;

macro_rules! hold {
    ($law:expr, $($broken:tt)+) => {
        if !$law {
            return Err(format!($($broken)+));
        }
    };
}

use hold;

/// The result of one request.
struct Run {
    /// The requests that reached the inner service, or the uploads that reached the store.
    seen: Vec<Seen>,
    status: StatusCode,
    answer: Read,
}

impl Run {
    /// The emitted requests whose body ended cleanly.
    fn emitted(&self) -> impl Iterator<Item = &Seen> {
        self.seen.iter().filter(|seen| seen.body.end.is_ok())
    }

    /// Text that differs if the response or an emitted request differs.
    fn fingerprint(&self) -> String {
        let mut text = format!("{} {:?}", self.status, self.answer);
        for seen in self.emitted() {
            write!(text, "\n{}", seen.fingerprint()).unwrap();
        }
        text
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(future)
}

async fn run(subject: &Subject, head: &Request<()>, body: Script) -> Run {
    let recorder = Recorder::default();
    let mut service = subject.around(recorder.clone());
    let request = head.clone().map(|()| Body::new(body));
    let response = service.ready().await.unwrap().call(request).await.unwrap();
    Run {
        status: response.status(),
        answer: read(response.into_body()).await,
        seen: recorder.take_seen(),
    }
}

fn whole(body: &Bytes) -> Script {
    Script::new([Step::Data(body.clone())]).sized()
}

/// `head` with the length of its body.
fn declaring(head: &Request<()>, len: usize) -> Request<()> {
    let mut head = head.clone();
    head.headers_mut().insert(header::CONTENT_LENGTH, len.into());
    head
}

/// Every sample has the result in the table, so that the other laws are not vacuous.
pub(crate) fn samples_are_as_expected(subject: &Subject) -> Verdict {
    block_on(async {
        for Sample {
            name,
            head,
            body,
            expect,
            ..
        } in &subject.samples
        {
            let run = run(subject, head, whole(body)).await;
            let emitted: Vec<_> = run.emitted().collect();
            match expect {
                Expect::Emitted(expected, content_type) => {
                    hold!(
                        emitted.len() == 1,
                        "{name}: {} were emitted, answered {}",
                        emitted.len(),
                        run.fingerprint()
                    );
                    hold!(run.status.is_success(), "{name}: answered {}", run.status);
                    let found = emitted[0]
                        .headers
                        .get(header::CONTENT_TYPE)
                        .map(|value| value.to_str().unwrap());
                    hold!(found == *content_type, "{name}: the emitted content-type is {found:?}");
                    hold!(emitted[0].body.data == *expected, "{name}: other bytes were emitted");
                }
                Expect::Answered(status) => {
                    hold!(
                        emitted.is_empty(),
                        "{name}: a whole body was emitted: {}",
                        run.fingerprint()
                    );
                    hold!(run.status == *status, "{name}: answered {}", run.fingerprint());
                }
            }
        }
        Ok(())
    })
}

/// A plain request reaches the inner service unchanged: head, extensions, bytes, length and trailers.
pub(crate) fn pass_through(subject: &Subject) -> Verdict {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "1".parse().unwrap());
    let bodies = [
        Vec::new(),
        b"ID3".to_vec(),
        media(1500),
        media(100_000),
        b"aGVsbG8sIHdvcmxk".to_vec(),
        FORM_DATA.body("{}", "audio/mpeg", b"ID3"),
    ];
    block_on(async {
        for head in &subject.plain {
            for (body, trailed) in bodies.iter().flat_map(|body| [(body, false), (body, true)]) {
                let head = if trailed {
                    head.clone()
                } else {
                    declaring(head, body.len())
                };
                let mut steps = vec![Step::Data(body.clone().into())];
                steps.extend(trailed.then(|| Step::Trailers(trailers.clone())));
                let script = match (trailed, body.is_empty()) {
                    (false, true) => Script::new([]).sized(),
                    (false, false) => Script::new(steps).sized(),
                    (true, _) => Script::new(steps),
                };
                let hint = script.size_hint();
                let run = run(subject, &head, script).await;
                let sent_as = format!("{} {} with {} bytes", head.method(), head.uri(), body.len());
                hold!(
                    run.seen.len() == 1,
                    "{sent_as}: {} were emitted, answered {}",
                    run.seen.len(),
                    run.fingerprint()
                );
                let seen = &run.seen[0];
                let arrived = (
                    seen.method.clone(),
                    seen.uri.clone(),
                    seen.version,
                    seen.headers.clone(),
                );
                let sent = (
                    head.method().clone(),
                    head.uri().clone(),
                    head.version(),
                    head.headers().clone(),
                );
                hold!(arrived == sent, "{sent_as}: {sent:?} became {arrived:?}");
                hold!(
                    seen.extensions.get::<Mark>() == head.extensions().get::<Mark>(),
                    "{sent_as}: an extension is lost"
                );
                let metadata = head.extensions().get::<Metadata>();
                hold!(
                    seen.metadata() == metadata,
                    "{sent_as}: the metadata became {:?}",
                    seen.metadata()
                );
                let mark = head.extensions().get::<MediaPart>();
                hold!(
                    seen.extensions.get::<MediaPart>() == mark,
                    "{sent_as}: the mark of the media part changed"
                );
                hold!(seen.body.end.is_ok(), "{sent_as}: {:?}", seen.body.end);
                hold!(seen.body.data == body[..], "{sent_as}: other bytes were emitted");
                let expected = trailed.then_some(&trailers);
                hold!(
                    seen.body.trailers.as_ref() == expected,
                    "{sent_as}: the trailers became {:?}",
                    seen.body.trailers
                );
                let (lower, upper) = (seen.hint.lower(), seen.hint.upper());
                let same_hint = (lower, upper) == (hint.lower(), hint.upper());
                hold!(same_hint, "{sent_as}: the length {hint:?} became {:?}", seen.hint);
                hold!(run.status == StatusCode::OK, "{sent_as}: answered {}", run.status);
            }
        }
        Ok(())
    })
}

/// The emitted request is plain: a second pass does not change it.
pub(crate) fn plain_out(subject: &Subject) -> Verdict {
    block_on(async {
        for Sample { name, head, body, .. } in &subject.samples {
            let first = run(subject, head, whole(body)).await;
            for seen in first.emitted() {
                // A store's key is the whole path; the mount's prefix and a static URL come before it.
                let mut again = seen.head();
                if subject.stores {
                    *again.uri_mut() = head.uri().clone();
                }
                let second = run(subject, &again, whole(&seen.body.data)).await;
                let emitted: Vec<_> = second.emitted().map(Seen::fingerprint).collect();
                hold!(
                    emitted == [seen.fingerprint()],
                    "{name}: the second pass emitted {emitted:?}, and the first {}",
                    seen.fingerprint()
                );
            }
        }
        Ok(())
    })
}

/// The ways to cut `body` into chunks.
fn chunkings(body: &Bytes) -> Vec<(String, Vec<Step>)> {
    let sized = |size: usize| body.chunks(size).map(|chunk| Step::Data(body.slice_ref(chunk)));
    let mut chunkings = Vec::new();
    if body.len() > 4096 {
        for size in [999, 4096, 0xffff, 0x10000, 0x10001] {
            chunkings.push((format!("in chunks of {size}"), sized(size).collect()));
        }
        return chunkings;
    }
    for at in 0..=body.len() {
        let (front, back) = (Step::Data(body.slice(..at)), Step::Data(body.slice(at..)));
        chunkings.push((format!("split at {at}"), vec![front, Step::Pause, back]));
    }
    for size in 1..=64 {
        chunkings.push((format!("in chunks of {size}"), sized(size).collect()));
    }
    for size in [1, 7] {
        let pauses = sized(size).flat_map(|chunk| [Step::Pause, chunk]).chain([Step::Pause]);
        chunkings.push((format!("in chunks of {size} with pauses"), pauses.collect()));
        let empty = || Step::Data(Bytes::new());
        let empties = sized(size).flat_map(|chunk| [empty(), chunk]).chain([empty()]);
        chunkings.push((format!("in chunks of {size} with empty ones"), empties.collect()));
    }
    chunkings
}

/// The result does not depend on how the body is split into chunks.
pub(crate) fn chunk_blind(subject: &Subject) -> Verdict {
    block_on(async {
        for Sample { name, head, body, .. } in &subject.samples {
            let reference = run(subject, head, whole(body)).await.fingerprint();
            for (chunking, steps) in chunkings(body) {
                let run = run(subject, head, Script::new(steps)).await.fingerprint();
                hold!(run == reference, "{name}, {chunking}: {run}\nand whole: {reference}");
            }
        }
        Ok(())
    })
}

/// The inner service is called only after its `poll_ready` has succeeded on the same instance.
pub(crate) fn ready(subject: &Subject) -> Verdict {
    block_on(async {
        let samples = subject.samples.iter().map(|sample| (&sample.head, &sample.body));
        let empty = Bytes::new();
        let plain = subject.plain.iter().map(|head| (head, &empty));
        for (head, body) in samples.chain(plain) {
            let request = || head.clone().map(|()| Body::new(whole(body)));
            let recorder = Recorder::default();
            let mut service = subject.around(recorder.clone());
            let first = service.ready().await.unwrap().call(request());
            // A second one while the first has not begun, and one of a clone taken from a ready service.
            let ready = service.ready().await.unwrap();
            let mut clone = ready.clone();
            let second = ready.call(request());
            let third = clone.ready().await.unwrap().call(request());
            for future in [second, first, third] {
                drop(future.await);
            }
            let again = service.ready().await.unwrap().call(request());
            drop(again.await);
            let calls = recorder.called_unready();
            hold!(
                calls == 0,
                "{} {}: called {calls} times without being ready",
                head.method(),
                head.uri()
            );
        }
        Ok(())
    })
}
