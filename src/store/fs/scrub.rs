//! [`FsScrub`]: reads everything that is stored, and says what is damaged.

use std::{
    fmt,
    fs::File,
    num::NonZeroU64,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustix::io::Errno;

use super::{
    FsStore,
    catalog::{self, Visited},
    error::failed,
    name::{self, KeyPath},
    read, sidecar,
    tree::{self, Found, Tree},
    version::Version,
};
use crate::{
    digest::{Digest, Digester},
    error::{Error, ErrorKind, Result},
    key::BlobKey,
};

/// How much is read at once.
const CHUNK: usize = 128 * 1024;

/// How often a file is looked at again whose sidecar is about other contents: an upload may be replacing it.
const LOOKS: usize = 4;

/// How long to wait before looking again.
const PAUSE: Duration = Duration::from_millis(50);

/// Where damaged files are moved to, below the root.
const QUARANTINE: &str = ".quarantine";

/// Reads every file below the root of an [`FsStore`] and compares it with the digest that was made when it was uploaded.
///
/// It can run beside the store, of this process or another, and changes nothing; but with
/// [`quarantine`](Self::quarantine) it is the store. After a crash, open the store once before: what opening it would
/// mend counts as damaged.
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

/// What a scrub says of a file.
#[derive(Debug)]
pub enum Verdict {
    /// It is what was uploaded.
    Intact,
    /// It has no digest: it was put there by hand.
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
    /// Its sidecar is not one that the store wrote.
    Sidecar,
    /// There is a sidecar, and nothing that it is about.
    Missing,
    /// The file system does not give it out.
    Unreadable(Error),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Content => f.write_str("its bytes are not those that were uploaded"),
            Self::Sidecar => f.write_str("its sidecar is not one that this store wrote"),
            Self::Missing => f.write_str("its sidecar is there, and the file is gone"),
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

    /// Whether damaged files are moved, media and sidecar, to `ROOT/.quarantine/SECONDS/`, where `SECONDS` is the Unix
    /// time at which the scrub began. By default they stay.
    ///
    /// The root must not be open: [`ErrorKind::Conflict`] otherwise.
    #[must_use]
    pub fn quarantine(mut self, quarantine: bool) -> Self {
        self.quarantine = quarantine;
        self
    }

    /// Does it, and calls `on_file` with each file as it has been looked at. Blocks.
    ///
    /// What is wrong with a file is no error; not being able to begin, or to move a file, is.
    pub fn run(&self, mut on_file: impl FnMut(&Scrubbed)) -> Result<()> {
        let store = self.quarantine.then(|| FsStore::open(&self.root)).transpose()?;
        let opened;
        let tree = if let Some(store) = &store {
            &store.0.tree
        } else {
            opened = Tree::open_existing(&self.root).map_err(|error| {
                let message = format!("the directory {} cannot be opened", self.root.display());
                Error::new(ErrorKind::Unavailable, message).with_source(error)
            })?;
            &opened
        };
        let mut throttle = Throttle::new(self.rate);
        let began = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        catalog::walk(tree, self.prefix.as_ref(), &mut |names, visited| {
            let Some(scrubbed) = scrub(tree, names, visited, &mut throttle) else {
                return Ok(());
            };
            if store.is_some()
                && let Verdict::Damaged(damage) = &scrubbed.verdict
                && let Some(key) = name::key(names)
            {
                quarantine(tree, &KeyPath::of(&key), damage, began)?;
            }
            on_file(&scrubbed);
            Ok::<_, Error>(())
        })?;
        match store {
            Some(_) => super::sync_all(tree.root()).map_err(|errno| failed("make what it moved durable", errno)),
            None => Ok(()),
        }
    }
}

/// What is to be said of what was visited; nothing of what is no file of the store's, or is visited elsewhere.
fn scrub(tree: &Tree, names: &[String], visited: Visited<'_>, throttle: &mut Throttle) -> Option<Scrubbed> {
    let of = |len, verdict| Scrubbed {
        key: name::Decoded(names).to_string(),
        len,
        verdict,
    };
    if let Visited::Unreadable(error) = visited {
        return Some(of(0, Verdict::Damaged(Damage::Unreadable(error))));
    }
    let key = name::key(names)?;
    let path = KeyPath::of(&key);
    if let Visited::Sidecar { dir } = visited {
        return is_alone(dir, &path).then(|| of(0, Verdict::Damaged(Damage::Missing)));
    }
    throttle.begin_file();
    let verdict =
        verify(tree, &path, throttle).unwrap_or_else(|error| Some(Verdict::Damaged(Damage::Unreadable(error))));
    Some(of(throttle.of_file, verdict?))
}

/// Whether the sidecar is there without its media, and stays so: an upload moves it first.
fn is_alone(dir: &File, path: &KeyPath<'_>) -> bool {
    let is_absent = |name: &str| matches!(tree::open(dir, name), Ok(Found::Absent));
    let alone = || is_absent(&path.file.text) && !is_absent(&name::sidecar(&path.file.text));
    alone()
        && (1..LOOKS).all(|_| {
            thread::sleep(PAUSE);
            alone()
        })
}

/// Reads the file at `path`; `None` if it is gone.
fn verify(tree: &Tree, path: &KeyPath<'_>, throttle: &mut Throttle) -> Result<Option<Verdict>> {
    for look in 1..=LOOKS {
        let Some(dir) = tree.find(path)? else {
            return Ok(None);
        };
        let Found::File(file, stat) = tree::open(&dir, &path.file.text)? else {
            return Ok(None);
        };
        let unreadable = |error| failed("read a file", error);
        let version = Version::of(&stat).map_err(unreadable)?;
        let Some(text) = read::sidecar(&dir, &path.file.text)? else {
            let verdict = (!read::is_deleted(&file)?).then_some(Verdict::Unverifiable);
            return Ok(verdict);
        };
        let expected = match sidecar::read(&text, version) {
            Some(facts) => facts.digest.into_iter().collect(),
            // An upload replaces the file just now, or somebody has written to it or changed its time.
            None if look < LOOKS => {
                thread::sleep(PAUSE);
                continue;
            }
            None => match sidecar::digests(&text) {
                Some(digests) => digests,
                None => return Ok(Some(Verdict::Damaged(Damage::Sidecar))),
            },
        };
        if expected.is_empty() {
            return Ok(Some(Verdict::Unverifiable));
        }
        let found = digest(&file, throttle).map_err(unreadable)?;
        return Ok(Some(if expected.contains(&found) {
            Verdict::Intact
        } else {
            Verdict::Damaged(Damage::Content)
        }));
    }
    Ok(None)
}

fn digest(file: &File, throttle: &mut Throttle) -> std::io::Result<Digest> {
    let mut digester = Digester::default();
    let mut chunk = vec![0; CHUNK];
    let mut offset = 0;
    loop {
        let read = file.read_at(&mut chunk, offset)?;
        let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return Ok(digester.finish());
        };
        digester.update(bytes);
        offset += read as u64;
        throttle.read(read as u64);
    }
}

