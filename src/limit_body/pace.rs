use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::error::{Error, ErrorKind};

/// What a body has to bring in each window: nothing to a line, and a thousand times what holds a connection open.
const LEAST: u64 = 1 << 10;

/// Whether a body comes fast enough, as long as somebody waits for it.
pub(super) struct Pace {
    window: Duration,
    /// What is left of this window.
    left: Duration,
    /// What this window has brought.
    bytes: u64,
    /// Since when the body is waited for, if it is.
    waiting: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    pub(super) fn new(window: Duration) -> Self {
        Self {
            window,
            left: window,
            bytes: 0,
            waiting: None,
            timer: None,
        }
    }

    /// The wait is over: there are `bytes` more, or the end.
    pub(super) fn brought(&mut self, bytes: u64) {
        let waited = self.waiting.take().map_or(Duration::ZERO, |since| since.elapsed());
        self.left = self.left.saturating_sub(waited);
        self.bytes += bytes;
        if self.bytes >= LEAST {
            self.left = self.window;
            self.bytes = 0;
        }
    }

    /// Ready once the wait has taken too long.
    pub(super) fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let timer = match (&mut self.timer, self.waiting) {
            (Some(timer), Some(_)) => timer,
            (timer, _) => {
                let now = Instant::now();
                self.waiting = Some(now);
                let deadline = now + self.left;
                let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
                timer.as_mut().reset(deadline);
                timer
            }
        };
        ready!(timer.as_mut().poll(cx));
        let window = self.window.as_secs_f64();
        Poll::Ready(Error::new(
            ErrorKind::Timeout,
            format!(
                "the body brought less than {LEAST} bytes in {window} s; nothing was stored. Send it again, or raise the \
                 server's stall timeout if the line is this slow"
            ),
        ))
    }
}
