//! [`Probe`]: the file that KAZOO stores and fetches when an administrator saves the storage settings.

use bytes::Bytes;
use http::{Uri, uri::PathAndQuery};

use crate::{
    kazoo_id::{ID_LEN, PROBE_SUFFIX},
    key::BlobKey,
};

const TEXT: &str = "some random content: ";

/// A credentials probe: a file named `TOKEN_test_credentials_file.txt` whose whole content is
/// `some random content: TOKEN`, where `TOKEN` is 32 lower-case hexadecimal digits.
///
/// The content is a function of the name, so every server can answer for it with no state at all.
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
    /// The probe that `key` names, if it names one.
    ///
    /// The name is looked for at the end of each segment: `field_list` can put the attachment anywhere, and
    /// `field_separator` can join it to what stands before it.
    #[must_use]
    pub fn of(key: &BlobKey) -> Option<Self> {
        key.segments().rev().find_map(|segment| {
            let name = segment.strip_suffix(PROBE_SUFFIX)?;
            let token = name.get(name.len().checked_sub(ID_LEN)?..)?;
            is_token(token.as_bytes()).then(|| Self { token: token.into() })
        })
    }

    /// Whether `uri` names a probe, in its path or in its query, whatever the parts of the two mean.
    #[must_use]
    pub fn is_named_by(uri: &Uri) -> bool {
        let target = uri.path_and_query().map_or("", PathAndQuery::as_str);
        // Hardly a request does, and then its parts need not be looked at. What a name has in percent-encoding is no probe's.
        target.contains(PROBE_SUFFIX)
            && target
                .split(['/', '?', '&', '='])
                .filter_map(|part| BlobKey::from_segments([part]).ok())
                .any(|key| Self::of(&key).is_some())
    }

    /// Whether `content` is that of any probe, whatever name it came under.
    ///
    /// Settings without the attachment in their `field_list` leave the name out.
    #[must_use]
    pub fn is_content(content: &[u8]) -> bool {
        content.strip_prefix(TEXT.as_bytes()).is_some_and(is_token)
    }

    /// The probe that a client makes up.
    #[must_use]
    pub fn from_token(token: u128) -> Self {
        Self {
            token: format!("{token:032x}").into(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}{PROBE_SUFFIX}", self.token)
    }

    /// The content that KAZOO stores and expects back.
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
    fn the_name_is_found_wherever_the_settings_put_it() {
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
    fn what_only_looks_like_it_is_an_ordinary_file() {
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
    fn a_target_names_it_wherever_it_is() {
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
