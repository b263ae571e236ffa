//! [`OrphanedSidecars`]: sidecars without media.
//!
//! Each is checked twice, because an upload puts the sidecar at its path first, and a deletion removes it last.

use std::{
    mem, thread,
    time::{Duration, Instant},
};

use rustix::fd::{AsFd as _, BorrowedFd};

use crate::{
    error::Result,
    store::fs::{
        name::{self, KeyPath},
        tree::{self, Found, Tree},
    },
};

/// The maximum time for which an upload or a deletion leaves a sidecar without its media.
pub(super) const IN_PROGRESS: Duration = Duration::from_secs(3);

/// The time between two checks.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// The number of candidates that are checked again together, so that the waiting time is shared.
const CAPACITY: usize = 4096;

/// The names of media that were missing when their sidecars were found.
#[derive(Default)]
pub(super) struct OrphanedSidecars(Vec<Vec<String>>);

impl OrphanedSidecars {
    /// Adds the media with these `names` if its sidecar, in `dir`, is an orphan.
    pub(super) fn note(&mut self, dir: BorrowedFd<'_>, names: &[String]) -> Result<()> {
        if let Some(key) = name::key(names)
            && is_orphan(dir, &KeyPath::of(&key))?
        {
            self.0.push(names.to_vec());
        }
        Ok(())
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= CAPACITY
    }

    /// Waits until no upload or deletion can be in progress, and returns the media that are still missing. Blocks.
    pub(super) fn settle(&mut self, tree: &Tree) -> Vec<Vec<String>> {
        let until = Instant::now() + IN_PROGRESS;
        while !self.0.is_empty() && Instant::now() < until {
            thread::sleep(PAUSE);
            // If the second check fails, the first one counts.
            self.0.retain(|names| is_still_orphan(tree, names).unwrap_or(true));
        }
        mem::take(&mut self.0)
    }
}

fn is_still_orphan(tree: &Tree, names: &[String]) -> Result<bool> {
    let Some(key) = name::key(names) else {
        return Ok(false);
    };
    let path = KeyPath::of(&key);
    match tree.find(&path)? {
        Some(dir) => is_orphan(dir.as_fd(), &path),
        None => Ok(false),
    }
}

/// Returns `true` if the sidecar exists and its media does not.
fn is_orphan(dir: BorrowedFd<'_>, path: &KeyPath<'_>) -> Result<bool> {
    let is_file = |name: &str| -> Result<bool> { Ok(matches!(tree::open(dir, name)?, Found::File(..))) };
    // Checks the sidecar first, because a deletion removes the media before the sidecar.
    Ok(is_file(&path.sidecar())? && !is_file(&path.file)?)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    #[test]
    fn returns_only_sidecars_that_stay_orphans() {
        let root = tempfile::tempdir().unwrap();
        let account = root.path().join("ACC");
        fs::create_dir(&account).unwrap();
        let names = |file: &str| ["ACC".to_owned(), file.to_owned()];
        let sidecar = |file: &str| account.join(name::sidecar(file));
        let dir = File::open(&account).unwrap();
        let mut orphans = OrphanedSidecars::default();
        fs::write(account.join("whole.mp3"), "ID3").unwrap();
        for file in ["whole.mp3", "deleted.mp3", "uploaded.mp3", "lost.mp3"] {
            fs::write(sidecar(file), "{}").unwrap();
            orphans.note(dir.as_fd(), &names(file)).unwrap();
        }
        assert_eq!(orphans.0.len(), 3);
        assert!(!orphans.is_full());
        // The deletion and the upload finish.
        fs::remove_file(sidecar("deleted.mp3")).unwrap();
        fs::write(account.join("uploaded.mp3"), "ID3").unwrap();
        let tree = Tree::open_existing(root.path()).unwrap();
        assert_eq!(orphans.settle(&tree), [names("lost.mp3")]);
        assert!(orphans.settle(&tree).is_empty(), "they are returned once");
        orphans.0 = vec![Vec::new(); CAPACITY];
        assert!(orphans.is_full());
    }
}
