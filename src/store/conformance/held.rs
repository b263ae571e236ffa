//! [`Held`]: an upload that waits for the end of its body.

use std::sync::Arc;

use bytes::Bytes;
use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
};

use super::support::{Script, Step};
use crate::{
    body::Body,
    error::Result,
    store::{BlobStore, PutResult, Upload},
};

/// An upload whose body was read except for its end.
pub(super) struct Held {
    open: oneshot::Sender<()>,
    task: JoinHandle<Result<PutResult>>,
}

impl Held {
    /// Starts `upload` with `content`, and waits until `put` polls for the end of the body, or has returned early.
    pub(super) async fn start<S>(store: &Arc<S>, content: &Bytes, upload: impl FnOnce(Body) -> Upload) -> Self
    where
        S: BlobStore,
    {
        let reached = Arc::new(Notify::new());
        let (open, go_on) = oneshot::channel();
        let mut steps = Script::chunks(content, 10_007);
        steps.push(Step::Wait {
            reached: Arc::clone(&reached),
            go_on,
        });
        let upload = upload(Script::body(steps));
        let ended = Arc::clone(&reached);
        let store = Arc::clone(store);
        let task = tokio::spawn(async move {
            let stored = store.put(upload).await;
            ended.notify_one();
            stored
        });
        reached.notified().await;
        Self { open, task }
    }

    /// Ends the body.
    pub(super) fn release(self) -> JoinHandle<Result<PutResult>> {
        // A store that has refused the upload no longer reads.
        let _ = self.open.send(());
        self.task
    }

    /// Ends the body, and asserts that the upload is stored.
    pub(super) async fn store(self) {
        self.open.send(()).expect("an upload waits for the end of its body");
        let stored = self.task.await.expect("`put` does not panic");
        stored.expect("an upload whose body ends is stored");
    }

    /// Drops the upload.
    pub(super) async fn abort(self) {
        self.task.abort();
        let ended = self.task.await;
        assert!(
            ended.is_err_and(|error| error.is_cancelled()),
            "an upload waits for the end of its body"
        );
    }
}
