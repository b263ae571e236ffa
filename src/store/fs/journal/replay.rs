//! What is done again after a crash.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, Read as _},
    os::unix::fs::FileExt as _,
    sync::Arc,
    time::SystemTime,
};

use bytes::Bytes;
use rustix::io::Errno;

use super::record::{self, Content, Entry, Logged, Unknown};
use crate::{
    error::{Error, ErrorKind, Result},
    key::BlobKey,
    store::fs::{
        catalog,
        commit::{self, Old},
        error::{broken, failed},
        fault::{self, Point},
        locks::Locks,
        name::KeyPath,
        read,
        set_aside::{self, Remains},
        stage::{SEGMENTS, Stage},
        tree::{self, Tree},
    },
};

/// The result of a replay.
#[derive(Debug, Default)]
pub(in crate::store::fs) struct Replayed {
    /// `true` if the journal had any entries.
    pub(in crate::store::fs) any: bool,
    /// The entries that could be neither applied nor set aside, if any: the journal is still needed.
    pub(in crate::store::fs) unfinished: Option<Unfinished>,
}

/// The unfinished part of a replay.
#[derive(Debug)]
pub(in crate::store::fs) struct Unfinished {
    pub(in crate::store::fs) keys: HashSet<BlobKey>,
    /// The error of the first of them.
    pub(in crate::store::fs) error: Error,
}

/// The entries of a segment.
#[derive(Debug)]
struct Found {
    epoch: u64,
    entries: Vec<(usize, Entry)>,
}

/// Replays the journal in the staging directory. Blocks.
///
/// Changes that cannot be applied are set aside, and the journal stays unchanged. A replay can be repeated.
/// A file that someone has replaced since is kept, unless its modification time is older.
pub(in crate::store::fs) fn replay(tree: &Tree, stage: &Arc<Stage>, locks: &Locks) -> Result<Replayed> {
    let mut segments = Vec::new();
    let mut unfinished = Rest::default();
    for name in SEGMENTS {
        if let Some(file) = stage.open_segment(name)? {
            let (found, end) = read_segment(&file);
            segments.extend(found);
            if let Err(error) = end {
                unfinished.add(None, error);
            }
        }
    }
    // The older one first.
    segments.sort_by_key(|found| found.epoch);
    if let Some(newest) = segments.last_mut() {
        newest.drop_unsynced();
    }
    let records = || {
        segments.iter().flat_map(|Found { epoch, entries }| {
            // Of equal length, so that a sorted list is in the order of time.
            let id = move |offset: &usize| format!("{epoch:020}-{offset:010}");
            entries.iter().map(move |(offset, entry)| (id(offset), entry))
        })
    };
    let needed: HashSet<&str> = records().filter_map(|(_, entry)| entry.staged()).collect();
    let is_damaged = records().any(|(_, entry)| matches!(entry, Entry::Damaged(_)));
    if is_damaged || unfinished.0.is_some() {
        // A record that cannot be read may name any of the staged files.
        if unfinished.0.is_none() {
            for name in stage.left_names(&needed)? {
                if let Err(error) = keep_staged(tree, stage, &name) {
                    unfinished.add(None, error);
                }
            }
        }
    } else {
        // It may be what fills the disk.
        stage.sweep(&needed)?;
    }
    let changes: Vec<&Logged> = records().filter_map(|(_, entry)| entry.change()).collect();
    let mut stamps: HashMap<&BlobKey, Vec<SystemTime>> = HashMap::new();
    for change in &changes {
        stamps.entry(&change.key).or_default().push(change.modified);
    }
    let mut overtaken = overtaken(&changes).into_iter();
    let mut done: HashMap<&BlobKey, usize> = HashMap::new();
    for (id, entry) in records() {
        let set_aside = match entry {
            Entry::Withdrawn | Entry::Batch => continue,
            Entry::Change(change) => {
                let done = done.entry(&change.key).or_default();
                *done += 1;
                if overtaken.next() == Some(true) {
                    continue;
                }
                let (earlier, later) = stamps
                    .get(&change.key)
                    .and_then(|all| all.split_at_checked(*done))
                    .unwrap_or_default();
                let turn = locks.lock(&change.key);
                let redone = redo(tree, stage, change, earlier, later);
                drop(turn);
                match redone {
                    Ok(()) => continue,
                    // Either the disk has no space to set it aside, or once it does, it can be applied instead.
                    Err(error) if is_passing(&error) => Err(error),
                    Err(error) => keep(tree, stage, &id, entry, &error),
                }
            }
            Entry::Unknown(unknown) => keep(tree, stage, &id, entry, &unknown.reason),
            Entry::Damaged(_) => keep(tree, stage, &id, entry, &lost()),
        };
        if let Err(error) = set_aside {
            unfinished.add(entry.change().map(|change| &change.key), error);
        }
    }
    Ok(Replayed {
        any: segments.iter().any(|found| !found.entries.is_empty()),
        unfinished: unfinished.0,
    })
}

impl Found {
    /// Drops the damage behind the start of the last batch: it never became durable, so no upload in it was acknowledged.
    ///
    /// A journal of an older version has no marks of batches, and all of its damage stays.
    fn drop_unsynced(&mut self) {
        let last = self
            .entries
            .iter()
            .rposition(|(_, entry)| matches!(entry, Entry::Batch));
        if let Some(last) = last {
            let last = self.entries.split_off(last);
            let kept = last
                .into_iter()
                .filter(|(_, entry)| !matches!(entry, Entry::Damaged(_)));
            self.entries.extend(kept);
        }
    }
}

