//! Opens the store: a directory, or a bucket of an object store.

use std::{env, path::Path};

use kazoo_storage::{BlobStore as _, Error, ErrorKind, FsStore, store::DynBlobCatalog};

use super::bucket;
use crate::{
    config::{BucketConfig, Cloud, StoreConfig},
    log::{self, redact},
};

/// Opens the store and checks that it can store a file, or could if it had space.
pub(crate) async fn open(config: &StoreConfig) -> Result<DynBlobCatalog, String> {
    let checked = match open_any(config) {
        Ok((store, recovered)) => match store.check().await {
            // Fetches work; uploads are refused until there is space or the recovery is finished.
            Err(error) if !recovered || error.kind() == ErrorKind::StorageFull => {
                tracing::error!(store = %config, error = log::chain(&error), "started without uploads");
                Ok(store)
            }
            checked => checked.map(|()| store),
        },
        Err(error) => Err(error),
    };
    checked.map_err(|error| {
        let is_s3 = matches!(config, StoreConfig::Bucket(bucket) if bucket.cloud == Cloud::S3);
        let uses_instance_credentials =
            is_s3 && error.kind() != ErrorKind::InvalidRequest && env::var_os("AWS_ACCESS_KEY_ID").is_none();
        let hint = if uses_instance_credentials {
            " (AWS_ACCESS_KEY_ID is not set, so the credentials are those of this machine, if it has any)"
        } else {
            ""
        };
        format!("cannot keep files in --store {config}: {}{hint}", log::chain(&error))
    })
}

/// Opens a store, and does not check that it can store a file: the credentials for a source may not permit it.
pub(crate) fn open_unchecked(config: &StoreConfig) -> Result<DynBlobCatalog, String> {
    let opened = open_any(config).map_err(|error| log::chain(&error))?;
    Ok(opened.0)
}

/// Opens the store. The flag is `false` while its recovery is unfinished.
fn open_any(config: &StoreConfig) -> Result<(DynBlobCatalog, bool), Error> {
    match config {
        StoreConfig::Directory { root, durable, verify } => open_directory(root, *durable, *verify),
        StoreConfig::Bucket(config) => bucket::open(config).map(|store| (store, true)),
    }
}

/// Returns a store of the same files as `store`, the one of `config`, that redirects no fetch.
pub(crate) fn direct(config: &StoreConfig, store: &DynBlobCatalog) -> Result<DynBlobCatalog, Error> {
    match config {
        StoreConfig::Bucket(config) if config.presign.is_some() => bucket::open(&BucketConfig {
            presign: None,
            ..config.clone()
        }),
        _ => Ok(store.clone()),
    }
}

/// Opens the store in `root`. The flag is `false` while its recovery is unfinished.
fn open_directory(root: &Path, durable: bool, verify: bool) -> Result<(DynBlobCatalog, bool), Error> {
    let store = FsStore::options().durable(durable).verify(verify).open(root)?;
    let unrecovered = store.unrecovered();
    if let Some(error) = &unrecovered {
        tracing::error!(store = %root.display(), error = log::chain(error), "recovery unfinished");
    }
    for set_aside in store.set_aside()? {
        tracing::error!(
            store = %root.display(),
            key = redact::path(&set_aside.key),
            directory = set_aside.directory,
            reason = redact::message(&set_aside.reason, true),
            "set aside after a crash; restore or remove it"
        );
    }
    Ok((DynBlobCatalog::new(store), unrecovered.is_none()))
}
