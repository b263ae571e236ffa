//! [`Token`]: the secret of the API, in the file of `--admin-token-file`.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq as _;

use crate::flag_file;

/// The flag that names the file.
const FLAG: &str = "--admin-token-file";

/// Minimum length of a token: nothing limits the rate of guesses.
const MIN_LEN: usize = 32;

/// The secret of the API. `Debug` is not implemented, so that it cannot be logged.
pub(crate) struct Token {
    file: PathBuf,
    secret: RwLock<String>,
}

impl Token {
    /// Reads the token in `file`. Creates the file with a random token if it does not exist.
    pub(crate) fn open(file: &Path) -> Result<Self, String> {
        create(file).map_err(|error| format!("cannot create {FLAG} {}: {error}", file.display()))?;
        Ok(Self {
            file: file.to_owned(),
            secret: RwLock::new(read(file)?),
        })
    }

    /// Reads the file again. If it is invalid, nothing changes.
    pub(crate) fn reload(&self) -> Result<(), String> {
        let secret = read(&self.file)?;
        *self.secret.write().unwrap_or_else(PoisonError::into_inner) = secret;
        Ok(())
    }

    /// Returns `true` if `text` is the token. The time does not depend on how much of it is correct.
    pub(super) fn is(&self, text: &[u8]) -> bool {
        let secret = self.secret.read().unwrap_or_else(PoisonError::into_inner);
        secret.as_bytes().ct_eq(text).into()
    }
}

fn create(file: &Path) -> io::Result<()> {
    let mut random = [0; 32];
    getrandom::fill(&mut random)?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(mut created) => {
            let written = writeln!(created, "{}", URL_SAFE_NO_PAD.encode(random)).and_then(|()| created.sync_all());
            if written.is_err() {
                // An empty file would fail the next start.
                let _ = fs::remove_file(file);
            }
            written
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn read(file: &Path) -> Result<String, String> {
    let shown = file.display();
    let text = flag_file::read_text(FLAG, file)?;
    let mode = fs::metadata(file).map_err(|error| format!("cannot read {FLAG} {shown}: {error}"))?;
    if mode.permissions().mode() & 0o007 != 0 {
        return Err(format!(
            "{FLAG} {shown}: every user may read or change the file; run `chmod 600 {shown}`"
        ));
    }
    let token = text.trim();
    if token.len() < MIN_LEN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!(
            "{FLAG} {shown}: expected a token of at least {MIN_LEN} visible ASCII characters; remove the file, and the server \
             creates one"
        ));
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn creates_a_token_for_its_owner_and_reloads_it() {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("token");
        let token = Token::open(&file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&file).unwrap();
        assert!(token.is(text.trim().as_bytes()) && !token.is(b"") && !token.is(text.as_bytes()));
        assert!(Token::open(&file).unwrap().is(text.trim().as_bytes()));
        fs::write(&file, "x".repeat(31)).unwrap();
        assert!(token.reload().unwrap_err().contains("at least 32"));
        assert!(token.is(text.trim().as_bytes()));
        fs::write(&file, "x".repeat(32)).unwrap();
        token.reload().unwrap();
        assert!(token.is("x".repeat(32).as_bytes()));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o604)).unwrap();
        assert!(Token::open(&file).err().unwrap().contains("chmod 600"));
        assert!(Token::open(directory.path()).is_err());
    }
}
