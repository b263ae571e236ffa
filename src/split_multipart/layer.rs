use tower_layer::Layer;

use crate::rewrite::RewriteService;

/// Layer that turns a multipart upload into a plain upload of its media part.
///
/// See the [module](crate::split_multipart).
#[derive(Clone, Copy, Debug)]
pub struct SplitMultipart {
    pub(super) max_metadata: usize,
}

impl SplitMultipart {
    /// Default maximum length of the JSON part: 1 MiB.
    pub const DEFAULT_MAX_METADATA: usize = 1 << 20;

    /// Splits multipart bodies whose JSON part has at most [`DEFAULT_MAX_METADATA`](Self::DEFAULT_MAX_METADATA) bytes.
    #[must_use]
    pub fn new() -> Self {
        Self {
            max_metadata: Self::DEFAULT_MAX_METADATA,
        }
    }

    /// Rejects a JSON part of more than `bytes` with 413.
    #[must_use]
    pub fn max_metadata(mut self, bytes: usize) -> Self {
        self.max_metadata = bytes;
        self
    }
}

impl Default for SplitMultipart {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for SplitMultipart {
    type Service = RewriteService<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        RewriteService::new(*self, inner)
    }
}
