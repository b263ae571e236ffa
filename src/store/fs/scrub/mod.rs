//! [`FsScrub`]: reads every stored file and reports damage.

mod orphans;
mod quarantine;
mod throttle;
mod verdict;
mod verify;

use std::{
    mem,
    num::NonZeroU64,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

pub use self::verdict::{Damage, Scrubbed, Verdict};
use self::{orphans::OrphanedSidecars, quarantine::quarantine, throttle::Throttle, verify::verify};
use super::{
    FsStore,
    error::failed,
    format,
    name::{self, KeyPath},
    set_aside, stage, sync,
    tree::{self, Found, Tree},
    walk::{Visited, walk},
};
use crate::{
    error::{Error, ErrorKind, Result},
    key::BlobKey,
    store::catalog::is_beneath,
};

/// Reads every file below the root of an [`FsStore`] from the disk, and compares it with the digest of its upload.
///
/// A scrub can run beside the store, in this process or another, and changes nothing. With
/// [`quarantine`](Self::quarantine), it opens the store itself. After a crash, open the store before the scrub:
/// recovery repairs files that the scrub would report as damaged. While an upload replaces a file, both the old and the
/// new content are intact.
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

impl FsScrub {
    /// Creates a scrub of all files below `root`, at full speed and without changes.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            prefix: None,
            rate: None,
            quarantine: false,
        }
    }

    /// Reads only the files whose keys begin with the segments of `prefix`.
    #[must_use]
    pub fn prefix(mut self, prefix: BlobKey) -> Self {
        self.prefix = Some(prefix);
        self
    }

    /// Limits the rate, in bytes per second.
    #[must_use]
    pub fn rate(mut self, bytes_per_second: NonZeroU64) -> Self {
        self.rate = Some(bytes_per_second);
        self
    }

    /// Moves damaged files to `ROOT/.quarantine/SECONDS/`, where `SECONDS` is the Unix time at which the scrub began.
    /// Off by default.
    ///
    /// Moves media whose bytes differ, with its sidecar, and sidecars that differ or have no media. The root must not
    /// be open: [`ErrorKind::Conflict`] otherwise.
    #[must_use]
    pub fn quarantine(mut self, quarantine: bool) -> Self {
        self.quarantine = quarantine;
        self
    }

    /// Runs the scrub, and calls `on_file` with the result of each file. Blocks.
    ///
    /// Damage is not an error. [`ErrorKind::NotFound`] if no store was ever opened in the root, or no directory exists
    /// for the prefix. If a damaged file cannot be moved, the scrub continues, and returns the first such error at the
    /// end.
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
        let mut report = |names: &[String], scrubbed: &Scrubbed| {
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
                report(&[], &Scrubbed { key, len: 0, verdict });
            }
        }
        let mut orphans = OrphanedSidecars::default();
        let found = walk(tree, self.prefix.as_ref(), &mut |names, visited| {
            if let Visited::Sidecar { dir } = visited {
                if let Err(error) = orphans.note(dir, names) {
                    report(names, &Scrubbed::damaged(names, Damage::Unreadable(error)));
                }
                if orphans.is_full() {
                    report_missing(orphans.settle(tree), &mut report);
                }
            } else if let Some(scrubbed) = scrub(tree, names, visited, &mut throttle) {
                report(names, &scrubbed);
            }
            Ok::<_, Error>(())
        })?;
        report_missing(orphans.settle(tree), &mut report);
        if store.is_some() {
            sync::file_system(tree.root()).map_err(|errno| failed("sync the quarantined files", errno))?;
        }
        match &self.prefix {
            Some(prefix) if !found => Err(Error::new(
                ErrorKind::NotFound,
                format!("nothing is stored beneath `{prefix}`; name an account, or a directory below one"),
            )),
            _ => moved,
        }
    }

    /// Opens the root, if a store was ever opened in it.
    fn existing(&self) -> Result<Tree> {
        let root = self.root.display();
        let tree = Tree::open_existing(&self.root).map_err(|error| {
            Error::new(ErrorKind::NotFound, format!("the directory {root} cannot be opened")).with_source(error)
        })?;
        match tree::open(tree.root(), stage::DIRECTORY)? {
            Found::Directory(_) => {
                format::check(&tree)?;
                Ok(tree)
            }
            _ => Err(Error::new(
                ErrorKind::NotFound,
                format!(
                    "the directory {root} is not the root of a store: it has no `{}`; check the path, and that its file system is mounted",
                    stage::DIRECTORY
                ),
            )),
        }
    }
}

/// Verifies a media file. Returns `None` for a file that the store did not write.
fn scrub(tree: &Tree, names: &[String], visited: Visited<'_>, throttle: &mut Throttle) -> Option<Scrubbed> {
    if let Visited::Unreadable(error) = visited {
        return Some(Scrubbed::damaged(names, Damage::Unreadable(error)));
    }
    let key = name::key(names)?;
    let verdict = verify(tree, &KeyPath::of(&key), throttle)
        .unwrap_or_else(|error| Some(Verdict::Damaged(Damage::Unreadable(error))));
    Some(Scrubbed::of(names, throttle.file_bytes, verdict?))
}

fn report_missing(media: Vec<Vec<String>>, report: &mut impl FnMut(&[String], &Scrubbed)) {
    for names in media {
        report(&names, &Scrubbed::damaged(&names, Damage::Missing));
    }
}
