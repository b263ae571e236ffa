//! Changes that a recovery cannot apply, and conflicting uploads.

use std::{fs, path::Path};

use kazoo_storage::{
    BlobStore as _, FsStore, Upload,
    store::{FsScrub, Verdict},
};

use super::{fresh, get, journal, key, power_cut, put, records, sealed, staged_name};

/// Records that cannot be applied because something else is at their paths.
#[tokio::test]
async fn sets_aside_changes_that_cannot_be_applied() {
    let elsewhere = tempfile::tempdir().unwrap();
    let long = vec![7; 300_000];
    let directory: &dyn Fn(&Path) = &|path| fs::create_dir(path).unwrap();
    let symlink: &dyn Fn(&Path) = &|path| std::os::unix::fs::symlink(elsewhere.path(), path).unwrap();
    let socket: &dyn Fn(&Path) = &|path| drop(std::os::unix::net::UnixListener::bind(path).unwrap());
    let file: &dyn Fn(&Path) = &|path| fs::write(path, "by hand").unwrap();
    for (at, obstruct) in [
        ("ACC/DOC/message.mp3", directory),
        ("ACC/DOC/message.mp3", symlink),
        ("ACC/DOC/message.mp3", socket),
        ("ACC/DOC/.message.mp3.json", directory),
        ("ACC/DOC", symlink),
        ("ACC/DOC", file),
        ("ACC/DOC", socket),
    ] {
        for content in [b"short".to_vec(), long.clone()] {
            let (store, root) = fresh();
            let at = root.path().join(at);
            put(&store, "OTHER/ONE/a.mp3", b"one".to_vec(), None).await;
            put(&store, "ACC/DOC/message.mp3", content.clone(), Some(r#"{"n":1}"#)).await;
            put(&store, "OTHER/TWO/b.mp3", b"two".to_vec(), None).await;
            let journal = journal(root.path());
            power_cut(store, &journal);
            let media = root.path().join("ACC/DOC/message.mp3");
            if content.len() > 1000 {
                fs::rename(&media, root.path().join(".stage").join(staged_name(&journal))).unwrap();
            }
            fs::remove_dir_all(root.path().join("OTHER")).unwrap();
            fs::remove_dir_all(root.path().join("ACC/DOC")).unwrap();
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            obstruct(&at);

            // The second time, the journal is empty, and the entries are still there.
            for _ in 0..2 {
                let store = FsStore::open(root.path()).unwrap();
                assert_eq!(get(&store, "OTHER/ONE/a.mp3").await.0, b"one");
                assert_eq!(get(&store, "OTHER/TWO/b.mp3").await.0, b"two");
                let set_aside = store.set_aside().unwrap();
                assert_eq!(set_aside.len(), 1, "{at:?}: {set_aside:?}");
                assert_eq!(set_aside[0].key, "ACC/DOC/message.mp3");
                assert!(set_aside[0].reason.contains("in the storage root"), "{set_aside:?}");
                assert!(store.unrecovered().is_none());
            }
            assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);

            let mut reported = Vec::new();
            FsScrub::new(root.path())
                .run(|file| {
                    if let Verdict::Damaged(damage) = &file.verdict {
                        reported.push(format!("{}: {damage}", file.key));
                    }
                })
                .unwrap();
            assert_eq!(reported.len(), 1, "{reported:?}");
            assert!(
                reported[0].starts_with("ACC/DOC/message.mp3: it could not be moved to its path"),
                "{reported:?}"
            );

            // The operator restores it as `about.json` describes.
            let directory = fs::read_dir(root.path().join(".set-aside"))
                .unwrap()
                .next()
                .unwrap()
                .unwrap()
                .path();
            let about: serde_json::Value =
                serde_json::from_slice(&fs::read(directory.join("about.json")).unwrap()).unwrap();
            let _ = fs::remove_file(&at).or_else(|_| fs::remove_dir(&at));
            fs::create_dir_all(root.path().join("ACC/DOC")).unwrap();
            for (from, to) in [("media", "media"), ("sidecar.json", "sidecar")] {
                let to = root.path().join(about[to].as_str().unwrap());
                fs::rename(directory.join(from), to).unwrap();
            }
            fs::remove_dir_all(directory).unwrap();
            let store = FsStore::options().verify(true).open(root.path()).unwrap();
            let pair = (content, Some(r#"{"n":1}"#.to_owned()));
            assert_eq!(get(&store, "ACC/DOC/message.mp3").await, pair);
            assert_eq!(store.set_aside().unwrap(), []);
        }
    }
}

/// Records that this version cannot interpret, between two that it can.
#[tokio::test]
async fn sets_aside_a_record_that_cannot_be_interpreted() {
    let time = r#""modified":{"secs_since_epoch":1700000000,"nanos_since_epoch":1000}"#;
    let long = "x".repeat(2000);
    let head =
        |key: &str, sidecar: &str| Some(format!(r#"{{"key":"{key}",{time},"sidecar":{sidecar},"staged":null}}"#));
    let cases = [
        (Some("no JSON".to_owned()), ""),
        (Some("{}".to_owned()), ""),
        (head("ACC/../x.mp3", "null"), "ACC/../x.mp3"),
        (head(&long, "null"), "xxx"),
        (head("ACC/DOC/y.mp3", "99999999"), "ACC/DOC/y.mp3"),
        // A damaged record.
        (None, ""),
    ];
    for (number, (rewritten, named)) in cases.into_iter().enumerate() {
        let (store, root) = fresh();
        put(&store, "ACC/ONE/a.mp3", b"one".to_vec(), None).await;
        put(&store, "ACC/BAD/message.mp3", b"bad content".to_vec(), None).await;
        put(&store, "ACC/TWO/b.mp3", b"two".to_vec(), None).await;
        let mut journal = journal(root.path());
        let segment = journal
            .iter_mut()
            .map(|(_, text)| text)
            .find(|text| !text.is_empty())
            .unwrap();
        let mut records = records(segment);
        // Each is in a separate batch, which begins with a mark.
        assert_eq!(records.len(), 6);
        let broken = rewritten.is_none();
        records[3].0 = rewritten.unwrap_or_else(|| records[3].0.clone());
        *segment = sealed(segment, &records, broken.then_some(3));
        power_cut(store, &journal);
        fs::remove_dir_all(root.path().join("ACC")).unwrap();
        let store = FsStore::open(root.path()).unwrap();
        assert_eq!(get(&store, "ACC/ONE/a.mp3").await.0, b"one", "{number}");
        assert_eq!(get(&store, "ACC/TWO/b.mp3").await.0, b"two", "{number}");
        let set_aside = store.set_aside().unwrap();
        assert_eq!(set_aside.len(), 1, "{number}");
        assert!(set_aside[0].key.starts_with(named), "{number}: {set_aside:?}");
        let directory = root.path().join(&set_aside[0].directory);
        let kept: Vec<u8> = ["media", "record"]
            .iter()
            .filter_map(|name| fs::read(directory.join(name)).ok())
            .flatten()
            .collect();
        let kept = String::from_utf8_lossy(&kept).into_owned();
        assert!(kept.contains("bad content"), "{number}: {kept}");
    }
}

/// Uploads whose paths conflict with each other or with other files, until a crash: acknowledged ones exist afterwards,
/// refused ones do not.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keeps_exactly_the_acknowledged_ones_of_conflicting_uploads() {
    for round in 0..5 {
        let (store, root) = fresh();
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        // Appears and disappears at the path of a file and of a sidecar.
        let meddler = std::thread::spawn({
            let (stop, dir) = (std::sync::Arc::clone(&stop), root.path().join("ACC"));
            move || {
                fs::create_dir_all(&dir).unwrap();
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    for name in ["m.mp3", ".s.mp3.json"] {
                        let _ = fs::create_dir(dir.join(name));
                        let _ = fs::remove_dir(dir.join(name));
                    }
                }
            }
        });
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..40 {
            for path in ["ACC/x", "ACC/x/y", "ACC/m.mp3", "ACC/s.mp3", "x.1/y", "x.1"] {
                let path = match number % 2 {
                    0 => path.to_owned(),
                    _ => format!("{path}{number}"),
                };
                let (store, content) = (store.clone(), format!("{path} {number} {round}"));
                tasks.spawn(async move {
                    let upload = Upload::new(key(&path), content.clone());
                    (path, content, store.put(upload).await.is_ok())
                });
            }
        }
        let done = tasks.join_all().await;
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        meddler.join().unwrap();
        let journal = journal(root.path());
        power_cut(store, &journal);
        for name in ["ACC", "x.1%dir"] {
            fs::remove_dir_all(root.path().join(name)).unwrap();
        }
        let _ = fs::remove_file(root.path().join("x.1"));
        let store = FsStore::open(root.path()).unwrap();
        assert_eq!(store.set_aside().unwrap(), []);
        let paths: std::collections::BTreeSet<&str> = done.iter().map(|(path, ..)| path.as_str()).collect();
        for path in paths {
            let of = |wanted: bool| -> Vec<&[u8]> {
                let outcomes = done.iter().filter(|(other, _, ok)| other == path && *ok == wanted);
                outcomes.map(|(_, content, _)| content.as_bytes()).collect()
            };
            match store.head(&key(path)).await {
                Ok(_) => {
                    let (found, _) = get(&store, path).await;
                    assert!(
                        of(true).contains(&&*found),
                        "{path}: {}",
                        String::from_utf8_lossy(&found)
                    );
                }
                Err(error) => {
                    assert!(error.is_not_found(), "{error}");
                    assert_eq!(of(true), [b""; 0], "{path} was acknowledged");
                }
            }
        }
    }
}
