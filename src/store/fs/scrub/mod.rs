//! [`FsScrub`]: reads everything that is stored, and says what is damaged.

use std::{
    fmt,
    fs::File,
    mem,
    num::NonZeroU64,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::PathBuf,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::io::Errno;

use super::{
    FsStore,
    catalog::{self, Visited},
    error::failed,
    loners::{Loners, PAUSE, UNDER_WAY},
    name::{self, KeyPath},
    read,
    set_aside::{self, SetAside},
    sidecar, stage,
    throttle::Throttle,
    tree::{self, Found, Tree},
    version::Version,
};
use crate::{
    digest::{Digest, Digester},
    error::{Error, ErrorKind, Result},
    key::BlobKey,
    store::catalog::is_beneath,
};

/// How much is read at once.
const CHUNK: usize = 128 * 1024;

/// Where damaged files are moved to, below the root.
const QUARANTINE: &str = ".quarantine";

/// Reads every file below the root of an [`FsStore`] from the disk, and compares it with the digest that was made when it
/// was uploaded.
///
/// It can run beside the store, of this process or another, and changes nothing; but with
/// [`quarantine`](Self::quarantine) it is the store. After a crash, open the store once before: what opening it would
/// mend counts as damaged. The content that an upload was to replace counts as intact, as it is until that upload is
/// done.
///
/// ```
/// use kazoo_storage::store::{FsScrub, FsStore, Verdict};
///
/// # let root = tempfile::tempdir().unwrap();
/// # FsStore::open(root.path())?;
/// let mut damaged = Vec::new();
/// FsScrub::new(root.path()).run(|file| {
///     if let Verdict::Damaged(damage) = &file.verdict {
///         damaged.push(format!("{}: {damage}", file.key));
///     }
/// })?;
/// assert!(damaged.is_empty());
/// # Ok::<(), kazoo_storage::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct FsScrub {
    root: PathBuf,
    prefix: Option<BlobKey>,
    rate: Option<NonZeroU64>,
    quarantine: bool,
}

/// One file, looked at.
#[derive(Debug)]
#[non_exhaustive]
pub struct Scrubbed {
    /// The name it is stored under, or that of an unreadable directory; as a message shows it.
    pub key: String,
    /// How many bytes of it were read.
    pub len: u64,
    /// What is to be said of it.
    pub verdict: Verdict,
}

impl Scrubbed {
    fn of(names: &[String], len: u64, verdict: Verdict) -> Self {
        Self {
            key: name::Decoded(names).to_string(),
            len,
            verdict,
        }
    }
}

/// What a scrub says of a file.
#[derive(Debug)]
pub enum Verdict {
    /// It is what was uploaded.
    Intact,
    /// It can be read, and has no digest: it was put there by hand.
    Unverifiable,
    /// It is not what was uploaded.
    Damaged(Damage),
}

/// What is wrong with a file.
#[derive(Debug)]
#[non_exhaustive]
pub enum Damage {
    /// Its bytes are not those that were uploaded.
    Content,
    /// Its sidecar is not as the store wrote it.
    Sidecar,
    /// Its bytes are well, but its modification time is another, so that the sidecar counts for nothing.
    Detached,
    /// There is a sidecar, and no file that it is about.
    Missing,
    /// A recovery after a crash could not apply it, and it is [set aside](FsStore::set_aside).
    SetAside(SetAside),
    /// The file, or all that is below the directory, cannot be read.
    Unreadable(Error),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Content => f.write_str("its bytes are not those that were uploaded"),
            Self::Sidecar => f.write_str("its sidecar is not as the store wrote it"),
            Self::Detached => f.write_str(
                "its modification time is not the one in its sidecar, whose metadata counts for nothing; copy it with its times",
            ),
            Self::Missing => f.write_str("its sidecar is there, and the file is gone"),
            Self::SetAside(SetAside { directory, reason, .. }) => write!(
                f,
                "it could not be put in its place after a crash, and is in `{directory}`: {reason}"
            ),
            Self::Unreadable(error) => write!(f, "{error}"),
        }
    }
}

