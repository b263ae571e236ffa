//! Whether the engine works, and works as this store needs it.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

use http::HeaderValue;
use object_store::{ObjectStoreExt as _, PutOptions, PutPayload, path::Path};

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
const JSON: &str = r#"{"check":"ü \" %"}"#;

/// Stores, finds and deletes an object of a name of its own.
pub(super) async fn check(store: &ObjectStoreBlobs) -> Result<()> {
    let name = store
        .reserved_name(&format!("%check-{}", unique()))
        .ok_or_else(|| Error::new(ErrorKind::Internal, "the name of the check is no object's name"))?;
    let checked = round_trip(store, &name).await;
    // Even if it seems not to be there: what was late may have been stored all the same. And whether it may be deleted
    // or not, files can be stored, which is all that was asked: a bucket may be one that keeps everything.
    let _ = store.within(Task::Delete, store.engine.delete(&name)).await;
    checked
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

/// Another text for every check of every process.
fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    // The keys of a `RandomState` are the standard library's source of what no two processes have.
    let random = RandomState::new().build_hasher().finish();
    format!("{random:x}-{:x}", COUNT.fetch_add(1, Ordering::Relaxed))
}
