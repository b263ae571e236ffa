//! What is done again after a crash.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::BufReader,
    os::unix::fs::FileExt as _,
    sync::Arc,
    time::SystemTime,
};

use super::record::{self, Content, Logged};
use crate::{
    error::{Error, Result},
    key::BlobKey,
    store::fs::{
        catalog,
        commit::{self, Old},
        error::failed,
        name::KeyPath,
        read,
        stage::{SEGMENTS, Stage, Staged},
        tree::{self, Found, Tree},
    },
};

/// Does again what the journal in the staging directory tells, and says whether it told anything. Blocks.
///
/// It may be done any number of times. What somebody else has put in a file's place since stays, unless it has an older
/// modification time.
pub(in crate::store::fs) fn replay(tree: &Tree, stage: &Arc<Stage>) -> Result<bool> {
    let mut segments = Vec::new();
    for name in SEGMENTS {
        if let Some(file) = stage.open_segment(name)? {
            segments.extend(read_segment(&file)?);
        }
    }
    // The older one first.
    segments.sort_by_key(|(epoch, _)| *epoch);
    let changes: Vec<Logged> = segments.into_iter().flat_map(|(_, changes)| changes).collect();
    let overtaken = overtaken(&changes);
    let mut stamps: HashMap<&BlobKey, Vec<SystemTime>> = HashMap::new();
    for change in &changes {
        stamps.entry(&change.key).or_default().push(change.modified);
    }
    let mut done: HashMap<&BlobKey, usize> = HashMap::new();
    for (change, overtaken) in changes.iter().zip(overtaken) {
        let done = done.entry(&change.key).or_default();
        *done += 1;
        if !overtaken {
            let (earlier, later) = stamps
                .get(&change.key)
                .and_then(|all| all.split_at_checked(*done))
                .unwrap_or_default();
            redo(tree, stage, change, earlier, later).map_err(|error| explain(change, error))?;
        }
    }
    Ok(!changes.is_empty())
}

/// The epoch of a segment and the changes in it, if there are any.
fn read_segment(file: &File) -> Result<Option<(u64, Vec<Logged>)>> {
    let len = file.metadata().map(|stat| stat.len());
    let mut left = len.map_err(|error| failed("read its journal", error))?;
    let mut reader = BufReader::with_capacity(256 << 10, file);
    let mut found = None;
    while let Some((epoch, change)) = record::read(&mut reader, &mut left, found.as_ref().map(|(epoch, _)| *epoch))? {
        found.get_or_insert_with(|| (epoch, Vec::new())).1.push(change);
    }
    Ok(found)
}

/// Of each upload, whether its key is deleted later.
fn overtaken(changes: &[Logged]) -> Vec<bool> {
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
            let media = written(stage, content)?;
            media
                .file()
                .set_modified(change.modified)
                .map_err(|error| failed("write an upload", error))?;
            Some(media)
        }
        Content::Staged(name) => match stage.left(name, change.modified)? {
            None if found != Some(change.modified) => return Ok(()),
            // None: it is in its place already.
            media => media,
        },
        Content::Deleted => None,
    };
    if let Some(text) = &change.sidecar {
        commit::put_sidecar(&dir, &path, &mut written(stage, text)?)?;
    }
    media.map_or(Ok(()), |mut media| commit::put_media(&dir, &path, &mut media))
}

/// Whether media and sidecar, of which the media has the stamp of `change`, are what it put there.
fn is_in_place(dir: &File, path: &KeyPath<'_>, change: &Logged) -> Result<bool> {
    let media = match (&change.content, tree::open(dir, &path.file)?) {
        // It was synced before it was moved there.
        (Content::Staged(_), _) => true,
        (Content::Whole(content), Found::File(file, stat)) if stat.len() == content.len() as u64 => {
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

fn written(stage: &Arc<Stage>, bytes: &[u8]) -> Result<Staged> {
    let mut staged = stage.create()?;
    staged.write(bytes)?;
    Ok(staged)
}

fn explain(change: &Logged, error: Error) -> Error {
    let key = &change.key;
    let message = format!(
        "an upload of `{key}`, acknowledged before the last crash, could not be put in its place again: {error}; \
         once that is mended, or the journal in the staging directory is removed to give such uploads up, open the \
         store again"
    );
    Error::new(error.kind(), message).with_source(error)
}
