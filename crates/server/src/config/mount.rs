//! [`MountPath`]: the path under which all files are served.

use http::uri::PathAndQuery;
use kazoo_storage::normalize::normalize_path;

/// A normalized path: KAZOO on different Erlang releases sends different spellings of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountPath(String);

impl MountPath {
    /// Parses the path of a URL.
    pub(crate) fn parse(path: &str) -> Result<Self, &'static str> {
        let parsed = PathAndQuery::try_from(path).ok();
        if !path.starts_with('/') || parsed.is_none_or(|parsed| parsed.path() != path) {
            return Err("expected the path of a URL: it begins with `/`, and special characters are percent-encoded");
        }
        Ok(Self(normalize_path(path).into_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}
