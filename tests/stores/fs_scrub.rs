//! Scrubs of an `FsStore`: reports and quarantine.

use std::{collections::BTreeMap, fs, num::NonZeroU64, path::Path, time::Duration};

use bytes::Bytes;
use kazoo_storage::{
    BlobKey, BlobStore as _, ErrorKind, FsStore, Upload,
    store::{Damage, FsScrub, Verdict},
};
use tempfile::TempDir;

fn key(path: &str) -> BlobKey {
    BlobKey::from_path(path).unwrap()
}

async fn put(store: &FsStore, path: &str, content: Vec<u8>) {
    store.put(Upload::new(key(path), Bytes::from(content))).await.unwrap();
}

/// Creates and closes a store with one file for each verdict.
async fn site() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let store = FsStore::open(root.path()).unwrap();
    for name in ["intact", "rotten", "cut", "odd", "dated", "lost"] {
        put(&store, &format!("ACC/DOC/{name}.mp3"), vec![7; 200_000]).await;
    }
    put(&store, "OTHER/DOC/a%2Fb.mp3", Vec::new()).await;
    drop(store);
    let dir = root.path().join("ACC/DOC");
    crate::fs::media::rot(&dir.join("rotten.mp3"));
    let cut = fs::File::options().write(true).open(dir.join("cut.mp3")).unwrap();
    cut.set_len(100_000).unwrap();
    let sidecar = dir.join(".odd.mp3.json");
    let text = fs::read_to_string(&sidecar).unwrap();
    fs::write(&sidecar, text.replace("\"sha256\"", "\"sha255\"")).unwrap();
    let dated = fs::File::options().write(true).open(dir.join("dated.mp3")).unwrap();
    dated.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    fs::remove_file(dir.join("lost.mp3")).unwrap();
    fs::write(dir.join("by hand.mp3"), "ID3").unwrap();
    fs::write(root.path().join(".not ours"), "").unwrap();
    root
}

fn verdicts(scrub: &FsScrub) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let ran = scrub.run(|file| {
        let verdict = match &file.verdict {
            Verdict::Intact => "intact",
            Verdict::Unverifiable => "unverifiable",
            Verdict::Damaged(Damage::Content) => "content",
            Verdict::Damaged(Damage::Sidecar) => "sidecar",
            Verdict::Damaged(Damage::Detached) => "detached",
            Verdict::Damaged(Damage::Missing) => "missing",
            other => panic!("{}: {other:?}", file.key),
        };
        assert_eq!(found.insert(file.key.clone(), format!("{verdict} {}", file.len)), None);
    });
    ran.unwrap();
    found
}

fn expected(damaged: bool) -> BTreeMap<String, String> {
    let mut all = vec![
        ("ACC/DOC/intact.mp3", "intact 200000"),
        ("ACC/DOC/by hand.mp3", "unverifiable 3"),
        ("ACC/DOC/dated.mp3", "detached 200000"),
        ("OTHER/DOC/a%2Fb.mp3", "intact 0"),
    ];
    if damaged {
        all.extend([
            ("ACC/DOC/rotten.mp3", "content 200000"),
            ("ACC/DOC/cut.mp3", "content 100000"),
            ("ACC/DOC/odd.mp3", "sidecar 200000"),
            ("ACC/DOC/lost.mp3", "missing 0"),
        ]);
    }
    all.into_iter()
        .map(|(key, verdict)| (key.into(), verdict.into()))
        .collect()
}

#[tokio::test]
async fn reports_all_damage_and_changes_nothing() {
    let root = site().await;
    // Also beside an open store.
    let _store = FsStore::open(root.path()).unwrap();
    let found = verdicts(&FsScrub::new(root.path()));
    assert_eq!(found, expected(true).into_iter().map(shown).collect());
    assert_eq!(verdicts(&FsScrub::new(root.path())), found);
    let one = verdicts(&FsScrub::new(root.path()).prefix(key("OTHER/DOC")));
    assert_eq!(one.into_keys().collect::<Vec<_>>(), ["OTHER/DOC/a%2Fb.mp3"]);
}

/// Formats keys as paths.
fn shown((key, verdict): (String, String)) -> (String, String) {
    (key.replace(' ', "%20"), verdict)
}