/// Collects the unfinished changes.
#[derive(Default)]
struct Rest(Option<Unfinished>);

impl Rest {
    fn add(&mut self, key: Option<&BlobKey>, error: Error) {
        let rest = self.0.get_or_insert_with(|| Unfinished {
            keys: HashSet::new(),
            error,
        });
        rest.keys.extend(key.cloned());
    }
}

impl Entry {
    fn change(&self) -> Option<&Logged> {
        match self {
            Self::Change(change) => Some(change),
            _ => None,
        }
    }

    /// Returns the name of its content in the staging directory.
    fn staged(&self) -> Option<&str> {
        match self {
            Self::Change(Logged {
                content: Content::Staged(name),
                ..
            })
            | Self::Unknown(Unknown {
                content: Content::Staged(name),
                ..
            }) => Some(name),
            _ => None,
        }
    }
}

/// Sets the record with this `id` aside, for this `reason`.
fn keep(tree: &Tree, stage: &Arc<Stage>, id: &str, entry: &Entry, reason: &Error) -> Result<()> {
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
fn keep_staged(tree: &Tree, stage: &Arc<Stage>, name: &str) -> Result<()> {
    let remains = Remains {
        key: "",
        reason: &lost(),
        modified: None,
        content: &Content::Staged(name.to_owned()),
        sidecar: None,
        record: None,
    };
    set_aside::keep(tree, stage, &format!("staged-{name}"), &remains)
}

fn lost() -> Error {
    Error::new(
        ErrorKind::Damaged,
        "the journal is damaged there: it may be an upload that was acknowledged, and part of it is lost",
    )
}

/// Returns `true` for a fault of the whole system rather than of one file: a full disk (a quota may apply to a single
/// directory), a file system that is read-only, or no descriptors or memory left.
fn is_passing(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    let errno = source.and_then(Errno::from_io_error);
    matches!(
        errno,
        Some(Errno::NOSPC | Errno::ROFS | Errno::MFILE | Errno::NFILE | Errno::NOMEM)
    )
}

/// Reads a segment: its epoch and its records, if it has any, and an error if not all of it could be read.
fn read_segment(mut file: &File) -> (Option<Found>, Result<()>) {
    let mut segment = Vec::new();
    let end = fault::at(Point::ReadJournal).map_err(io::Error::from);
    let end = end.and_then(|()| file.read_to_end(&mut segment).map(drop));
    let mut found: Option<Found> = None;
    let mut offset = 0;
    while offset < segment.len() {
        let epoch = found.as_ref().map(|found| found.epoch);
        let (epoch, entry, next) = match record::read(&segment, offset, epoch) {
            Some((epoch, entry, next)) if !matches!(entry, Entry::Damaged(_)) => (epoch, entry, next),
            damaged => {
                // The length may be damaged too, so the next record is looked for byte by byte. If there is none, the
                // last records were not wholly written when the machine went down, and so were not acknowledged.
                let Some(epoch) = epoch.or(damaged.map(|(epoch, ..)| epoch)) else {
                    break;
                };
                let Some(next) = record::next(&segment, offset + 1, epoch) else {
                    break;
                };
                let lost = segment.get(offset..next).unwrap_or_default();
                (epoch, Entry::Damaged(Bytes::copy_from_slice(lost)), next)
            }
        };
        let entries = Vec::new();
        let found = found.get_or_insert(Found { epoch, entries });
        found.entries.push((offset, entry));
        offset = next;
    }
    (found, end.map_err(|error| broken("read its journal", error)))
}

/// For each upload, `true` if its key is deleted later.
fn overtaken(changes: &[&Logged]) -> Vec<bool> {
    let mut deleted = HashSet::new();
    let mut overtaken: Vec<bool> = changes
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
    overtaken.reverse();
    overtaken
}

/// Whether what is in the place of `change`, stored at `found`, came later and stays: what has the stamp of a `later`
/// change of the same key, or what has none of the journal's stamps and a modification time after this one's.
fn is_newer(found: SystemTime, change: &Logged, earlier: &[SystemTime], later: &[SystemTime]) -> bool {
    later.contains(&found) || !earlier.contains(&found) && found > change.modified
}

/// Does `change` again, unless what is in its place came later.
fn redo(tree: &Tree, stage: &Arc<Stage>, change: &Logged, earlier: &[SystemTime], later: &[SystemTime]) -> Result<()> {
    if change.content == Content::Deleted {
        return catalog::delete_again(tree, &change.key, |found| is_newer(found, change, earlier, later));
    }
    let path = KeyPath::of(&change.key);
    let (dir, _) = tree.make(&path)?;
    let old = Old::look(&path, &dir)?;
    let found = old.content.map(|(version, _)| version.modified);
    if found.is_some_and(|found| is_newer(found, change, earlier, later)) {
        return Ok(());
    }
    // Usually nothing is undone, and nothing needs writing: a disk that is full keeps no store from being opened.
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
        Content::Staged(name) => match stage.left(name, Some(change.modified))? {
            None if found != Some(change.modified) => return Ok(()),
            // None: it is in its place already.
            media => media,
        },
        Content::Deleted => None,
    };
    if let Some(text) = &change.sidecar {
        commit::put_sidecar(&dir, &path, &mut stage.write(text)?)?;
    }
    media.map_or(Ok(()), |mut media| commit::put_media(&dir, &path, &mut media))
}

/// Whether media and sidecar, of which the media has the stamp of `change`, are what it put there.
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
        Some(text) => read::sidecar(tree::open(dir, &path.sidecar())?)?.is_some_and(|found| found == **text),
    };
    Ok(media && sidecar)
}
