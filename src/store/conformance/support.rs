//! Shared by the cases: keys, contents, scripted bodies, and calls that must succeed.

use std::{
    collections::VecDeque,
    future::Future as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderValue;
use http_body::Frame;
use http_body_util::BodyExt as _;
use tokio::sync::{Notify, oneshot};

use crate::{
    body::Body,
    error::{Error, ErrorKind, Result},
    key::BlobKey,
    metadata::Metadata,
    store::{Blob, BlobInfo, BlobStore, ByteRange, GetResult, PutResult, Upload},
};

pub(super) fn key(path: &str) -> BlobKey {
    BlobKey::from_path(path).expect("a valid key")
}

/// A typical key of a voicemail.
pub(super) fn message() -> BlobKey {
    key("ACCOUNT/202401-DOCUMENT/message.mp3")
}

/// Returns `len` pseudorandom bytes that differ for each `seed`.
pub(super) fn noise(seed: u64, len: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let bytes = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    });
    bytes.take(len).collect()
}

/// One step of a [`Script`].
pub(super) enum Step {
    Data(Bytes),
    Fail(Error),
    /// Yields to other tasks.
    Yield,
    /// Notifies that the step is reached, and waits for the signal to continue.
    Wait {
        reached: Arc<Notify>,
        go_on: oneshot::Receiver<()>,
    },
}

/// A body of unknown length that follows a list of steps.
pub(super) struct Script(VecDeque<Step>);

impl Script {
    pub(super) fn body(steps: impl IntoIterator<Item = Step>) -> Body {
        Body::new(Self(steps.into_iter().collect()))
    }

    /// Splits `content` into chunks of `size` bytes.
    pub(super) fn chunks(content: &Bytes, size: usize) -> Vec<Step> {
        let starts = (0..content.len()).step_by(size);
        starts
            .map(|start| Step::Data(content.slice(start..content.len().min(start + size))))
            .collect()
    }
}

impl http_body::Body for Script {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        match self.0.pop_front() {
            Some(Step::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Some(Step::Fail(error)) => Poll::Ready(Some(Err(error))),
            Some(Step::Yield) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Step::Wait { reached, mut go_on }) => {
                if Pin::new(&mut go_on).poll(cx).is_ready() {
                    return self.poll_frame(cx);
                }
                reached.notify_one();
                self.0.push_front(Step::Wait { reached, go_on });
                Poll::Pending
            }
            None => Poll::Ready(None),
        }
    }
}

/// The error at the end of a failing body.
pub(super) fn body_error() -> Error {
    Error::new(ErrorKind::InvalidBase64, "the body fails, as the test intends")
}

/// A file whose content, type and metadata depend on its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) number: u64,
    pub(super) content: Bytes,
}

impl Sample {
    pub(super) fn new(number: u64, len: usize) -> Self {
        let content = noise(number, len);
        Self { number, content }
    }

    pub(super) fn content_type(&self) -> HeaderValue {
        HeaderValue::try_from(format!("audio/x-sample-{}", self.number)).expect("a header value")
    }

    pub(super) fn metadata(&self) -> Metadata {
        Metadata::from_json(format!(r#"{{"sample":{}}}"#, self.number)).expect("an object")
    }

    /// Returns an upload of the sample with another body.
    pub(super) fn upload_of(&self, key: &BlobKey, body: Body) -> Upload {
        Upload::new(key.clone(), body)
            .with_content_type(self.content_type())
            .with_metadata(self.metadata())
    }

    pub(super) fn upload(&self, key: &BlobKey) -> Upload {
        self.upload_of(key, Body::from(self.content.clone()))
    }

    /// Stores the sample under `key`.
    pub(super) async fn put(&self, store: &impl BlobStore, key: &BlobKey) -> PutResult {
        put(store, self.upload(key)).await
    }

    /// Asserts that content, type and metadata under `key` are those of the sample.
    pub(super) async fn assert_under(&self, store: &impl BlobStore, key: &BlobKey, contract: &str) {
        let blob = get(store, key).await;
        let content_type = blob.info.content_type.clone();
        assert!(read(blob).await == self.content, "{contract}: the content differs");
        assert_eq!(
            content_type.as_ref(),
            Some(&self.content_type()),
            "{contract}: the content type differs"
        );
        assert_eq!(
            metadata(store, key).await.map(|metadata| metadata.as_json().clone()),
            Some(self.metadata().as_json().clone()),
            "{contract}: the metadata differs"
        );
    }
}

pub(super) async fn put(store: &impl BlobStore, upload: Upload) -> PutResult {
    let key = upload.key.clone();
    let stored = store.put(upload).await;
    stored.unwrap_or_else(|error| panic!("a whole upload under `{key}` is stored: {error:?}"))
}

pub(super) fn blob(fetched: GetResult) -> Blob {
    fetched
        .into_blob()
        .expect("the suite reads content: test a store without redirects")
}

pub(super) async fn get(store: &impl BlobStore, key: &BlobKey) -> Blob {
    let fetched = store.get(key, None).await;
    blob(fetched.unwrap_or_else(|error| panic!("a stored file can be fetched, `{key}`: {error:?}")))
}

pub(super) async fn part(store: &impl BlobStore, key: &BlobKey, range: ByteRange) -> Blob {
    let fetched = store.get(key, Some(range)).await;
    blob(fetched.unwrap_or_else(|error| panic!("a part of a stored file can be fetched, {range}: {error:?}")))
}

/// Reads `blob`, and asserts that its body ends cleanly and has the length of its range.
pub(super) async fn read(blob: Blob) -> Bytes {
    let promised = blob.range.end - blob.range.start;
    let content = blob.body.collect().await;
    let content = content
        .unwrap_or_else(|error| panic!("the body of a stored file ends cleanly: {error:?}"))
        .to_bytes();
    assert_eq!(
        content.len() as u64,
        promised,
        "a body has as many bytes as `Blob::range` says"
    );
    content
}

pub(super) async fn head(store: &impl BlobStore, key: &BlobKey) -> BlobInfo {
    let info = store.head(key).await;
    info.unwrap_or_else(|error| panic!("`head` finds a stored file, `{key}`: {error:?}"))
}

pub(super) async fn metadata(store: &impl BlobStore, key: &BlobKey) -> Option<Metadata> {
    let metadata = store.metadata(key).await;
    metadata.unwrap_or_else(|error| panic!("`metadata` finds a stored file, `{key}`: {error:?}"))
}

/// Asserts that `get`, `head`, `metadata` and `describe` find no file under `key`.
pub(super) async fn assert_absent(store: &impl BlobStore, key: &BlobKey, contract: &str) {
    let answers = [
        ("get", store.get(key, None).await.map(drop)),
        ("head", store.head(key).await.map(drop)),
        ("metadata", store.metadata(key).await.map(drop)),
        ("describe", store.describe(key).await.map(drop)),
    ];
    for (method, answer) in answers {
        match answer {
            Ok(()) => panic!("{contract}: `{method}` found something under `{key}`"),
            Err(error) => assert_eq!(
                error.kind(),
                ErrorKind::NotFound,
                "{contract}: `{method}` failed with another error for `{key}`: {error:?}"
            ),
        }
    }
}
