//! Text that KAZOO inserts into a URL without escaping it: folders, constants and separators.

use percent_encoding::percent_decode_str;

use super::invalid;
use crate::{
    error::{Error, Result},
    key::BlobKey,
};

/// Rejects text that no URL can contain. `setting` names its setting in the error.
pub(super) fn check_literal(setting: &str, text: &str) -> Result<()> {
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = match (byte, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => after,
            (byte, after) if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?#".contains(byte) => after,
            _ => return Err(unfit(setting)),
        };
    }
    Ok(())
}

/// Splits a part of a path into its decoded segments.
pub(super) fn segments(setting: &str, path: &str) -> Result<Vec<String>> {
    if path.bytes().all(|byte| byte == b'/') {
        return Ok(Vec::new());
    }
    let key = BlobKey::from_path(path).map_err(|_| unfit(setting))?;
    Ok(key.segments().map(str::to_owned).collect())
}

pub(super) fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn unfit(setting: &str) -> Error {
    invalid(format!(
        "`{setting}` contains text that KAZOO does not escape and no URL can contain: a character that must be percent-encoded, or a \
         `.` or `..` between slashes; write a space as `%20`"
    ))
}
