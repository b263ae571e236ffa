//! The object store that `KAZOO_STORAGE_TEST_STORE` names, such as `s3://bucket`, with settings and credentials in the
//! environment. Tests that need it are `#[ignore]`d; the programs in `tests/cluster/` start one for them.

use std::{
    env,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::Arc,
};

use kazoo_storage::ObjectStoreBlobs;
use object_store::{
    ObjectStore, aws::AmazonS3Builder, azure::MicrosoftAzureBuilder, gcp::GoogleCloudStorageBuilder, path::Path,
};

/// A store in that engine, below a prefix that no other has.
pub(crate) fn store() -> ObjectStoreBlobs {
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
