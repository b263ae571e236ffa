use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Sleep, sleep_until};

use crate::{
    error::{Error, ErrorKind},
    progress::{Progress, Wait},
};

/// The minimum number of bytes per window: little for any network, but far more than an occasional byte.
const MIN_PER_WINDOW: u64 = 1 << 10;

/// The growth of the average that a body must deliver per window, in bytes for each window of waiting: an upload that
/// holds a permit for minutes is expensive.
const GROWTH: u64 = 2 << 10;

/// The maximum average that a body must deliver per window: 35 kbit/s with the server's window of 30 seconds, reached
/// after half an hour. A line of 64 kbit/s is never too slow.
const MAX_AVERAGE: u64 = 128 << 10;

/// The number of windows before the average counts.
const GRACE: u64 = 2;

/// The delay before a client retries a refused upload.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Measures how fast a body arrives while the server waits for it.
pub(super) struct Pace {
    window: Duration,
    /// The remaining time of this window.
    left: Duration,
    /// The number of bytes that arrived in this window.
    bytes: u64,
    progress: Progress,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    pub(super) fn new(window: Duration, progress: Progress) -> Self {
        Self {
            window,
            left: window,
            bytes: 0,
            progress,
            timer: None,
        }
    }

    /// Ends the wait, because `bytes` or the end of the body arrived.
    pub(super) fn arrived(&mut self, bytes: u64) {
        let waited = self.progress.arrived(bytes);
        self.left = self.left.saturating_sub(waited);
        self.bytes += bytes;
        if self.bytes >= MIN_PER_WINDOW {
            self.left = self.window;
            self.bytes = 0;
        }
    }

    /// Completes when the wait has taken too long, or when the upload must yield to another request.
    pub(super) fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let wait = self.progress.wait(cx);
        if wait.ended {
            let message = "the storage server is at its limit of concurrent requests, and this upload arrived slowly; nothing \
                           was stored, send it again";
            let error = Error::new(ErrorKind::Unavailable, message);
            return Poll::Ready(error.with_retry_after(Some(RETRY_AFTER)));
        }
        let left = allowed(self.window, wait.bytes).saturating_sub(wait.waited);
        let deadline = wait.since + self.left.min(left);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(self.late(&wait))
    }

    fn late(&self, wait: &Wait) -> Error {
        let window = self.window.as_secs_f64();
        let Wait {
            bytes, since, waited, ..
        } = wait;
        let waited = (*waited + since.elapsed()).as_secs_f64();
        Error::new(
            ErrorKind::Timeout,
            format!(
                "the body arrived too slowly, {bytes} bytes in {waited:.0} s: at least {MIN_PER_WINDOW} bytes must arrive every {window} s, \
                 and more on average the longer it takes. Send it again, or raise the server's stall timeout \
                 if the network is this slow"
            ),
        )
    }
}

/// Returns the maximum total time to wait for a body of `bytes`.
fn allowed(window: Duration, bytes: u64) -> Duration {
    /// One window, in the unit of the calculation below.
    const WINDOW: u64 = 1 << 10;
    // The largest number of windows with `GROWTH * windows * windows <= bytes`; the product saturates for `u64::MAX`
    // bytes.
    let growing = (bytes.saturating_mul(WINDOW * WINDOW / GROWTH)).isqrt();
    let windows = if growing <= MAX_AVERAGE / GROWTH * WINDOW {
        growing.max(GRACE * WINDOW)
    } else {
        bytes / (MAX_AVERAGE / WINDOW)
    };
    window.saturating_mul(u32::try_from(windows).unwrap_or(u32::MAX)) / (1 << 10)
}
