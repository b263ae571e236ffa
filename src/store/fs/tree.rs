//! The directories below the root: walked without following a link, and made.

use std::{
    borrow::Cow,
    fs::{self, File},
    io,
    path::Path,
    sync::Arc,
};

use rustix::{
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

/// Owner and group: the files are private, and a group can be let in to read and back them up.
const DIRECTORY: Mode = Mode::from_raw_mode(0o750);

/// The directory that a check makes; as all names with a leading dot, it is none that a key has.
const CHECK: &str = ".check";

/// No link is followed, nothing is inherited by a child process, and opening a FIFO does not wait for a writer.
pub(super) const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// The root directory and what is below it.
#[derive(Debug)]
pub(super) struct Tree {
    root: Arc<File>,
}

/// What there is under a name.
#[derive(Debug)]
pub(super) enum Found {
    Absent,
    File(File, fs::Metadata),
    Directory(File),
    Symlink,
    Other,
}

impl Found {
    /// Returns the error for an obstacle: this is at the name with this `position` in the path of a file or of its
    /// sidecar.
    ///
    /// The message contains no names, because it goes to a log and a response, and a name may be a caller's or a token.
    pub(super) fn blocks(&self, position: usize) -> Error {
        let what = match self {
            Self::Symlink => "a symbolic link, which is never followed; the operator has to replace it by its target",
            Self::File(..) => "a file that the store did not put there; the operator has to move it away",
            Self::Directory(_) => "a directory that the store did not put there; the operator has to move it away",
            Self::Absent | Self::Other => {
                "neither a file nor a directory, and the store did not put it there; the operator has to move it away"
            }
        };
        let message = format!(
            "the file cannot be used: name {position} of its path in the storage root, or of its sidecar's, is {what}"
        );
        Error::new(ErrorKind::Conflict, message)
    }
}

impl Tree {
    /// The directory `root`, made with its parents if it is not there.
    pub(super) fn open(root: &Path) -> Result<Self> {
        let made = fs::create_dir_all(root);
        if made.is_err() && root.exists() {
            return Err(Error::new(
                ErrorKind::Conflict,
                "its root is a file, and not a directory",
            ));
        }
        made.map_err(|error| broken("make its root directory", error))?;
        let path = root.canonicalize().map_err(|error| broken("open its root", error))?;
        let len = path.as_os_str().len();
        if len > MAX_ROOT_LEN {
            let message = format!(
                "the path of its root has {len} bytes of at most {MAX_ROOT_LEN}; with a longer one the paths of its files \
                 could be too long for other programs"
            );
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        Self::open_existing(root).map_err(|error| broken("open its root", error))
    }

    /// The directory `root`, which is there.
    pub(super) fn open_existing(root: &Path) -> io::Result<Self> {
        Ok(Self {
            // The root itself may be a link: the operator named it.
            root: Arc::new(File::open(root)?),
        })
    }

    pub(super) fn root(&self) -> &File {
        &self.root
    }

    /// The directory that holds the file at `path`; `None` if a directory on the way does not exist.
    pub(super) fn find(&self, path: &KeyPath<'_>) -> Result<Option<Arc<File>>> {
        let mut dir = Arc::clone(&self.root);
        for (at, name) in path.dirs.iter().enumerate() {
            dir = match open_at(&dir, name, OFlags::DIRECTORY) {
                Ok(child) => Arc::new(child),
                Err(Errno::NOENT) => return Ok(None),
                Err(errno) => match in_the_way(&dir, name, errno)? {
                    // Nothing is stored beneath a file.
                    Found::File(..) => return Ok(None),
                    found => return Err(found.blocks(at + 1)),
                },
            };
        }
        Ok(Some(dir))
    }

    /// Returns the directory of the files beneath `prefix`, and its names below the root; `None` if there is none.
    pub(super) fn find_beneath(&self, prefix: &BlobKey) -> Result<Option<(Arc<File>, Vec<String>)>> {
        let names = name::directories(prefix);
        let mut dir = Arc::clone(&self.root);
        for (at, name) in names.iter().enumerate() {
            dir = match open(&dir, name)? {
                Found::Directory(child) => Arc::new(child),
                Found::Absent | Found::File(..) => return Ok(None),
                found => return Err(found.blocks(at + 1)),
            };
        }
        Ok(Some((dir, names.into_iter().map(Cow::into_owned).collect())))
    }

    /// The directory that the file at `path` goes into, made if need be, and whether it was.
    ///
    /// [`ErrorKind::NotFound`] if somebody removed a directory on the way meanwhile.
    pub(super) fn make(&self, path: &KeyPath<'_>) -> Result<(Arc<File>, bool)> {
        let mut dir = Arc::clone(&self.root);
        let mut made = false;
        for (at, name) in path.dirs.iter().enumerate() {
            // KAZOO has a document for nearly every file, so the last directory is new, and the others are not.
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
                Err(errno) => return Err(in_the_way(&dir, name, errno)?.blocks(at + 1)),
            };
        }
        Ok((dir, made))
    }

    /// The directory with these `names` below the root, made if need be.
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

    /// Makes a directory in the root and removes it, as the first upload of an account makes one.
    ///
    /// It has the same name whoever checks: one that was left by a crash goes with the next check, and one that another
    /// check has just removed was made.
    pub(super) fn check(&self) -> Result<()> {
        let blame = |errno| broken("make a directory in its root", errno);
        match rustix::fs::mkdirat(&self.root, CHECK, DIRECTORY) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(blame(errno)),
        }
        match rustix::fs::unlinkat(&self.root, CHECK, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            Err(errno) => Err(blame(errno)),
        }
    }

    /// Removes the directories on the way to `path` that are empty, the innermost first.
    pub(super) fn prune(&self, path: &KeyPath<'_>) -> Result<()> {
        let mut above = vec![Arc::clone(&self.root)];
        for name in &path.dirs {
            match above.last().map(|dir| open_at(dir, name, OFlags::DIRECTORY)) {
                Some(Ok(dir)) => above.push(Arc::new(dir)),
                _ => break,
            }
        }
        for (dir, name) in above.iter().zip(&path.dirs).rev() {
            remove_empty(dir, &**name)?;
        }
        Ok(())
    }
}

