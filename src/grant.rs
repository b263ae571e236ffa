//! [`Grant`]: the permissions of a request.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    error::{Error, ErrorKind, Result},
    key::BlobKey,
};

/// Request extension: the permissions of the request.
///
/// [`Authorize`](crate::Authorize) inserts it, or the application's own middleware. [`LimitBody`](crate::LimitBody)
/// enforces its maximum length, and [`ExtractKey`](crate::ExtractKey) the rest. A request without a grant may do
/// everything. `Authorize` also inserts it into the extensions of the response, for outer layers.
///
/// ```
/// use kazoo_storage::{BlobKey, Grant};
///
/// let one_account = Grant::everything().accounts(["0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7"]);
/// let to_fetch = Grant::everything().read_only();
/// let one_folder = Grant::everything().folders([BlobKey::from_path("archive/acme")?]).max_body(10 << 20);
/// assert!(one_folder.covers(&BlobKey::from_path("archive/acme/ACC/DOC/message.mp3")?));
/// assert!(!one_folder.covers(&BlobKey::from_path("archive/other/ACC/DOC/message.mp3")?));
/// # Ok::<(), kazoo_storage::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    name: Option<Arc<str>>,
    accounts: Option<Arc<BTreeSet<String>>>,
    folders: Option<Arc<BTreeSet<BlobKey>>>,
    max_body: Option<u64>,
    read: bool,
    write: bool,
    by_address: bool,
}

impl Grant {
    /// Permits storing and fetching all files.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            name: None,
            accounts: None,
            folders: None,
            max_body: None,
            read: true,
            write: true,
            by_address: false,
        }
    }

    /// Names the holder of the credential, for example for logs. Several grants may have the same name.
    #[must_use]
    pub fn named(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Restricts the grant to files of these accounts, by the [`account_id`](crate::BlobKey::account_id) of the key. A
    /// key without an account is not permitted. With [`folders`](Self::folders) too, a file of either is permitted.
    #[must_use]
    pub fn accounts<I>(mut self, accounts: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.accounts = Some(Arc::new(accounts.into_iter().map(Into::into).collect()));
        self
    }

    /// Restricts the grant to files below these folders: to keys that begin with the segments of one of them and have
    /// more. With [`accounts`](Self::accounts) too, a file of either is permitted.
    ///
    /// Folders cover keys without an [`account_id`](BlobKey::account_id): those of `folder_base_path`, and direct
    /// recordings (`call_recording_ID.mp3`) that are stored below a folder.
    #[must_use]
    pub fn folders(mut self, folders: impl IntoIterator<Item = BlobKey>) -> Self {
        // A folder of a request would otherwise keep its whole target in memory.
        self.folders = Some(Arc::new(folders.into_iter().map(|folder| folder.detached()).collect()));
        self
    }

    /// Restricts the bodies of uploads to `bytes`. The limit of [`LimitBody`](crate::LimitBody) applies too.
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

    /// Returns the name of the holder of the credential, if it has one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Returns the accounts that the grant is restricted to, in order; `None` without such a restriction.
    #[must_use]
    pub fn permitted_accounts(&self) -> Option<impl Iterator<Item = &str>> {
        Some(self.accounts.as_ref()?.iter().map(String::as_str))
    }

    /// Returns the folders that the grant is restricted to, in order; `None` without such a restriction.
    #[must_use]
    pub fn permitted_folders(&self) -> Option<impl Iterator<Item = &BlobKey>> {
        Some(self.folders.as_ref()?.iter())
    }

    /// Returns the maximum length of a body, in bytes; `None` without a limit.
    #[must_use]
    pub fn body_limit(&self) -> Option<u64> {
        self.max_body
    }

    /// Returns `true` if the grant permits fetches.
    #[must_use]
    pub fn may_read(&self) -> bool {
        self.read
    }

    /// Returns `true` if the grant permits uploads.
    #[must_use]
    pub fn may_write(&self) -> bool {
        self.write
    }

    /// Returns `true` if the account or a folder of `key` is permitted.
    #[must_use]
    pub fn covers(&self, key: &BlobKey) -> bool {
        let Self { accounts, folders, .. } = self;
        let is_below = |folder: &BlobKey| key.segments().len() > folder.segments().len() && key.starts_with(folder);
        (accounts.is_none() && folders.is_none())
            || key
                .account_id()
                .zip(accounts.as_ref())
                .is_some_and(|(account, accounts)| accounts.contains(account))
            || folders.as_ref().is_some_and(|folders| folders.iter().any(is_below))
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
    fn no_account_covers_a_key_without_one() {
        for accounts in [&[""][..], &["", "ACC"], &[]] {
            let grant = Grant::everything().accounts(accounts.iter().copied());
            for path in ["call_recording_1.mp3", "folder/a.mp3", "a/b/ACC/DOC/ATT.mp3"] {
                assert!(!grant.covers(&key(path)), "{accounts:?} {path}");
            }
        }
    }

    #[test]
    fn folders_cover_what_is_below_them_and_nothing_else() {
        let grant = Grant::everything().folders([key("archive/acme"), key("recordings")]);
        for path in [
            "archive/acme/a",
            "archive/acme/ACC/DOC/a",
            "recordings/call_recording_1.mp3",
        ] {
            assert!(grant.covers(&key(path)), "{path}");
        }
        for path in [
            "archive",
            "archive/acme",
            "archive/acme2/ACC/DOC/a",
            "ACC/DOC/a",
            "call_recording_1.mp3",
            "x/recordings/a",
        ] {
            assert!(!grant.covers(&key(path)), "{path}");
        }
        assert!(
            !Grant::everything().folders([]).covers(&key("ACC/DOC/a")),
            "closed by default"
        );
    }

    #[test]
    fn accounts_and_folders_cover_either() {
        let accounts = Grant::everything().accounts(["ACC"]);
        assert!(accounts.covers(&key("ACC/DOC/a")) && !accounts.covers(&key("archive/x/ACC/DOC/a")));
        let grant = accounts.folders([key("archive")]);
        assert!(grant.covers(&key("ACC/DOC/a")) && grant.covers(&key("archive/x/ACC/DOC/a")));
        assert!(!grant.covers(&key("OTHER/DOC/a")));
    }

    #[test]
    fn returns_its_restrictions() {
        let grant = Grant::everything();
        assert!(grant.permitted_accounts().is_none() && grant.permitted_folders().is_none());
        assert!(grant.may_read() && grant.may_write() && grant.body_limit().is_none() && grant.name().is_none());
        let grant = grant
            .named("kazoo")
            .accounts(["B", "A"])
            .folders([key("f/g")])
            .max_body(7)
            .read_only();
        assert_eq!(grant.name(), Some("kazoo"));
        assert_eq!(grant.permitted_accounts().unwrap().collect::<Vec<_>>(), ["A", "B"]);
        assert_eq!(grant.permitted_folders().unwrap().collect::<Vec<_>>(), [&key("f/g")]);
        assert_eq!(
            (grant.body_limit(), grant.may_read(), grant.may_write()),
            (Some(7), true, false)
        );
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
