//! Checks that the engine works, and supports what this store needs.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use http::HeaderValue;
use object_store::{ObjectStoreExt as _, PutOptions, PutPayload, path::Path};
use tokio::sync::Mutex;

use super::{
    ObjectStoreBlobs,
    error::{Task, damaged},
    get,
    object::{self, Description, Document},
};
use crate::{
    error::{Error, ErrorKind, Result},
    metadata::Metadata,
};

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("text/plain");
const CONTENT: &[u8] = b"check";
const JSON: &str = r#"{"check":"ü \" %"}"#;

/// The name of the object that checks store. Checks run one after the other.
///
/// All checks of a store use one name: if the engine stores an object after its check has timed out, the next check
/// deletes it.
#[derive(Debug)]
pub(super) struct Checks {
    name: String,
    turn: Mutex<()>,
}

impl Checks {
    /// Creates a name that is unique across processes.
    pub(super) fn new() -> Self {
        // The keys of a `RandomState` are the standard library's source of randomness across processes.
        let random = RandomState::new().build_hasher().finish();
        Self {
            name: format!("%check-{random:x}"),
            turn: Mutex::new(()),
        }
    }
}

/// Stores, reads and deletes an object, and looks for a missing one. One deadline applies to all calls, because an
/// administrator waits for the result.
pub(super) async fn check(store: &ObjectStoreBlobs) -> Result<()> {
    let reserved = |name: &str| {
        let name = store.reserved_name(name);
        name.ok_or_else(|| Error::new(ErrorKind::Internal, "the name of the check is not a valid object name"))
    };
    let (name, missing) = (reserved(&store.checks.name)?, reserved("%missing")?);
    let checked = async {
        let _turn = store.checks.turn.lock().await;
        let checked = match round_trip(store, &name).await {
            Ok(()) => finds_nothing(store, &missing).await,
            failed => failed,
        };
        // A failed deletion is not an error: some buckets keep everything, and files can be stored in them.
        let _ = store.engine.delete(&name).await;
        checked
    };
    store.deadline.over(Task::Store, checked).await
}

async fn round_trip(store: &ObjectStoreBlobs, name: &Path) -> Result<()> {
    let metadata = Metadata::from_json(JSON)?;
    let description = Description::new(Some(&CONTENT_TYPE), Some(&metadata))?;
    let options = PutOptions {
        attributes: description.attributes,
        ..PutOptions::default()
    };
    let put = store.engine.put_opts(name, PutPayload::from_static(CONTENT), options);
    store.within(Task::Store, put).await?;
    let found = get::head_object(store, name).await?;
    let kept = match &found.document {
        Document::Attribute(encoded) => object::decode(encoded).is_ok_and(|found| found == metadata),
        Document::None | Document::Trailer(_) => false,
    };
    if !kept || found.info.len != CONTENT.len() as u64 || found.info.content_type != Some(CONTENT_TYPE) {
        return Err(damaged(
            "the object store does not return the attributes of an object as they were stored, so it cannot store files",
        ));
    }
    Ok(())
}

/// Checks that the engine reports a missing object as missing, because a fetch tries several names.
async fn finds_nothing(store: &ObjectStoreBlobs, missing: &Path) -> Result<()> {
    match get::head_object(store, missing).await {
        Err(error) if !error.is_not_found() => {
            let message = format!(
                "{error}; the object store must report a missing object as missing, for which S3 requires the permission to \
                 list the bucket (s3:ListBucket)"
            );
            Err(Error::new(error.kind(), message).with_source(error))
        }
        _ => Ok(()),
    }
}
