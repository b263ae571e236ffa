//! Opens and creates directories below the root, without following links.

use std::{
    borrow::Cow,
    fs::{self, File},
    io,
    path::Path,
    sync::Arc,
};

use rustix::{
    fd::AsFd,
    fs::{AtFlags, Mode, OFlags},
    io::Errno,
};

use super::{
    error::{broken, failed},
    name::{self, KeyPath, MAX_ROOT_LEN},
};
use crate::{
    error::{Error, ErrorKind, Result},
    key::BlobKey,
};

/// Access for owner and group: the files are private, and the operator can add users to the group, for example for
/// backups.
const DIRECTORY: Mode = Mode::from_raw_mode(0o750);

/// The directory that a check creates. No key has a name with a leading dot.
const CHECK: &str = ".check";

/// Flags to open a file for reading: follow no link, close it in child processes, and do not wait for the writer of a
/// FIFO.
pub(super) const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// The root directory.
#[derive(Debug)]
pub(super) struct Tree {
    root: Arc<File>,
}

/// The file system entry of a name.
#[derive(Debug)]
pub(super) enum Found {
    Absent,
    File(File, fs::Metadata),
    Directory(File),
    Symlink,
    Other,
}

impl Found {
    /// Returns the error for this entry if it is at the path of a file or directory of the store, at this `position` in
    /// the path.
    ///
    /// The message contains no names, because it goes to a log and a response, and a name may be a caller's or a token.
    pub(super) fn conflict(&self, position: usize) -> Error {
        let what = match self {
            Self::Symlink => "a symbolic link, which is never followed; the operator has to replace it with its target",
            Self::File(..) => "a file that the store did not create; the operator has to move it",
            Self::Directory(_) => "a directory that the store did not create; the operator has to move it",
            Self::Absent | Self::Other => {
                "neither a file nor a directory, and the store did not create it; the operator has to move it"
            }
        };
        let message = format!(
            "the file cannot be used: name {position} of its path in the storage root, or of its sidecar's path, is {what}"
        );
        Error::new(ErrorKind::Conflict, message)
    }
}

impl Tree {
    /// Opens the directory `root`. Creates it and its parents if they do not exist.
    pub(super) fn open(root: &Path) -> Result<Self> {
        let made = fs::create_dir_all(root);
        if made.is_err() && root.exists() {
            return Err(Error::new(ErrorKind::Conflict, "its root is a file, not a directory"));
        }
        made.map_err(|error| broken("create its root directory", error))?;
        let path = root.canonicalize().map_err(|error| broken("open its root", error))?;
        let len = path.as_os_str().len();
        if len > MAX_ROOT_LEN {
            let message = format!(
                "the path of its root has {len} bytes of at most {MAX_ROOT_LEN}: with a longer one, paths of files could be too long for \
                 other programs"
            );
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        Self::open_existing(root).map_err(|error| broken("open its root", error))
    }

    /// Opens the existing directory `root`.
    pub(super) fn open_existing(root: &Path) -> io::Result<Self> {
        Ok(Self {
            // The root itself may be a link, because the operator named it.
            root: Arc::new(File::open(root)?),
        })
    }

    pub(super) fn root(&self) -> &File {
        &self.root
    }

    /// Opens the directory of the file at `path`; `None` if a directory on the path does not exist.
    pub(super) fn find(&self, path: &KeyPath<'_>) -> Result<Option<Arc<File>>> {
        let mut dir = Arc::clone(&self.root);
        for (at, name) in path.dirs.iter().enumerate() {
            dir = match open_at(&dir, name, OFlags::DIRECTORY) {
                Ok(child) => Arc::new(child),
                Err(Errno::NOENT) => return Ok(None),
                Err(errno) => match blocking_entry(&dir, name, errno)? {
                    // Nothing is stored beneath a file.
                    Found::File(..) => return Ok(None),
                    found => return Err(found.conflict(at + 1)),
                },
            };
        }
        Ok(Some(dir))
    }

    /// Opens the directory of the files beneath `prefix`, and returns its names from the root down; `None` if it does
    /// not exist.
    pub(super) fn find_beneath(&self, prefix: &BlobKey) -> Result<Option<(Arc<File>, Vec<String>)>> {
        let names = name::directories(prefix);
        let mut dir = Arc::clone(&self.root);
        for (at, name) in names.iter().enumerate() {
            dir = match open(&dir, name)? {
                Found::Directory(child) => Arc::new(child),
                Found::Absent | Found::File(..) => return Ok(None),
                found => return Err(found.conflict(at + 1)),
            };
        }
        Ok(Some((dir, names.into_iter().map(Cow::into_owned).collect())))
    }

    /// Opens the directory of the file at `path`. Creates it and its parents if they do not exist. The flag is `true`
    /// if it was created.
    ///
    /// [`ErrorKind::NotFound`] if another process removes a directory on the path meanwhile.
    pub(super) fn make(&self, path: &KeyPath<'_>) -> Result<(Arc<File>, bool)> {
        let mut dir = Arc::clone(&self.root);
        let mut made = false;
        for (at, name) in path.dirs.iter().enumerate() {
            // KAZOO has a document for nearly every file, so usually only the last directory is new.
            let last = at + 1 == path.dirs.len();
            made = last && make_one(&dir, name)?;
            let child = match open_at(&dir, name, OFlags::DIRECTORY) {
                Err(Errno::NOENT) if !last => {
                    make_one(&dir, name)?;
                    open_at(&dir, name, OFlags::DIRECTORY)
                }
                opened => opened,
            };
            dir = match child {
                Ok(child) => Arc::new(child),
                Err(errno) => return Err(blocking_entry(&dir, name, errno)?.conflict(at + 1)),
            };
        }
        Ok((dir, made))
    }

    /// Opens the directory with these `names` from the root down. Creates it and its parents if they do not exist.
    pub(super) fn make_dirs<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Arc<File>> {
        let mut dir = Arc::clone(&self.root);
        for name in names {
            make_one(&dir, name)?;
            dir = match open_at(&dir, name, OFlags::DIRECTORY) {
                Ok(child) => Arc::new(child),
                Err(errno) => return Err(failed("open a directory", errno)),
            };
        }
        Ok(dir)
    }

    /// Creates a directory in the root, as the first upload of an account does, and removes it.
    ///
    /// All checks use the same name, so that the next check removes a directory that was left by a crash. A concurrent
    /// check may remove the directory first.
    pub(super) fn check(&self) -> Result<()> {
        let create_failed = |errno| broken("create a directory in its root", errno);
        match rustix::fs::mkdirat(&self.root, CHECK, DIRECTORY) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(create_failed(errno)),
        }
        match rustix::fs::unlinkat(&self.root, CHECK, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            Err(errno) => Err(create_failed(errno)),
        }
    }

