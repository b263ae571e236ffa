//! `--ledger`, and the command `reindex`.

use std::{fs, path::Path};

use kazoo_storage::{BlobKey, BlobStore as _, FsStore, Upload};
use kazoo_storage_ledger::Ledger;
use tempfile::TempDir;

use crate::{
    process::{FILE, Server, eventually, program},
    startup::{complaint, failure},
};

/// The path of the default ledger below the root of the store.
const DEFAULT: &str = ".ledger/files.sqlite";

/// Returns the length of the file `path`, if the ledger at `file` has it.
fn recorded(file: &Path, path: &str) -> Option<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let ledger = Ledger::sqlite(file).await.unwrap();
        let key = BlobKey::from_path(path).unwrap();
        ledger.file(&key).await.unwrap().map(|file| file.size)
    })
}

fn key_of(target: &str) -> &str {
    target.strip_prefix("/some_prefix/").unwrap()
}

/// Stores a file without a ledger.
async fn store(root: &Path, path: &str) {
    let store = FsStore::open(root).unwrap();
    let upload = Upload::new(BlobKey::from_path(path).unwrap(), "old");
    store.put(upload).await.unwrap();
}

#[test]
fn records_uploads_beside_the_files_by_default() {
    let root = TempDir::new().unwrap();
    let server = Server::start(root.path(), &[]);
    assert_eq!(server.connect().put(FILE, b"content").status, 201);
    assert_eq!(recorded(&root.path().join(DEFAULT), key_of(FILE)), Some(7));
    assert_eq!(server.connect().get("/some_prefix/.ledger/files.sqlite").status, 404);
}

#[test]
fn keeps_the_ledger_where_it_is_told_or_none() {
    let root = TempDir::new().unwrap();
    let file = root.path().join("elsewhere.sqlite");
    let data = root.path().join("data");
    let server = Server::start(&data, &["--ledger", &format!("sqlite:{}", file.display())]);
    assert_eq!(server.connect().put(FILE, b"content").status, 201);
    assert_eq!(recorded(&file, key_of(FILE)), Some(7));
    drop(server);
    let server = Server::start(&data, &["--ledger", "none"]);
    assert_eq!(server.connect().put(FILE, b"content").status, 201);
    assert!(!data.join(DEFAULT).exists());
}

#[test]
fn refuses_a_ledger_that_is_none() {
    let root = TempDir::new().unwrap();
    let text = root.path().join("text");
    fs::write(&text, "not a database".repeat(1000)).unwrap();
    let store = root.path().join("data");
    for (path, reason, refusal) in [
        (&*text, "not a database", complaint as fn(&[&str]) -> String),
        (root.path(), "is a directory", complaint),
        (Path::new("/none/ledger"), "its directory does not exist", failure),
    ] {
        let ledger = format!("sqlite:{}", path.display());
        let line = refusal(&[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--store",
            store.to_str().unwrap(),
            "--ledger",
            &ledger,
        ]);
        assert!(
            line.contains("--ledger") && line.contains(&ledger) && line.contains(reason),
            "{line}"
        );
    }
}

#[tokio::test]
async fn records_the_files_of_an_older_store_at_the_start() {
    let root = TempDir::new().unwrap();
    store(root.path(), "ACC/DOC/old.mp3").await;
    let server = Server::start(root.path(), &[]);
    let file = root.path().join(DEFAULT);
    let ledger = Ledger::sqlite(&file).await.unwrap();
    let key = BlobKey::from_path("ACC/DOC/old.mp3").unwrap();
    while ledger.file(&key).await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    drop(server);
}

#[test]
fn a_full_ledger_answers_503_until_it_has_space() {
    let root = TempDir::new().unwrap();
    let server = Server::start(root.path(), &[]);
    let connection = rusqlite::Connection::open(root.path().join(DEFAULT)).unwrap();
    connection
        .execute_batch("CREATE TRIGGER full BEFORE INSERT ON files BEGIN SELECT RAISE(FAIL, 'full'); END;")
        .unwrap();
    let refused = server.connect().put(FILE, b"content");
    assert_eq!(refused.status, 503);
    assert!(refused.head.contains("retry-after"), "{}", refused.head);
    connection.execute_batch("DROP TRIGGER full").unwrap();
    assert_eq!(server.connect().put(FILE, b"content").status, 201);
    eventually("the file in the ledger", || {
        recorded(&root.path().join(DEFAULT), key_of(FILE))
    });
}

#[tokio::test]
async fn reindexes_a_store_whose_server_is_stopped() {
    let root = TempDir::new().unwrap();
    for path in ["ONE/DOC/a.mp3", "TWO/DOC/b.mp3"] {
        store(root.path(), path).await;
    }
    let reindex = |options: &[&str]| {
        let output = program()
            .arg("reindex")
            .args(options)
            .env("KAZOO_STORAGE_STORE", root.path())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    assert_eq!(
        reindex(&["ONE"]),
        (0, "1 files, 1 recorded\n".to_owned(), String::new())
    );
    let ledger = Ledger::sqlite(root.path().join(DEFAULT)).await.unwrap();
    let consumer = ledger.consumer("test").await.unwrap();
    let output = reindex(&["--events", "--since", "2020-01-01"]);
    assert_eq!(output, (0, "2 files, 1 recorded\n".to_owned(), String::new()));
    assert_eq!(
        consumer.try_next().await.unwrap().unwrap().event().file.key.to_string(),
        "TWO/DOC/b.mp3"
    );

    let (status, _, error) = reindex(&["--ledger", "none"]);
    assert!(status == 1 && error.contains("set --ledger"), "{error}");
    let _running = FsStore::open(root.path()).unwrap();
    let (status, _, error) = reindex(&[]);
    assert!(status == 1 && error.contains("has this root open"), "{error}");
}
