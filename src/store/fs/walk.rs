//! Visits every file below the root.

use rustix::{
    fd::BorrowedFd,
    fs::{AtFlags, Dir, FileType, Stat},
    io::Errno,
};

use super::{
    error::failed,
    tree::{self, Tree},
};
use crate::{
    error::{Error, Result},
    key::BlobKey,
};

/// The subject of one visit. The visitor also receives the names of a media file or directory, from the root down.
pub(super) enum Visited<'a> {
    Media {
        stat: &'a Stat,
    },
    /// The sidecar in `dir` of that media, which may be missing.
    Sidecar {
        dir: BorrowedFd<'a>,
    },
    /// The entry, or the content of the directory, cannot be read.
    Unreadable(Error),
}

/// Visits every file below the root, or beneath `prefix`. Returns `false` if `prefix` is not a directory. Blocks.
pub(super) fn walk<E: From<Error>>(
    tree: &Tree,
    prefix: Option<&BlobKey>,
    visit: &mut impl FnMut(&[String], Visited<'_>) -> Result<(), E>,
) -> Result<bool, E> {
    let Some(prefix) = prefix else {
        // Opened again: walks that shared the descriptor of the root would share its position.
        below(Dir::read_from(tree.root()), &mut Vec::new(), visit)?;
        return Ok(true);
    };
    let Some((dir, mut names)) = tree.find_beneath(prefix)? else {
        return Ok(false);
    };
    below(Dir::read_from(&*dir), &mut names, visit)?;
    Ok(true)
}

/// Visits every file below `dir`, which has these `names` from the root down.
fn below<E>(
    dir: Result<Dir, Errno>,
    names: &mut Vec<String>,
    visit: &mut impl FnMut(&[String], Visited<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let unreadable = |errno| Visited::Unreadable(failed("read a directory", errno));
    let mut entries = match dir {
        Ok(entries) => entries,
        Err(errno) => return visit(names, unreadable(errno)),
    };
    while let Some(found) = entries.read() {
        let (found, dir) = match found.and_then(|found| Ok((found, entries.fd()?))) {
            Ok(found) => found,
            Err(errno) => return visit(names, unreadable(errno)),
        };
        // The store's names are UTF-8.
        let Ok(name) = found.file_name().to_str() else {
            continue;
        };
        // Names with a leading dot are the store's own.
        if let Some(own) = name.strip_prefix('.') {
            if let Some(media) = own.strip_suffix(".json") {
                names.push(media.to_owned());
                visit(names, Visited::Sidecar { dir })?;
                names.pop();
            }
            continue;
        }
        names.push(name.to_owned());
        match kind(dir, name, found.file_type()) {
            Ok(Kind::Media(stat)) => visit(names, Visited::Media { stat: &stat })?,
            // Belongs to the file system if the root is its top, and only root may read it.
            Ok(Kind::Directory) if names.len() == 1 && name == "lost+found" => {}
            Ok(Kind::Directory) => match tree::open_directory(dir, name) {
                Ok(Some(inner)) => below(Dir::new(inner), names, visit)?,
                // Deleted or replaced meanwhile.
                Ok(None) => {}
                Err(error) => visit(names, Visited::Unreadable(error))?,
            },
            // Neither of the two, or deleted meanwhile.
            Ok(Kind::Other) | Err(Errno::NOENT) => {}
            Err(errno) => visit(names, unreadable(errno))?,
        }
        names.pop();
    }
    Ok(())
}

enum Kind {
    Media(Stat),
    Directory,
    Other,
}

/// Returns the kind of the entry `name`, which has this type in the directory, or `Unknown` on some file systems.
fn kind(dir: BorrowedFd<'_>, name: &str, listed: FileType) -> Result<Kind, Errno> {
    // KAZOO has a directory for nearly every file, so this saves half of these calls.
    if listed == FileType::Directory {
        return Ok(Kind::Directory);
    }
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::Media(stat),
        FileType::Directory => Kind::Directory,
        _ => Kind::Other,
    })
}