/// Moves what is damaged out of the store's sight.
fn quarantine(tree: &Tree, path: &KeyPath<'_>, damage: &Damage, began: u64) -> Result<()> {
    let Some(from) = tree.find(path)? else {
        return Ok(());
    };
    let began = began.to_string();
    let above = [QUARANTINE, &began];
    let to = tree.make_dirs(above.into_iter().chain(path.dirs.iter().map(|name| &*name.text)))?;
    let sidecar = name::sidecar(&path.file.text);
    let media = match damage {
        // The media may be well, and can be fetched without it.
        Damage::Sidecar => None,
        _ => Some(&*path.file.text),
    };
    for name in media.into_iter().chain([&*sidecar]) {
        match rustix::fs::renameat(&from, name, &to, name) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed("move a damaged file to quarantine", errno)),
        }
    }
    Ok(())
}

/// Counts what is read, and waits where that is too fast.
struct Throttle {
    rate: Option<NonZeroU64>,
    began: Instant,
    read: u64,
    of_file: u64,
}

impl Throttle {
    fn new(rate: Option<NonZeroU64>) -> Self {
        Self {
            rate,
            began: Instant::now(),
            read: 0,
            of_file: 0,
        }
    }

    fn begin_file(&mut self) {
        self.of_file = 0;
    }

    fn read(&mut self, bytes: u64) {
        self.read += bytes;
        self.of_file += bytes;
        thread::sleep(self.due().saturating_sub(self.began.elapsed()));
    }

    /// How long after the beginning what was read may have been read.
    fn due(&self) -> Duration {
        let Some(rate) = self.rate else {
            return Duration::ZERO;
        };
        let micros = u128::from(self.read) * 1_000_000 / u128::from(rate.get());
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_due_by_the_rate() {
        let mut throttle = Throttle::new(NonZeroU64::new(1000));
        throttle.read = 2500;
        assert_eq!(throttle.due(), Duration::from_millis(2500));
        throttle.rate = None;
        assert_eq!(throttle.due(), Duration::ZERO);
    }
}
