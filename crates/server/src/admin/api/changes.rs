//! [`Changes`]: changes that are finished once they have begun.

use kazoo_storage::{Error, ErrorKind};
use tokio_util::task::TaskTracker;

/// Runs changes to their end, even if the client is gone or the server stops. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Changes(TaskTracker);

impl Changes {
    /// Runs `change`, unless the server stops.
    pub(super) async fn run<T>(
        &self,
        change: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
    {
        // Taken before the check: either the check fails, or `end` waits for the change.
        let token = self.0.token();
        if self.0.is_closed() {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "the server is shutting down; try again after it has restarted",
            ));
        }
        let task = self.0.spawn(change);
        drop(token);
        task.await
            .map_err(|error| Error::new(ErrorKind::Internal, "the change was aborted").with_source(error))?
    }

    /// Begins no more changes, and waits for the others.
    pub(super) async fn end(&self) {
        self.0.close();
        self.0.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::poll;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn ends_when_the_changes_have_ended() {
        let changes = Changes::default();
        let (finish, finished) = oneshot::channel::<()>();
        let (mark, marked) = oneshot::channel();
        {
            let change = pin!(changes.run(async move {
                let _ = finished.await;
                let _ = mark.send(());
                Ok(())
            }));
            assert!(poll!(change).is_pending());
            // The client is gone.
        }
        let mut end = pin!(changes.end());
        assert!(poll!(&mut end).is_pending());
        let refused = changes.run(async { Ok(()) }).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable);
        finish.send(()).unwrap();
        end.await;
        marked.await.unwrap();
    }
}
