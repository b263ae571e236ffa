use std::{fs, path::Path, sync::atomic::AtomicBool};

use bytes::Bytes;
use rustix::io::Errno;

use crate::store::fs::{
    FsStore, commit, delete,
    fault::{Point, arm, disarm},
    journal::SEGMENTS,
    lookup,
    sidecar::Facts,
    stage::Staged,
};
use crate::{
    error::{ErrorKind, Result},
    key::BlobKey,
    store::{BlobStore as _, Precondition, PutResult, Upload},
};

fn key(path: &str) -> BlobKey {
    BlobKey::from_path(path).unwrap()
}

/// Stores `content` on this thread.
fn put(store: &FsStore, path: &str, content: &'static str, is_long: bool) -> Result<PutResult> {
    let content = Bytes::from(content);
    let media = store.inner().stage.write(&content)?;
    commit_staged(store, path, media, (!is_long).then_some(&content))
}

fn commit_staged(store: &FsStore, path: &str, media: Staged, whole: Option<&Bytes>) -> Result<PutResult> {
    let (facts, not_cancelled) = (Facts::default(), AtomicBool::new(false));
    commit::commit(
        store.inner(),
        &key(path),
        media,
        whole,
        &facts,
        &Precondition::NONE,
        &not_cancelled,
    )
}

/// Stores `content` as a long upload, and returns the name of its staged file.
fn put_long(store: &FsStore, path: &str, content: &'static str) -> String {
    let media = store.inner().stage.write(content.as_bytes()).unwrap();
    let name = media.name().to_owned();
    commit_staged(store, path, media, None).unwrap();
    name
}

/// Retries the recovery at once.
fn retry(store: &FsStore) {
    *store.inner().recovery.tried.lock().unwrap() = None;
    store.inner().recover().unwrap();
}

fn content(store: &FsStore, path: &str) -> Result<String> {
    let found = lookup::find(store.inner(), &key(path))?;
    Ok(std::io::read_to_string(found.file).unwrap())
}

fn journal(root: &Path) -> Vec<Vec<u8>> {
    SEGMENTS
        .map(|name| fs::read(root.join(".stage").join(name)).unwrap())
        .into()
}

/// Closes the store and restores the journal to its earlier state.
fn crash(store: FsStore, root: &Path) {
    let journal = journal(root);
    drop(store);
    for (name, bytes) in SEGMENTS.iter().zip(journal) {
        fs::write(root.join(".stage").join(name), bytes).unwrap();
    }
}

const STEPS: [(Point, Errno); 6] = [
    (Point::PutSidecar, Errno::NOSPC),
    (Point::PutSidecar, Errno::ISDIR),
    (Point::PutSidecar, Errno::NAMETOOLONG),
    (Point::PutMedia, Errno::IO),
    (Point::PutMedia, Errno::ISDIR),
    (Point::PutMedia, Errno::DQUOT),
];

#[test]
fn does_not_apply_a_refused_upload() {
    for (step, errno) in STEPS {
        for (old, is_long) in [(None, false), (Some("old"), false), (None, true), (Some("old"), true)] {
            let case = format!("{step:?} {errno:?} {old:?} {is_long}");
            let root = tempfile::tempdir().unwrap();
            let store = FsStore::open(root.path()).unwrap();
            put(&store, "ACC/ONE/kept.mp3", "kept", false).unwrap();
            if let Some(old) = old {
                put(&store, "ACC/DOC/message.mp3", old, false).unwrap();
            }
            arm(step, errno);
            put(&store, "ACC/DOC/message.mp3", "refused", is_long).expect_err(&case);
            disarm();
            put(&store, "ACC/TWO/kept.mp3", "kept", false).unwrap();
            crash(store, root.path());
            for lost in ["ACC/ONE", "ACC/TWO"] {
                fs::remove_dir_all(root.path().join(lost)).unwrap();
            }
            let store = FsStore::open(root.path()).unwrap();
            assert_eq!(content(&store, "ACC/DOC/message.mp3").ok().as_deref(), old, "{case}");
            for kept in ["ACC/ONE/kept.mp3", "ACC/TWO/kept.mp3"] {
                assert_eq!(content(&store, kept).unwrap(), "kept", "{case}");
            }
            assert_eq!(store.set_aside().unwrap(), [], "{case}");
        }
    }
}

