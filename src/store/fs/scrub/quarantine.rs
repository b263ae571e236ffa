//! Moves damaged files to `.quarantine/`.

use rustix::io::Errno;

use super::Damage;
use crate::{
    error::Result,
    store::fs::{error::failed, name::KeyPath, tree::Tree},
};

/// The directory of damaged files, below the root.
const DIRECTORY: &str = ".quarantine";

/// Moves the damaged file at `path` to the directory of the scrub that `began` at this Unix time.
pub(super) fn quarantine(tree: &Tree, path: &KeyPath<'_>, damage: &Damage, began: u64) -> Result<()> {
    let media = match damage {
        Damage::Content => Some(&*path.file),
        // The media is missing, or may be intact and stays available without its sidecar.
        Damage::Sidecar | Damage::Missing => None,
        Damage::Detached | Damage::SetAside(_) | Damage::Unreadable(_) => return Ok(()),
    };
    let Some(from) = tree.find(path)? else {
        return Ok(());
    };
    let began = began.to_string();
    let above = [DIRECTORY, &began];
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
