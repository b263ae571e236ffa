//! [`Zip`]: an export to a ZIP file.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read, Seek as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use tempfile::TempPath;

use super::{
    Output,
    archive::{Archive, Member},
    background::Background,
    blocking, cannot_write,
    download::{Content, Fetched},
    scratch::Scratch,
};
use crate::files::get::directory;

/// The temporary file that becomes the ZIP file.
const ARCHIVE: &str = "archive";

/// Number of bytes that are synced together.
const BATCH: u64 = 64 << 20;

/// A ZIP file, which is temporary until it is complete.
pub(super) struct Zip {
    path: PathBuf,
    scratch: Arc<Scratch>,
    /// `None` while a file is added.
    archive: Option<Archive>,
    /// The number of bytes since the last sync was started.
    unsynced: u64,
    /// Syncs the archive while more files are fetched.
    syncing: Background,
}

impl Zip {
    pub(super) fn create(path: &Path) -> Result<Self, String> {
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(".partial");
        let scratch = Scratch::open(&directory(path), Path::new(&name))?;
        let file = |name| super::create(&scratch.file(name));
        let archive = Archive::new(file(ARCHIVE)?, file("directory")?);
        Ok(Self {
            path: path.to_owned(),
            scratch: Arc::new(scratch),
            archive: Some(archive),
            unsynced: 0,
            syncing: Background::default(),
        })
    }

    pub(super) fn scratch(&self) -> &Arc<Scratch> {
        &self.scratch
    }

    pub(super) async fn add(&mut self, path: &str, fetched: Fetched) -> Result<(), String> {
        let member = Member {
            name: path.to_owned(),
            crc: fetched.crc,
            len: fetched.len,
        };
        self.append(member, fetched.content).await?;
        self.unsynced += fetched.len;
        if self.unsynced >= BATCH {
            self.sync().await?;
        }
        Ok(())
    }

    /// Starts to sync what was written: otherwise the end of the export would wait for all of it.
    async fn sync(&mut self) -> Result<(), String> {
        let Some(archive) = &self.archive else { return Ok(()) };
        let (file, path) = (archive.file(), self.path.clone());
        self.unsynced = 0;
        let sync = move || {
            file.and_then(|file| file.sync_data())
                .map_err(|error| cannot_write(&path, &error))
        };
        self.syncing.start(sync).await
    }

    async fn append(&mut self, member: Member, content: Content) -> Result<(), String> {
        let (archive, path) = (self.archive.take(), self.path.clone());
        let archive = blocking(move || {
            let mut archive = archive.ok_or("an earlier file could not be added")?;
            let added = match content {
                Content::Memory(bytes) => archive.add(&member, &mut &*bytes),
                Content::File(scratch) => File::open(&scratch)
                    .and_then(|mut file| archive.add(&member, &mut file))
                    .and_then(|()| fs::remove_file(&scratch)),
            };
            added.map_err(|error| cannot_write(&path, &error))?;
            Ok(archive)
        });
        self.archive = Some(archive.await?);
        Ok(())
    }

    /// Adds the `outputs`, and moves the file to its path.
    pub(super) async fn finish(mut self, outputs: [Output; 2]) -> Result<(), String> {
        for output in outputs {
            let name = output.name.to_owned();
            let path = output.end()?;
            let (crc, len) = checksum(&path).map_err(|error| cannot_write(&path, &error))?;
            self.append(Member { name, crc, len }, Content::File(path)).await?;
        }
        self.syncing.end().await?;
        let Self {
            path, scratch, archive, ..
        } = self;
        blocking(move || {
            let archive = archive.ok_or("an earlier file could not be added")?;
            let finished = archive.finish().and_then(|file| {
                file.sync_all()?;
                let temporary = TempPath::try_from_path(scratch.file(ARCHIVE))?;
                temporary.persist_noclobber(&path)?;
                File::open(directory(&path))?.sync_all()
            });
            finished.map_err(|error| cannot_write(&path, &error))?;
            drop(scratch);
            Ok(())
        })
        .await
    }
}

/// Returns the checksum and the length of a file. Blocks.
fn checksum(path: &Path) -> io::Result<(u32, u64)> {
    let (mut file, mut hasher) = (File::open(path)?, crc32fast::Hasher::new());
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((hasher.finalize(), file.stream_position()?));
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
}
