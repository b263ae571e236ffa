//! [`QueryKey`]: the key in a query parameter.

use std::borrow::Cow;

use http::request::Parts;
use percent_encoding::percent_decode_str;

use super::{KeyExtractor, upload::upload_key};
use crate::{
    error::{Error, ErrorKind, Result},
    kazoo_id::{ACCOUNT_PLACEHOLDERS, EXTENSIONS, ID_LEN, is_id},
    key::{BlobKey, Candidates},
};

/// Takes the key from a query parameter, whose value is parsed like a path: slashes separate, `%2F` is data.
///
/// Use it for storage settings whose URL has a query: from `http://host/index.php?key=abc&recording=`, KAZOO makes
/// `/index.php?key=abc&recording=ACC/DOC/ATT`, and the name of the parameter is `recording`.
///
/// Since 4.3.106, KAZOO appends the segments of its current settings to this value when it fetches the file, without a
/// separator (`ACC/DOC/ATTACC/DOC/ATT`). The [`Candidates`] are therefore half of a doubled value, the value, and each
/// prefix after which a second key may start.
#[derive(Clone, Debug)]
pub struct QueryKey {
    name: Cow<'static, str>,
}

impl QueryKey {
    /// Uses the value of the parameter `name`.
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
            // KAZOO's HTTP client unescapes the name on newer releases of Erlang, and leaves it as is on older ones.
            .find_map(|(name, value)| percent_decode_str(name).eq(percent_decode_str(&self.name)).then_some(value))
            .ok_or_else(|| {
                let message = format!(
                    "the query lacks the parameter `{}`, which must contain the key; the URL in the storage settings must end with `{}=`",
                    self.name, self.name
                );
                Error::new(ErrorKind::InvalidKey, message)
            })
    }
}

impl KeyExtractor for QueryKey {
    fn key(&self, request: &Parts) -> Result<BlobKey> {
        upload_key(self.value(request)?)
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

/// The maximum length of an encoded segment, in bytes.
const MAX_ENCODED: usize = 3 * BlobKey::MAX_SEGMENT_LEN;

/// Returns the prefixes of `value` that may be a complete stored value, longest first, at most [`Candidates::MAX`].
///
/// The work is linear in the length of `value`, which the client controls.
fn cuts(value: &str) -> impl Iterator<Item = &str> {
    let mut next = 0;
    let bounds = value.split('/').map(|segment| {
        let start = next;
        next += segment.len() + 1;
        (start, start + segment.len())
    });
    // The limits of a key bound the work.
    let segments = bounds.filter(|(start, end)| start < end).take(BlobKey::MAX_SEGMENTS);
    let segments: Vec<(usize, usize)> = segments.collect();
    let account = segments.first().and_then(|(start, end)| value.get(*start..*end));
    let account = account.unwrap_or_default();
    let ends = segments.into_iter().rev().flat_map(move |(start, end)| {
        let inner = value.get(start..end).unwrap_or_default();
        let ends = cuts_within(inner, account, end == value.len());
        ends.into_iter().map(move |len| start + len)
    });
    ends.filter(|end| *end < value.len())
        .take(Candidates::MAX)
        .filter_map(|end| value.get(..end))
}

/// Returns the lengths at which a stored value may end in its segment `text`, longest first; `last` if nothing follows
/// it.
fn cuts_within(text: &str, account: &str, last: bool) -> Vec<usize> {
    let mut lens = vec![text.len()];
    lens.extend(text.strip_suffix(account).map(str::len));
    lens.extend((!last).then(|| without_account(text)).flatten().map(str::len));
    let halves = text.split_at_checked(text.len() / 2);
    lens.extend(
        halves
            .filter(|(front, back)| last && front == back)
            .map(|(front, _)| front.len()),
    );
    let dots = text.match_indices('.').take_while(|(at, _)| *at < MAX_ENCODED);
    lens.extend(dots.flat_map(|(at, _)| {
        let after_dot = text.get(at + 1..).unwrap_or_default();
        let extensions = EXTENSIONS
            .iter()
            .filter(move |(extension, _)| after_dot.starts_with(extension));
        extensions.map(move |(extension, _)| at + 1 + extension.len())
    }));
    lens.retain(|len| *len > 0);
    lens.sort_unstable_by(|a, b| b.cmp(a));
    lens.dedup();
    lens
}

/// Returns the part of `text` before a final account id or its placeholder: the default settings' first segment.
fn without_account(text: &str) -> Option<&str> {
    let named = ACCOUNT_PLACEHOLDERS.iter().find_map(|name| text.strip_suffix(name));
    named.or_else(|| {
        let (front, id) = text.split_at_checked(text.len().checked_sub(ID_LEN)?)?;
        is_id(id).then_some(front)
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
    fn finds_the_parameter_by_its_complete_name() {
        assert_eq!(fetch("prerecording=x&key=abc&recording=A/B%2FC").unwrap()[0], "A/B%2FC");
        assert!(fetch("key=abc").unwrap_err().message().contains("`recording`"));
        assert_eq!(fetch("recording=").unwrap_err().kind(), ErrorKind::InvalidKey);
        assert_eq!(fetch("rec%6Frding=A/B").unwrap()[0], "A/B");
        let (parts, ()) = http::Request::get("/?recording=A/B").body(()).unwrap().into_parts();
        assert_eq!(QueryKey::new("rec%6frding").key(&parts).unwrap().to_string(), "A/B");
    }

    #[test]
    fn half_of_a_doubled_value_is_the_first_candidate() {
        let stored = format!("{ACC}/DOC/ATT.mp3");
        let keys = fetch(&format!("key=abc&recording={stored}{stored}&media_id=DOC")).unwrap();
        assert_eq!(keys[0], stored);
        assert!(keys.len() <= Candidates::MAX);
    }

    #[test]
    fn finds_the_stored_value_after_a_change_of_settings() {
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
        // Only an account or a slash after it shows where a name without an extension ends.
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
