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
    /// Waits for a call on the engine, not longer than the deadline.
    pub(super) async fn within<T>(self, task: Task, call: impl Future<Output = object_store::Result<T>>) -> Result<T> {
        let call = async { call.await.map_err(|error| failed(task, &error)) };
        self.over(task, call).await
    }

    /// Waits for several calls, not longer than the deadline.
    pub(super) async fn over<T>(self, task: Task, calls: impl Future<Output = Result<T>>) -> Result<T> {
        timeout(self.0, calls).await.unwrap_or_else(|_| Err(late(task, self.0)))
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
