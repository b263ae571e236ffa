use std::time::Duration;

use tower_layer::Layer;

use super::LimitBodyService;

/// Layer that bounds the request's body and drains what is left of it before an early answer.
///
/// See the [module](crate::limit_body).
#[derive(Clone, Copy, Debug)]
pub struct LimitBody {
    pub(super) max: u64,
    pub(super) drain: u64,
    pub(super) stall_timeout: Option<Duration>,
}

impl LimitBody {
    /// How much of an unread body is drained by default: 64 MiB.
    pub const DEFAULT_DRAIN: u64 = 64 << 20;

    /// Lets at most `max` bytes of body through.
    #[must_use]
    pub fn new(max: u64) -> Self {
        Self {
            max,
            drain: Self::DEFAULT_DRAIN,
            stall_timeout: None,
        }
    }

    /// Drains at most `bytes` of an unread body; what is left then is the server's to close on.
    #[must_use]
    pub fn drain(mut self, bytes: u64) -> Self {
        self.drain = bytes;
        self
    }

    /// Limits the wait for each 1 KiB of the body, or its end, to `timeout`; by default there is no limit.
    ///
    /// The longer a body takes, the faster it must be: after `n` timeouts, from the second on, it must have delivered
    /// an average of `n` × 2 KiB per timeout, up to 128 KiB. With 30 seconds, that is 1.4 KiB/s after ten minutes, and
    /// at most 4.3 KiB/s, after half an hour.
    ///
    /// Only the time in which somebody waits for the body counts: a store that is slow is not the client's fault. A
    /// body that is late ends with [`ErrorKind::Timeout`](crate::ErrorKind::Timeout), and its connection with it.
    ///
    /// The timer is tokio's, so the service has to run in a tokio runtime that has its timers enabled.
    #[must_use]
    pub fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.stall_timeout = Some(timeout);
        self
    }
}

impl<S> Layer<S> for LimitBody {
    type Service = LimitBodyService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        LimitBodyService { inner, limits: *self }
    }
}
