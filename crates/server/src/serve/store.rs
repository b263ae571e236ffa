//! The store behind the server: a directory, or a bucket of an object store.

use std::{env, sync::Arc, time::Duration};

use kazoo_storage::{BlobStore as _, DynBlobCatalog, Error, ErrorKind, FsStore, ObjectStoreBlobs};
use object_store::{
    ClientConfigKey, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey},
    path::Path,
    signer::Signer,
};
use url::Url;

use crate::{
    cli::{Cloud, Location, StoreOptions},
    log::{self, mask},
};

/// How often the engine's client repeats a request that failed on its way or was answered with a 5xx.
///
/// Within the deadline, and only where repeating is safe; KAZOO repeats what fails after that.
const RETRIES: usize = 3;

/// The engine's client has a timeout for a whole request, in which a long file would have to be read. The store has
/// deadlines of its own.
const NO_TIMEOUT: &str = "1day";

/// Opens the store, and sees that a file can be stored in it, or could be if there were room.
pub(crate) async fn open(options: &StoreOptions) -> Result<DynBlobCatalog, String> {
    let opened = match &options.store {
        Location::Directory(root) => open_directory(root, options),
        Location::Bucket { cloud, url, prefix } => open_bucket(*cloud, url, prefix, options).map(|store| (store, true)),
    };
    let checked = match opened {
        Ok((store, recovered)) => match store.check().await {
            // Fetches work; uploads are refused until there is room or the recovery is finished.
            Err(error) if !recovered || error.kind() == ErrorKind::StorageFull => {
                tracing::error!(store = %options.store, error = log::chain(&error), "started without uploads");
                Ok(store)
            }
            checked => checked.map(|()| store),
        },
        Err(error) => Err(error),
    };
    checked.map_err(|error| {
        let location = &options.store;
        let hint = match location {
            Location::Bucket { cloud: Cloud::S3, .. }
                if error.kind() != ErrorKind::InvalidRequest && env::var_os("AWS_ACCESS_KEY_ID").is_none() =>
            {
                " (AWS_ACCESS_KEY_ID is not set, so the credentials are this machine's own, if it has any)"
            }
            _ => "",
        };
        format!("cannot keep files in --store {location}: {}{hint}", log::chain(&error))
    })
}

/// Opens the store in `root`. The flag is `false` while its recovery is unfinished.
fn open_directory(root: &std::path::Path, options: &StoreOptions) -> Result<(DynBlobCatalog, bool), Error> {
    if options.presign.is_some() || options.s3_endpoint.is_some() || options.s3_region.is_some() {
        let message = "--presign, --s3-endpoint and --s3-region are for an object store, and this is a directory";
        return Err(Error::new(ErrorKind::InvalidRequest, message));
    }
    let store = FsStore::options()
        .durable(!options.no_fsync)
        .verify(options.verify_on_read)
        .open(root)?;
    let unrecovered = store.unrecovered();
    if let Some(error) = &unrecovered {
        tracing::error!(store = %root.display(), error = log::chain(error), "recovery unfinished");
    }
    for set_aside in store.set_aside()? {
        tracing::error!(
            store = %root.display(),
            key = mask::path(&set_aside.key),
            directory = set_aside.directory,
            reason = mask::message(&set_aside.reason, true),
            "set aside after a crash; restore or remove it"
        );
    }
    Ok((DynBlobCatalog::new(store), unrecovered.is_none()))
}

fn open_bucket(cloud: Cloud, url: &Url, prefix: &Path, options: &StoreOptions) -> Result<DynBlobCatalog, Error> {
    if options.no_fsync || options.verify_on_read {
        let message = "--no-fsync and --verify-on-read are for a directory; an object store does as it is set up";
        return Err(Error::new(ErrorKind::InvalidRequest, message));
    }
    let engine = match cloud {
        Cloud::S3 => s3(url, options),
        Cloud::Google => google(url, options),
        Cloud::Azure => azure(url, options),
    };
    let (engine, signer) = engine.map_err(|error| {
        let message = "the settings of the object store are incomplete or wrong";
        Error::new(ErrorKind::InvalidRequest, message).with_source(error)
    })?;
    let mut store = ObjectStoreBlobs::new(engine)
        .prefix(prefix.clone())
        .deadline(options.store_deadline);
    if let Some(valid) = options.presign {
        store = store.redirect(signer, valid);
    }
    Ok(DynBlobCatalog::new(store))
}

type Engine = object_store::Result<(Arc<dyn ObjectStore>, Arc<dyn Signer>)>;

fn s3(url: &Url, options: &StoreOptions) -> Engine {
    let mut builder = AmazonS3Builder::from_env()
        .with_url(url.as_str())
        .with_retry(retries(options.store_deadline))
        .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), NO_TIMEOUT)
        // Deleting several at once is what some engines lack, and this service never does.
        .with_disable_bulk_delete(true);
    if let Some(endpoint) = &options.s3_endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(region) = &options.s3_region {
        builder = builder.with_region(region);
    }
    let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
    if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) {
        builder = builder.with_allow_http(true);
    }
    let engine = Arc::new(builder.build()?);
    Ok((engine.clone(), engine))
}

fn google(url: &Url, options: &StoreOptions) -> Engine {
    let builder = GoogleCloudStorageBuilder::from_env()
        .with_url(url.as_str())
        .with_retry(retries(options.store_deadline))
        .with_config(GoogleConfigKey::Client(ClientConfigKey::Timeout), NO_TIMEOUT);
    let engine = Arc::new(builder.build()?);
    Ok((engine.clone(), engine))
}

fn azure(url: &Url, options: &StoreOptions) -> Engine {
    let builder = MicrosoftAzureBuilder::from_env()
        .with_url(url.as_str())
        .with_retry(retries(options.store_deadline))
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
