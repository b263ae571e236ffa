//! Two servers that change the same file at the same time.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_core::Stream;
use kazoo_storage::{
    BlobCatalog, BlobInfo, BlobKey, BlobStore, ByteRange, ErrorKind, GetResult, Metadata, PutResult, Result, Upload,
    store::{BlobEntry, Fault, Operation},
};
use kazoo_storage_ledger::{
    EventKind, Recorded,
    removal::{Cause, Removal},
    verify::{Difference, Verify},
};
use tokio::{sync::Notify, time::timeout};

use super::{Shared, Site, content, drain, hold, key, metadata, names, server, shared, upload};

const KEY: &str = "acc/202401-doc/message.mp3";

/// A file that only the store has.
const UNKNOWN: &str = "acc/202401-doc/unknown.mp3";

#[derive(Clone, Copy, PartialEq)]
enum Stop {
    BeforeDelete,
    BeforeDescribe,
    /// After `head` has found no file.
    AfterMissing,
    AfterPut,
}

/// A store that stops once at a place, until the test continues it.
struct Gate {
    files: Shared,
    /// The place, and how often it is passed before.
    stop: Mutex<Option<(Stop, u32)>>,
    reached: Notify,
    go: Notify,
}

impl Gate {
    fn new(files: &Shared, stop: Stop, passed: u32) -> Arc<Self> {
        Arc::new(Self {
            files: files.clone(),
            stop: Mutex::new(Some((stop, passed))),
            reached: Notify::new(),
            go: Notify::new(),
        })
    }

    async fn pass(&self, place: Stop) {
        {
            let mut stop = self.stop.lock().unwrap();
            match &mut *stop {
                Some((at, 0)) if *at == place => *stop = None,
                Some((at, passed)) if *at == place => {
                    *passed -= 1;
                    return;
                }
                _ => return,
            }
        }
        self.reached.notify_one();
        self.go.notified().await;
    }
}

impl BlobStore for Gate {
    async fn put(&self, upload: Upload) -> Result<PutResult> {
        let result = self.files.put(upload).await;
        self.pass(Stop::AfterPut).await;
        result
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<GetResult> {
        self.files.get(key, range).await
    }

    async fn head(&self, key: &BlobKey) -> Result<BlobInfo> {
        let result = self.files.head(key).await;
        if result.is_err() {
            self.pass(Stop::AfterMissing).await;
        }
        result
    }

    async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>> {
        self.files.metadata(key).await
    }

    async fn describe(&self, key: &BlobKey) -> Result<(BlobInfo, Option<Metadata>)> {
        self.pass(Stop::BeforeDescribe).await;
        self.files.describe(key).await
    }
}

impl BlobCatalog for Gate {
    fn list(&self, prefix: Option<&BlobKey>) -> impl Stream<Item = Result<BlobEntry>> + Send + 'static {
        self.files.list(prefix)
    }

    async fn delete(&self, key: &BlobKey) -> Result<()> {
        self.pass(Stop::BeforeDelete).await;
        self.files.delete(key).await
    }
}

/// A server that stops, and one that does not.
async fn servers(
    site: &Site,
    files: &Shared,
    stop: Stop,
    passed: u32,
) -> (Arc<Gate>, Recorded<Arc<Gate>>, Recorded<Shared>) {
    let gate = Gate::new(files, stop, passed);
    let first = server(site, gate.clone()).await;
    (gate, first, server(site, files.clone()).await)
}

