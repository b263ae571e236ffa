//! An object store that discards objects and records only their number and length.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use futures_util::{
    FutureExt as _,
    stream::{self, BoxStream, StreamExt as _},
};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart, path::Path,
};

/// Clones share their state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sink(Arc<AtomicU64>);

impl Sink {
    /// Number of bytes received.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sink")
    }
}

fn stored() -> PutResult {
    PutResult {
        e_tag: None,
        version: None,
        extensions: object_store::Extensions::default(),
    }
}

fn absent(location: &Path) -> Error {
    Error::NotFound {
        path: location.to_string(),
        source: "a sink keeps nothing".into(),
    }
}

#[async_trait]
impl ObjectStore for Sink {
    async fn put_opts(&self, _: &Path, payload: PutPayload, _: PutOptions) -> Result<PutResult> {
        self.0.fetch_add(payload.content_length() as u64, Ordering::Relaxed);
        Ok(stored())
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(self.clone()))
    }

    async fn get_opts(&self, location: &Path, _: GetOptions) -> Result<GetResult> {
        Err(absent(location))
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        locations
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        stream::empty().boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(absent(&Path::default()))
    }

    async fn copy_opts(&self, from: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(absent(from))
    }
}

#[async_trait]
impl MultipartUpload for Sink {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let this = self.clone();
        async move {
            // While the body has more, so that one part and the next are held at the same time.
            for _ in 0..1_000 {
                tokio::task::yield_now().await;
            }
            this.0.fetch_add(data.content_length() as u64, Ordering::Relaxed);
            Ok(())
        }
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        Ok(stored())
    }

    async fn abort(&mut self) -> Result<()> {
        Ok(())
    }
}
