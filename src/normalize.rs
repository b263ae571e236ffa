//! Normalizes URLs (RFC 3986) as Erlang's HTTP client does since OTP 22.

use std::borrow::Cow;

/// Returns `path` as KAZOO on Erlang since OTP 22 sends it: with letters, digits and `-._~` unescaped, other escapes in
/// upper case, and without `.` and `..` segments.
///
/// KAZOO on older Erlang sends the path of the URL in its settings as written. [`KazooStorage::mount`] accepts both
/// spellings; a router that compares paths literally needs a route for each.
///
/// ```
/// assert_eq!(kazoo_storage::normalize::normalize_path("/pre%2Dfix/./x%2f"), "/pre-fix/x%2F");
/// assert_eq!(kazoo_storage::normalize::normalize_path("/some_prefix"), "/some_prefix");
/// ```
///
/// [`KazooStorage::mount`]: crate::KazooStorage::mount
#[must_use]
pub fn normalize_path(path: &str) -> Cow<'_, str> {
    match escapes(path) {
        Cow::Borrowed(path) if !has_dot_segment(path) => path.into(),
        path => without_dot_segments(&path).into(),
    }
}

/// Returns `text` with unreserved characters unescaped, and every other escape in upper case.
pub(crate) fn escapes(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return text.into();
    }
    let mut normal = String::with_capacity(text.len());
    let mut parts = text.split('%');
    normal.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        match u8::from_str_radix(digits, 16) {
            Ok(byte) if digits.len() == 2 && !digits.starts_with('+') => {
                if is_unreserved(byte) {
                    normal.push(byte.into());
                } else {
                    normal.push('%');
                    normal.push_str(&digits.to_ascii_uppercase());
                }
            }
            // Not an escape, so it is kept.
            _ => {
                normal.push('%');
                normal.push_str(digits);
            }
        }
        normal.push_str(rest);
    }
    if normal == text { text.into() } else { normal.into() }
}

/// Returns `true` if a segment of `path` is `.` or `..`.
fn has_dot_segment(path: &str) -> bool {
    path.split('/').any(|segment| matches!(segment, "." | ".."))
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Removes dot segments (RFC 3986, 5.2.4): a `..` removes the segment before it, and a dot segment at the end leaves
/// its slash.
fn without_dot_segments(path: &str) -> String {
    let Some(rest) = path.strip_prefix('/') else {
        return path.to_owned();
    };
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => {
                kept.push(segment);
                continue;
            }
        }
        if segments.peek().is_none() {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unescapes_unreserved_characters_and_removes_dot_segments() {
        for (path, normal) in [
            ("", ""),
            ("/", "/"),
            ("/pre%2Dfix/./x", "/pre-fix/x"),
            ("/%61%5A%30%2e%5f%7E", "/aZ0._~"),
            ("/%c3%bc/a%2fb", "/%C3%BC/a%2Fb"),
            ("/a//b/", "/a//b/"),
            ("/a/../b", "/b"),
            ("/a/%2E%2e/b", "/b"),
            ("/../b", "/b"),
            ("/a//../b", "/a/b"),
            ("/ACC/DOC/..", "/ACC/"),
            ("/ACC/DOC/.", "/ACC/DOC/"),
            ("/a..b/...", "/a..b/..."),
            ("/%/%2/%zz/%+1/%\u{fc}", "/%/%2/%zz/%+1/%\u{fc}"),
            ("/a%20b+c", "/a%20b+c"),
        ] {
            assert_eq!(normalize_path(path), normal, "{path}");
            assert_eq!(normalize_path(normal), normal, "{path}: once is enough");
        }
    }
}