#[tokio::test]
async fn moves_damaged_files_to_quarantine() {
    let root = site().await;
    let scrub = FsScrub::new(root.path()).quarantine(true);
    let store = FsStore::open(root.path()).unwrap();
    let error = scrub.run(|_| panic!("the root is open")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    drop(store);

    assert_eq!(verdicts(&scrub), expected(true).into_iter().map(shown).collect());
    let quarantine = fs::read_dir(root.path().join(".quarantine"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let names = |dir: &Path| {
        let names = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    assert_eq!(
        names(&quarantine.path().join("ACC/DOC")),
        [
            ".cut.mp3.json",
            ".lost.mp3.json",
            ".odd.mp3.json",
            ".rotten.mp3.json",
            "cut.mp3",
            "rotten.mp3"
        ]
    );
    assert_eq!(
        names(&root.path().join("ACC/DOC")),
        [
            ".dated.mp3.json",
            ".intact.mp3.json",
            "by hand.mp3",
            "dated.mp3",
            "intact.mp3",
            "odd.mp3"
        ]
    );
    let mut mended = expected(false);
    mended.insert("ACC/DOC/odd.mp3".into(), "unverifiable 200000".into());
    assert_eq!(verdicts(&scrub), mended.into_iter().map(shown).collect());

    let store = FsStore::open(root.path()).unwrap();
    for (name, is_there) in [
        ("rotten", false),
        ("cut", false),
        ("lost", false),
        ("odd", true),
        ("intact", true),
    ] {
        let found = store.head(&key(&format!("ACC/DOC/{name}.mp3"))).await;
        assert_eq!(found.is_ok(), is_there, "{name}");
    }
}

/// Files are replaced, created and deleted during the scrub.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn does_not_report_files_that_are_being_changed() {
    use kazoo_storage::BlobCatalog as _;
    let root = tempfile::tempdir().unwrap();
    let store = FsStore::options().durable(false).open(root.path()).unwrap();
    put(&store, "ACC/replaced.mp3", vec![0; 5000]).await;
    let writing = tokio::spawn(async move {
        for round in (0..=u8::MAX).cycle() {
            put(&store, "ACC/replaced.mp3", vec![round; 5000]).await;
            // This removes the directory too.
            put(&store, "ACC/DOC/new.mp3", vec![round; 10]).await;
            store.delete(&key("ACC/DOC/new.mp3")).await.unwrap();
        }
    });
    let root = root.path().to_owned();
    let scrubbing = tokio::task::spawn_blocking(move || {
        let mut intact = 0;
        while intact < 500 {
            let ran = FsScrub::new(&root).run(|file| match &file.verdict {
                Verdict::Intact => intact += 1,
                other => panic!("{}: {other:?}", file.key),
            });
            ran.unwrap();
        }
    });
    scrubbing.await.unwrap();
    assert!(!writing.is_finished(), "the uploads went on to the end");
    writing.abort();
}

#[tokio::test]
async fn refuses_a_root_that_does_not_exist() {
    let root = tempfile::tempdir().unwrap();
    let missing = root.path().join("missing");
    for quarantine in [false, true] {
        let nowhere = FsScrub::new(&missing).quarantine(quarantine).run(|_| ()).unwrap_err();
        assert_eq!(nowhere.kind(), ErrorKind::NotFound);
        // A disk that is not mounted.
        let empty = FsScrub::new(root.path())
            .quarantine(quarantine)
            .run(|_| ())
            .unwrap_err();
        assert!(empty.message().contains("mounted"), "{empty}");
    }
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    put(&FsStore::open(root.path()).unwrap(), "ACC/message.mp3", Vec::new()).await;
    for nothing in ["OTHER", "ACC/message.mp3"] {
        let scrub = FsScrub::new(root.path()).prefix(key(nothing));
        assert_eq!(scrub.run(|_| ()).unwrap_err().kind(), ErrorKind::NotFound, "{nothing}");
    }
}

#[tokio::test]
async fn keeps_the_rate() {
    let root = tempfile::tempdir().unwrap();
    let store = FsStore::options().durable(false).open(root.path()).unwrap();
    put(&store, "ACC/message.mp3", vec![0; 50_000]).await;
    let began = std::time::Instant::now();
    FsScrub::new(root.path())
        .rate(NonZeroU64::new(500_000).unwrap())
        .run(|_| ())
        .unwrap();
    assert!(began.elapsed() >= Duration::from_millis(100));
}
