//! Quotas of accounts.

use kazoo_storage::{BlobCatalog as _, BlobStore as _, Body, Error, ErrorKind, MemoryStore, Upload};
use kazoo_storage_ledger::{
    Recorded,
    quota::{Limited, Quota, Quotas},
};

use super::{key, site::Site, upload};

fn limited(site: &Site, quotas: Quotas) -> Limited<Recorded<MemoryStore>> {
    Limited::new(site.store(), site.ledger.clone(), quotas)
}

fn quotas() -> Quotas {
    let quotas = Quotas::new().quota(Quota::of("A").bytes(10)).unwrap();
    quotas.quota(Quota::of_each_account().files(2)).unwrap()
}

/// A body that must not be read.
fn unread() -> Body {
    Body::from_stream(futures_util::stream::once(async {
        Err::<&[u8], _>(Error::new(ErrorKind::Internal, "the body was read"))
    }))
}

async fn refused(store: &Limited<Recorded<MemoryStore>>, path: &str) -> String {
    let error = store.put(Upload::new(key(path), unread())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    error.message().to_owned()
}

#[tokio::test]
async fn an_account_that_is_full_is_refused_before_the_body_is_read() {
    let site = Site::new().await;
    let store = limited(&site, quotas());
    store.put(upload("A/D/1", "12345")).await.unwrap();
    let sized = |path, content: &'static str| upload(path, content).with_len(content.len() as u64);
    let error = store.put(sized("A/D/2", "123456")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    store.put(sized("A/D/2", "12345")).await.unwrap();
    assert!(refused(&store, "A/D/3").await.contains("10 bytes"));
    for path in ["B/D/1", "B/D/2"] {
        store.put(upload(path, "x")).await.unwrap();
    }
    assert!(refused(&store, "B/D/3").await.contains("`B`, 2 files"));
    // A key without an account has no quota.
    for number in 0..4 {
        store.put(upload(&format!("file-{number}"), "x")).await.unwrap();
    }
    // KAZOO repeats an upload whose response was lost.
    store.put(sized("A/D/2", "12345")).await.unwrap();
    assert_eq!(
        store.put(sized("A/D/2", "123456")).await.unwrap_err().kind(),
        ErrorKind::StorageFull
    );

    store.delete(&key("A/D/1")).await.unwrap();
    store.put(sized("A/D/3", "12345")).await.unwrap();
    store.set_quotas(Quotas::default());
    store.put(sized("A/D/4", "12345")).await.unwrap();
}

#[tokio::test]
async fn totals_come_from_the_ledger_and_from_other_servers() {
    let site = Site::new().await;
    site.store().put(upload("A/D/1", "1234")).await.unwrap();
    let store = limited(&site, quotas());
    store.put(upload("A/D/2", "1234")).await.unwrap();
    assert_eq!(store.refresh().await.unwrap(), 1, "80 %");
    site.store().put(upload("A/D/3", "12")).await.unwrap();
    assert_eq!(store.refresh().await.unwrap(), 1);
    refused(&store, "A/D/4").await;
    site.store().delete(&key("A/D/1")).await.unwrap();
    assert_eq!(store.refresh().await.unwrap(), 0);
    store.put(upload("A/D/4", "12")).await.unwrap();
    assert_eq!(store.refresh().await.unwrap(), 1);
    store.set_quotas(Quotas::new());
    assert_eq!(store.refresh().await.unwrap(), 0, "without quotas");
}

/// The length of a multipart upload, or of one in chunks, is known only at its end.
#[tokio::test]
async fn an_upload_of_unknown_length_can_be_repeated_when_the_account_is_full() {
    let site = Site::new().await;
    let store = limited(&site, quotas());
    for path in ["A/D/1", "B/D/1", "B/D/2"] {
        // It takes the account A over its quota.
        store.put(upload(path, "123456789012")).await.unwrap();
    }
    refused(&store, "A/D/2").await;
    refused(&store, "B/D/3").await;
    for path in ["A/D/1", "B/D/1", "B/D/2"] {
        store.put(upload(path, "123456789012")).await.unwrap();
    }
    // The number of files stays the same.
    store
        .put(upload("B/D/2", "longer than before").with_len(18))
        .await
        .unwrap();
}

/// What fails, or is given up, leaves no reservation behind.
#[tokio::test]
async fn uploads_that_have_begun_count_until_they_end() {
    let site = Site::new().await;
    let store = limited(&site, quotas());
    store.put(upload("B/D/1", "x")).await.unwrap();
    for _ in 0..3 {
        let error = store.put(Upload::new(key("B/D/2"), unread())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    }
    let pending = Body::from_stream(futures_util::stream::pending::<Result<&[u8], Error>>());
    let hanging = {
        let store = store.clone();
        tokio::spawn(async move { store.put(Upload::new(key("B/D/2"), pending)).await })
    };
    tokio::task::yield_now().await;
    refused(&store, "B/D/3").await;
    hanging.abort();
    assert!(hanging.await.unwrap_err().is_cancelled());
    store.put(upload("B/D/3", "x")).await.unwrap();
}
