//! Applies the changes of a journal again.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::Arc,
    time::SystemTime,
};

use rustix::io::Errno;

use crate::{
    error::{Error, ErrorKind, Result},
    key::BlobKey,
    store::fs::{
        commit, delete,
        error::failed,
        journal::{self, Content, Entry, Logged},
        locks::Locks,
        lookup,
        name::KeyPath,
        set_aside::{self, Remains},
        stage::Stage,
        tree::{self, Tree},
    },
};

/// The result of a replay.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    /// `true` if the journal had any entries.
    pub(super) any: bool,
    /// The changes that were neither applied nor set aside, if any: the journal is still needed.
    pub(super) unfinished: Option<Unfinished>,
}

/// The changes that were neither applied nor set aside.
#[derive(Debug)]
pub(super) struct Unfinished {
    pub(super) keys: HashSet<BlobKey>,
    /// The first error.
    pub(super) error: Error,
}

/// Replays the journal in the staging directory. Blocks.
///
/// Changes that cannot be applied are set aside. The journal stays unchanged, and a replay can be repeated.
/// A file that someone has replaced since is kept, unless its modification time is older.
pub(super) fn replay(tree: &Tree, stage: &Arc<Stage>, locks: &Locks) -> Result<Replayed> {
    let mut journaled = journal::read(stage.dir())?;
    let mut unfinished = Collector::default();
    let is_readable = journaled.unreadable.is_none();
    if let Some(error) = journaled.unreadable.take() {
        unfinished.add(None, error);
    }
    let needed: HashSet<&str> = journaled.entries().filter_map(|(_, entry)| entry.staged()).collect();
    let is_damaged = journaled.entries().any(|(_, entry)| matches!(entry, Entry::Damaged(_)));
    if is_readable && !is_damaged {
        // Sweeps before the changes are applied, because leftovers may fill the disk.
        stage.sweep(&needed)?;
    } else if is_readable {
        // A damaged record may name any of the staged files.
        for name in stage.leftover_names(&needed)? {
            if let Err(error) = set_staged_aside(tree, stage, &name) {
                unfinished.add(None, error);
            }
        }
    }
    let changes: Vec<&Logged> = journaled.entries().filter_map(|(_, entry)| entry.change()).collect();
    let mut stamps: HashMap<&BlobKey, Vec<SystemTime>> = HashMap::new();
    for change in &changes {
        stamps.entry(&change.key).or_default().push(change.modified);
    }
    let mut superseded = deleted_later(&changes).into_iter();
    let mut done: HashMap<&BlobKey, usize> = HashMap::new();
    for (id, entry) in journaled.entries() {
        let kept = match entry {
            Entry::Withdrawn | Entry::Batch => continue,
            Entry::Change(change) => {
                let done = done.entry(&change.key).or_default();
                *done += 1;
                if superseded.next() == Some(true) {
                    continue;
                }
                let (earlier, later) = stamps
                    .get(&change.key)
                    .and_then(|all| all.split_at_checked(*done))
                    .unwrap_or_default();
                let turn = locks.lock(&change.key);
                let applied = apply(tree, stage, change, earlier, later);
                drop(turn);
                match applied {
                    Ok(()) => continue,
                    // There is no space to set the change aside either, and once there is, it can be applied.
                    Err(error) if is_temporary(&error) => Err(error),
                    Err(error) => set_aside(tree, stage, &id, entry, &error),
                }
            }
            Entry::Unknown(unknown) => set_aside(tree, stage, &id, entry, &unknown.reason),
            Entry::Damaged(_) => set_aside(tree, stage, &id, entry, &damaged()),
        };
        if let Err(error) = kept {
            unfinished.add(entry.change().map(|change| &change.key), error);
        }
    }
    Ok(Replayed {
        any: !journaled.is_empty(),
        unfinished: unfinished.0,
    })
}

/// Collects the unfinished changes.
#[derive(Default)]
struct Collector(Option<Unfinished>);

impl Collector {
    fn add(&mut self, key: Option<&BlobKey>, error: Error) {
        let unfinished = self.0.get_or_insert_with(|| Unfinished {
            keys: HashSet::new(),
            error,
        });
        unfinished.keys.extend(key.cloned());
    }
}

/// Sets the entry with this `id` aside, for this `reason`.
fn set_aside(tree: &Tree, stage: &Arc<Stage>, id: &str, entry: &Entry, reason: &Error) -> Result<()> {
    let key;
    let remains = match entry {
        Entry::Withdrawn | Entry::Batch => return Ok(()),
        Entry::Change(change) => {
            key = change.key.to_string();
            Remains {
                key: &key,
                reason,
                modified: Some(change.modified),
                content: &change.content,
                sidecar: change.sidecar.as_ref(),
                record: None,
            }
        }
        Entry::Unknown(unknown) => Remains {
            key: &unknown.key,
            reason,
            modified: unknown.modified,
            content: &unknown.content,
            sidecar: unknown.sidecar.as_ref(),
            record: Some(&unknown.head),
        },
        Entry::Damaged(record) => Remains {
            key: "",
            reason,
            modified: None,
            content: &Content::Deleted,
            sidecar: None,
            record: Some(record),
        },
    };
    set_aside::keep(tree, stage, id, &remains)
}

