//! The access rules of `--access`.

use std::path::Path;

use kazoo_storage::{AccessRules, authorize::SharedAccessRules};

use super::mount::Mount;
use crate::{config::Access, flag_file, log};

/// Reads the access rules; returns `None` if every client has access.
pub(super) fn rules(access: &Access, mount: &Mount) -> Result<Option<SharedAccessRules>, String> {
    match access {
        Access::Anyone => Ok(None),
        Access::Rules(file) => Ok(Some(SharedAccessRules::new(read(file, mount)?))),
    }
}

/// Reads the access rules again. If they are invalid, nothing changes.
pub(super) fn reload(access: &Access, rules: &SharedAccessRules, mount: &Mount) -> Result<(), String> {
    if let Access::Rules(file) = access {
        rules.replace(read(file, mount)?);
    }
    Ok(())
}

fn read(file: &Path, mount: &Mount) -> Result<AccessRules, String> {
    let text = flag_file::read_text("--access", file)?;
    let rules = AccessRules::from_json(&text)
        .map_err(|error| format!("--access {}: {}", file.display(), log::chain(&error)))?;
    mount.check(&rules)?;
    Ok(rules)
}
