//! Deadlines for the engine.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Sleep, sleep, timeout};

use super::error::{Task, failed, late};
use crate::error::{Error, Result};

/// The maximum time that the engine has for a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(pub(super) Duration);

impl Deadline {
    /// Waits for a call of the engine until the deadline.
    pub(super) async fn within<T>(self, task: Task, call: impl Future<Output = object_store::Result<T>>) -> Result<T> {
        let call = async { call.await.map_err(|error| failed(task, &error)) };
        self.over(task, call).await
    }

    /// Waits for several calls until one deadline.
    pub(super) async fn over<T>(self, task: Task, calls: impl Future<Output = Result<T>>) -> Result<T> {
        timeout(self.0, calls).await.unwrap_or_else(|_| Err(late(task, self.0)))
    }
}

/// The deadline of each item of a stream. It runs only while the item is polled.
pub(super) struct ItemDeadline {
    deadline: Deadline,
    task: Task,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl ItemDeadline {
    pub(super) fn new(deadline: Deadline, task: Task) -> Self {
        Self {
            deadline,
            task,
            waiting: None,
        }
    }

    /// Returns `item`, or an error if it is pending for too long.
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
