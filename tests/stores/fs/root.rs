//! The root: opening, locking and checking it.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use futures_util::StreamExt as _;
use kazoo_storage::{
    BlobCatalog, BlobStore, ErrorKind,
    store::{FsScrub, FsStore},
};

use super::{fresh, open, read, staged, upload};

#[test]
fn refuses_a_root_whose_path_is_too_long() {
    let root = tempfile::tempdir().unwrap();
    let deep = root.path().join("d/".repeat(500)).join("x".repeat(100));
    let error = FsStore::open(&deep).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.message().contains("at most 1024"), "{error}");
}

#[tokio::test]
async fn refuses_the_layout_of_a_newer_version() {
    let (store, root) = fresh();
    store.put(upload("message.mp3", "content")).await.unwrap();
    drop(store);
    let marker = root.path().join(".format");
    fs::write(&marker, "2\n").unwrap();
    fs::write(root.path().join(".stage/77"), "of the newer version").unwrap();
    let opened = FsStore::open(root.path()).map(drop);
    let scrubbed = FsScrub::new(root.path()).run(|_| panic!("the layout is unknown"));
    for error in [opened.unwrap_err(), scrubbed.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(error.message().contains("a newer version"), "{error}");
    }
    assert_eq!(staged(root.path()), ["77"]);
    fs::remove_file(marker).unwrap();
    assert_eq!(read(&open(root.path()), "message.mp3").await, "content");
}

#[tokio::test]
async fn locks_the_root_and_removes_leftovers_of_the_last_store() {
    let (store, root) = fresh();
    store.put(upload("message.mp3", "content")).await.unwrap();
    fs::write(root.path().join(".stage/77"), "left by a crash").unwrap();
    let error = FsStore::open(root.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_eq!(staged(root.path()), ["77"]);
    let clone = store.clone();
    drop(store);
    FsStore::open(root.path()).expect_err("a clone is the same store");
    drop(clone);
    let store = FsStore::open(root.path()).unwrap();
    assert_eq!(staged(root.path()), [""; 0]);
    assert_eq!(read(&store, "message.mp3").await, "content");
}

#[tokio::test]
async fn reports_a_removed_root_as_unavailable() {
    let root = tempfile::tempdir().unwrap();
    let store = open(&root.path().join("root"));
    fs::remove_dir_all(root.path().join("root")).unwrap();
    for error in [
        store.put(upload("ACC/message.mp3", "content")).await.unwrap_err(),
        store.check().await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
}

#[tokio::test]
async fn reports_a_root_in_which_no_directory_can_be_created() {
    let above = tempfile::tempdir().unwrap();
    let root = above.path().join("root");
    let store = open(&root);
    store.check().await.unwrap();
    fs::rename(root.join(".stage"), above.path().join("stage")).unwrap();
    fs::remove_dir(&root).unwrap();
    let error = store.check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.message().contains("create a directory in its root"), "{error}");
    assert_eq!(fs::read_dir(above.path().join("stage")).unwrap().count(), 1, "the lock");
}

#[tokio::test]
async fn reports_a_read_only_root_as_unavailable() {
    let (store, root) = fresh();
    let may = |mode| fs::set_permissions(root.path(), fs::Permissions::from_mode(mode)).unwrap();
    may(0o500);
    // Permissions do not apply to root.
    let free = fs::create_dir(root.path().join("other")).is_ok();
    let checked = store.check().await;
    // A directory that a crash left does not make the check pass.
    may(0o700);
    fs::create_dir(root.path().join(".check")).unwrap();
    may(0o500);
    let again = store.check().await;
    may(0o700);
    for checked in [checked, again] {
        match checked {
            Ok(()) => assert!(free, "it cannot write there"),
            Err(error) => {
                assert!(!free && error.kind() == ErrorKind::Unavailable, "{error}");
                assert!(error.message().contains("server's user"), "{error}");
            }
        }
    }
    store.check().await.unwrap();
    assert!(!root.path().join(".check").exists(), "and goes with the next check");
}

#[test]
fn runs_checks_beside_uploads_and_listings() {
    let (store, root) = fresh();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut checks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let store = store.clone();
            checks.spawn(async move {
                for _ in 0..50 {
                    store.check().await.unwrap();
                }
            });
        }
        for number in 0..50 {
            store
                .put(upload(&format!("ACC{number}/DOC/a.mp3"), "content"))
                .await
                .unwrap();
            let entries: Vec<_> = BlobCatalog::list(&store, None).collect().await;
            assert_eq!(entries.len(), number + 1);
            assert!(entries.iter().all(Result::is_ok), "{entries:?}");
        }
        checks.join_all().await;
    });
    assert!(!root.path().join(".check").exists());
}

#[test]
fn reports_why_a_root_cannot_be_opened() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    for (bad, says) in [
        (file.as_path(), "its root is a file, not a directory"),
        (
            &file.join("below"),
            "failed to create its root directory: Not a directory",
        ),
        #[cfg(target_os = "linux")]
        (Path::new("/proc/none"), "failed to create its root directory: "),
        #[cfg(target_os = "linux")]
        (Path::new("/proc"), "failed to create its staging directory: "),
    ] {
        let error = FsStore::open(bad).unwrap_err();
        assert!(error.message().contains(says), "{error}");
    }
}

#[tokio::test]
async fn creates_the_root_and_follows_a_link_to_it() {
    let root = tempfile::tempdir().unwrap();
    drop(open(&root.path().join("a/b")));
    symlink(root.path().join("a/b"), root.path().join("link")).unwrap();
    let store = open(&root.path().join("link"));
    store.put(upload("message.mp3", "content")).await.unwrap();
    assert!(root.path().join("a/b/message.mp3").exists());
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    FsStore::open(&file).expect_err("a root that is a file");
}
