//! Uploads.

use object_store::{
    Attributes, Error as EngineError, MultipartUpload, ObjectMeta, ObjectStoreExt as _, PutMode, PutMultipartOptions,
    PutOptions, PutPayload, path::Path,
};
use tokio::runtime::Handle;

use super::{
    ObjectStoreBlobs, conditional,
    deadline::Deadline,
    error::Task,
    object::Description,
    parts::{Part, Parts},
};
use crate::{
    error::{Error, ErrorKind, Result},
    store::{PutResult, Upload},
};

/// Stores `upload` completely or not at all: the engine makes an object visible only when it is complete.
pub(super) async fn put(store: &ObjectStoreBlobs, upload: Upload) -> Result<PutResult> {
    let name = store.name(&upload.key)?;
    let Description { attributes, trailer } = Description::new(upload.content_type.as_ref(), upload.metadata.as_ref())?;
    let precondition = upload.precondition;
    let is_conditional = !precondition.is_unconditional();
    if is_conditional && upload.len.is_some_and(|len| len > store.part_size as u64) {
        return Err(conditional::too_long(store));
    }
    let mut parts = Parts::new(upload.body, trailer, store.part_size);
    match parts.next().await? {
        Part::Full(_) if is_conditional => Err(conditional::too_long(store)),
        Part::Last(payload) if is_conditional => {
            conditional::put(store, &name, payload, attributes, &precondition).await
        }
        Part::Last(payload) => {
            store
                .within(Task::Store, put_whole(store, &name, payload, attributes))
                .await
        }
        Part::Full(first) => put_parts(store, &name, first, parts, attributes).await,
    }
}

/// Stores an upload of one part, with one request if it replaces no object.
async fn put_whole(
    store: &ObjectStoreBlobs,
    name: &Path,
    payload: PutPayload,
    attributes: Attributes,
) -> object_store::Result<PutResult> {
    let options = |mode| PutOptions {
        mode,
        attributes: attributes.clone(),
        ..PutOptions::default()
    };
    let engine = &store.engine;
    let created = engine.put_opts(name, payload.clone(), options(PutMode::Create)).await;
    let stored = match created {
        Ok(_) => return Ok(PutResult::Created),
        Err(EngineError::AlreadyExists { .. }) => PutResult::Replaced,
        // The engine does not support conditions, or its response was lost. Without a condition, the request is
        // idempotent.
        Err(EngineError::NotImplemented { .. } | EngineError::NotSupported { .. } | EngineError::Generic { .. }) => {
            found(engine.head(name).await)
        }
        Err(error) => return Err(error),
    };
    engine.put_opts(name, payload, options(PutMode::Overwrite)).await?;
    Ok(stored)
}

/// Stores an upload of several parts: receives the next part while the engine stores the current one.
async fn put_parts(
    store: &ObjectStoreBlobs,
    name: &Path,
    first: PutPayload,
    mut parts: Parts,
    attributes: Attributes,
) -> Result<PutResult> {
    let options = PutMultipartOptions {
        attributes,
        ..PutMultipartOptions::default()
    };
    let begun = async {
        let (head, begun) = tokio::join!(store.engine.head(name), store.engine.put_multipart_opts(name, options));
        Ok((found(head), begun?))
    };
    let (stored, upload) = store.within(Task::Store, begun).await?;
    let mut upload = Unfinished {
        upload: Some(upload),
        deadline: store.deadline,
    };
    let mut payload = first;
    loop {
        let sent = store.within(Task::Store, upload.get()?.put_part(payload));
        let ((), next) = tokio::try_join!(sent, parts.next())?;
        match next {
            Part::Full(next) => payload = next,
            Part::Last(next) => {
                if next.content_length() > 0 {
                    store.within(Task::Store, upload.get()?.put_part(next)).await?;
                }
                break;
            }
        }
    }
    // The upload is not aborted from here on: some engines store half an object if it is aborted during completion.
    let mut whole = upload.into_whole()?;
    store.within(Task::Store, whole.complete()).await?;
    Ok(stored)
}

/// Interprets a HEAD before an upload. A failed HEAD does not fail the upload.
fn found(head: object_store::Result<ObjectMeta>) -> PutResult {
    head.map_or(PutResult::Created, |_| PutResult::Replaced)
}

/// A multipart upload. It is aborted in the background if it is dropped before all parts are stored.
struct Unfinished {
    upload: Option<Box<dyn MultipartUpload>>,
    deadline: Deadline,
}

impl Unfinished {
    fn get(&mut self) -> Result<&mut Box<dyn MultipartUpload>> {
        self.upload.as_mut().ok_or_else(ended)
    }

    fn into_whole(mut self) -> Result<Box<dyn MultipartUpload>> {
        self.upload.take().ok_or_else(ended)
    }
}

fn ended() -> Error {
    Error::new(ErrorKind::Internal, "the multipart upload has ended")
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let deadline = self.deadline;
        if let Some(mut upload) = self.upload.take()
            && let Ok(runtime) = Handle::try_current()
        {
            // On failure, the lifecycle rule of the bucket removes the parts.
            runtime.spawn(async move { deadline.within(Task::Store, upload.abort()).await });
        }
    }
}
