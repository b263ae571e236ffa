//! The object store that `KAZOO_STORAGE_TEST_STORE` names, such as `s3://bucket`. Its settings and credentials are in
//! the environment. Tests that need it are `#[ignore]`d. The scripts in `tests/system/cluster/` start one.

use std::{
    env,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::Arc,
};

use kazoo_storage::{ErrorKind, ObjectStoreBlobs};
use object_store::{
    ObjectStore, RetryConfig, aws::AmazonS3Builder, azure::MicrosoftAzureBuilder, gcp::GoogleCloudStorageBuilder,
    path::Path,
};

/// Stores with invalid settings: the kind of error of an upload, and a word of its message.
///
/// Errors differ between object stores. Only S3 is tested.
pub fn refusing() -> Vec<(ErrorKind, &'static str, ObjectStoreBlobs)> {
    let url = env::var("KAZOO_STORAGE_TEST_STORE").expect("KAZOO_STORAGE_TEST_STORE names a bucket");
    if !url.starts_with("s3://") {
        return Vec::new();
    }
    let s3 = || {
        AmazonS3Builder::from_env()
            .with_url(&url)
            .with_disable_bulk_delete(true)
    };
    let store = |s3: AmazonS3Builder| ObjectStoreBlobs::new(s3.build().unwrap());
    let key = env::var("AWS_ACCESS_KEY_ID").unwrap();
    let down = s3().with_endpoint("http://127.0.0.1:1").with_retry(RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    });
    vec![
        (
            ErrorKind::Unavailable,
            "credentials",
            store(s3().with_secret_access_key("wrong")),
        ),
        (
            ErrorKind::Unavailable,
            "credentials",
            store(s3().with_access_key_id(format!("{key}x"))),
        ),
        (
            ErrorKind::Unavailable,
            "does not exist",
            store(s3().with_url("s3://no-such-bucket")),
        ),
        (ErrorKind::Unavailable, "failed to store", store(down)),
    ]
}

/// A store below a unique prefix.
pub fn store() -> ObjectStoreBlobs {
    let unique = RandomState::new().build_hasher().finish();
    ObjectStoreBlobs::new(engine()).prefix(Path::from(format!("test-{unique:x}")))
}

fn engine() -> Arc<dyn ObjectStore> {
    let url = env::var("KAZOO_STORAGE_TEST_STORE").expect("KAZOO_STORAGE_TEST_STORE names a bucket");
    let scheme = url.split("://").next().unwrap();
    match scheme {
        "s3" => {
            let s3 = AmazonS3Builder::from_env()
                .with_url(&url)
                .with_disable_bulk_delete(true);
            Arc::new(s3.build().unwrap())
        }
        "gs" => Arc::new(GoogleCloudStorageBuilder::from_env().with_url(&url).build().unwrap()),
        "az" => Arc::new(MicrosoftAzureBuilder::from_env().with_url(&url).build().unwrap()),
        other => panic!("no engine has the scheme {other}"),
    }
}