/// Sets aside a staged file that no readable record names.
fn set_staged_aside(tree: &Tree, stage: &Arc<Stage>, name: &str) -> Result<()> {
    let remains = Remains {
        key: "",
        reason: &damaged(),
        modified: None,
        content: &Content::Staged(name.to_owned()),
        sidecar: None,
        record: None,
    };
    set_aside::keep(tree, stage, &format!("staged-{name}"), &remains)
}

fn damaged() -> Error {
    Error::new(
        ErrorKind::Damaged,
        "this part of the journal is damaged: it may be an acknowledged upload of which a part is lost",
    )
}

/// Returns `true` for a fault of the whole system rather than of one file: a full disk (a quota may apply to a single
/// directory), a read-only file system, or no descriptors or memory left.
fn is_temporary(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    let errno = source.and_then(Errno::from_io_error);
    matches!(
        errno,
        Some(Errno::NOSPC | Errno::ROFS | Errno::MFILE | Errno::NFILE | Errno::NOMEM)
    )
}

/// Returns `true` for each upload whose key is deleted later.
fn deleted_later(changes: &[&Logged]) -> Vec<bool> {
    let mut deleted = HashSet::new();
    let mut later: Vec<bool> = changes
        .iter()
        .rev()
        .map(|Logged { key, content, .. }| match content {
            Content::Deleted => {
                deleted.insert(key);
                false
            }
            _ => deleted.contains(key),
        })
        .collect();
    later.reverse();
    later
}

/// Returns `true` if the file with the modification time `found` is newer than `change` and stays: it has the stamp of
/// a `later` change of the key, or it has no stamp of the journal and was modified after the change.
fn is_newer(found: SystemTime, change: &Logged, earlier: &[SystemTime], later: &[SystemTime]) -> bool {
    later.contains(&found) || !earlier.contains(&found) && found > change.modified
}

/// Applies `change`, unless a newer file is at its path.
fn apply(tree: &Tree, stage: &Arc<Stage>, change: &Logged, earlier: &[SystemTime], later: &[SystemTime]) -> Result<()> {
    if change.content == Content::Deleted {
        return delete::replay(tree, &change.key, |found| is_newer(found, change, earlier, later));
    }
    let path = KeyPath::of(&change.key);
    let (dir, _) = tree.make(&path)?;
    let current = lookup::current(&path, &dir)?;
    let found = current.map(|(version, _)| version.modified);
    if found.is_some_and(|found| is_newer(found, change, earlier, later)) {
        return Ok(());
    }
    // Usually the change is in place and nothing is written, so a store opens even on a full disk.
    if found == Some(change.modified) && is_in_place(&dir, &path, change)? {
        return Ok(());
    }
    let media = match &change.content {
        Content::Whole(content) => {
            let media = stage.write(content)?;
            media
                .file()
                .set_modified(change.modified)
                .map_err(|error| failed("write an upload", error))?;
            Some(media)
        }
        Content::Staged(name) => match stage.open_leftover(name, Some(change.modified))? {
            None if found != Some(change.modified) => return Ok(()),
            // Without a staged file, it is already at its path.
            media => media,
        },
        Content::Deleted => None,
    };
    if let Some(text) = &change.sidecar {
        commit::put_sidecar(&dir, &path, &mut stage.write(text)?)?;
    }
    media.map_or(Ok(()), |mut media| commit::put_media(&dir, &path, &mut media))
}

/// Returns `true` if media and sidecar are those of `change`. The caller has compared the time of the media.
fn is_in_place(dir: &File, path: &KeyPath<'_>, change: &Logged) -> Result<bool> {
    let media = match (&change.content, tree::open(dir, &path.file)?) {
        // It was synced before it was moved there.
        (Content::Staged(_), _) => true,
        (Content::Whole(content), tree::Found::File(file, stat)) if stat.len() == content.len() as u64 => {
            let mut found = vec![0; content.len()];
            file.read_exact_at(&mut found, 0).is_ok() && found == **content
        }
        _ => false,
    };
    let sidecar = match &change.sidecar {
        None => true,
        Some(text) => lookup::sidecar(tree::open(dir, &path.sidecar())?)?.is_some_and(|found| found == **text),
    };
    Ok(media && sidecar)
}
