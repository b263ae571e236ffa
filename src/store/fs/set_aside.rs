//! `.set-aside/`: journal records that cannot be applied, as plain files that an operator can restore.

use std::{fs::File, io::Read as _, sync::Arc, time::SystemTime};

use bytes::Bytes;
use rustix::fs::{AtFlags, Dir};
use serde::{Deserialize, Serialize};

use super::{
    error::{broken, failed},
    fault::{self, Point},
    journal::Content,
    name::KeyPath,
    stage::{Stage, Staged},
    tree::{self, Found, Tree},
};
use crate::{
    error::{Error, Result},
    key::BlobKey,
};

const DIRECTORY: &str = ".set-aside";
const MEDIA: &str = "media";
const SIDECAR: &str = "sidecar.json";
const RECORD: &str = "record";
const ABOUT: &str = "about.json";

/// The maximum length of an `about.json` that is read.
const MAX_ABOUT: u64 = 64 << 10;

/// An upload or a deletion that was acknowledged before a crash and could not be applied when the store was opened.
///
/// Its files are in a [directory](Self::directory) of their own: `media` and `sidecar.json`, or `record` if the store
/// could not separate the two, and `about.json`, which says where they belong and why they are not there. To
/// restore it, move `media` and `sidecar.json` to the paths that `about.json` names, and remove the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetAside {
    /// The directory below the root.
    pub directory: String,
    /// The key it was stored under; empty if unknown.
    pub key: String,
    /// The reason why it could not be applied.
    pub reason: String,
    /// `true` for a deletion, `false` for an upload.
    pub deleted: bool,
}

/// `about.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct About {
    #[serde(default)]
    key: String,
    #[serde(default)]
    reason: String,
    /// The path of `media` below the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    media: Option<String>,
    /// The path of `sidecar.json` below the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sidecar: Option<String>,
    /// `true` if the file was to be deleted.
    #[serde(default)]
    deleted: bool,
}

/// The parts of a record that cannot be applied.
pub(super) struct Remains<'a> {
    pub(super) key: &'a str,
    pub(super) reason: &'a Error,
    pub(super) modified: Option<SystemTime>,
    pub(super) content: &'a Content,
    pub(super) sidecar: Option<&'a Bytes>,
    /// The part of the record that the store cannot interpret.
    pub(super) record: Option<&'a Bytes>,
}

/// Sets `remains` aside as `id`. Idempotent. Blocks; durable only once the file system is synced.
pub(super) fn keep(tree: &Tree, stage: &Arc<Stage>, id: &str, remains: &Remains<'_>) -> Result<()> {
    fault::at(Point::SetAside).map_err(|errno| failed("set an upload aside", errno))?;
    let dir = tree.make_dirs([DIRECTORY, id])?;
    let key = BlobKey::from_path(remains.key).ok();
    let path = key.as_ref().map(KeyPath::of);
    let about = About {
        key: remains.key.to_owned(),
        reason: remains.reason.to_string(),
        media: path.as_ref().map(|path| path.relative(&path.file)),
        sidecar: path.as_ref().map(|path| path.relative(&path.sidecar())),
        deleted: remains.record.is_none() && *remains.content == Content::Deleted,
    };
    let kept = put_all(&dir, stage, &about, remains);
    if kept.is_err() {
        // The next attempt overwrites what cannot be removed.
        for name in [ABOUT, RECORD, SIDECAR] {
            let _ = rustix::fs::unlinkat(&*dir, name, AtFlags::empty());
        }
        if let Ok(Found::Directory(parent)) = tree::open(tree.root(), DIRECTORY) {
            let _ = tree::remove_empty(&parent, id);
        }
        let _ = tree::remove_empty(tree.root(), DIRECTORY);
    }
    kept
}

fn put_all(dir: &File, stage: &Arc<Stage>, about: &About, remains: &Remains<'_>) -> Result<()> {
    let put = |mut staged: Staged, name: &str| {
        let moved = staged.move_to(dir, name);
        moved.map_err(|errno| broken("set an upload aside", errno))
    };
    let mut text = serde_json::to_vec_pretty(about).unwrap_or_default();
    text.push(b'\n');
    let text = Bytes::from(text);
    for (name, text) in [
        (SIDECAR, remains.sidecar),
        (RECORD, remains.record),
        (ABOUT, Some(&text)),
    ] {
        if let Some(text) = text {
            put(stage.write(text)?, name)?;
        }
    }
    // Comes last, so that after a failure the staged file still has the name that the journal contains.
    match remains.content {
        Content::Whole(content) => put(with_time(stage.write(content)?, remains.modified)?, MEDIA),
        Content::Staged(name) => match stage.open_leftover(name, remains.modified)? {
            Some(media) => put(media, MEDIA),
            // It is already set aside, or applied.
            None => Ok(()),
        },
        Content::Deleted => Ok(()),
    }
}

fn with_time(media: Staged, modified: Option<SystemTime>) -> Result<Staged> {
    if let Some(modified) = modified {
        let set = media.file().set_modified(modified);
        set.map_err(|error| failed("write an upload", error))?;
    }
    Ok(media)
}

/// Returns everything that is set aside below `root`, oldest first.
pub(super) fn list(root: &File) -> Result<Vec<SetAside>> {
    let Found::Directory(dir) = tree::open(root, DIRECTORY)? else {
        return Ok(Vec::new());
    };
    let unreadable = |errno| broken("read the changes that are set aside", errno);
    let mut found = Vec::new();
    for entry in Dir::read_from(&dir).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if name.starts_with('.') {
            continue;
        }
        let about = about(&dir, name).unwrap_or_default();
        found.push(SetAside {
            directory: format!("{DIRECTORY}/{name}"),
            key: about.key,
            reason: about.reason,
            deleted: about.deleted,
        });
    }
    found.sort_by(|a, b| a.directory.cmp(&b.directory));
    Ok(found)
}

/// Reads the `about.json` of the entry `id`, if possible.
fn about(dir: &File, id: &str) -> Option<About> {
    let Ok(Found::Directory(dir)) = tree::open(dir, id) else {
        return None;
    };
    let Ok(Found::File(file, _)) = tree::open(&dir, ABOUT) else {
        return None;
    };
    let mut text = Vec::new();
    file.take(MAX_ABOUT).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}
