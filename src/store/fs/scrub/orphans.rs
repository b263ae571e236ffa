//! Sidecars without their media, looked at twice: an upload moves the sidecar to its place first, and a deletion removes
//! it last.

use std::{
    fs::File,
    mem, thread,
    time::{Duration, Instant},
};

use super::{
    name::{self, KeyPath},
    tree::{self, Found, Tree},
};
use crate::error::Result;

/// For how long a sidecar may be without its media.
pub(super) const UNDER_WAY: Duration = Duration::from_secs(3);

/// How long to wait before looking again.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// How many are looked at again at once, so that they are not waited for one by one.
const MANY: usize = 4096;

/// The names of media that were not there, and their sidecars were.
#[derive(Default)]
pub(super) struct Loners(Vec<Vec<String>>);

impl Loners {
    /// Notes the media with these `names`, if its sidecar, in `dir`, is there alone.
    pub(super) fn note(&mut self, dir: &File, names: &[String]) -> Result<()> {
        if let Some(key) = name::key(names)
            && is_alone(dir, &KeyPath::of(&key))?
        {
            self.0.push(names.to_vec());
        }
        Ok(())
    }

    pub(super) fn are_many(&self) -> bool {
        self.0.len() >= MANY
    }

    /// Those whose sidecars stay alone. Forgets all of them, and blocks for as long as it takes to know.
    pub(super) fn settle(&mut self, tree: &Tree) -> Vec<Vec<String>> {
        let until = Instant::now() + UNDER_WAY;
        while !self.0.is_empty() && Instant::now() < until {
            thread::sleep(PAUSE);
            // What cannot be looked at again has been seen alone.
            self.0.retain(|names| is_still_alone(tree, names).unwrap_or(true));
        }
        mem::take(&mut self.0)
    }
}

fn is_still_alone(tree: &Tree, names: &[String]) -> Result<bool> {
    let Some(key) = name::key(names) else {
        return Ok(false);
    };
    let path = KeyPath::of(&key);
    match tree.find(&path)? {
        Some(dir) => is_alone(&dir, &path),
        None => Ok(false),
    }
}

/// Whether the sidecar is there, and its media is not.
fn is_alone(dir: &File, path: &KeyPath<'_>) -> Result<bool> {
    let is_file = |name: &str| -> Result<bool> { Ok(matches!(tree::open(dir, name)?, Found::File(..))) };
    // The sidecar first: one that is deleted has lost its media before.
    Ok(is_file(&path.sidecar())? && !is_file(&path.file)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_what_stays_alone_is_missing() {
        let root = tempfile::tempdir().unwrap();
        let account = root.path().join("ACC");
        fs::create_dir(&account).unwrap();
        let names = |file: &str| ["ACC".to_owned(), file.to_owned()];
        let sidecar = |file: &str| account.join(name::sidecar(file));
        let dir = File::open(&account).unwrap();
        let mut loners = Loners::default();
        fs::write(account.join("whole.mp3"), "ID3").unwrap();
        for file in ["whole.mp3", "deleted.mp3", "uploaded.mp3", "lost.mp3"] {
            fs::write(sidecar(file), "{}").unwrap();
            loners.note(&dir, &names(file)).unwrap();
        }
        assert_eq!(loners.0.len(), 3);
        assert!(!loners.are_many());
        // What was under way when it was looked at is done.
        fs::remove_file(sidecar("deleted.mp3")).unwrap();
        fs::write(account.join("uploaded.mp3"), "ID3").unwrap();
        let tree = Tree::open_existing(root.path()).unwrap();
        assert_eq!(loners.settle(&tree), [names("lost.mp3")]);
        assert!(loners.settle(&tree).is_empty(), "they are forgotten");
        loners.0 = vec![Vec::new(); MANY];
        assert!(loners.are_many());
    }
}
