use crate::{
    error::{Error, ErrorKind, Result},
    key::BlobKey,
};

/// Returns the key under which an upload to this percent-encoded `path` is stored.
///
/// For a file named `..`, httpc since OTP 22 requests `/ACC/` instead of `/ACC/DOC/..`, and for one named `.`,
/// `/ACC/DOC/`. Stored as `ACC` or `ACC/DOC`, the file would occupy the place of a directory that other files need.
pub(super) fn upload_key(path: &str) -> Result<BlobKey> {
    let key = BlobKey::from_path(path)?;
    if path.ends_with('/') {
        return Err(Error::new(
            ErrorKind::InvalidKey,
            "the name of the file is missing: the target ends with a slash, which is what KAZOO's HTTP client makes of a file named \
             `..`, `.` or nothing; rename the file",
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
