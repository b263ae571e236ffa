//! [`Grant`]: the permissions of a request.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    error::{Error, ErrorKind, Result},
    key::BlobKey,
};

/// Request extension: the permissions of the request.
///
/// [`Authorize`](crate::Authorize) inserts it, and [`ExtractKey`](crate::ExtractKey) enforces it. A request without a
/// grant may do everything.
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
    /// Permits storing and fetching all files.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            accounts: None,
            read: true,
            write: true,
            by_address: false,
        }
    }

    /// Restricts the grant to files of these accounts, by the [`account_id`](crate::BlobKey::account_id) of the key. A
    /// key without an account is not permitted.
    #[must_use]
    pub fn accounts<I>(mut self, accounts: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.accounts = Some(Arc::new(accounts.into_iter().map(Into::into).collect()));
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

    /// Returns `true` if the account of `key` is permitted.
    #[must_use]
    pub fn covers(&self, key: &BlobKey) -> bool {
        let account = || key.account_id().unwrap_or_default();
        self.accounts
            .as_ref()
            .is_none_or(|accounts| accounts.contains(account()))
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
        forbidden("the credential does not permit access to the account in the path")
    }
}

fn forbidden(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Forbidden, message)
}

#[cfg(test)]
mod tests {
    use super::*;

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
