//! Commits an upload: a staged file becomes the content of a key, completely or not at all.
//!
//! Two files change, the media and its sidecar, and only one rename is atomic. So the sidecar comes first. That of a
//! replacement is moved to its path and describes both contents: its main entry the new one, its `previous` entry the
//! one that is still in place. Each entry names its version. The rename of the media is then the single instant at which
//! the pair changes: a reader that has opened either content finds that content's entry, at any time and after a crash
//! at any time.
//!
//! No reader opens a sidecar without media, so the sidecar of a new key is written at its path. A move would contend for
//! the staging directory with every other upload. The write comes after the record in the journal, from which a recovery
//! completes it. A partial sidecar that stays never has uploaded media beside it.
//!
//! The journal, if the store has one, holds the sidecar, and the media or the name of the staged media, before either is
//! at its path. So a recovery can finish the commit.
//!
//! Every upload has a sidecar, which stays until the file is deleted. So a reader that opens media and then finds no
//! sidecar knows that the media was either not uploaded, or deleted meanwhile.

use std::{
    fs::File,
    io::{self, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use bytes::Bytes;
use rustix::{fs::AtFlags, io::Errno};

use super::{
    Inner,
    error::failed,
    fault::{self, Point},
    journal::{Change, Content},
    lookup,
    name::KeyPath,
    sidecar::{self, Facts},
    stage::{self, Stage, Staged},
    tree,
    version::Version,
};
use crate::{
    error::{Error, ErrorKind, Result},
    key::BlobKey,
    store::{Precondition, PutResult},
};

/// The number of attempts of a commit whose directories are removed by another process.
const ATTEMPTS: usize = 16;

/// Makes `media` the content of `key`, with these `facts`. Blocks.
///
/// `whole` is the complete content if it is short enough for the journal. Commits of one key run one after the other. A
/// commit has no effect if the replaced file, or its absence, does not meet the `precondition`, or once `cancelled` is
/// set: the caller of a dropped upload may then store something else under the key.
pub(super) fn commit(
    store: &Inner,
    key: &BlobKey,
    mut media: Staged,
    whole: Option<&Bytes>,
    facts: &Facts,
    precondition: &Precondition,
    cancelled: &AtomicBool,
) -> Result<PutResult> {
    let path = KeyPath::of(key);
    let _turn = store.locks.lock(key);
    let attempts = (0..ATTEMPTS).map(|_| replace(store, &path, &mut media, whole, facts, precondition, cancelled));
    let mut settled = attempts.filter(|stored| !stored.as_ref().is_err_and(tree::is_gone));
    let stored = settled.next().unwrap_or_else(|| {
        let message =
            "the file could not be stored: another process keeps removing or creating the directories of its path";
        Err(Error::new(ErrorKind::Unavailable, message))
    });
    if stored.is_err() {
        // Removes directories that were made for it. A failure only leaves empty directories.
        let _ = store.tree.prune(&path);
    }
    stored
}

fn replace(
    store: &Inner,
    path: &KeyPath<'_>,
    media: &mut Staged,
    whole: Option<&Bytes>,
    facts: &Facts,
    precondition: &Precondition,
    cancelled: &AtomicBool,
) -> Result<PutResult> {
    let (dir, made) = store.tree.make(path)?;
    let current = if made { None } else { lookup::current(path, &dir)? };
    if !precondition.is_unconditional() {
        let info = current
            .as_ref()
            .map(|(version, facts)| lookup::info(path.key, *version, facts));
        precondition.check(info.as_ref())?;
    }
    let stamp = Version::successor(current.as_ref().map(|(version, _)| *version), SystemTime::now());
    let write_failed = |error| failed("write an upload", error);
    media.file().set_modified(stamp).map_err(write_failed)?;
    let stat = media.file().metadata().map_err(write_failed)?;
    let version = Version::of(&stat).map_err(write_failed)?;

    let previous = current.as_ref().map(|(version, facts)| (*version, facts));
    let text = Bytes::from(sidecar::write(version, facts, previous)?);
    let staged = current.is_some().then(|| store.stage.write(&text)).transpose()?;
    let content = match whole {
        Some(whole) => Content::Whole(whole.clone()),
        None => Content::Staged(media.name().to_owned()),
    };
    if let Some(journal) = store.journal().filter(|_| whole.is_none()) {
        journal.sync_outside(|| media.sync().and_then(|()| store.stage.sync()))?;
    }
    if cancelled.load(Ordering::Acquire) {
        return Err(Error::new(ErrorKind::IncompleteBody, "the upload was cancelled"));
    }
    let change = Change {
        key: path.key,
        modified: version.modified,
        content,
        sidecar: Some(text.clone()),
    };
    // Held until the pair is in place.
    let unapplied = store.journal().map(|journal| journal.append(&change)).transpose()?;
    let put = match staged {
        Some(mut staged) => put_sidecar(&dir, path, &mut staged),
        None => write_sidecar(&store.stage, &dir, path, &text),
    };
    let put = put.and_then(|()| {
        put_media(&dir, path, media).inspect_err(|_| {
            if current.is_none() {
                remove_sidecar(&dir, path);
            }
        })
    });
    if let Err(error) = put {
        return Err(match unapplied {
            Some(unapplied) => unapplied.withdraw(error),
            None => error,
        });
    }
    Ok(if current.is_some() {
        PutResult::Replaced
    } else {
        PutResult::Created
    })
}

/// Writes the sidecar of a key without media. Moves it to its path if something is there.
fn write_sidecar(stage: &Arc<Stage>, dir: &File, path: &KeyPath<'_>, text: &[u8]) -> Result<()> {
    match stage::create_new(dir, &path.sidecar()) {
        Ok(file) => fault::at(Point::PutSidecar)
            .map_err(io::Error::from)
            .and_then(|()| (&file).write_all(text))
            .map_err(|error| failed("write a sidecar", error))
            .inspect_err(|_| remove_sidecar(dir, path)),
        // An upload that was interrupted, or the operator, left it.
        Err(Errno::EXIST) => put_sidecar(dir, path, &mut stage.write(text)?),
        Err(errno) => Err(failed("create a sidecar", errno)),
    }
}

/// Removes the sidecar that this upload has put at its path: it describes nothing.
fn remove_sidecar(dir: &File, path: &KeyPath<'_>) {
    // If this fails, the next upload replaces it.
    let _ = rustix::fs::unlinkat(dir, path.sidecar(), AtFlags::empty());
}

/// Moves the sidecar to its path.
pub(super) fn put_sidecar(dir: &File, path: &KeyPath<'_>, sidecar: &mut Staged) -> Result<()> {
    let moved = fault::at(Point::PutSidecar).and_then(|()| sidecar.move_to(dir, &path.sidecar()));
    moved.map_err(|errno| move_failed("move a sidecar to its path", errno))
}

/// Moves the media to its path: the instant at which the key changes.
pub(super) fn put_media(dir: &File, path: &KeyPath<'_>, media: &mut Staged) -> Result<()> {
    let moved = fault::at(Point::PutMedia).and_then(|()| media.move_to(dir, &path.file));
    moved.map_err(|errno| move_failed("move an upload to its path", errno))
}

fn move_failed(action: &'static str, errno: Errno) -> Error {
    match errno {
        // A directory was created after the check; the next attempt reports it.
        Errno::ISDIR => tree::directory_removed(),
        errno => failed(action, errno),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::{metadata::Metadata, store::fs::FsStore};

    const ANY: Precondition = Precondition::NONE;

    fn key() -> BlobKey {
        BlobKey::from_path("ACC/DOC/message.mp3").unwrap()
    }

    fn staged(store: &Inner, content: &str) -> Staged {
        let mut media = store.stage.create().unwrap();
        media.write(content.as_bytes()).unwrap();
        media
    }

    fn facts(json: Option<&'static str>) -> Facts {
        Facts {
            digest: None,
            content_type: None,
            metadata: json.map(|json| Metadata::from_json(json).unwrap()),
        }
    }

    fn upload(store: &Inner, media: Staged, json: Option<&'static str>) -> Result<PutResult> {
        let not_cancelled = AtomicBool::new(false);
        commit(store, &key(), media, None, &facts(json), &ANY, &not_cancelled)
    }

    fn pair(store: &Inner) -> (String, Option<String>) {
        use std::io::Read as _;
        let found = lookup::find(store, &key()).unwrap();
        let mut content = String::new();
        (&found.file).read_to_string(&mut content).unwrap();
        let metadata = found
            .facts
            .metadata
            .map(|metadata| String::from_utf8(metadata.as_json().to_vec()).unwrap());
        (content, metadata)
    }

    fn store(root: &std::path::Path) -> FsStore {
        FsStore::options().durable(false).open(root).unwrap()
    }

    /// Checks the pair that a reader finds after each step of a commit.
    fn assert_readers_see_whole_pairs(old: Option<&'static str>, new: Option<&'static str>) {
        let root = tempfile::tempdir().unwrap();
        let live = store(root.path());
        let store = live.inner();
        upload(store, staged(store, "old"), old).unwrap();
        let old_pair = ("old".to_owned(), old.map(str::to_owned));
        assert_eq!(pair(store), old_pair);

        let key = key();
        let path = KeyPath::of(&key);
        let (dir, _) = store.tree.make(&path).unwrap();
        let (version, known) = lookup::current(&path, &dir).unwrap().unwrap();
        let mut media = staged(store, "new");
        media
            .file()
            .set_modified(Version::successor(Some(version), SystemTime::now()))
            .unwrap();
        let next = Version::of(&media.file().metadata().unwrap()).unwrap();
        let new_facts = facts(new);
        let mut sidecar = store.stage.create().unwrap();
        let text = sidecar::write(next, &new_facts, Some((version, &known))).unwrap();
        sidecar.write(&text).unwrap();
        assert_eq!(pair(store), old_pair, "everything is staged, nothing is moved");
        put_sidecar(&dir, &path, &mut sidecar).unwrap();
        assert_eq!(pair(store), old_pair, "the sidecar is moved, the media is not");
        // The client retries after such a crash. The retry still replaces the old content with its own facts.
        let again = lookup::current(&path, &dir).unwrap().unwrap();
        assert_eq!(again.0, version);
        assert_eq!(again.1.metadata, known.metadata);
        put_media(&dir, &path, &mut media).unwrap();
        assert_eq!(pair(store), ("new".to_owned(), new.map(str::to_owned)));
    }

    #[test]
    fn a_crash_at_any_step_leaves_a_whole_pair() {
        let (first, second) = (r#"{"n":1}"#, r#"{"n":2}"#);
        assert_readers_see_whole_pairs(Some(first), Some(second));
        assert_readers_see_whole_pairs(Some(first), None);
        assert_readers_see_whole_pairs(None, Some(second));
        assert_readers_see_whole_pairs(None, None);
    }

    #[test]
    fn a_first_upload_is_absent_if_a_crash_comes_before_its_media_is_moved() {
        let root = tempfile::tempdir().unwrap();
        let (live, key) = (store(root.path()), key());
        let store = live.inner();
        let path = KeyPath::of(&key);
        let (dir, _) = store.tree.make(&path).unwrap();
        let media = staged(store, "new");
        let version = Version::of(&media.file().metadata().unwrap()).unwrap();
        let mut sidecar = store.stage.create().unwrap();
        let text = sidecar::write(version, &facts(Some(r#"{"n":1}"#)), None).unwrap();
        sidecar.write(&text).unwrap();
        put_sidecar(&dir, &path, &mut sidecar).unwrap();
        drop(media);
        assert!(lookup::find(store, &key).unwrap_err().is_not_found());
        // The next upload has no metadata, and does not get that of the first one.
        upload(store, staged(store, "raw"), None).unwrap();
        assert_eq!(pair(store), ("raw".to_owned(), None));
    }

    #[test]
    fn stages_only_the_media_of_a_new_key() {
        let root = tempfile::tempdir().unwrap();
        let live = store(root.path());
        let store = live.inner();
        let next = |staged: &Staged| staged.name().rsplit_once('-').unwrap().1.parse::<u64>().unwrap() + 1;
        for (content, sidecars) in [("new", 0), ("replaced", 1)] {
            let media = staged(store, content);
            let expected = next(&media) + sidecars;
            upload(store, media, None).unwrap();
            assert_eq!(next(&store.stage.create().unwrap()), expected + 1, "{content}");
        }
    }

    #[test]
    fn a_first_upload_replaces_what_is_at_the_path_of_its_sidecar() {
        use std::{fs, os::unix::fs::symlink};
        let root = tempfile::tempdir().unwrap();
        let live = store(root.path());
        let store = live.inner();
        let (dir, other) = (root.path().join("ACC/DOC"), root.path().join("other"));
        let sidecar = dir.join(".message.mp3.json");
        fs::create_dir_all(&dir).unwrap();
        fs::write(&other, "kept").unwrap();
        let half = "{\n  \"version\": \"17".to_owned() + &"7".repeat(1000);
        for leave in [&|| fs::write(&sidecar, &half), &|| symlink(&other, &sidecar)] as [&dyn Fn() -> _; 2] {
            leave().unwrap();
            assert!(lookup::find(store, &key()).unwrap_err().is_not_found());
            upload(store, staged(store, "new"), Some(r#"{"n":1}"#)).unwrap();
            assert_eq!(pair(store), ("new".to_owned(), Some(r#"{"n":1}"#.to_owned())));
            assert_eq!(fs::read_to_string(&other).unwrap(), "kept");
            assert!(fs::symlink_metadata(&sidecar).unwrap().is_file());
            fs::remove_file(dir.join("message.mp3")).unwrap();
            fs::remove_file(&sidecar).unwrap();
        }
    }

    #[test]
    fn removes_a_sidecar_that_could_not_be_written() {
        let root = tempfile::tempdir().unwrap();
        let live = store(root.path());
        let store = live.inner();
        let media = staged(store, "new");
        fault::arm(Point::PutSidecar, Errno::NOSPC);
        let stored = upload(store, media, None);
        fault::disarm();
        assert_eq!(stored.unwrap_err().kind(), ErrorKind::StorageFull);
        assert!(!root.path().join("ACC").exists(), "the directories are removed too");
    }

    #[test]
    fn keeps_a_sidecar_that_it_could_not_replace() {
        let root = tempfile::tempdir().unwrap();
        let live = store(root.path());
        let (store, sidecar) = (live.inner(), root.path().join("ACC/DOC/.message.mp3.json"));
        std::fs::create_dir_all(sidecar.parent().unwrap()).unwrap();
        std::fs::write(&sidecar, "restored").unwrap();
        for point in [Point::Write, Point::PutSidecar] {
            let media = staged(store, "new");
            fault::arm(point, Errno::NOSPC);
            let stored = upload(store, media, None);
            fault::disarm();
            assert_eq!(stored.unwrap_err().kind(), ErrorKind::StorageFull);
            assert_eq!(std::fs::read_to_string(&sidecar).unwrap(), "restored", "{point:?}");
        }
    }

    #[test]
    fn removes_the_sidecar_if_its_media_cannot_be_moved() {
        let root = tempfile::tempdir().unwrap();
        let live = store(root.path());
        let store = live.inner();
        let media = staged(store, "new");
        // Makes the move of the media fail.
        std::fs::remove_file(root.path().join(".stage").join(media.name())).unwrap();
        upload(store, media, Some(r#"{"n":1}"#)).unwrap_err();
        assert!(!root.path().join("ACC").exists(), "the directories are removed too");
    }

    #[test]
    fn does_not_commit_a_cancelled_upload() {
        let root = tempfile::tempdir().unwrap();
        let live = store(root.path());
        let store = live.inner();
        let media = staged(store, "late");
        commit(store, &key(), media, None, &facts(None), &ANY, &AtomicBool::new(true)).unwrap_err();
        assert!(lookup::find(store, &key()).unwrap_err().is_not_found());
    }
}
