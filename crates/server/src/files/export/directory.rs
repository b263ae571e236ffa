//! [`Directory`]: an export to a directory.

use std::{
    fs::{self, DirBuilder, File},
    mem,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Output,
    background::Background,
    blocking, cannot_write,
    download::{Content, Fetched},
    scratch::{Scratch, make_below, refuse_link},
};

/// Directory below the root for the temporary files. Its name is not that of an account.
const SCRATCH: &str = ".partial";

/// Number of files that are synced together, and their maximum length in bytes.
const BATCH: (usize, u64) = (1024, 64 << 20);

/// A directory that receives files.
pub(super) struct Directory {
    root: PathBuf,
    scratch: Arc<Scratch>,
    /// The temporary files, and their paths below the root.
    batch: Vec<(PathBuf, PathBuf)>,
    bytes: u64,
    /// Saves the batch before, while the files of this one are fetched.
    saving: Background,
}

impl Directory {
    /// Opens the directory, and creates it if it does not exist.
    pub(super) fn open(root: &Path) -> Result<Self, String> {
        make(root)?;
        let scratch = Scratch::open(root, Path::new(SCRATCH))?;
        Ok(Self {
            root: root.to_owned(),
            scratch: Arc::new(scratch),
            batch: Vec::new(),
            bytes: 0,
            saving: Background::default(),
        })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn scratch(&self) -> &Arc<Scratch> {
        &self.scratch
    }

    /// Adds a file, which is moved to `path` with its batch.
    pub(super) async fn add(&mut self, path: &str, fetched: Fetched) -> Result<(), String> {
        if let Content::File(scratch) = fetched.content {
            self.batch.push((scratch, PathBuf::from(path)));
            self.bytes += fetched.len;
        }
        if self.batch.len() >= BATCH.0 || self.bytes >= BATCH.1 {
            self.start_save().await?;
        }
        Ok(())
    }

    /// Starts to save the files that were added, once those before are saved.
    pub(super) async fn start_save(&mut self) -> Result<(), String> {
        if self.batch.is_empty() {
            return Ok(());
        }
        // If it fails, the next save has the files of this batch.
        self.saving.end().await?;
        let (batch, root, scratch) = (mem::take(&mut self.batch), self.root.clone(), Arc::clone(&self.scratch));
        self.bytes = 0;
        let save = move || {
            let saved = save_batch(&root, batch);
            drop(scratch);
            saved
        };
        self.saving.start(save).await
    }

    /// Saves the files that were added.
    pub(super) async fn save(&mut self) -> Result<(), String> {
        self.start_save().await?;
        self.saving.end().await
    }

    /// Saves the rest and the `outputs`.
    pub(super) async fn finish(mut self, outputs: [Output; 2]) -> Result<(), String> {
        for output in outputs {
            let name = output.name;
            let path = output.end()?;
            self.batch.push((path, PathBuf::from(name)));
        }
        self.save().await?;
        blocking(move || sync(&self.root)).await
    }
}

/// Syncs the files of a batch, and moves them to their paths. Blocks.
fn save_batch(root: &Path, batch: Vec<(PathBuf, PathBuf)>) -> Result<(), String> {
    sync(root)?;
    let mut made = PathBuf::new();
    for (scratch, path) in batch {
        if let Some(parent) = path.parent()
            && parent != made
        {
            make_below(root, parent)?;
            parent.clone_into(&mut made);
        }
        let path = root.join(path);
        fs::rename(&scratch, &path).map_err(|error| cannot_write(&path, &error))?;
    }
    Ok(())
}

/// Returns `true` if the directory of the file `path` exists below `root`. Fails if the way there has a symbolic link. Blocks.
pub(super) fn has_parent(root: &Path, path: &Path) -> Result<bool, String> {
    let mut directory = root.to_owned();
    for name in path.parent().into_iter().flatten() {
        directory.push(name);
        match directory.symlink_metadata() {
            Ok(found) => refuse_link(&directory, &found)?,
            Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

/// Creates a directory and those above it, for their owner only.
fn make(path: &Path) -> Result<(), String> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| cannot_write(path, &error))
}

/// Writes out the file system of `root`.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn sync(root: &Path) -> Result<(), String> {
    let directory = File::open(root).map_err(|error| cannot_write(root, &error))?;
    rustix::fs::syncfs(directory).map_err(|error| cannot_write(root, &error))
}

/// Writes out every file system.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[allow(clippy::unnecessary_wraps)]
fn sync(_: &Path) -> Result<(), String> {
    rustix::fs::sync();
    Ok(())
}