#[test]
fn does_not_apply_a_refused_deletion() {
    let root = tempfile::tempdir().unwrap();
    let store = FsStore::open(root.path()).unwrap();
    put(&store, "ACC/DOC/message.mp3", "kept", false).unwrap();
    arm(Point::Unlink, Errno::IO);
    delete::delete_all(store.inner(), &[&key("ACC/DOC/message.mp3")])
        .remove(0)
        .unwrap_err();
    disarm();
    crash(store, root.path());
    let store = FsStore::open(root.path()).unwrap();
    assert_eq!(content(&store, "ACC/DOC/message.mp3").unwrap(), "kept");
}

#[test]
fn refuses_uploads_once_a_failed_one_cannot_be_withdrawn() {
    let root = tempfile::tempdir().unwrap();
    let store = FsStore::open(root.path()).unwrap();
    arm(Point::PutMedia, Errno::IO);
    arm(Point::Withdraw, Errno::IO);
    let error = put(&store, "ACC/DOC/message.mp3", "refused", false).unwrap_err();
    disarm();
    let next = put(&store, "ACC/DOC/other.mp3", "next", false).unwrap_err();
    for error in [error, next] {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.message().contains("opened again"), "{error}");
    }
}

/// While the disk is full, the journal stays unchanged; once there is space, the store replays it.
#[test]
fn delays_the_recovery_on_a_full_disk() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for (faults, kind) in [
        (&[(Point::Write, Errno::NOSPC)][..], ErrorKind::StorageFull),
        (&[(Point::Write, Errno::DQUOT)], ErrorKind::StorageFull),
        (&[(Point::PutMedia, Errno::NOSPC)], ErrorKind::StorageFull),
        (&[(Point::Write, Errno::ROFS)], ErrorKind::Unavailable),
        (
            &[(Point::PutSidecar, Errno::IO), (Point::SetAside, Errno::IO)],
            ErrorKind::Unavailable,
        ),
    ] {
        let root = tempfile::tempdir().unwrap();
        let store = FsStore::open(root.path()).unwrap();
        put(&store, "ACC/ONE/lost.mp3", "lost", false).unwrap();
        put(&store, "ACC/TWO/long.mp3", "long", true).unwrap();
        put(&store, "ACC/TWO/there.mp3", "there", false).unwrap();
        crash(store, root.path());
        let before = journal(root.path());
        fs::remove_dir_all(root.path().join("ACC/ONE")).unwrap();

        for (point, errno) in faults {
            arm(*point, *errno);
        }
        let store = FsStore::open(root.path()).unwrap();
        disarm();
        assert_eq!(store.unrecovered().unwrap().kind(), kind, "{faults:?}");
        assert_eq!(content(&store, "ACC/TWO/there.mp3").unwrap(), "there");
        runtime.block_on(async {
            let lost = key("ACC/ONE/lost.mp3");
            let upload = Upload::new(lost.clone(), "new");
            for refused in [
                store.get(&lost, None).await.map(drop),
                store.head(&lost).await.map(drop),
                store.metadata(&lost).await.map(drop),
                store.put(upload).await.map(drop),
            ] {
                let error = refused.unwrap_err();
                assert_eq!(error.kind(), kind, "{error}");
                assert!(!error.message().contains("journal"), "{error}");
            }
            assert_eq!(journal(root.path()), before, "{faults:?}");
            retry(&store);
            store.check().await.unwrap();
            assert_eq!(store.unrecovered().map(|error| error.kind()), None);
            store.head(&lost).await.unwrap();
            store.put(Upload::new(key("ACC/DOC/next.mp3"), "next")).await.unwrap();
        });
        assert_eq!(content(&store, "ACC/ONE/lost.mp3").unwrap(), "lost");
        assert_eq!(content(&store, "ACC/TWO/long.mp3").unwrap(), "long");
        assert_eq!(store.set_aside().unwrap(), []);
    }
}

