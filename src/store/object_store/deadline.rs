//! How long the engine may take.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Sleep, sleep, timeout};

use super::error::{Task, failed, late};
use crate::error::{Error, Result};

/// The longest the engine may keep a request waiting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(pub(super) Duration);

impl Deadline {
    /// Waits for `call`, not longer than the deadline.
    pub(super) async fn within<T>(self, task: Task, call: impl Future<Output = object_store::Result<T>>) -> Result<T> {
        match timeout(self.0, call).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(failed(task, error)),
            Err(_) => Err(late(task, self.0)),
        }
    }
}

/// The deadline of each item of a stream, which runs only while somebody waits for the item.
pub(super) struct Patience {
    deadline: Deadline,
    task: Task,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    pub(super) fn new(deadline: Deadline, task: Task) -> Self {
        Self {
            deadline,
            task,
            waiting: None,
        }
    }

    /// Makes an error of the waiting for `item` if it takes too long.
    pub(super) fn poll<T>(&mut self, item: Poll<T>, cx: &mut Context<'_>) -> Poll<Result<T, Error>> {
        let Deadline(limit) = self.deadline;
        if let Poll::Ready(item) = item {
            self.waiting = None;
            return Poll::Ready(Ok(item));
        }
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(limit)));
        waiting.as_mut().poll(cx).map(|()| Err(late(self.task, limit)))
    }
}
