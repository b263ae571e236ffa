//! The commit of an upload: how a staged file becomes the content of a key, whole or not at all.
//!
//! Two files change, the media and its sidecar, and only one rename is atomic. So the sidecar goes first and speaks
//! of both contents: its main entry is about the new one, its `previous` entry about the one still in place, and each
//! names the version it is about. The rename of the media then is the one instant at which the pair changes: a
//! reader that has opened either content finds that content's entry, at any time and after a crash at any time.
//!
//! Before the two are moved, the journal has both: after a crash it puts into place whatever is not.
//!
//! Every upload has a sidecar, and it stays until the file is deleted. So a reader that opens a content and then finds no
//! sidecar knows that no upload put that content there, unless the content is gone too.

use std::{
    fs::File,
    sync::atomic::{AtomicBool, Ordering},
    time::SystemTime,
};

use bytes::Bytes;
use rustix::{fs::AtFlags, io::Errno};

use super::{
    Inner,
    error::failed,
    fault::{self, Point},
    journal::{Change, Content},
    name::KeyPath,
    read,
    sidecar::{self, Facts},
    stage::Staged,
    tree::{self, Found},
    version::Version,
};
use crate::{
    error::{Error, ErrorKind, Result},
    key::BlobKey,
    store::{Precondition, Stored},
};

/// How often a commit starts over because a directory it uses was removed under it.
const ATTEMPTS: usize = 16;

