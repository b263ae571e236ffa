//! Whether the engine works, and works as this store needs it.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use http::HeaderValue;
use object_store::{ObjectStoreExt as _, PutOptions, PutPayload, path::Path};
use tokio::{sync::Mutex, time::timeout};

use super::{
    ObjectStoreBlobs,
    error::{Task, damaged, late},
    get,
    object::{self, Description, Document},
};
use crate::{
    error::{Error, ErrorKind, Result},
    metadata::Metadata,
};

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("text/plain");
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

/// Stores, finds and deletes an object, all within one deadline: an administrator waits for it.
pub(super) async fn check(store: &ObjectStoreBlobs) -> Result<()> {
    let name = store
        .reserved_name(&store.checks.name)
        .ok_or_else(|| Error::new(ErrorKind::Internal, "the name of the check is no object's name"))?;
    let checked = async {
        let _turn = store.checks.turn.lock().await;
        round_trip(store, &name).await?;
        // Whether it may be deleted or not, files can be stored, which is all that was asked: a bucket may be one that
        // keeps everything.
        let _ = store.engine.delete(&name).await;
        Ok(())
    };
    let deadline = store.deadline.0;
    timeout(deadline, checked)
        .await
        .unwrap_or_else(|_| Err(late(Task::Store, deadline)))
}

async fn round_trip(store: &ObjectStoreBlobs, name: &Path) -> Result<()> {
    let metadata = Metadata::from_json(JSON)?;
    let description = Description::new(Some(&CONTENT_TYPE), Some(&metadata))?;
    let options = PutOptions {
        attributes: description.attributes,
        ..PutOptions::default()
    };
    let put = store.engine.put_opts(name, PutPayload::from_static(b"check"), options);
    store.within(Task::Store, put).await?;
    let found = get::look(store, name).await?;
    let kept = match &found.document {
        Document::Attribute(encoded) => object::decode(encoded).is_ok_and(|found| found == metadata),
        Document::None | Document::Trailer(_) => false,
    };
    if kept && found.info.len == 5 && found.info.content_type == Some(CONTENT_TYPE) {
        return Ok(());
    }
    Err(damaged(
        "the object store does not give an object's attributes back as they were stored; files cannot be kept in it",
    ))
}
