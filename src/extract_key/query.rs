use std::borrow::Cow;

use http::request::Parts;

use super::KeyExtractor;
use crate::{
    error::{Error, ErrorKind, Result},
    key::{BlobKey, Candidates},
};

/// The key is the value of one query parameter, as raw as a path: slashes separate, `%2F` is data.
///
/// This fits storage settings whose URL has a query: from `http://host/index.php?key=abc&recording=` KAZOO makes
/// `/index.php?key=abc&recording=ACC/DOC/ATT`, and here the parameter's name is `recording`.
///
/// A fetch since 4.3.106 has the segments of today's settings joined to that value without a separator
/// (`ACC/DOC/ATTACC/DOC/ATT`), so its [`Candidates`] are the value's halves if it is doubled, the value, and the
/// prefixes of it behind which a second key can plausibly begin.
#[derive(Clone, Debug)]
pub struct QueryKey {
    name: Cow<'static, str>,
}

impl QueryKey {
    /// The key is the value of the parameter `name`.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into() }
    }

    fn value<'r>(&self, request: &'r Parts) -> Result<&'r str> {
        request
            .uri
            .query()
            .into_iter()
            .flat_map(|query| query.split('&'))
            .filter_map(|pair| pair.split_once('='))
            .find_map(|(name, value)| (name == self.name).then_some(value))
            .ok_or_else(|| {
                let message = format!(
                    "the query has no parameter `{}` to read the key from; the URL in the storage settings has to end with `{}=`",
                    self.name, self.name
                );
                Error::new(ErrorKind::InvalidKey, message)
            })
    }
}

impl KeyExtractor for QueryKey {
    fn key(&self, request: &Parts) -> Result<BlobKey> {
        BlobKey::from_path(self.value(request)?)
    }

    fn candidates(&self, request: &Parts) -> Result<Candidates> {
        let value = self.value(request)?;
        let half = value
            .split_at_checked(value.len() / 2)
            .filter(|(front, back)| front == back);
        let whole = BlobKey::from_path(value);
        let prefixes = cuts(value).filter_map(|cut| BlobKey::from_path(cut).ok());
        match half.and_then(|(front, _)| BlobKey::from_path(front).ok()) {
            Some(half) => Ok(Candidates::new(half, whole.into_iter().chain(prefixes))),
            None => Ok(Candidates::new(whole?, prefixes)),
        }
    }
}

/// The file name extensions KAZOO stores: a name that ends in one may be where the first key ends.
const EXTENSIONS: [&str; 10] = [
    ".mp3", ".wav", ".ogg", ".mp4", ".tiff", ".tif", ".pdf", ".txt", ".json", ".bin",
];

/// The prefixes of `value` that may be a whole stored value, longest first.
fn cuts(value: &str) -> impl Iterator<Item = &str> {
    let account = value.split('/').next().unwrap_or_default();
    (1..value.len())
        .rev()
        .filter_map(|end| value.split_at_checked(end))
        .filter_map(move |(front, rest)| {
            let name = front.rsplit('/').next().unwrap_or_default();
            let plausible = rest.starts_with('/')
                || rest
                    .strip_prefix(account)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                || rest == name
                || starts_with_account(rest)
                || EXTENSIONS.iter().any(|extension| name.ends_with(extension));
            plausible.then_some(front)
        })
}

/// Whether the default settings' segments may begin here: an account id, or what stands for one.
fn starts_with_account(text: &str) -> bool {
    text.split_once('/').is_some_and(|(account, _)| {
        matches!(account, "system_data" | "unknown_account")
            || (account.len() == 32 && account.bytes().all(|byte| byte.is_ascii_hexdigit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetch(query: &str) -> Result<Vec<String>> {
        let (parts, ()) = http::Request::get(format!("/index.fu?{query}"))
            .body(())
            .unwrap()
            .into_parts();
        let candidates = QueryKey::new("recording").candidates(&parts)?;
        Ok(candidates.iter().map(ToString::to_string).collect())
    }

    const ACC: &str = "0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7";

    #[test]
    fn the_parameter_is_found_by_its_whole_name() {
        assert_eq!(fetch("prerecording=x&key=abc&recording=A/B%2FC").unwrap()[0], "A/B%2FC");
        assert!(fetch("key=abc").unwrap_err().message().contains("`recording`"));
        assert_eq!(fetch("recording=").unwrap_err().kind(), ErrorKind::InvalidKey);
    }

    #[test]
    fn a_doubled_value_means_its_half_first() {
        let stored = format!("{ACC}/DOC/ATT.mp3");
        let keys = fetch(&format!("key=abc&recording={stored}{stored}&media_id=DOC")).unwrap();
        assert_eq!(keys[0], stored);
        assert!(keys.len() <= Candidates::MAX);
    }

    #[test]
    fn a_fetch_by_other_settings_still_finds_the_stored_value() {
        let stored = format!("{ACC}/DOC/ATT.mp3");
        for appended in [
            format!("{ACC}/OWNER/DOC/ATT.mp3"),
            "ATT.mp3".to_owned(),
            "system_data/DOC/ATT.mp3".to_owned(),
            "other/DOC/ATT.mp3".to_owned(),
        ] {
            let keys = fetch(&format!("recording={stored}{appended}")).unwrap();
            assert!(keys.contains(&stored), "{appended}: {keys:?}");
        }
        // Nothing tells where a name without an extension ends but an account, or a slash, behind it.
        for (account, appended, found) in [
            (ACC, format!("{ACC}/OWNER/DOC/ATT"), true),
            (ACC, "ffffffff00000000ffffffff00000000/OWNER/DOC/ATT".to_owned(), true),
            (ACC, "system_data/DOC/ATT".to_owned(), true),
            (ACC, "unknown_account/DOC/ATT".to_owned(), true),
            (ACC, "/DOC/ATT".to_owned(), true),
            ("own", "own/ATT".to_owned(), true),
            ("own", "own".to_owned(), true),
            ("own", "owner/ATT".to_owned(), false),
            (ACC, "other/DOC/ATT".to_owned(), false),
            (ACC, "ffffffff/DOC/ATT".to_owned(), false),
            (ACC, "recordings-of-two-thousand-years/ATT".to_owned(), false),
        ] {
            let bare = format!("{account}/DOC/ATT");
            let keys = fetch(&format!("recording={bare}{appended}")).unwrap();
            assert_eq!(keys.contains(&bare), found, "{bare} {appended}: {keys:?}");
        }
    }
}