/// Makes a directory, and says whether there was nothing in its place.
fn make_one(dir: &File, name: &str) -> Result<bool> {
    match rustix::fs::mkdirat(dir, name, DIRECTORY) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(failed("make a directory", errno)),
    }
}

fn open_at(dir: &File, name: &str, flags: OFlags) -> Result<File, Errno> {
    rustix::fs::openat(dir, name, READ | flags, Mode::empty()).map(File::from)
}

fn is_link_refused(errno: Errno) -> bool {
    // FreeBSD says EMLINK.
    errno == Errno::LOOP || errno == Errno::MLINK
}

/// What at `name` made opening it as a directory fail with `errno`; an error if that was not the reason.
fn in_the_way(dir: &File, name: &str, errno: Errno) -> Result<Found> {
    if errno != Errno::NOTDIR && !is_link_refused(errno) {
        return Err(failed("open a directory", errno));
    }
    match open(dir, name)? {
        // It was something else a moment ago.
        Found::Absent | Found::Directory(_) => Err(gone()),
        found => Ok(found),
    }
}

/// A directory was removed while it was being used; looking again helps.
pub(super) fn gone() -> Error {
    failed("open a directory", Errno::NOENT)
}

/// Opens what there is under `name` in `dir`.
pub(super) fn open(dir: &File, name: &str) -> Result<Found> {
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

/// Removes the directory called `name`, unless an upload has put something into it meanwhile.
pub(super) fn remove_empty(parent: &File, name: impl rustix::path::Arg) -> Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
        Err(errno) => Err(failed("remove an empty directory", errno)),
    }
}

/// Whether `error` says that a directory was removed while it was being used.
pub(super) fn is_gone(error: &Error) -> bool {
    error.kind() == ErrorKind::NotFound
}
