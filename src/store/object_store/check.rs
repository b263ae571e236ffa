//! Whether the engine works, and works as this store needs it.

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

/// The object of a store's checks, which come one after the other.
///
/// It has one name, so that an engine which stores what was given up long ago is left with one such object at most, and
/// the next check finds and deletes it.
#[derive(Debug)]
pub(super) struct Checks {
    name: String,
    turn: Mutex<()>,
}

impl Checks {
    /// A name that no other store has, of this process or of another.
    pub(super) fn new() -> Self {
        // The keys of a `RandomState` are the standard library's source of what no two processes have.
        let random = RandomState::new().build_hasher().finish();
        Self {
            name: format!("%check-{random:x}"),
            turn: Mutex::new(()),
        }
    }
}

/// Stores, finds and deletes an object, and finds another missing, all within one deadline: an administrator waits for
/// it.
pub(super) async fn check(store: &ObjectStoreBlobs) -> Result<()> {
    let reserved = |name: &str| {
        let name = store.reserved_name(name);
        name.ok_or_else(|| Error::new(ErrorKind::Internal, "the name of the check is no object's name"))
    };
    let (name, missing) = (reserved(&store.checks.name)?, reserved("%missing")?);
    let checked = async {
        let _turn = store.checks.turn.lock().await;
        let checked = match round_trip(store, &name).await {
            Ok(()) => is_told(store, &missing).await,
            failed => failed,
        };
        // Whether it may be deleted or not, files can be stored, which is all that was asked: a bucket may be one that
        // keeps everything.
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
    let found = get::look(store, name).await?;
    let kept = match &found.document {
        Document::Attribute(encoded) => object::decode(encoded).is_ok_and(|found| found == metadata),
        Document::None | Document::Trailer(_) => false,
    };
    if !kept || found.info.len != CONTENT.len() as u64 || found.info.content_type != Some(CONTENT_TYPE) {
        return Err(damaged(
            "the object store does not give an object's attributes back as they were stored; files cannot be kept in it",
        ));
    }
    Ok(())
}

/// Whether the engine says of what is missing that it is: a fetch looks under several names.
async fn is_told(store: &ObjectStoreBlobs, missing: &Path) -> Result<()> {
    match get::look(store, missing).await {
        Err(error) if !error.is_not_found() => {
            let message = format!(
                "{error}; of what is missing, the object store must say so, for which S3 wants the right to list the \
                 bucket (s3:ListBucket)"
            );
            Err(Error::new(error.kind(), message).with_source(error))
        }
        _ => Ok(()),
    }
}
