//! Opens the store: a directory, or a bucket of an object store.

use std::{env, sync::Arc, time::Duration};

use kazoo_storage::{BlobStore as _, Error, ErrorKind, FsStore, ObjectStoreBlobs, store::DynBlobCatalog};
use object_store::{
    ClientConfigKey, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey},
    signer::Signer,
};

use crate::{
    config::{BucketConfig, Cloud, StoreConfig},
    log::{self, redact},
};

/// Maximum number of times that the client of an object store repeats a request that failed in transit or with a 5xx.
///
/// It does so within the deadline, and only where repeating is safe; KAZOO repeats a request that fails after that.
const RETRIES: usize = 3;

/// The timeout of the client for a whole request, which would include reading a long file. The store has deadlines of its
/// own.
const NO_TIMEOUT: &str = "1day";

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
        StoreConfig::Bucket(bucket) => open_bucket(bucket).map(|store| (store, true)),
    }
}

/// Returns a store of the same files as `store`, the one of `config`, that redirects no fetch.
pub(crate) fn direct(config: &StoreConfig, store: &DynBlobCatalog) -> Result<DynBlobCatalog, Error> {
    match config {
        StoreConfig::Bucket(bucket) if bucket.presign.is_some() => open_bucket(&BucketConfig {
            presign: None,
            ..bucket.clone()
        }),
        _ => Ok(store.clone()),
    }
}

/// Opens the store in `root`. The flag is `false` while its recovery is unfinished.
fn open_directory(root: &std::path::Path, durable: bool, verify: bool) -> Result<(DynBlobCatalog, bool), Error> {
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

/// Checks the settings of a bucket, and connects to nothing.
pub(crate) fn check(bucket: &BucketConfig) -> Result<(), String> {
    let opened = open_bucket(bucket);
    opened
        .map(drop)
        .map_err(|error| format!("--store {}: {}", bucket.url, log::chain(&error)))
}

fn open_bucket(bucket: &BucketConfig) -> Result<DynBlobCatalog, Error> {
    let engine = match bucket.cloud {
        Cloud::S3 => s3(bucket),
        Cloud::Google => google(bucket),
        Cloud::Azure => azure(bucket),
    };
    let (engine, signer) = engine.map_err(|error| {
        let message = "the settings of the object store are incomplete or invalid";
        Error::new(ErrorKind::InvalidRequest, message).with_source(error)
    })?;
    let mut store = ObjectStoreBlobs::new(engine)
        .prefix(bucket.prefix.clone())
        .deadline(bucket.deadline);
    if let Some(valid) = bucket.presign {
        store = store.redirect(signer, valid);
    }
    Ok(DynBlobCatalog::new(store))
}

type Engine = object_store::Result<(Arc<dyn ObjectStore>, Arc<dyn Signer>)>;

fn s3(bucket: &BucketConfig) -> Engine {
    let mut builder = AmazonS3Builder::from_env()
        .with_url(bucket.url.as_str())
        .with_retry(retries(bucket.deadline))
        .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), NO_TIMEOUT)
        // Some engines lack the deletion of several objects at once, and the server never uses it.
        .with_disable_bulk_delete(true);
    if let Some(endpoint) = &bucket.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(region) = &bucket.region {
        builder = builder.with_region(region);
    }
    let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
    if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) {
        builder = builder.with_allow_http(true);
    }
    let engine = Arc::new(builder.build()?);
    Ok((engine.clone(), engine))
}

fn google(bucket: &BucketConfig) -> Engine {
    let builder = GoogleCloudStorageBuilder::from_env()
        .with_url(bucket.url.as_str())
        .with_retry(retries(bucket.deadline))
        .with_config(GoogleConfigKey::Client(ClientConfigKey::Timeout), NO_TIMEOUT);
    let engine = Arc::new(builder.build()?);
    Ok((engine.clone(), engine))
}

fn azure(bucket: &BucketConfig) -> Engine {
    let builder = MicrosoftAzureBuilder::from_env()
        .with_url(bucket.url.as_str())
        .with_retry(retries(bucket.deadline))
        .with_config(AzureConfigKey::Client(ClientConfigKey::Timeout), NO_TIMEOUT);
    let engine = Arc::new(builder.build()?);
    Ok((engine.clone(), engine))
}

fn retries(within: Duration) -> RetryConfig {
    RetryConfig {
        max_retries: RETRIES,
        retry_timeout: within,
        ..RetryConfig::default()
    }
}
