//! [`warnings`]: warns about files with secrets that every user of the machine can read.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use crate::config::{Access, Config};

/// Permission of every user to read a file, or to change it.
const READ_OR_WRITE: u32 = 0o006;

/// Permission of every user to use what is in a directory.
const SEARCH: u32 = 0o001;

/// Returns a warning for each file with secrets that every user can read or change. It names the file and the remedy.
///
/// The file of `--admin-token-file` is not among them: with such permissions, it is refused.
pub(crate) fn warnings(config: &Config) -> Vec<String> {
    let rules = match &config.access {
        Access::Rules(file) => Some(file),
        Access::Anyone => None,
    };
    let secret = config.deletion_webhook.as_ref().map(|webhook| &webhook.secret);
    let key = config.tls.as_ref().map(|tls| &tls.key);
    let flags = [
        // The URL of a storage document may have a token.
        ("--settings", config.settings.as_ref()),
        ("--access", rules),
        ("--deliveries", config.deliveries.as_ref()),
        ("--tls-key", key),
        ("--deletion-webhook-secret-file", secret),
    ];
    let of_flags = flags
        .iter()
        .filter_map(|(flag, file)| Some((*flag, file.as_ref()?.as_path())));
    let of_keys = config.secret_files.iter().map(|(key, file)| (&**key, file.as_path()));
    of_flags
        .chain(of_keys)
        .filter(|(_, file)| is_exposed(file).unwrap_or_default())
        .map(|(name, file)| {
            let path = file.display();
            format!(
                "{name} {path}: it has secrets, and anyone on this machine can read or change it; run `chmod o= {}`",
                quoted(file)
            )
        })
        .collect()
}

fn is_exposed(file: &Path) -> Option<bool> {
    let file = file.canonicalize().ok()?;
    let allows = |path: &Path, mode| Some(fs::metadata(path).ok()?.permissions().mode() & mode != 0);
    if !allows(&file, READ_OR_WRITE)? {
        return Some(false);
    }
    // Others need every directory above it.
    Some(
        file.ancestors()
            .skip(1)
            .all(|directory| allows(directory, SEARCH).unwrap_or_default()),
    )
}

/// Quotes `path` for a shell, if it must be.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    if path.bytes().all(is_plain) {
        return path;
    }
    format!("'{}'", path.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::quoted;

    #[test]
    fn quotes_a_path_for_a_shell() {
        assert_eq!(quoted(Path::new("/etc/a-b_c.json")), "/etc/a-b_c.json");
        assert_eq!(quoted(Path::new("/etc/it's here")), r"'/etc/it'\''s here'");
    }
}
