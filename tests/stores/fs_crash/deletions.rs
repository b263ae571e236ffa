//! Deletions, before and after a crash.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use kazoo_storage::{BlobCatalog as _, BlobStore as _, FsStore};

use super::{fresh, get, journal, key, power_cut, put};

#[tokio::test]
async fn keeps_deleted_files_deleted() {
    let root = tempfile::tempdir().unwrap();
    let store = FsStore::open(root.path()).unwrap();
    let long = vec![7; 200_000];
    put(&store, "ACC/short/a.mp3", b"short".to_vec(), Some(r#"{"n":1}"#)).await;
    put(&store, "ACC/long/a.mp3", long.clone(), Some(r#"{"n":1}"#)).await;
    put(&store, "ACC/again/a.mp3", b"old".to_vec(), Some(r#"{"n":1}"#)).await;
    put(&store, "ACC/parent", b"file".to_vec(), None).await;
    put(&store, "ACC/other/a.mp3", b"other".to_vec(), Some(r#"{"n":2}"#)).await;
    for path in ["ACC/short/a.mp3", "ACC/long/a.mp3", "ACC/again/a.mp3", "ACC/parent"] {
        store.delete(&key(path)).await.unwrap();
    }
    assert!(!root.path().join("ACC/short").exists(), "no empty directory is left");
    put(&store, "ACC/again/a.mp3", b"new".to_vec(), None).await;
    put(&store, "ACC/parent/child.mp3", b"child".to_vec(), None).await;
    let journal = journal(root.path());
    power_cut(store, &journal);
    // The deletions were not written to the disk, so the files reappear.
    fs::create_dir_all(root.path().join("ACC/short")).unwrap();
    fs::create_dir_all(root.path().join("ACC/long")).unwrap();
    fs::write(root.path().join("ACC/short/a.mp3"), "short").unwrap();
    fs::write(root.path().join("ACC/long/a.mp3"), &long).unwrap();
    let past = SystemTime::now() - Duration::from_secs(3600);
    for path in ["ACC/short/a.mp3", "ACC/long/a.mp3"] {
        fs::File::open(root.path().join(path))
            .unwrap()
            .set_modified(past)
            .unwrap();
    }

    let store = FsStore::open(root.path()).unwrap();
    for path in ["ACC/short/a.mp3", "ACC/long/a.mp3", "ACC/parent"] {
        assert!(store.head(&key(path)).await.unwrap_err().is_not_found(), "{path}");
    }
    assert_eq!(get(&store, "ACC/again/a.mp3").await, (b"new".to_vec(), None));
    assert_eq!(get(&store, "ACC/parent/child.mp3").await, (b"child".to_vec(), None));
    let other = (b"other".to_vec(), Some(r#"{"n":2}"#.to_owned()));
    assert_eq!(get(&store, "ACC/other/a.mp3").await, other);
    assert!(!root.path().join("ACC/short").exists());
}

#[tokio::test]
async fn opens_whatever_part_of_a_deletion_is_on_the_disk() {
    let past = SystemTime::now() - Duration::from_secs(3600);
    let old_file = |path: PathBuf| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "old").unwrap();
        fs::File::open(&path).unwrap().set_modified(past).unwrap();
    };
    // The deleted file, the file stored then, the state of the disk, and whether that stays.
    for (deleted, stored, on_disk, stays) in [
        ("a/b", Some("a"), "a/b%file", false),
        ("a", Some("a/b"), "a%file", false),
        ("a", None, "a%file", false),
        ("a", None, "a/x%file", true),
        ("a/b", None, "a%file", true),
        // Something that another program put there.
        ("a/b", None, "a", true),
        ("a.b", None, "a.b/c", true),
    ] {
        let case = format!("{deleted}, {stored:?}, {on_disk}");
        let (store, root) = fresh();
        put(&store, deleted, b"old".to_vec(), Some(r#"{"n":1}"#)).await;
        store.delete(&key(deleted)).await.unwrap();
        if let Some(stored) = stored {
            put(&store, stored, b"new".to_vec(), None).await;
        }
        let journal = journal(root.path());
        power_cut(store, &journal);
        for name in ["a%file", ".a%file.json"] {
            let _ = fs::remove_file(root.path().join(name));
        }
        let _ = fs::remove_dir_all(root.path().join("a"));
        old_file(root.path().join(on_disk));
        let store = FsStore::open(root.path()).expect(&case);
        let found = store.head(&key(deleted)).await;
        assert!(found.is_err_and(|error| error.is_not_found()), "{case}");
        if let Some(stored) = stored {
            assert_eq!(get(&store, stored).await, (b"new".to_vec(), None), "{case}");
        }
        assert_eq!(root.path().join(on_disk).exists(), stays, "{case}");
    }
}

#[tokio::test]
async fn deletes_the_sidecar_of_media_that_was_removed() {
    let (store, root) = fresh();
    put(&store, "a.mp3", b"content".to_vec(), Some(r#"{"n":1}"#)).await;
    fs::remove_file(root.path().join("a.mp3")).unwrap();
    store.delete(&key("a.mp3")).await.unwrap();
    assert!(!root.path().join(".a.mp3.json").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shows_a_file_with_its_metadata_or_not_at_all_during_a_deletion() {
    let root = tempfile::tempdir().unwrap();
    let store = FsStore::options().durable(false).open(root.path()).unwrap();
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for _ in 0..600 {
                put(&store, "ACC/a.mp3", b"content".to_vec(), Some(r#"{"n":1}"#)).await;
                store.delete(&key("ACC/a.mp3")).await.unwrap();
            }
        }
    });
    let mut found = 0;
    while !writer.is_finished() {
        match store.metadata(&key("ACC/a.mp3")).await {
            Ok(metadata) => {
                assert!(metadata.is_some(), "the file has always had metadata");
                found += 1;
            }
            Err(error) => assert!(error.is_not_found(), "{error:?}"),
        }
    }
    writer.await.unwrap();
    assert!(found > 10, "{found}");
}

/// The directory is removed with its last file while uploads create files in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tolerates_uploads_and_deletions_in_one_directory() {
    let root = tempfile::tempdir().unwrap();
    let store = FsStore::options().durable(false).open(root.path()).unwrap();
    let tasks: Vec<_> = (0..4)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                let path = format!("ACC/DOC/{number}.mp3");
                for round in 0..200 {
                    let content = format!("{number} {round}").into_bytes();
                    put(&store, &path, content.clone(), None).await;
                    assert_eq!(get(&store, &path).await, (content, None));
                    store.delete(&key(&path)).await.unwrap();
                    assert!(store.head(&key(&path)).await.unwrap_err().is_not_found());
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}
