//! A ledger opens its own database, and nothing else.

use kazoo_storage::{BlobStore as _, ErrorKind};
use kazoo_storage_ledger::{FileRecord, Ledger};

use super::{Site, key, upload};

#[tokio::test]
async fn keeps_its_files_when_it_is_opened_again() {
    let site = Site::new().await;
    site.store().put(upload("a/b/c", "1")).await.unwrap();
    let again = site.open_again().await;
    assert_eq!(again.file(&key("a/b/c")).await.unwrap().unwrap().size, 1);
}

#[tokio::test]
async fn refuses_what_is_not_its_database() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("text"), "not a database, but long enough to be one".repeat(100)).unwrap();
    let other = rusqlite::Connection::open(at("other")).unwrap();
    other.execute_batch("CREATE TABLE mine (a)").unwrap();
    let marked = rusqlite::Connection::open(at("marked")).unwrap();
    marked
        .execute_batch("PRAGMA application_id = 7; CREATE TABLE mine (a)")
        .unwrap();
    std::fs::create_dir(at("directory")).unwrap();
    for (name, kind, reason) in [
        ("text", ErrorKind::Conflict, "not a database"),
        ("other", ErrorKind::Conflict, "another program"),
        ("marked", ErrorKind::Conflict, "another program"),
        ("directory", ErrorKind::Conflict, "is a directory"),
        ("missing/ledger", ErrorKind::Unavailable, "its directory does not exist"),
    ] {
        let error = Ledger::sqlite(at(name)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(
            error.message().contains(reason) && error.message().contains(name),
            "{error}"
        );
    }
    let tables: i64 = other
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .unwrap();
    assert_eq!(tables, 1);
}

#[tokio::test]
async fn refuses_a_newer_schema() {
    let site = Site::sqlite().await;
    site.execute("PRAGMA user_version = 1000");
    let error = Ledger::sqlite(site.path()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.message().contains("newer program"), "{error}");
}

#[tokio::test]
async fn migrates_the_ledger_of_an_earlier_version() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.sqlite");
    let earlier = rusqlite::Connection::open(&path).unwrap();
    let schema = include_str!("../../src/database/sqlite/1.sql");
    let event = "INSERT INTO receivers VALUES ('test', 1); \
        INSERT INTO outbox (receiver, event, event_kind, recorded_at, key, kind, size, stored_at, due_at, attempts) \
        VALUES ('test', 'id', 'file.stored', 1, 'a', 'other', 7, 1, 1, 3)";
    for sql in [
        schema,
        "PRAGMA application_id = 1264208967; PRAGMA user_version = 1",
        event,
    ] {
        earlier.execute_batch(sql).unwrap();
    }
    drop(earlier);
    let ledger = Ledger::sqlite(&path).await.unwrap();
    assert_eq!(ledger.event("id").await.unwrap()[0].attempts, 3);
    let consumer = ledger.consumer("test").await.unwrap();
    let job = consumer.try_next().await.unwrap().unwrap();
    assert_eq!((job.event().file.size, job.attempts()), (7, 4));
}

#[tokio::test]
async fn after_a_shutdown_the_file_is_complete_and_nothing_is_recorded() {
    let site = Site::sqlite().await;
    let store = site.store();
    store.put(upload("a/b/c", "1")).await.unwrap();
    site.ledger.shutdown().await;
    let copy = site.path().with_extension("copy");
    std::fs::copy(site.path(), &copy).unwrap();
    assert!(!site.path().with_extension("sqlite-wal").exists());
    let copy = Ledger::sqlite(copy).await.unwrap();
    assert_eq!(copy.file(&key("a/b/c")).await.unwrap().unwrap().size, 1);
    let error = store.put(upload("a/b/d", "1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    site.ledger.shutdown().await;
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_user_and_the_group_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let site = Site::sqlite().await;
    site.store().put(upload("a/b/c", "1")).await.unwrap();
    for extension in ["sqlite", "sqlite-wal", "sqlite-shm"] {
        let file = site.path().with_extension(extension);
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7, 0, "{extension}: {mode:o}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn refuses_changes_once_its_file_is_removed() {
    let site = Site::sqlite().await;
    let file = FileRecord::new(&key("a"), 1, None);
    site.ledger.record(&file).await.unwrap();
    std::fs::remove_file(site.path()).unwrap();
    for _ in 0..2 {
        let error = site
            .ledger
            .record(&FileRecord::new(&key("b"), 1, None))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(
            error.message().contains("ledger.sqlite was removed or replaced"),
            "{error}"
        );
    }
}

#[cfg(unix)]
#[tokio::test]
async fn opens_a_file_by_a_link_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("link.sqlite");
    std::fs::create_dir(directory.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere/ledger.sqlite", &link).unwrap();
    for _ in 0..2 {
        let ledger = Ledger::sqlite(&link).await.unwrap();
        ledger.record(&FileRecord::new(&key("a"), 1, None)).await.unwrap();
        ledger.shutdown().await;
    }
    assert!(directory.path().join("elsewhere/ledger.sqlite").is_file());
}
