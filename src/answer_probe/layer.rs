use std::{fmt, future::Future, pin::Pin, sync::Arc};

use tower_layer::Layer;

use super::AnswerProbeService;
use crate::error::Result;

/// Whether the store works, asked anew each time.
pub(super) type Check = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync>;

/// Layer that answers KAZOO's credentials probe.
///
/// See the [module](crate::answer_probe).
#[derive(Clone)]
pub struct AnswerProbe {
    check: Check,
}

impl AnswerProbe {
    /// Answers a probe with 201 if `check` finds that a file could be stored just now, such as
    /// [`BlobStore::check`](crate::BlobStore::check).
    pub fn new<C, F>(check: C) -> Self
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<()>> + Send + 'static,
    {
        Self {
            check: Arc::new(move || Box::pin(check())),
        }
    }
}

impl<S> Layer<S> for AnswerProbe {
    type Service = AnswerProbeService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        AnswerProbeService {
            inner,
            check: Arc::clone(&self.check),
        }
    }
}

impl fmt::Debug for AnswerProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerProbe").finish_non_exhaustive()
    }
}