#[test]
fn keeps_staged_media_while_the_journal_cannot_be_read() {
    let root = tempfile::tempdir().unwrap();
    let store = FsStore::open(root.path()).unwrap();
    let staged = root
        .path()
        .join(".stage")
        .join(put_long(&store, "ACC/DOC/long.mp3", "long"));
    crash(store, root.path());
    fs::rename(root.path().join("ACC/DOC/long.mp3"), &staged).unwrap();

    arm(Point::ReadJournal, Errno::IO);
    let store = FsStore::open(root.path()).unwrap();
    disarm();
    assert_eq!(store.unrecovered().unwrap().kind(), ErrorKind::Unavailable);
    assert!(staged.exists());
    retry(&store);
    assert_eq!(content(&store, "ACC/DOC/long.mp3").unwrap(), "long");
}

#[test]
fn applies_the_records_after_a_damaged_length_and_sets_staged_media_aside() {
    let root = tempfile::tempdir().unwrap();
    let store = FsStore::open(root.path()).unwrap();
    put(&store, "ACC/ONE/first.mp3", "first", false).unwrap();
    let staged = put_long(&store, "ACC/TWO/long.mp3", "long");
    put(&store, "ACC/THREE/last.mp3", "last", false).unwrap();
    crash(store, root.path());
    fs::rename(
        root.path().join("ACC/TWO/long.mp3"),
        root.path().join(".stage").join(&staged),
    )
    .unwrap();
    for lost in ["ONE", "TWO", "THREE"] {
        fs::remove_dir_all(root.path().join("ACC").join(lost)).unwrap();
    }
    for name in SEGMENTS {
        let path = root.path().join(".stage").join(name);
        let mut segment = fs::read(&path).unwrap();
        let head = b"{\"key\":\"ACC/TWO";
        if let Some(at) = segment.windows(head.len()).position(|window| window == head) {
            // The length of the head, which follows the epoch.
            segment[at - 12] ^= 0x10;
            fs::write(&path, segment).unwrap();
        }
    }

    let store = FsStore::open(root.path()).unwrap();
    assert_eq!(content(&store, "ACC/ONE/first.mp3").unwrap(), "first");
    assert_eq!(content(&store, "ACC/THREE/last.mp3").unwrap(), "last");
    let set_aside = store.set_aside().unwrap();
    assert_eq!(set_aside.len(), 2, "{set_aside:?}");
    let media = root.path().join(format!(".set-aside/staged-{staged}/media"));
    assert_eq!(fs::read(media).unwrap(), b"long");
}

/// The last batch never became durable, so its uploads were not acknowledged.
#[test]
fn drops_a_torn_batch_without_a_report() {
    let root = tempfile::tempdir().unwrap();
    let store = FsStore::open(root.path()).unwrap();
    put(&store, "ACC/ONE/kept.mp3", "kept", false).unwrap();
    put(&store, "ACC/TWO/torn.mp3", "torn", false).unwrap();
    crash(store, root.path());
    for name in ["ONE", "TWO"] {
        fs::remove_dir_all(root.path().join("ACC").join(name)).unwrap();
    }
    let half = root.path().join(".stage/1-1");
    fs::write(&half, "half of an upload").unwrap();
    for name in SEGMENTS {
        let path = root.path().join(".stage").join(name);
        let mut segment = fs::read(&path).unwrap();
        let head = b"{\"key\":\"ACC/TWO";
        if let Some(at) = segment.windows(head.len()).position(|window| window == head) {
            segment[at] ^= 1;
            // A complete record of the same batch.
            let whole = segment[..at]
                .windows(b"{\"key\":\"ACC/ONE".len())
                .position(|window| window == b"{\"key\":\"ACC/ONE");
            let record = segment[whole.unwrap() - 20..at - 41].to_vec();
            segment.extend(record);
            fs::write(&path, segment).unwrap();
        }
    }
    let store = FsStore::open(root.path()).unwrap();
    assert_eq!(content(&store, "ACC/ONE/kept.mp3").unwrap(), "kept");
    assert!(content(&store, "ACC/TWO/torn.mp3").unwrap_err().is_not_found());
    assert_eq!(store.set_aside().unwrap(), []);
    assert!(!half.exists());
}
