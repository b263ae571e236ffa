//! What is done again after a crash.

use std::{
    fs::File,
    io::{BufReader, Seek as _},
    sync::Arc,
};

use super::{
    SEGMENTS,
    record::{self, Content, Logged},
};
use crate::{
    error::{Error, Result},
    store::fs::{
        commit::{self, Old},
        error::failed,
        name::KeyPath,
        stage::{Stage, Staged},
        tree::{self, Tree},
    },
};
/// Does again what the journal in the staging directory tells, and says whether it told anything. Blocks.
///
/// It may be done any number of times. A file whose modification time is later than the journal has it was put there
/// by somebody else, and stays.
pub(in crate::store::fs) fn replay(tree: &Tree, stage: &Arc<Stage>) -> Result<bool> {
    let mut segments = Vec::new();
    for name in SEGMENTS {
        if let Some(mut file) = stage.open_segment(name)?
            && let Some(epoch) = epoch(&mut file)?
        {
            segments.push((epoch, file));
        }
    }
    // The older one first.
    segments.sort_by_key(|(epoch, _)| *epoch);
    for (epoch, file) in &segments {
        each(file, |found, change| {
            if found != *epoch {
                return Ok(false);
            }
            redo(tree, stage, &change).map_err(|error| explain(&change, error))?;
            Ok(true)
        })?;
    }
    Ok(!segments.is_empty())
}

/// The epoch of a segment, if anything is in it.
fn epoch(file: &mut File) -> Result<Option<u64>> {
    let mut epoch = None;
    each(file, |found, _| {
        epoch = Some(found);
        Ok(false)
    })?;
    file.rewind().map_err(|error| failed("read its journal", error))?;
    Ok(epoch)
}

/// Hands each change in `file` to `take`, for as long as that wants more.
fn each(file: &File, mut take: impl FnMut(u64, Logged) -> Result<bool>) -> Result<()> {
    let mut left = file
        .metadata()
        .map_err(|error| failed("read its journal", error))?
        .len();
    let mut reader = BufReader::with_capacity(256 << 10, file);
    while let Some((epoch, change)) = record::read(&mut reader, &mut left)? {
        if !take(epoch, change)? {
            break;
        }
    }
    Ok(())
}

fn redo(tree: &Tree, stage: &Arc<Stage>, change: &Logged) -> Result<()> {
    let path = KeyPath::of(&change.key);
    let (dir, _) = tree.make(&path)?;
    let old = match Old::look(&path, &dir) {
        // An empty directory was in the way.
        Err(error) if tree::is_gone(&error) => Old::default(),
        old => old?,
    };
    if old
        .content
        .is_some_and(|(version, _)| version.modified > change.modified)
    {
        return Ok(());
    }
    if let Some(text) = &change.sidecar {
        commit::put_sidecar(&dir, &path, &mut written(stage, text)?)?;
    }
    let mut media = match &change.content {
        Content::Whole(content) => {
            let media = written(stage, content)?;
            media
                .file()
                .set_modified(change.modified)
                .map_err(|error| failed("write an upload", error))?;
            media
        }
        Content::Staged(name) => match stage.take(name)? {
            Some(media) => media,
            None => return Ok(()),
        },
    };
    commit::put_media(&dir, &path, &mut media)
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