/// Makes `media` the content of `key`, with these `facts`. Blocks.
///
/// `whole` is the complete content if it is short enough for the journal too. The commit has no effect unless the
/// replaced file, or its absence, meets the `precondition`: no other commit comes in between. It has none either once
/// `given_up` is set: whoever sets it can store something else under the key at once, and this does not replace it
/// later.
pub(super) fn commit(
    store: &Inner,
    key: &BlobKey,
    mut media: Staged,
    whole: Option<&Bytes>,
    facts: &Facts,
    precondition: &Precondition,
    given_up: &AtomicBool,
) -> Result<Stored> {
    let path = KeyPath::of(key);
    let _turn = store.locks.lock(key);
    let attempts = (0..ATTEMPTS).map(|_| replace(store, &path, &mut media, whole, facts, precondition, given_up));
    let mut settled = attempts.filter(|stored| !stored.as_ref().is_err_and(tree::is_gone));
    let stored = settled.next().unwrap_or_else(|| {
        let message =
            "the file could not be stored: another process keeps removing or making the directories it goes into";
        Err(Error::new(ErrorKind::Unavailable, message))
    });
    if stored.is_err() {
        // Empty directories, such as those that were made for it. Nobody can be told of a failure.
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
    given_up: &AtomicBool,
) -> Result<Stored> {
    let (dir, made) = store.tree.make(path)?;
    let old = if made { Old::default() } else { Old::look(path, &dir)? };
    if !precondition.is_unconditional() {
        let current = old.content.as_ref();
        let current = current.map(|(version, facts)| super::read::info(path.key, *version, facts));
        precondition.check(current.as_ref())?;
    }
    let stamp = Version::successor(old.content.as_ref().map(|(version, _)| *version), SystemTime::now());
    let unstaged = |error| failed("write an upload", error);
    media.file().set_modified(stamp).map_err(unstaged)?;
    let stat = media.file().metadata().map_err(unstaged)?;
    let version = Version::of(&stat).map_err(unstaged)?;

    let previous = old.content.as_ref().map(|(version, facts)| (*version, facts));
    let text = Bytes::from(sidecar::write(version, facts, previous)?);
    let mut sidecar = store.stage.create()?;
    sidecar.write(&text)?;
    let content = match whole {
        Some(whole) => Content::Whole(whole.clone()),
        None => Content::Staged(media.name().to_owned()),
    };
    if let Some(journal) = store.journal().filter(|_| whole.is_none()) {
        journal.sync_besides(|| media.sync().and_then(|()| store.stage.sync()))?;
    }
    if given_up.load(Ordering::Acquire) {
        return Err(Error::new(ErrorKind::IncompleteBody, "the upload was given up"));
    }
    let change = Change {
        key: path.key,
        modified: version.modified,
        content,
        sidecar: Some(text),
    };
    // Kept until the pair is in its place.
    let unapplied = store.journal().map(|journal| journal.append(&change)).transpose()?;
    let placed = put_sidecar(&dir, path, &mut sidecar).and_then(|()| put_media(&dir, path, media));
    if let Err(error) = placed {
        if old.content.is_none() {
            // It is about nothing. Nobody can be told of a failure, and the next upload writes over it.
            let _ = rustix::fs::unlinkat(&*dir, path.sidecar(), AtFlags::empty());
        }
        return Err(match unapplied {
            Some(unapplied) => unapplied.withdraw(error),
            None => error,
        });
    }
    Ok(if old.content.is_some() {
        Stored::Replaced
    } else {
        Stored::Created
    })
}

pub(super) fn put_sidecar(dir: &File, path: &KeyPath<'_>, sidecar: &mut Staged) -> Result<()> {
    let moved = fault::at(Point::PutSidecar).and_then(|()| sidecar.move_to(dir, &path.sidecar()));
    moved.map_err(|errno| unplaced("move a sidecar to its place", errno))
}

/// The one instant at which the key changes.
pub(super) fn put_media(dir: &File, path: &KeyPath<'_>, media: &mut Staged) -> Result<()> {
    let moved = fault::at(Point::PutMedia).and_then(|()| media.move_to(dir, &path.file));
    moved.map_err(|errno| unplaced("move an upload to its place", errno))
}

fn unplaced(do_what: &'static str, errno: Errno) -> Error {
    match errno {
        // A directory was created after the check; the next attempt reports it.
        Errno::ISDIR => tree::gone(),
        errno => failed(do_what, errno),
    }
}

/// What a commit finds under its key.
#[derive(Default)]
pub(super) struct Old {
    pub(super) content: Option<(Version, Facts)>,
}

impl Old {
    pub(super) fn look(path: &KeyPath<'_>, dir: &File) -> Result<Self> {
        let version = match tree::open(dir, &path.file)? {
            Found::Absent => None,
            Found::File(_, stat) => {
                Some(Version::of(&stat).map_err(|error| failed("look at what is stored already", error))?)
            }
            found => return Err(found.blocks(path.len())),
        };
        let sidecar = match tree::open(dir, &path.sidecar())? {
            // Everything else is replaced.
            found @ Found::Directory(_) => {
                return Err(found.blocks(path.len()));
            }
            found => read::sidecar(found)?,
        };
        let content = version.map(|version| {
            let facts = sidecar.as_deref().and_then(|text| sidecar::read(text, version));
            (version, facts.unwrap_or_default())
        });
        Ok(Self { content })
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

    fn pair(store: &Inner) -> (String, Option<String>) {
        use std::io::Read as _;
        let found = super::super::read::find(store, &key()).unwrap();
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

    /// A commit that a crash stops after the sidecar is in place, and one that it does not stop.
    fn every_reader_sees_a_whole_pair(old: Option<&'static str>, new: Option<&'static str>) {
        let root = tempfile::tempdir().unwrap();
        let (live, still) = (store(root.path()), AtomicBool::new(false));
        let store = live.inner();
        commit(store, &key(), staged(store, "old"), None, &facts(old), &ANY, &still).unwrap();
        let old_pair = ("old".to_owned(), old.map(str::to_owned));
        assert_eq!(pair(store), old_pair);

        let key = key();
        let path = KeyPath::of(&key);
        let (dir, _) = store.tree.make(&path).unwrap();
        let before = Old::look(&path, &dir).unwrap();
        let (version, known) = before.content.unwrap();
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
        assert_eq!(pair(store), old_pair, "all is staged, nothing is moved");
        put_sidecar(&dir, &path, &mut sidecar).unwrap();
        assert_eq!(pair(store), old_pair, "the sidecar is moved, the media is not");
        // The client sends the upload again after such a crash: what that upload then replaces is still the old
        // content with its own facts.
        let again = Old::look(&path, &dir).unwrap().content.unwrap();
        assert_eq!(again.0, version);
        assert_eq!(again.1.metadata, known.metadata);
        put_media(&dir, &path, &mut media).unwrap();
        assert_eq!(pair(store), ("new".to_owned(), new.map(str::to_owned)));
    }

    #[test]
    fn a_crash_at_any_step_leaves_a_whole_pair() {
        let (first, second) = (r#"{"n":1}"#, r#"{"n":2}"#);
        every_reader_sees_a_whole_pair(Some(first), Some(second));
        every_reader_sees_a_whole_pair(Some(first), None);
        every_reader_sees_a_whole_pair(None, Some(second));
        every_reader_sees_a_whole_pair(None, None);
    }

    #[test]
    fn a_first_upload_that_crashed_before_its_media_was_moved_is_absent() {
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
        assert!(super::super::read::find(store, &key).unwrap_err().is_not_found());
        // And the next upload, which brings no metadata, is not given that of the one before.
        let still = AtomicBool::new(false);
        commit(store, &key, staged(store, "raw"), None, &facts(None), &ANY, &still).unwrap();
        assert_eq!(pair(store), ("raw".to_owned(), None));
    }

    #[test]
    fn a_sidecar_does_not_stay_without_its_media() {
        let root = tempfile::tempdir().unwrap();
        let (live, still) = (store(root.path()), AtomicBool::new(false));
        let store = live.inner();
        let media = staged(store, "new");
        // So that it cannot be moved.
        std::fs::remove_file(root.path().join(".stage").join(media.name())).unwrap();
        commit(store, &key(), media, None, &facts(Some(r#"{"n":1}"#)), &ANY, &still).unwrap_err();
        assert!(!root.path().join("ACC").exists(), "nor do its directories");
    }

    #[test]
    fn an_upload_that_was_given_up_does_not_commit() {
        let root = tempfile::tempdir().unwrap();
        let live = store(root.path());
        let store = live.inner();
        let media = staged(store, "late");
        commit(store, &key(), media, None, &facts(None), &ANY, &AtomicBool::new(true)).unwrap_err();
        assert!(super::super::read::find(store, &key()).unwrap_err().is_not_found());
    }
}
