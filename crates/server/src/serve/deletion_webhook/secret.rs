//! [`Secret`]: the secret in the file of `--deletion-webhook-secret-file`.

use std::{
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
};

use subtle::ConstantTimeEq as _;

use crate::flag_file;

const FLAG: &str = "--deletion-webhook-secret-file";

/// Minimum length: nothing limits the rate of guesses.
const MIN_LEN: usize = 16;

/// The secret of the webhook. `Debug` is not implemented, so that it cannot be logged.
pub(in crate::serve) struct Secret {
    file: PathBuf,
    text: RwLock<String>,
}

impl Secret {
    /// Reads the secret in `file`.
    pub(in crate::serve) fn open(file: &Path) -> Result<Self, String> {
        Ok(Self {
            file: file.to_owned(),
            text: RwLock::new(read(file)?),
        })
    }

    /// Reads the file again. If it is invalid, nothing changes.
    pub(in crate::serve) fn reload(&self) -> Result<(), String> {
        let text = read(&self.file)?;
        *self.text.write().unwrap_or_else(PoisonError::into_inner) = text;
        Ok(())
    }

    /// Returns `true` if `text` is the secret. The time does not depend on how much of it is correct.
    pub(super) fn is(&self, text: &str) -> bool {
        let secret = self.text.read().unwrap_or_else(PoisonError::into_inner);
        secret.as_bytes().ct_eq(text.as_bytes()).into()
    }
}

fn read(file: &Path) -> Result<String, String> {
    let text = flag_file::read_text(FLAG, file)?;
    let secret = text.trim();
    // These need no encoding in a path or a form.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if secret.len() < MIN_LEN || !secret.bytes().all(is_plain) {
        return Err(format!(
            "{FLAG} {}: expected at least {MIN_LEN} letters, digits, `-`, `.`, `_` or `~`",
            file.display()
        ));
    }
    Ok(secret.to_owned())
}
