//! Finds the file of a key, with the facts about its content.

use std::{
    fs::File,
    os::unix::fs::{FileExt as _, MetadataExt as _},
};

use http::HeaderValue;

use super::{
    Inner,
    error::failed,
    name::KeyPath,
    nonblocking,
    sidecar::{self, Facts},
    stamp::{Stamp, Stamps},
    tree::{self, Found},
    version::Version,
};
use crate::{
    error::{Error, ErrorKind, Result},
    kazoo_id,
    key::BlobKey,
    metadata::Metadata,
    store::BlobInfo,
};

/// The number of attempts without a lock, before a reader waits for the upload that replaces the file.
const ATTEMPTS: usize = 2;

/// A stored file, opened, with the facts about this content.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) file: File,
    pub(super) version: Version,
    pub(super) facts: Facts,
}

impl Content {
    pub(super) fn info(&self, key: &BlobKey) -> BlobInfo {
        info(key, self.version, &self.facts)
    }

    /// Returns the description of the file with its metadata, and closes the file.
    pub(super) fn described(self, key: &BlobKey) -> (BlobInfo, Option<Metadata>) {
        (self.info(key), self.facts.metadata)
    }
}

/// Finds the file under `key`. Blocks.
pub(super) fn find(store: &Inner, key: &BlobKey) -> Result<Content> {
    let path = KeyPath::of(key);
    for _ in 0..ATTEMPTS {
        let (content, settled) = try_find(store, &path)?;
        if settled {
            return Ok(content);
        }
    }
    // Either an upload is replacing the pair, or the sidecar describes media that another program put here. No upload
    // proceeds while this reader holds the lock.
    let _turn = store.locks.lock(key);
    let (content, settled) = try_find(store, &path)?;
    if store.verify && !settled && !is_deleted(&content.file)? {
        return Err(damaged());
    }
    Ok(content)
}

/// Opens the media, then reads its sidecar. The flag is `false` if the sidecar describes other contents.
fn try_find(store: &Inner, path: &KeyPath<'_>) -> Result<(Content, bool)> {
    let dir = store.tree.find(path)?.ok_or_else(not_found)?;
    let (file, stat) = match tree::open(&dir, &path.file)? {
        Found::File(file, stat) => (file, stat),
        Found::Absent | Found::Directory(_) => return Err(not_found()),
        found => return Err(found.conflict(path.len())),
    };
    let version = Version::of(&stat).map_err(|error| failed("open a file", error))?;
    let (facts, settled) = match sidecar(tree::open(&dir, &path.sidecar())?)? {
        // The file was not uploaded, unless it was just deleted.
        None => (Facts::default(), !is_deleted(&file)?),
        Some(text) => {
            let facts = sidecar::read(&text, version);
            let settled = facts.is_some() && !(store.verify && sidecar::digests(&text).is_none());
            (facts.unwrap_or_default(), settled)
        }
    };
    Ok((Content { file, version, facts }, settled))
}

/// Finds the file under `key` without waiting; `None` if any of it is not in the page cache.
pub(super) fn find_nonblocking(store: &Inner, key: &BlobKey) -> Option<Result<(Content, Stamps)>> {
    let path = KeyPath::of(key);
    let (file, stat) = match nonblocking::open(store.tree.root(), &path, &path.file)? {
        nonblocking::Found::File(file, stat) => (file, stat),
        nonblocking::Found::Absent => return Some(Err(not_found())),
    };
    let version = Version::of(&stat).ok()?;
    let media = Stamp::of(&stat);
    let (facts, sidecar) = match nonblocking::open(store.tree.root(), &path, &path.sidecar())? {
        nonblocking::Found::Absent if is_deleted(&file).ok()? => return None,
        nonblocking::Found::Absent => (Facts::default(), None),
        nonblocking::Found::File(_, stat) if stat.len() > sidecar::MAX_LEN => return None,
        nonblocking::Found::File(sidecar, stat) => {
            let text = nonblocking::read(&sidecar, 0..stat.len())?;
            // The blocking path decides what a damaged sidecar means.
            if store.verify && sidecar::digests(&text).is_none() {
                return None;
            }
            (sidecar::read(&text, version)?, Some(Stamp::of(&stat)))
        }
    };
    Some(Ok((Content { file, version, facts }, Stamps { media, sidecar })))
}

/// Returns the version and the facts of the file that an upload to `path` replaces, if there is one. Blocks.
pub(super) fn current(path: &KeyPath<'_>, dir: &File) -> Result<Option<(Version, Facts)>> {
    let version = match tree::open(dir, &path.file)? {
        Found::Absent => None,
        Found::File(_, stat) => Some(Version::of(&stat).map_err(|error| failed("open the stored file", error))?),
        found => return Err(found.conflict(path.len())),
    };
    let sidecar = match tree::open(dir, &path.sidecar())? {
        // The upload replaces anything but a directory.
        found @ Found::Directory(_) => return Err(found.conflict(path.len())),
        found => sidecar(found)?,
    };
    Ok(version.map(|version| {
        let facts = sidecar.as_deref().and_then(|text| sidecar::read(text, version));
        (version, facts.unwrap_or_default())
    }))
}

/// Returns the text of a sidecar, or `None` if it is absent.
pub(super) fn sidecar(found: Found) -> Result<Option<Vec<u8>>> {
    match found {
        Found::Absent => Ok(None),
        Found::File(file, stat) if stat.len() <= sidecar::MAX_LEN => {
            // Complete if the store put its media there. Otherwise an upload may be writing it, and it describes no content.
            let mut text = vec![0; usize::try_from(stat.len()).unwrap_or_default()];
            file.read_exact_at(&mut text, 0)
                .map_err(|error| failed("read a sidecar", error))?;
            Ok(Some(text))
        }
        // Not written by the store: it describes no content.
        Found::File(..) | Found::Directory(_) | Found::Symlink | Found::Other => Ok(Some(Vec::new())),
    }
}

/// Describes the content with this `version` and these `facts`.
pub(super) fn info(key: &BlobKey, version: Version, facts: &Facts) -> BlobInfo {
    let implied = || HeaderValue::from_static(kazoo_id::media_type(key.attachment()));
    // The digest, or another value that is unique to the content.
    let tag = facts
        .digest
        .map_or_else(|| version.to_string(), |digest| digest.to_string());
    BlobInfo::new(version.len)
        .with_content_type(facts.content_type.clone().unwrap_or_else(implied))
        .with_etag(HeaderValue::try_from(format!("\"{tag}\"")).ok())
        .with_modified(version.modified)
        .with_digest(facts.digest)
}

/// Returns `true` if the opened media has been deleted.
///
/// Decides for a reader that finds no sidecar: a deletion removes the media before the sidecar, and an upload that
/// replaces the media leaves a sidecar.
pub(super) fn is_deleted(media: &File) -> Result<bool> {
    let stat = media.metadata().map_err(|error| failed("open a file", error))?;
    Ok(stat.nlink() == 0)
}

fn not_found() -> Error {
    Error::new(ErrorKind::NotFound, "no file is stored under this name")
}

pub(super) fn damaged() -> Error {
    Error::new(
        ErrorKind::Damaged,
        "the stored file or its sidecar differs from what was uploaded; the operator has to restore both from a backup, \
         with their modification times",
    )
}
