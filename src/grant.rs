//! [`Grant`]: what whoever sent a request may do.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    error::{Error, ErrorKind, Result},
    key::BlobKey,
};

/// Request extension: what whoever sent the request may do.
///
/// [`Authorize`](crate::Authorize) puts it there, and [`ExtractKey`](crate::ExtractKey), which knows the key, holds the
/// request to it. Without one, everything is granted.
///
/// ```
/// use kazoo_storage::Grant;
///
/// let one_account = Grant::everything().accounts(["0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7"]);
/// let to_fetch = Grant::everything().read_only();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    accounts: Option<Arc<BTreeSet<String>>>,
    read: bool,
    write: bool,
    by_address: bool,
}

impl Grant {
    /// To store and to fetch whatever there is.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            accounts: None,
            read: true,
            write: true,
            by_address: false,
        }
    }

    /// Only files of these accounts: those whose key has one of them as its
    /// [`account_id`](crate::BlobKey::account_id). A key that names no account is outside of every list.
    #[must_use]
    pub fn accounts<I>(mut self, accounts: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.accounts = Some(Arc::new(accounts.into_iter().map(Into::into).collect()));
        self
    }

    /// Only to fetch.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.write = false;
        self
    }

    /// Only to store.
    #[must_use]
    pub fn write_only(mut self) -> Self {
        self.read = false;
        self
    }

    /// Granted for the address that the request comes from, and for nothing that it shows. No cache may keep what is
    /// fetched: it would answer clients at other addresses from it.
    #[must_use]
    pub fn by_address(mut self) -> Self {
        self.by_address = true;
        self
    }

    /// Whether it is granted for the address alone.
    pub(crate) fn is_by_address(&self) -> bool {
        self.by_address
    }

    /// Whether `key` is of an account that is granted.
    #[must_use]
    pub fn covers(&self, key: &BlobKey) -> bool {
        let account = || key.account_id().unwrap_or_default();
        self.accounts
            .as_ref()
            .is_none_or(|accounts| accounts.contains(account()))
    }

    /// [`ErrorKind::Forbidden`] if nothing may be fetched, or else nothing stored.
    pub(crate) fn check(&self, fetch: bool) -> Result<()> {
        let (granted, what) = if fetch {
            (self.read, "fetch")
        } else {
            (self.write, "store")
        };
        if granted {
            Ok(())
        } else {
            Err(forbidden(format!("the credential is not one to {what} files with")))
        }
    }

    pub(crate) fn outside() -> Error {
        forbidden("the credential is not for the account that the path names")
    }
}

fn forbidden(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Forbidden, message)
}
