//! [`Grant`]: the permissions of a request.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    error::{Error, ErrorKind, Result},
    key::BlobKey,
};

/// Request extension: the permissions of the request.
///
/// [`Authorize`](crate::Authorize) inserts it. [`ExtractKey`](crate::ExtractKey) enforces its scope and direction,
/// [`LimitBody`](crate::LimitBody) its [`max_body`](Self::max_body). A request without a grant may do everything. Middleware
/// of the application may insert a grant too; only an [`Authorizer`](crate::authorize::Authorizer) should reject
/// requests, because KAZOO reads a response only after it has sent the whole body, which
/// [`DrainBody`](crate::DrainBody) receives.
///
/// The scope of a grant is everything, or the [accounts](Self::accounts) and [folders](Self::folders) that it names:
///
/// ```
/// use kazoo_storage::{BlobKey, grant::Grant};
///
/// let account = "0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7";
/// let grant = Grant::everything()
///     .accounts([account])
///     .folders([BlobKey::from_segments(["recordings", account])?])
///     .max_body(64 << 20);
/// for (path, covered) in [
///     ("0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7/202401-DOC/message.mp3", true),
///     // A direct recording, which names no account: its URL in KAZOO ends with the folder.
///     ("recordings/0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7/call_recording_1.mp3", true),
///     ("recordings/another/call_recording_1.mp3", false),
/// ] {
///     assert_eq!(grant.covers(&BlobKey::from_path(path)?), covered, "{path}");
/// }
/// # Ok::<(), kazoo_storage::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// `None` covers every key.
    scope: Option<Arc<Scope>>,
    max_body: Option<u64>,
    read: bool,
    write: bool,
    by_address: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Scope {
    accounts: BTreeSet<String>,
    folders: Vec<BlobKey>,
}

impl Grant {
    /// Permits storing and fetching all files.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            scope: None,
            max_body: None,
            read: true,
            write: true,
            by_address: false,
        }
    }

    /// Restricts the grant to files of these accounts, by the [`account_id`](BlobKey::account_id) of the key, and to its
    /// [folders](Self::folders), if it has any. A key with folders in front of the account, as `folder_base_path` makes
    /// them, or without an account, is covered only by a folder.
    #[must_use]
    pub fn accounts<I>(mut self, accounts: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let scope = Arc::make_mut(self.scope.get_or_insert_default());
        scope.accounts = accounts.into_iter().map(Into::into).collect();
        self
    }

    /// Restricts the grant to files below these folders, and to its [accounts](Self::accounts), if it has any. A file is
    /// below a folder if its key begins with the segments of the folder and has more.
    ///
    /// Use it for `folder_base_path` (`FOLDER/ACCOUNT` covers one account), for direct recordings, which name no account,
    /// and for [prefixed](crate::extract_key::KeyExtractor::prefixed) keys.
    #[must_use]
    pub fn folders(mut self, folders: impl IntoIterator<Item = BlobKey>) -> Self {
        let scope = Arc::make_mut(self.scope.get_or_insert_default());
        scope.folders = folders.into_iter().map(|folder| folder.detached()).collect();
        self
    }

    /// Limits the length of a request's body, in bytes. A larger limit of the service has no effect.
    #[must_use]
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.max_body = Some(bytes);
        self
    }

    /// Restricts the grant to fetches.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.write = false;
        self
    }

    /// Restricts the grant to uploads.
    #[must_use]
    pub fn write_only(mut self) -> Self {
        self.read = false;
        self
    }

    /// Marks the grant as based on the source address alone.
    ///
    /// An [`Authorizer`](crate::authorize::Authorizer) sets the mark if the request has no credential that a cache
    /// between client and server takes into account, so that the cache does not serve the response to another client.
    #[must_use]
    pub fn for_address(mut self) -> Self {
        self.by_address = true;
        self
    }

    /// Returns `true` if the request was authorized by its source address alone.
    ///
    /// [`AccessRules`](crate::AccessRules) set the mark if they have networks and no credentials. Another client may
    /// send the same request and be refused, so a shared cache must not serve the response.
    #[must_use]
    pub fn by_address(&self) -> bool {
        self.by_address
    }

    /// Returns `true` if the scope contains `key`.
    #[must_use]
    pub fn covers(&self, key: &BlobKey) -> bool {
        self.scope.as_ref().is_none_or(|scope| {
            let of_account = key.account_id().is_some_and(|account| scope.accounts.contains(account));
            of_account
                || scope
                    .folders
                    .iter()
                    .any(|folder| key != folder && key.starts_with(folder))
        })
    }

    /// Returns `true` if the scope is restricted to [accounts](Self::accounts) and [folders](Self::folders).
    #[must_use]
    pub fn is_restricted(&self) -> bool {
        self.scope.is_some()
    }

    /// Returns `true` if fetches are permitted.
    #[must_use]
    pub fn may_read(&self) -> bool {
        self.read
    }

    /// Returns `true` if uploads are permitted.
    #[must_use]
    pub fn may_write(&self) -> bool {
        self.write
    }

    /// Returns the maximum length of a body in bytes, if the grant has one.
    #[must_use]
    pub fn body_limit(&self) -> Option<u64> {
        self.max_body
    }

    /// Returns [`ErrorKind::Forbidden`] if the grant does not permit fetches or, without `fetch`, uploads.
    pub(crate) fn check(&self, fetch: bool) -> Result<()> {
        let (granted, operation) = if fetch {
            (self.read, "fetching")
        } else {
            (self.write, "storing")
        };
        if granted {
            Ok(())
        } else {
            Err(forbidden(format!("the credential does not permit {operation} files")))
        }
    }

    pub(crate) fn outside() -> Error {
        forbidden("the credential does not permit access to the account or folder in the path")
    }
}

