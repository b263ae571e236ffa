//! [`ContinueOnDrop`]: a future that runs to completion even if its caller drops it.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::runtime::Handle;

/// A future that continues in a task of its own if it is dropped while `must_finish` returns `true`.
///
/// Until then it runs in the task of the caller, so it costs nothing but an allocation. The task passes its result to `report`.
pub(crate) struct ContinueOnDrop<T: Send + 'static, P: Fn() -> bool, R: FnOnce(T) + Send + 'static> {
    /// `None` once it has completed or panicked.
    future: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    must_finish: P,
    /// `None` once the task has it.
    report: Option<R>,
    /// `None` outside of Tokio: such a future cannot continue.
    runtime: Option<Handle>,
}

impl<T: Send + 'static, P: Fn() -> bool, R: FnOnce(T) + Send + 'static> ContinueOnDrop<T, P, R> {
    pub(crate) fn new(future: impl Future<Output = T> + Send + 'static, must_finish: P, report: R) -> Self {
        Self {
            future: Some(Box::pin(future)),
            must_finish,
            report: Some(report),
            runtime: Handle::try_current().ok(),
        }
    }
}

impl<T: Send + 'static, P: Fn() -> bool + Unpin, R: FnOnce(T) + Send + Unpin + 'static> Future
    for ContinueOnDrop<T, P, R>
{
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        // Taken for the poll, so that a panic drops it.
        let Some(mut future) = self.future.take() else {
            return Poll::Pending;
        };
        let result = future.as_mut().poll(cx);
        if result.is_pending() {
            self.future = Some(future);
        }
        result
    }
}

impl<T: Send + 'static, P: Fn() -> bool, R: FnOnce(T) + Send + 'static> Drop for ContinueOnDrop<T, P, R> {
    fn drop(&mut self) {
        if let Some(future) = self.future.take()
            && let Some(report) = self.report.take()
            && let Some(runtime) = &self.runtime
            && (self.must_finish)()
        {
            runtime.spawn(async move { report(future.await) });
        }
    }
}

impl<T: Send + 'static, P: Fn() -> bool, R: FnOnce(T) + Send + 'static> fmt::Debug for ContinueOnDrop<T, P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContinueOnDrop").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_future_that_panics_is_not_polled_again() {
        let polls = Arc::<AtomicUsize>::default();
        let (held, dropped) = oneshot::channel::<()>();
        let panicking = future::poll_fn({
            let polls = Arc::clone(&polls);
            move |_| -> Poll<()> {
                let _ = &held;
                polls.fetch_add(1, Ordering::SeqCst);
                panic!("the store has a defect");
            }
        });
        let continued = tokio::spawn(ContinueOnDrop::new(panicking, || true, |()| {}));
        assert!(continued.await.unwrap_err().is_panic());
        dropped.await.unwrap_err();
        assert_eq!(polls.load(Ordering::SeqCst), 1);
    }
}
