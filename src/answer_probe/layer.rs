use std::{fmt, future::Future, pin::Pin, sync::Arc};

use tower_layer::Layer;

use crate::{error::Result, rewrite::RewriteService};

/// Checks that the store works.
pub(super) type Check = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync>;

/// Layer that answers the credentials probe, which KAZOO sends when an administrator saves the storage settings.
///
/// KAZOO stores a small [`Probe`](crate::probe::Probe) file and fetches it back, and refuses the settings unless both
/// work. [`AnswerProbe`] keeps such files out of the store, where they would accumulate: KAZOO deletes nothing.
///
/// - A PUT or POST is answered with 201 if the body has the content that the file's name implies, and `check` succeeds.
///   This proves that prefix, multipart and base64 are configured alike on both sides.
/// - A GET or HEAD is answered with the content that the name implies. The content is the same on every server, so the
///   fetch succeeds wherever a load balancer sends it.
///
/// Every other request passes unchanged. The layer belongs behind [`ExtractKey`](crate::ExtractKey), which finds the
/// name of the file, and behind the layers that decode the body. A failed check is a 503, whose extensions have the
/// [`Probe`](crate::probe::Probe): [`RetryAfter`](crate::RetryAfter) does not ask KAZOO to retry, because an
/// administrator waits for the response.
///
/// ```
/// use http::{Request, Response};
/// use kazoo_storage::{AnswerProbe, BlobKey, Body};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let never = service_fn(async |_: Request<Body>| -> Result<Response<Body>, std::convert::Infallible> {
///     panic!("the probe stops here")
/// });
/// let service = ServiceBuilder::new().layer(AnswerProbe::new(async || Ok(()))).service(never);
/// let key = BlobKey::from_segments(["ACC", "DOC", "7f3c2a90b1d4e6f8a0c2e4f618293a4b_test_credentials_file.txt"])?;
/// let put = Request::put("/")
///     .extension(key)
///     .body(Body::from("some random content: 7f3c2a90b1d4e6f8a0c2e4f618293a4b"))
///     .unwrap();
/// assert_eq!(service.oneshot(put).await.unwrap().status(), 201);
/// # Ok::<(), kazoo_storage::Error>(())
/// # }).unwrap();
/// ```
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
