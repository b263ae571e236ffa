//! Stores an upload with a [`Precondition`].
//!
//! The condition is evaluated for one version of the object, and a conditional PUT replaces only that version.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use object_store::{
    Attributes, Error as EngineError, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, UpdateVersion, path::Path,
};
use tokio::sync::OnceCell;

use super::{
    ObjectStoreBlobs,
    error::{Task, failed},
    get,
    object::{Object, UPLOAD},
};
use crate::{
    error::{Error, ErrorKind, Result},
    store::{BlobInfo, Precondition, PutResult},
};

/// The maximum number of evaluations of a condition, if the object is replaced in between.
const MAX_RESTARTS: usize = 8;

/// The conditions on a PUT that the engine enforces, once they are known.
#[derive(Debug, Default)]
pub(super) struct Conditions(OnceCell<Enforced>);

#[derive(Clone, Copy, Debug)]
enum Enforced {
    Nothing,
    /// Absence, and a version by its entity tag as the engine writes it.
    Tags,
    /// Absence, and a version by its entity tag without the quotes: Ceph 16.2 compares `If-Match` with the bare tag.
    BareTags,
}

impl Enforced {
    /// Returns the mode of a PUT that replaces `version`.
    fn update(self, mut version: UpdateVersion) -> PutMode {
        if matches!(self, Self::BareTags) {
            version.e_tag = version.e_tag.map(|tag| tag.trim_matches('"').to_owned());
        }
        PutMode::Update(version)
    }
}

/// Stores an upload of one part if the `precondition` holds when the engine stores it.
pub(super) async fn put(
    store: &ObjectStoreBlobs,
    name: &Path,
    payload: PutPayload,
    mut attributes: Attributes,
    precondition: &Precondition,
) -> Result<PutResult> {
    let enforced = enforced(store).await?;
    if matches!(enforced, Enforced::Nothing) {
        return Err(unsupported("the object store does not support conditional uploads"));
    }
    let upload = unique();
    attributes.insert(UPLOAD, upload.clone().into());
    let mut stored = PutResult::Created;
    let mut is_sent = false;
    for _ in 0..MAX_RESTARTS {
        let current = find_object(store, name).await?;
        if is_sent
            && current
                .as_ref()
                .is_some_and(|object| object.upload.as_ref() == Some(&upload))
        {
            return Ok(stored);
        }
        precondition.check(current.as_ref().map(info))?;
        stored = current.as_ref().map_or(PutResult::Created, |_| PutResult::Replaced);
        let mode = current.map_or(PutMode::Create, |object| enforced.update(object.version));
        let options = PutOptions {
            mode,
            attributes: attributes.clone(),
            ..PutOptions::default()
        };
        is_sent = true;
        let error = match call(store, store.engine.put_opts(name, payload.clone(), options)).await {
            Ok(Ok(_)) => return Ok(stored),
            Ok(Err(error)) if is_refusal(&error) => continue,
            Ok(Err(error)) => failed(Task::Store, &error),
            Err(late) => late,
        };
        // The object may have been stored although the response was lost or late.
        let found = find_object(store, name).await.ok().flatten();
        return match found {
            Some(object) if object.upload.as_ref() == Some(&upload) => Ok(stored),
            _ => Err(error),
        };
    }
    Err(Error::new(
        ErrorKind::Unavailable,
        "the file is being replaced faster than the condition of the upload can be evaluated; nothing was stored: send it again",
    ))
}

/// Returns the error for an upload that is too long for one request: no engine completes a longer one conditionally.
pub(super) fn too_long(store: &ObjectStoreBlobs) -> Error {
    unsupported(format!(
        "the object store accepts a conditional upload of at most {} bytes, including its metadata",
        store.part_size
    ))
}

fn unsupported(what: impl Into<String>) -> Error {
    let message = format!(
        "{}; nothing was stored: send it without `if-match`, `if-none-match` and \
         `if-unmodified-since`",
        what.into()
    );
    Error::new(ErrorKind::InvalidRequest, message)
}

fn info(object: &Object) -> &BlobInfo {
    &object.info
}

async fn find_object(store: &ObjectStoreBlobs, name: &Path) -> Result<Option<Object>> {
    match get::head_object(store, name).await {
        Err(error) if error.is_not_found() => Ok(None),
        found => found.map(Some),
    }
}

/// Calls the engine within the deadline.
async fn call<T>(
    store: &ObjectStoreBlobs,
    call: impl Future<Output = object_store::Result<T>>,
) -> Result<object_store::Result<T>> {
    store.deadline.over(Task::Store, async { Ok(call.await) }).await
}

/// Returns `true` if the engine reports that another version is stored.
fn is_refusal(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::AlreadyExists { .. } | EngineError::Precondition { .. }
    )
}

/// Returns the conditions that the engine enforces. Some engines ignore conditions that they do not support, or compare
/// entity tags in their own way, so each store tests the engine once, on a separate object.
async fn enforced(store: &ObjectStoreBlobs) -> Result<Enforced> {
    let known = store.conditions.0.get_or_try_init(|| async {
        let name = store.reserved_name(&format!("%check-{}", unique()));
        let name =
            name.ok_or_else(|| Error::new(ErrorKind::Internal, "the name of the check is not a valid object name"))?;
        let enforced = test_engine(store, &name).await;
        let _ = call(store, store.engine.delete(&name)).await;
        enforced
    });
    known.await.copied()
}

async fn test_engine(store: &ObjectStoreBlobs, name: &Path) -> Result<Enforced> {
    let put = async |content: &'static str, mode| {
        let options = PutOptions::from(mode);
        let put = store
            .engine
            .put_opts(name, PutPayload::from_static(content.as_bytes()), options);
        match call(store, put).await? {
            Ok(result) => Ok(Answer::Stored(result)),
            Err(error) if is_refusal(&error) => Ok(Answer::Refused),
            Err(EngineError::NotImplemented { .. } | EngineError::NotSupported { .. }) => Ok(Answer::Unknown),
            // Google's client requires a version, which the engine did not return. The type of this error is private.
            Err(error) if error.to_string().contains("Version required") => Ok(Answer::Unknown),
            Err(error) => Err(failed(Task::Store, &error)),
        }
    };
    let Answer::Stored(first) = put("first", PutMode::Create).await? else {
        return Ok(Enforced::Nothing);
    };
    if !matches!(put("second", PutMode::Create).await?, Answer::Refused) {
        return Ok(Enforced::Nothing);
    }
    let Answer::Stored(second) = put("third", PutMode::Overwrite).await? else {
        return Ok(Enforced::Nothing);
    };
    let (old, current) = (UpdateVersion::from(first), UpdateVersion::from(second));
    if old.e_tag.is_none() && old.version.is_none() {
        return Ok(Enforced::Nothing);
    }
    for enforced in [Enforced::Tags, Enforced::BareTags] {
        if !matches!(put("fourth", enforced.update(old.clone())).await?, Answer::Refused) {
            break;
        }
        if matches!(put("fifth", enforced.update(current.clone())).await?, Answer::Stored(_)) {
            return Ok(enforced);
        }
    }
    Ok(Enforced::Nothing)
}

enum Answer {
    Stored(object_store::PutResult),
    Refused,
    /// The engine does not support such a condition.
    Unknown,
}

/// Returns an identifier that is unique across processes.
fn unique() -> String {
    // The keys of a `RandomState` are the standard library's source of randomness across processes.
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
}
