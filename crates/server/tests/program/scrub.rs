//! Runs `kazoo-storage scrub`: output and exit status.

use std::{fs, path::Path};

use kazoo_storage::{BlobKey, BlobStore as _, FsStore, Upload};

use crate::process::program;

/// Returns the status, stdout and stderr of a scrub of `root`.
fn scrub(root: &Path, options: &[&str]) -> (i32, String, String) {
    let mut command = program();
    let command = command.arg("scrub").args(options).env("KAZOO_STORAGE_STORE", root);
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn prints_damaged_files_and_exits_with_2() {
    let root = tempfile::tempdir().unwrap();
    let store = FsStore::open(root.path()).unwrap();
    for (account, content) in [("ONE", "first"), ("TWO", "second")] {
        let key = BlobKey::from_path(&format!("{account}/DOC/message.mp3")).unwrap();
        store.put(Upload::new(key, content)).await.unwrap();
    }
    // The store is open.
    let well = "2 files, 0 MiB: 0 damaged, 0 without a digest\n".to_owned();
    assert_eq!(scrub(root.path(), &[]), (0, well, String::new()));

    fs::write(root.path().join("TWO/DOC/message.mp3"), "sEcond").unwrap();
    let expected = "TWO/DOC/message.mp3: the bytes differ from the upload\n\
                2 files, 0 MiB: 1 damaged, 0 without a digest\n";
    assert_eq!(
        scrub(root.path(), &["--rate", "0"]),
        (2, expected.to_owned(), String::new())
    );
    let (status, told_of_one, _) = scrub(root.path(), &["ONE"]);
    assert_eq!(
        (status, &*told_of_one),
        (0, "1 files, 0 MiB: 0 damaged, 0 without a digest\n")
    );

    let (status, _, error) = scrub(root.path(), &["--quarantine"]);
    assert_eq!(status, 1);
    assert!(error.contains("another store"), "{error}");
    drop(store);
    assert_eq!(
        scrub(root.path(), &["--quarantine"]),
        (2, expected.to_owned(), String::new())
    );
    let mended = "1 files, 0 MiB: 0 damaged, 0 without a digest\n".to_owned();
    assert_eq!(scrub(root.path(), &[]), (0, mended, String::new()));
}

#[test]
fn reports_errors_that_prevent_scrubbing() {
    let root = tempfile::tempdir().unwrap();
    for (store, hint) in [
        (root.path().join("missing"), "missing cannot be opened"),
        ("s3://bucket/prefix".into(), "verifies its objects itself"),
    ] {
        let (status, stdout, error) = scrub(&store, &[]);
        assert_eq!((status, &*stdout), (1, ""));
        assert!(error.contains(hint), "{error}");
    }
}
