use std::{fmt, future::Future, pin::Pin, sync::Arc};

use tower_layer::Layer;

use crate::{error::Result, rewrite::RewriteService};

/// Checks that the store works.
pub(super) type Check = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync>;

/// Layer that answers KAZOO's credentials probe.
///
/// See the [module](crate::answer_probe).
#[derive(Clone)]
pub struct AnswerProbe {
    pub(super) check: Check,
}

impl AnswerProbe {
    /// Answers a probe with 201 if `check` succeeds. `check` returns an error if no file can be stored at the moment,
    /// as [`BlobStore::check`](crate::BlobStore::check) does.
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
    type Service = RewriteService<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        RewriteService::new(self.clone(), inner)
    }
}

impl fmt::Debug for AnswerProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerProbe").finish_non_exhaustive()
    }
}
