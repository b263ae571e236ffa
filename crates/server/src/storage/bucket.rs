//! Opens a bucket of an object store.

use std::{sync::Arc, time::Duration};

use kazoo_storage::{Error, ErrorKind, ObjectStoreBlobs, store::DynBlobCatalog};
use object_store::{
    ClientConfigKey, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey},
    signer::Signer,
};

use crate::{
    config::{BucketConfig, Cloud},
    log,
};

/// Maximum number of times that the client of an object store repeats a request that failed in transit or with a 5xx.
///
/// It does so within the deadline, and only where repeating is safe; KAZOO repeats a request that fails after that.
const RETRIES: usize = 3;

/// The timeout of the client for a whole request, which would include reading a long file. The store has deadlines of its
/// own.
const NO_TIMEOUT: &str = "1day";

/// Checks the settings of a bucket, and connects to nothing.
pub(crate) fn check(bucket: &BucketConfig) -> Result<(), String> {
    let opened = open(bucket);
    opened
        .map(drop)
        .map_err(|error| format!("--store {}: {}", bucket.url, log::chain(&error)))
}

/// Returns the store in a bucket. It connects later. The credentials come from the environment: the help of `--store` names the variables.
pub(super) fn open(bucket: &BucketConfig) -> Result<DynBlobCatalog, Error> {
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
