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
/// use kazoo_storage::grant::Grant;
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

    /// Marks the grant as based on the source address alone.
    ///
    /// An [`Authorizer`](crate::authorize::Authorizer) sets the mark if the request carries no credential that a cache between
    /// client and server takes into account, so that the cache does not serve the response to another client.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_mark_of_an_address_through_every_restriction() {
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