fn unavailable<T: std::fmt::Debug>(result: Result<T>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn a_file_that_is_replaced_after_its_check_is_not_removed() {
    for cause in [Cause::Retention, Cause::Request, Cause::Operator] {
        let (site, files) = (Site::new().await, shared());
        let (gate, first, second) = servers(&site, &files, Stop::BeforeDescribe, 0).await;
        second.put(upload(KEY, "old")).await.unwrap();
        let document = metadata(r#"{"call_id":"b3f6"}"#);
        files.put(upload(UNKNOWN, "old").with_metadata(document)).await.unwrap();
        let removal = tokio::spawn(async move { first.remove(&[KEY, UNKNOWN].map(key), cause).await });
        gate.reached.notified().await;
        second.put(upload(KEY, "new")).await.unwrap();
        gate.go.notify_one();
        let mut removed = removal.await.unwrap().into_iter();
        match removed.next().unwrap() {
            Ok(Removal::Absent) => assert_eq!(cause, Cause::Retention),
            removed => unavailable(removed),
        }
        // The metadata of many files would take much memory.
        let unknown = removed.next().unwrap();
        assert!(matches!(unknown, Ok(Removal::Removed(file)) if file.metadata.is_none()));
        assert_eq!(content(&files, KEY).await, "new");
        assert_eq!(names(&site.ledger).await, [KEY]);
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: see tests/system/cluster/postgres.py"]
async fn an_upload_during_a_removal_is_sent_again() {
    let (site, files) = (Site::postgres().await, shared());
    let consumer = site.ledger.consumer("test").await.unwrap();
    let (gate, first, second) = servers(&site, &files, Stop::BeforeDelete, 0).await;
    second.put(upload(KEY, "old")).await.unwrap();
    let removal = tokio::spawn(async move { first.delete(&key(KEY)).await });
    gate.reached.notified().await;
    for content in ["old", "new"] {
        unavailable(second.put(upload(KEY, content)).await);
    }
    gate.go.notify_one();
    removal.await.unwrap().unwrap();
    second.put(upload(KEY, "new")).await.unwrap();
    assert_eq!(content(&files, KEY).await, "new");
    assert_eq!(names(&site.ledger).await, [KEY]);
    let kinds = [EventKind::Stored, EventKind::Deleted, EventKind::Stored];
    assert_eq!(drain(&consumer).await, kinds.map(|kind| (KEY.to_owned(), kind)));
}

/// An upload locks the row of its file, sees the intent, and then looks for it again, to tell a removal from the same file.
#[tokio::test]
#[ignore = "needs PostgreSQL: see tests/system/cluster/postgres.py"]
async fn an_intent_does_not_disappear_during_an_upload_that_has_seen_it() {
    let (site, files) = (Site::postgres().await, shared());
    let (gate, first, second) = servers(&site, &files, Stop::BeforeDelete, 0).await;
    second.put(upload(KEY, "old")).await.unwrap();
    let mut removal = tokio::spawn(async move { first.delete(&key(KEY)).await });
    gate.reached.notified().await;
    let (client, connection) = tokio_postgres::connect(site.url(), tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let begin = "SET search_path = kazoo_storage; BEGIN; SELECT 1 FROM files FOR UPDATE";
    client.batch_execute(begin).await.unwrap();
    let down = kazoo_storage::Error::new(ErrorKind::Unavailable, "down");
    files.inject([Operation::Delete], Fault::Fail(down));
    gate.go.notify_one();
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let waiting = async { while client.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {} };
    tokio::select! {
        ended = &mut removal => panic!("the intent has disappeared: {ended:?}"),
        waited = timeout(Duration::from_secs(20), waiting) => waited.unwrap(),
    }
    assert_eq!(site.count("removals").await, 1);
    client.batch_execute("COMMIT").await.unwrap();
    unavailable(removal.await.unwrap());
    assert_eq!(site.count("removals").await, 0);
    files.repair();
    second.put(upload(KEY, "new")).await.unwrap();
    assert_eq!(names(&site.ledger).await, [KEY]);
}

/// Otherwise the first removal would remove the file of an upload that was accepted after the second.
#[tokio::test]
#[ignore = "needs PostgreSQL: see tests/system/cluster/postgres.py"]
async fn a_removal_does_not_overtake_that_of_another_server() {
    let (site, files) = (Site::postgres().await, shared());
    let (gate, first, second) = servers(&site, &files, Stop::BeforeDelete, 0).await;
    second.put(upload(KEY, "old")).await.unwrap();
    let removal = tokio::spawn(async move { first.remove(&[key(KEY)], Cause::Erasure).await });
    gate.reached.notified().await;
    for cause in [Cause::Operator, Cause::Retention, Cause::Repair] {
        match second.remove(&[key(KEY)], cause).await.remove(0) {
            Ok(Removal::Absent) => assert_ne!(cause, Cause::Operator),
            removed => unavailable(removed),
        }
        unavailable(second.put(upload(KEY, "new")).await);
    }
    assert_eq!(second.finish_removals().await.unwrap(), 0);
    gate.go.notify_one();
    assert!(matches!(removal.await.unwrap()[..], [Ok(Removal::Removed(_))]));
    second.put(upload(KEY, "new")).await.unwrap();
    assert_eq!(content(&files, KEY).await, "new");
    assert_eq!(names(&site.ledger).await, [KEY]);
}

#[tokio::test]
#[ignore = "needs PostgreSQL: see tests/system/cluster/postgres.py"]
async fn an_upload_sees_the_removal_that_it_has_waited_for() {
    let (site, files) = (Site::postgres().await, shared());
    let consumer = site.ledger.consumer("test").await.unwrap();
    let store = server(&site, files.clone()).await;
    store.put(upload(KEY, "old")).await.unwrap();
    drain(&consumer).await;
    let (client, connection) = tokio_postgres::connect(site.url(), tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let begin = "SET search_path = kazoo_storage; BEGIN; UPDATE files SET revision = -abs(revision); \
        INSERT INTO removals SELECT key, 'removal', event, 'operator', 'other', 0 FROM files";
    client.batch_execute(begin).await.unwrap();
    let uploading = tokio::spawn({
        let store = store.clone();
        async move { store.put(upload(KEY, "new")).await }
    });
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while client.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        tokio::task::yield_now().await;
    }
    client.batch_execute("COMMIT").await.unwrap();
    unavailable(uploading.await.unwrap());
    assert_eq!(drain(&consumer).await, []);
    assert_eq!(site.count("files f JOIN removals r ON r.file_event = f.event").await, 1);
}

#[tokio::test]
async fn an_upload_whose_file_is_removed_before_it_is_recorded_is_sent_again() {
    let (site, files) = (Site::new().await, shared());
    let (gate, first, second) = servers(&site, &files, Stop::AfterPut, 0).await;
    second.put(upload(KEY, "old")).await.unwrap();
    let uploading = tokio::spawn({
        let first = first.clone();
        async move { first.put(upload(KEY, "new")).await }
    });
    gate.reached.notified().await;
    second.delete(&key(KEY)).await.unwrap();
    gate.go.notify_one();
    unavailable(uploading.await.unwrap());
    first.put(upload(KEY, "new")).await.unwrap();
    assert_eq!(content(&files, KEY).await, "new");
}

#[tokio::test]
async fn a_removal_that_another_server_has_finished_is_reported_once() {
    let (site, files) = (Site::new().await, shared());
    let (gate, first, second) = servers(&site, &files, Stop::BeforeDelete, 0).await;
    second.put(upload(KEY, "old")).await.unwrap();
    let removal = tokio::spawn(async move { first.remove(&[key(KEY)], Cause::Operator).await });
    gate.reached.notified().await;
    site.execute("UPDATE removals SET begun_at = 0");
    assert_eq!(second.finish_removals().await.unwrap(), 1);
    gate.go.notify_one();
    let removed = removal.await.unwrap().pop().unwrap();
    assert!(matches!(removed, Ok(Removal::Absent)), "{removed:?}");
    assert_eq!(site.count("audit").await, 1);
    assert_eq!(site.count("removals").await, 0);
    assert_eq!(names(&site.ledger).await, [""; 0]);
}

#[tokio::test]
async fn a_repair_does_not_remove_a_file_that_was_stored_meanwhile() {
    let (site, files) = (Site::new().await, shared());
    // It compares, and looks again.
    let (gate, first, second) = servers(&site, &files, Stop::AfterMissing, 1).await;
    second.put(upload(KEY, "old")).await.unwrap();
    files.delete(&key(KEY)).await.unwrap();
    // An empty store is not compared.
    let other = "b/202401-doc/other";
    second.put(upload(other, "old")).await.unwrap();
    let found = Mutex::new(Vec::new());
    let add = |difference: Difference| {
        found.lock().unwrap().push(difference.key.to_string());
        async {}
    };
    let verifying = first.verify(Verify::new().repair(true), add, |_| ());
    let uploading = async {
        gate.reached.notified().await;
        second.put(upload(KEY, "old")).await.unwrap();
        gate.go.notify_one();
    };
    let (verified, ()) = tokio::join!(verifying, uploading);
    verified.unwrap();
    assert_eq!(content(&files, KEY).await, "old");
    assert_eq!(names(&site.ledger).await, [KEY, other]);
}

#[tokio::test]
async fn a_repair_leaves_a_file_that_is_being_removed_alone() {
    let (site, files) = (Site::new().await, shared());
    let store = server(&site, files.clone()).await;
    for path in [KEY, UNKNOWN] {
        store.put(upload(path, "old")).await.unwrap();
    }
    files.delete(&key(KEY)).await.unwrap();
    site.execute(
        "INSERT INTO removals SELECT key, 'removal', event, 'erasure', 'other', 0 FROM files WHERE attachment = 'message.mp3'",
    );
    let found = Mutex::new(Vec::new());
    let add = |difference: Difference| {
        found
            .lock()
            .unwrap()
            .push((difference.key.to_string(), difference.repaired));
        async {}
    };
    store.verify(Verify::new().repair(true), add, |_| ()).await.unwrap();
    assert_eq!(found.into_inner().unwrap(), [(KEY.to_owned(), false)]);
    assert_eq!(site.count("removals WHERE cause = 'erasure'").await, 1);
    assert_eq!(store.finish_removals().await.unwrap(), 1);
}

#[tokio::test]
async fn a_file_beside_a_protected_one_is_not_removed_before_it_is_recorded() {
    let (site, files) = (Site::new().await, shared());
    let (gate, first, _) = servers(&site, &files, Stop::AfterPut, 1).await;
    let adding = timeout(Duration::from_millis(200), site.ledger.add_hold(hold().key(&key(KEY))));
    assert!(adding.await.is_err());
    first.put(upload(KEY, "old")).await.unwrap();
    let uploading = tokio::spawn({
        let first = first.clone();
        async move { first.put(upload(KEY, "new")).await }
    });
    gate.reached.notified().await;
    let entries: Vec<_> = futures_util::StreamExt::collect(files.list(None)).await;
    let mut beside = entries
        .into_iter()
        .map(|entry| entry.unwrap().key)
        .filter(|found| *found != key(KEY));
    let beside = beside.next().unwrap();
    let mut removal = Box::pin(first.delete(&beside));
    // It waits for the upload.
    let waited = timeout(Duration::from_millis(200), &mut removal).await;
    assert!(waited.is_err(), "{waited:?}");
    gate.go.notify_one();
    uploading.await.unwrap().unwrap();
    removal.await.unwrap();
    assert_eq!(names(&site.ledger).await, [KEY]);
}