impl FsScrub {
    /// Of everything below `root`, as fast as the disk allows, and without a change to it.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            prefix: None,
            rate: None,
            quarantine: false,
        }
    }

    /// Only of the files beneath `prefix`: those whose key has its segments before their own.
    #[must_use]
    pub fn prefix(mut self, prefix: BlobKey) -> Self {
        self.prefix = Some(prefix);
        self
    }

    /// Reads at most so many bytes per second.
    #[must_use]
    pub fn rate(mut self, bytes_per_second: NonZeroU64) -> Self {
        self.rate = Some(bytes_per_second);
        self
    }

    /// Whether damaged files are moved to `ROOT/.quarantine/SECONDS/`, where `SECONDS` is the Unix time at which the scrub
    /// began. By default they stay.
    ///
    /// What is moved is media of other bytes, with its sidecar, and a sidecar that is not as it was written or has no media.
    /// The root must not be open: [`ErrorKind::Conflict`] otherwise.
    #[must_use]
    pub fn quarantine(mut self, quarantine: bool) -> Self {
        self.quarantine = quarantine;
        self
    }

    /// Does it, and calls `on_file` with each file as it has been looked at. Blocks.
    ///
    /// What is wrong with a file is no error. [`ErrorKind::NotFound`] if there is nothing to look at: no store has been
    /// opened in the root, or the prefix is no directory in it. If a damaged file cannot be moved, the others are all the
    /// same, and the first such error is returned at the end.
    pub fn run(&self, mut on_file: impl FnMut(&Scrubbed)) -> Result<()> {
        let existing = self.existing()?;
        let store = self.quarantine.then(|| FsStore::open(&self.root)).transpose()?;
        let tree = store.as_ref().map_or(&existing, |store| &store.0.tree);
        let mut throttle = Throttle::new(self.rate);
        let began = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let mut moved = Ok(());
        let mut tell = |names: &[String], scrubbed: &Scrubbed| {
            on_file(scrubbed);
            if store.is_some()
                && let Verdict::Damaged(damage) = &scrubbed.verdict
                && let Some(key) = name::key(names)
                && let Err(error) = quarantine(tree, &KeyPath::of(&key), damage, began)
            {
                moved = mem::replace(&mut moved, Ok(())).and(Err(error));
            }
        };
        for set_aside in set_aside::list(tree.root())? {
            let key = BlobKey::from_path(&set_aside.key).ok();
            let within = |prefix| key.is_some_and(|key| is_beneath(&key, prefix));
            if self.prefix.as_ref().is_none_or(within) {
                let key = set_aside.key.clone();
                let verdict = Verdict::Damaged(Damage::SetAside(set_aside));
                tell(&[], &Scrubbed { key, len: 0, verdict });
            }
        }
        let mut loners = Loners::default();
        let found = catalog::walk(tree, self.prefix.as_ref(), &mut |names, visited| {
            if let Visited::Sidecar { dir } = visited {
                if let Err(error) = loners.note(dir, names) {
                    tell(
                        names,
                        &Scrubbed::of(names, 0, Verdict::Damaged(Damage::Unreadable(error))),
                    );
                }
                if loners.are_many() {
                    missing(loners.settle(tree), &mut tell);
                }
            } else if let Some(scrubbed) = scrub(tree, names, visited, &mut throttle) {
                tell(names, &scrubbed);
            }
            Ok::<_, Error>(())
        })?;
        missing(loners.settle(tree), &mut tell);
        if store.is_some() {
            super::sync_all(tree.root()).map_err(|errno| failed("make what it moved durable", errno))?;
        }
        match &self.prefix {
            Some(prefix) if !found => Err(Error::new(
                ErrorKind::NotFound,
                format!(
                    "nothing is stored beneath `{prefix}`; a name is that of an account, or of a directory further down"
                ),
            )),
            _ => moved,
        }
    }

    /// The root, if a store was ever opened in it.
    fn existing(&self) -> Result<Tree> {
        let root = self.root.display();
        let tree = Tree::open_existing(&self.root).map_err(|error| {
            Error::new(ErrorKind::NotFound, format!("the directory {root} cannot be opened")).with_source(error)
        })?;
        match tree::open(tree.root(), stage::DIRECTORY)? {
            Found::Directory(_) => Ok(tree),
            _ => Err(Error::new(
                ErrorKind::NotFound,
                format!(
                    "the directory {root} is no store's: it has no `{}`. Is it mounted?",
                    stage::DIRECTORY
                ),
            )),
        }
    }
}

/// What is to be said of media, or of what cannot be read; nothing of what is no file of the store's.
fn scrub(tree: &Tree, names: &[String], visited: Visited<'_>, throttle: &mut Throttle) -> Option<Scrubbed> {
    if let Visited::Unreadable(error) = visited {
        return Some(Scrubbed::of(names, 0, Verdict::Damaged(Damage::Unreadable(error))));
    }
    let key = name::key(names)?;
    let verdict = verify(tree, &KeyPath::of(&key), throttle)
        .unwrap_or_else(|error| Some(Verdict::Damaged(Damage::Unreadable(error))));
    Some(Scrubbed::of(names, throttle.of_file, verdict?))
}

