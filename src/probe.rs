//! [`Probe`]: the file with which KAZOO tests its storage settings.

use bytes::Bytes;
use http::{Uri, uri::PathAndQuery};

use crate::{
    kazoo_id::{ID_LEN, PROBE_SUFFIX},
    key::BlobKey,
};

const TEXT: &str = "some random content: ";

/// KAZOO's credentials probe: a file that it stores and fetches when an administrator saves the storage settings.
///
/// Its name is `TOKEN_test_credentials_file.txt` and its content is `some random content: TOKEN`, where `TOKEN` is 32
/// lower-case hexadecimal digits.
///
/// The content follows from the name, so any server can answer a probe without state.
///
/// ```
/// use kazoo_storage::{BlobKey, probe::Probe};
///
/// let name = "7f3c2a90b1d4e6f8a0c2e4f618293a4b_test_credentials_file.txt";
/// let key = BlobKey::from_segments(["ACC", "DOC", name])?;
/// let probe = Probe::of(&key).unwrap();
/// assert_eq!(probe.content(), "some random content: 7f3c2a90b1d4e6f8a0c2e4f618293a4b");
/// assert!(Probe::of(&BlobKey::from_segments(["ACC", "DOC", "message.mp3"])?).is_none());
/// # Ok::<(), kazoo_storage::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    token: Box<str>,
}

impl Probe {
    /// Returns the probe that `key` names, if any.
    ///
    /// The name may be at the end of any segment: `field_list` can put the attachment anywhere, and `field_separator`
    /// can join it to other fields.
    #[must_use]
    pub fn of(key: &BlobKey) -> Option<Self> {
        key.segments().rev().find_map(|segment| {
            let name = segment.strip_suffix(PROBE_SUFFIX)?;
            let token = name.get(name.len().checked_sub(ID_LEN)?..)?;
            is_token(token.as_bytes()).then(|| Self { token: token.into() })
        })
    }

    /// Returns `true` if `uri` names a probe, anywhere in its path or query.
    #[must_use]
    pub fn is_named_by(uri: &Uri) -> bool {
        let target = uri.path_and_query().map_or("", PathAndQuery::as_str);
        // Most requests do not contain the suffix. The name of a probe has no percent-encoding.
        target.contains(PROBE_SUFFIX)
            && target
                .split(['/', '?', '&', '='])
                .filter_map(|part| BlobKey::from_segments([part]).ok())
                .any(|key| Self::of(&key).is_some())
    }

    /// Returns `true` if `content` is the content of any probe, under any name.
    ///
    /// A `field_list` without the attachment omits the name.
    #[must_use]
    pub fn is_content(content: &[u8]) -> bool {
        content.strip_prefix(TEXT.as_bytes()).is_some_and(is_token)
    }

    /// Creates the probe with this token.
    #[must_use]
    pub fn from_token(token: u128) -> Self {
        Self {
            token: format!("{token:032x}").into(),
        }
    }

    /// Returns the name of the file.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}{PROBE_SUFFIX}", self.token)
    }

    /// Returns the content that KAZOO stores and expects to fetch.
    #[must_use]
    pub fn content(&self) -> Bytes {
        Bytes::from(format!("{TEXT}{}", self.token))
    }
}

fn is_token(token: &[u8]) -> bool {
    token.len() == ID_LEN && token.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(path: &str) -> Option<Probe> {
        Probe::of(&BlobKey::from_path(path).unwrap())
    }

    #[test]
    fn finds_the_name_in_any_segment() {
        let token = "7f3c2a90b1d4e6f8a0c2e4f618293a4b";
        for path in [
            format!("ACC/DOC/{token}_test_credentials_file.txt"),
            format!("{token}_test_credentials_file.txt/ACC"),
            format!("ACC-DOC-{token}_test_credentials_file.txt"),
        ] {
            let probe = probe(&path).unwrap();
            assert_eq!(&*probe.token, token, "{path}");
            assert!(Probe::is_content(&probe.content()));
        }
    }

    #[test]
    fn ignores_similar_names() {
        for path in [
            "ACC/DOC/7f3c_test_credentials_file.txt",
            "ACC/DOC/7F3C2A90B1D4E6F8A0C2E4F618293A4B_test_credentials_file.txt",
            "ACC/DOC/zf3c2a90b1d4e6f8a0c2e4f618293a4b_test_credentials_file.txt",
            "ACC/DOC/7f3c2a90b1d4e6f8a0c2e4f618293a4b_test_credentials_file.txt.mp3",
            "ACC/DOC/é3c2a90b1d4e6f8a0c2e4f618293a4b_test_credentials_file.txt",
        ] {
            assert_eq!(probe(path), None, "{path}");
        }
    }

    #[test]
    fn finds_the_name_anywhere_in_a_target() {
        let name = "7f3c2a90b1d4e6f8a0c2e4f618293a4b_test_credentials_file.txt";
        for (target, named) in [
            (format!("/some_prefix/ACC/DOC/{name}"), true),
            (format!("/some_prefix/ACC/{name}/ACC/{name}?metadata"), true),
            (format!("/index.fu?token=t&name={name}"), true),
            (format!("/some_prefix/ACC/DOC/{name}.mp3"), false),
            (format!("/some_prefix/ACC/DOC/x{}", &name[1..]), false),
            ("/".repeat(100), false),
        ] {
            assert_eq!(Probe::is_named_by(&target.parse().unwrap()), named, "{target}");
        }
    }
}