fn forbidden(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Forbidden, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(path: &str) -> BlobKey {
        BlobKey::from_path(path).unwrap()
    }

    #[test]
    fn an_account_covers_only_the_default_layout() {
        let grant = Grant::everything().accounts(["ACC"]);
        for (path, covered) in [
            ("ACC/DOC/ATT", true),
            ("ACC/OWNER/DOC/ATT", true),
            ("OTHER/DOC/ATT", false),
            ("folder/ACC/DOC/ATT", false),
            ("a/b/ACC/DOC/ATT", false),
            ("call_recording_1.mp3", false),
        ] {
            assert_eq!(grant.covers(&key(path)), covered, "{path}");
        }
        assert!(!Grant::everything().accounts([""]).covers(&key("call_recording_1.mp3")));
        assert!(!Grant::everything().accounts(None::<String>).covers(&key("ACC/DOC/ATT")));
    }

    #[test]
    fn a_folder_covers_the_files_below_it() {
        let grant = Grant::everything().folders([key("a%2Fb/ACC")]);
        for (path, covered) in [
            ("a%2Fb/ACC/DOC/ATT", true),
            ("a%2Fb/ACC/call_recording_1.mp3", true),
            ("a%2Fb/ACC", false),
            ("a%2Fb/ACCOUNT/DOC/ATT", false),
            ("a/b/ACC/DOC/ATT", false),
            ("x/a%2Fb/ACC/DOC/ATT", false),
            ("ACC/DOC/ATT", false),
        ] {
            assert_eq!(grant.covers(&key(path)), covered, "{path}");
        }
        let both = grant.accounts(["ACC"]);
        assert!(both.covers(&key("ACC/DOC/ATT")) && both.covers(&key("a%2Fb/ACC/DOC/ATT")));
        assert!(both.is_restricted() && !Grant::everything().is_restricted());
    }

    #[test]
    fn restrictions_keep_the_address_mark() {
        assert!(!Grant::everything().by_address());
        let grant = Grant::everything().for_address();
        for grant in [
            grant.clone().accounts(["A"]),
            grant.clone().read_only(),
            grant.write_only(),
        ] {
            assert!(grant.by_address(), "{grant:?}");
        }
    }
}