/// Tells of media that are gone.
fn missing(media: Vec<Vec<String>>, tell: &mut impl FnMut(&[String], &Scrubbed)) {
    for names in media {
        tell(&names, &Scrubbed::of(&names, 0, Verdict::Damaged(Damage::Missing)));
    }
}

/// Reads the file at `path`; `None` if it is gone.
fn verify(tree: &Tree, path: &KeyPath<'_>, throttle: &mut Throttle) -> Result<Option<Verdict>> {
    loop {
        throttle.begin_file();
        let Some(dir) = tree.find(path)? else {
            return Ok(None);
        };
        let Found::File(file, stat) = tree::open(&dir, &path.file)? else {
            return Ok(None);
        };
        let version = Version::of(&stat).map_err(|error| failed("read a file", error))?;
        let sidecar = read::sidecar(tree::open(&dir, &path.sidecar())?)?;
        let verdict = judge(&file, version, sidecar.as_deref(), throttle)?;
        if matches!(verdict, Verdict::Intact) {
            return Ok(Some(verdict));
        }
        // It was replaced or deleted while it was looked at, or is being replaced.
        let gone = read::is_deleted(&file)?;
        if !gone && !is_under_way(&dir, path)? {
            return Ok(Some(verdict));
        }
        thread::sleep(PAUSE);
    }
}

/// Whether the sidecar at `path` was moved to its place so lately that the media may be on the way to its own.
fn is_under_way(dir: &File, path: &KeyPath<'_>) -> Result<bool> {
    let Found::File(_, stat) = tree::open(dir, &path.sidecar())? else {
        return Ok(false);
    };
    let changed = UNIX_EPOCH + Duration::from_secs(u64::try_from(stat.ctime()).unwrap_or_default());
    // A change in what is still to come is one of a clock that was set back.
    let since = SystemTime::now().duration_since(changed);
    Ok(since.is_ok_and(|since| since < UNDER_WAY))
}

/// What is to be said of a file with this `version` and `sidecar`. It is read to its end, whatever that is.
fn judge(file: &File, version: Version, sidecar: Option<&[u8]>, throttle: &mut Throttle) -> Result<Verdict> {
    let found = digest(file, throttle).map_err(|error| failed("read a file", error))?;
    let Some(text) = sidecar else {
        return Ok(Verdict::Unverifiable);
    };
    let Some(digests) = sidecar::digests(text) else {
        return Ok(Verdict::Damaged(Damage::Sidecar));
    };
    Ok(match sidecar::read(text, version).map(|facts| facts.digest) {
        Some(None) => Verdict::Unverifiable,
        Some(Some(digest)) if digest == found => Verdict::Intact,
        None if digests.contains(&found) => Verdict::Damaged(Damage::Detached),
        _ => Verdict::Damaged(Damage::Content),
    })
}

fn digest(file: &File, throttle: &mut Throttle) -> std::io::Result<Digest> {
    let mut digester = Digester::default();
    let mut chunk = vec![0; CHUNK];
    let mut offset = 0;
    // What is in memory says nothing of the disk.
    forget(file);
    loop {
        let read = file.read_at(&mut chunk, offset)?;
        let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else {
            // And nobody else needs it there.
            forget(file);
            return Ok(digester.finish());
        };
        digester.update(bytes);
        offset += read as u64;
        throttle.read(read as u64);
    }
}

/// Has the kernel drop what it holds of `file` in memory.
#[cfg(target_os = "linux")]
fn forget(file: &File) {
    // Advice is all it is.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
fn forget(_: &File) {}

/// Moves what is damaged out of the store's sight.
fn quarantine(tree: &Tree, path: &KeyPath<'_>, damage: &Damage, began: u64) -> Result<()> {
    let media = match damage {
        Damage::Content => Some(&*path.file),
        // There is none, or it may be well, and can be fetched without it.
        Damage::Sidecar | Damage::Missing => None,
        Damage::Detached | Damage::SetAside(_) | Damage::Unreadable(_) => return Ok(()),
    };
    let Some(from) = tree.find(path)? else {
        return Ok(());
    };
    let began = began.to_string();
    let above = [QUARANTINE, &began];
    let to = tree.make_dirs(above.into_iter().chain(path.dirs.iter().map(|name| &**name)))?;
    let sidecar = path.sidecar();
    for name in media.into_iter().chain([&*sidecar]) {
        match rustix::fs::renameat(&from, name, &to, name) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed("move a damaged file to quarantine", errno)),
        }
    }
    Ok(())
}
