//! The marker of a layout that this version does not know.

use super::tree::{self, Found, Tree};
use crate::error::{Error, ErrorKind, Result};

/// The name of the marker in the root. The layout of this version has none. A version with another layout creates it before
/// it changes anything, so that this one does not miss its files and answer 404.
const MARKER: &str = ".format";

/// Fails if the root has a layout that this version does not know.
pub(super) fn check(tree: &Tree) -> Result<()> {
    if matches!(tree::open(tree.root(), MARKER)?, Found::Absent) {
        return Ok(());
    }
    let message =
        format!("its root has the layout of a newer version, as the file `{MARKER}` in it says; use a newer program");
    Err(Error::new(ErrorKind::Conflict, message))
}
