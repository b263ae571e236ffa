//! The key of an upload.

use crate::{
    error::{Error, ErrorKind, Result},
    key::BlobKey,
};

/// Returns the key under which an upload to this percent-encoded `path` is stored.
///
/// Since OTP 22, httpc sends a file named `..` to `/ACC/` instead of `/ACC/DOC/..`, and one named `.` to `/ACC/DOC/`.
/// Stored as `ACC` or `ACC/DOC`, each such file would replace the previous one, and no fetch would find it by its name.
pub(super) fn upload_key(path: &str) -> Result<BlobKey> {
    let key = BlobKey::from_path(path)?;
    if path.ends_with('/') {
        return Err(Error::new(
            ErrorKind::InvalidKey,
            "the target ends with a slash, so the name of the file is missing: KAZOO's HTTP client removes the names `..` and `.`; \
             rename the file",
        ));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_a_target_without_a_name() {
        for path in ["/ACC/", "/ACC/OWNER/", "ACC/DOC/", "/ACC/DOC/a.mp3/", "/ACC//"] {
            let error = upload_key(path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidKey, "{path}");
            assert!(error.message().contains("rename the file"), "{path}: {error}");
        }
        for path in ["", "/", "//"] {
            assert!(
                upload_key(path).unwrap_err().message().contains("names no file"),
                "{path}"
            );
        }
        for path in [
            "/ACC/DOC/a.mp3",
            "/folder//ACC/DOC/a.mp3",
            "a",
            "/ACC/DOC/a%2F",
            "/ACC/DOC/...",
        ] {
            assert!(upload_key(path).is_ok(), "{path}");
        }
    }
}