    /// Removes the empty directories on the path of `path`, innermost first.
    pub(super) fn prune(&self, path: &KeyPath<'_>) -> Result<()> {
        let mut above = vec![Arc::clone(&self.root)];
        for name in &path.dirs {
            match above.last().map(|dir| open_at(dir, name, OFlags::DIRECTORY)) {
                Some(Ok(dir)) => above.push(Arc::new(dir)),
                _ => break,
            }
        }
        for (dir, name) in above.iter().zip(&path.dirs).rev() {
            if !remove_empty(dir, &**name)? {
                break;
            }
        }
        Ok(())
    }
}

/// Creates a directory. Returns `false` if the name exists.
fn make_one(dir: &File, name: &str) -> Result<bool> {
    match rustix::fs::mkdirat(dir, name, DIRECTORY) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(failed("create a directory", errno)),
    }
}

fn open_at(dir: impl AsFd, name: &str, flags: OFlags) -> Result<File, Errno> {
    rustix::fs::openat(dir, name, READ | flags, Mode::empty()).map(File::from)
}

fn is_link_refused(errno: Errno) -> bool {
    // FreeBSD returns EMLINK.
    errno == Errno::LOOP || errno == Errno::MLINK
}

/// Returns the entry that caused opening `name` as a directory to fail with `errno`, or an error if the failure has
/// another reason.
fn blocking_entry(dir: &File, name: &str, errno: Errno) -> Result<Found> {
    if errno != Errno::NOTDIR && !is_link_refused(errno) {
        return Err(failed("open a directory", errno));
    }
    match open(dir, name)? {
        // The entry changed meanwhile.
        Found::Absent | Found::Directory(_) => Err(directory_removed()),
        found => Ok(found),
    }
}

/// Returns the error for a directory that was removed while it was in use. The caller can retry.
pub(super) fn directory_removed() -> Error {
    failed("open a directory", Errno::NOENT)
}

/// Opens the directory `name` in `dir`; `None` if it does not exist, or is something else.
pub(super) fn open_directory(dir: impl AsFd, name: &str) -> Result<Option<File>> {
    match open_at(dir, name, OFlags::DIRECTORY) {
        Ok(directory) => Ok(Some(directory)),
        Err(errno) if errno == Errno::NOENT || errno == Errno::NOTDIR || is_link_refused(errno) => Ok(None),
        Err(errno) => Err(failed("open a directory", errno)),
    }
}

/// Opens the entry `name` in `dir`.
pub(super) fn open(dir: impl AsFd, name: &str) -> Result<Found> {
    let file = match open_at(dir, name, OFlags::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(Found::Absent),
        Err(errno) if is_link_refused(errno) => return Ok(Found::Symlink),
        // A socket, or a device without its driver.
        Err(Errno::NXIO | Errno::NODEV | Errno::OPNOTSUPP) => return Ok(Found::Other),
        Err(errno) => return Err(failed("open a file", errno)),
    };
    let stat = file.metadata().map_err(|error| failed("open a file", error))?;
    Ok(if stat.is_file() {
        Found::File(file, stat)
    } else if stat.is_dir() {
        Found::Directory(file)
    } else {
        Found::Other
    })
}

/// Removes the directory `name` if it is empty. Returns `false` if it is not.
pub(super) fn remove_empty(parent: &File, name: impl rustix::path::Arg) -> Result<bool> {
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(errno) => Err(failed("remove an empty directory", errno)),
    }
}

/// Returns `true` if `error` means that a directory was removed while it was in use.
pub(super) fn is_gone(error: &Error) -> bool {
    error.kind() == ErrorKind::NotFound
}
