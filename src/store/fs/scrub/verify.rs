//! Compares a file with the digest in its sidecar.

use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    Damage, Verdict,
    orphans::{IN_PROGRESS, PAUSE},
    throttle::Throttle,
};
use crate::{
    digest::{Digest, Digester},
    error::Result,
    store::fs::{
        error::failed,
        lookup,
        name::KeyPath,
        sidecar,
        tree::{self, Found, Tree},
        version::Version,
    },
};

/// The number of bytes that are read at once.
const CHUNK: usize = 128 * 1024;

/// Verifies the file at `path`. Returns `None` if it was deleted.
pub(super) fn verify(tree: &Tree, path: &KeyPath<'_>, throttle: &mut Throttle) -> Result<Option<Verdict>> {
    loop {
        throttle.begin_file();
        let Some(dir) = tree.find(path)? else {
            return Ok(None);
        };
        let Found::File(file, stat) = tree::open(&dir, &path.file)? else {
            return Ok(None);
        };
        let version = Version::of(&stat).map_err(|error| failed("read a file", error))?;
        let sidecar = lookup::sidecar(tree::open(&dir, &path.sidecar())?)?;
        let verdict = compare(&file, version, sidecar.as_deref(), throttle)?;
        if matches!(verdict, Verdict::Intact) {
            return Ok(Some(verdict));
        }
        // Compares again if the file was replaced or deleted during the comparison, or is being replaced.
        if !lookup::is_deleted(&file)? && !is_in_progress(&dir, path)? {
            return Ok(Some(verdict));
        }
        thread::sleep(PAUSE);
    }
}

/// Returns `true` if the sidecar was put at `path` so recently that the upload may still be in progress.
fn is_in_progress(dir: &File, path: &KeyPath<'_>) -> Result<bool> {
    let Found::File(_, stat) = tree::open(dir, &path.sidecar())? else {
        return Ok(false);
    };
    let changed = UNIX_EPOCH + Duration::from_secs(u64::try_from(stat.ctime()).unwrap_or_default());
    // A time in the future means that the clock was set back.
    let since = SystemTime::now().duration_since(changed);
    Ok(since.is_ok_and(|since| since < IN_PROGRESS))
}

/// Reads the whole file, and compares it with its `sidecar`.
fn compare(file: &File, version: Version, sidecar: Option<&[u8]>, throttle: &mut Throttle) -> Result<Verdict> {
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

fn digest(file: &File, throttle: &mut Throttle) -> io::Result<Digest> {
    let mut digester = Digester::new();
    let mut chunk = vec![0; CHUNK];
    let mut offset = 0;
    // The page cache may be intact while the disk is damaged.
    drop_cache(file);
    loop {
        let read = file.read_at(&mut chunk, offset)?;
        let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else {
            // Leaves the page cache to files that are in use.
            drop_cache(file);
            return Ok(digester.finish());
        };
        digester.update(bytes);
        offset += read as u64;
        throttle.read(read as u64);
    }
}

/// Asks the kernel to drop `file` from the page cache.
#[cfg(target_os = "linux")]
fn drop_cache(file: &File) {
    // Only a hint, so a failure is ignored.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
fn drop_cache(_: &File) {}
