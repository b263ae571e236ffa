//! Storing.

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
    store::{Stored, Upload},
};

/// Stores `upload` whole, or nothing: an object becomes visible with its last byte.
pub(super) async fn put(store: &ObjectStoreBlobs, upload: Upload) -> Result<Stored> {
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

/// Stores what is one part by one request, unless it replaces something.
async fn put_whole(
    store: &ObjectStoreBlobs,
    name: &Path,
    payload: PutPayload,
    attributes: Attributes,
) -> object_store::Result<Stored> {
    let options = |mode| PutOptions {
        mode,
        attributes: attributes.clone(),
        ..PutOptions::default()
    };
    let engine = &store.engine;
    let created = engine.put_opts(name, payload.clone(), options(PutMode::Create)).await;
    let stored = match created {
        Ok(_) => return Ok(Stored::Created),
        Err(EngineError::AlreadyExists { .. }) => Stored::Replaced,
        // An engine that knows no conditions, or whose answer was lost on its way: the same bytes without a condition
        // can be sent as often as it takes.
        Err(EngineError::NotImplemented { .. } | EngineError::NotSupported { .. } | EngineError::Generic { .. }) => {
            found(engine.head(name).await)
        }
        Err(error) => return Err(error),
    };
    engine.put_opts(name, payload, options(PutMode::Overwrite)).await?;
    Ok(stored)
}

/// Stores what is longer than one part: while one is on its way to the engine, the next is received.
async fn put_parts(
    store: &ObjectStoreBlobs,
    name: &Path,
    first: PutPayload,
    mut parts: Parts,
    attributes: Attributes,
) -> Result<Stored> {
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
    // From here on the engine may be completing it, and to abort it then has left some engines with half an object.
    let mut whole = upload.into_whole()?;
    store.within(Task::Store, whole.complete()).await?;
    Ok(stored)
}

/// What a look at the name before an upload says of it. It is no reason to fail if the engine does not answer it.
fn found(head: object_store::Result<ObjectMeta>) -> Stored {
    head.map_or(Stored::Created, |_| Stored::Replaced)
}

/// A multipart upload that is aborted, in the background, if its bytes do not all come.
struct Unfinished {
    upload: Option<Box<dyn MultipartUpload>>,
    deadline: Deadline,
}

impl Unfinished {
    fn get(&mut self) -> Result<&mut Box<dyn MultipartUpload>> {
        self.upload.as_mut().ok_or_else(over)
    }

    fn into_whole(mut self) -> Result<Box<dyn MultipartUpload>> {
        self.upload.take().ok_or_else(over)
    }
}

fn over() -> Error {
    Error::new(ErrorKind::Internal, "the upload is over")
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let deadline = self.deadline;
        if let Some(mut upload) = self.upload.take()
            && let Ok(runtime) = Handle::try_current()
        {
            // What cannot be aborted is left to the bucket's lifecycle rule.
            runtime.spawn(async move { deadline.within(Task::Store, upload.abort()).await });
        }
    }
}
