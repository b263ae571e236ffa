//! Links, special files and directories of other programs in the root.

use std::{fs, os::unix::fs::symlink, sync::Arc};

use kazoo_storage::{BlobStore, ErrorKind, store::FsStore};

use super::{fresh, key, metadata, read, staged, tree, upload};

#[tokio::test]
async fn refuses_an_upload_if_something_else_is_at_its_path() {
    for (by_hand, position, is_directory) in [
        ("ACC/DOC/message.mp3/x", 3, true),
        ("ACC/DOC/.message.mp3.json/x", 3, true),
        ("ACC", 1, false),
    ] {
        let root = tempfile::tempdir().unwrap();
        let store = FsStore::open(root.path()).unwrap();
        let path = root.path().join(by_hand);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "by hand").unwrap();
        let before = tree(root.path());
        for _ in 0..2 {
            let error = store.put(upload("ACC/DOC/message.mp3", "ID3")).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
            let what = if is_directory { "is a directory" } else { "is a file" };
            let message = error.message();
            assert!(message.contains(&format!("name {position} of its path")), "{message}");
            assert!(message.contains(what) && !message.contains("ACC"), "{message}");
        }
        let absent = store.head(&key("ACC/DOC/message.mp3")).await.unwrap_err();
        assert!(absent.is_not_found(), "{absent}");
        drop(store);
        // A recovery does not apply the refused upload.
        drop(FsStore::open(root.path()).unwrap());
        assert_eq!(tree(root.path()), before);
        assert_eq!(staged(root.path()), [""; 0]);
    }
}

#[tokio::test]
async fn tolerates_the_removal_of_directories_during_uploads() {
    let (store, root) = fresh();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let sweeper = std::thread::spawn({
        let (stop, dir) = (Arc::clone(&stop), root.path().join("ACC"));
        move || {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = fs::remove_dir(dir.join("DOC"));
                let _ = fs::remove_dir(&dir);
            }
        }
    });
    let mut failed = 0;
    for _ in 0..200 {
        match store.put(upload("ACC/DOC/d.mp3", "content")).await {
            Ok(_) => {
                assert_eq!(read(&store, "ACC/DOC/d.mp3").await, "content");
                fs::remove_file(root.path().join("ACC/DOC/d.mp3")).unwrap();
            }
            // Every attempt of one upload failed.
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                failed += 1;
            }
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    sweeper.join().unwrap();
    assert!(failed < 200, "every upload failed");
}

#[tokio::test]
async fn never_follows_a_link() {
    let (store, root) = fresh();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::create_dir(elsewhere.path().join("DOC")).unwrap();
    let precious = elsewhere.path().join("DOC/precious.mp3");
    fs::write(&precious, "kept").unwrap();
    fs::create_dir(root.path().join("REAL")).unwrap();
    symlink(elsewhere.path(), root.path().join("ACC")).unwrap();
    symlink(elsewhere.path().join("DOC"), root.path().join("REAL/DOC")).unwrap();
    symlink(&precious, root.path().join("REAL/precious.mp3")).unwrap();
    symlink(elsewhere.path().join("nowhere"), root.path().join("REAL/dangling.mp3")).unwrap();
    for path in [
        "ACC/DOC/precious.mp3",
        "ACC/new/new.mp3",
        "REAL/DOC/precious.mp3",
        "REAL/DOC/new.mp3",
        "REAL/precious.mp3",
        "REAL/dangling.mp3",
    ] {
        let put = store.put(upload(path, "changed")).await.map(drop);
        let get = store.get(&key(path), None).await.map(drop);
        for result in [put, get] {
            let error = result.expect_err(path);
            assert_eq!(error.kind(), ErrorKind::Conflict, "{path}");
            assert!(error.message().contains("symbolic link"), "{error}");
            assert!(
                !error.message().contains(&*elsewhere.path().to_string_lossy()),
                "{error}"
            );
        }
    }
    assert_eq!(fs::read(&precious).unwrap(), b"kept");
    assert_eq!(tree(elsewhere.path()), ["DOC/", "DOC/precious.mp3"]);
    assert_eq!(staged(root.path()), [""; 0]);
}

#[tokio::test]
async fn ignores_a_link_in_place_of_a_sidecar() {
    let (store, root) = fresh();
    let elsewhere = tempfile::tempdir().unwrap();
    let precious = elsewhere.path().join("precious.json");
    fs::write(&precious, "kept").unwrap();
    store.put(upload("message.mp3", "content")).await.unwrap();
    let sidecar = root.path().join(".message.mp3.json");
    fs::remove_file(&sidecar).unwrap();
    symlink(&precious, &sidecar).unwrap();
    assert_eq!(store.metadata(&key("message.mp3")).await.unwrap(), None);
    let second = upload("message.mp3", "second").with_metadata(metadata("{}"));
    store.put(second).await.unwrap();
    assert_eq!(store.metadata(&key("message.mp3")).await.unwrap(), Some(metadata("{}")));
    assert_eq!(fs::read(&precious).unwrap(), b"kept");
}

#[tokio::test]
async fn refuses_special_files_without_hanging() {
    let (store, root) = fresh();
    let _socket = std::os::unix::net::UnixListener::bind(root.path().join("socket.mp3")).unwrap();
    let _other = std::os::unix::net::UnixListener::bind(root.path().join("socket")).unwrap();
    for path in ["socket.mp3", "socket/beneath"] {
        let error = store.put(upload(path, "content")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        let error = store.get(&key(path), None).await.map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    }
}
