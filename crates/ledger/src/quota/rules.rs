//! [`Quotas`]: the limit of each account.

use std::collections::HashMap;

use kazoo_storage::{Error, ErrorKind, Result};

/// The limit of the files of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Quota {
    account: Option<String>,
    pub(super) bytes: Option<u64>,
    pub(super) files: Option<u64>,
}

impl Quota {
    /// Creates a quota of each account that has none of its own. It limits nothing yet.
    pub fn of_each_account() -> Self {
        Self::default()
    }

    /// Creates a quota of `account`. It limits nothing yet.
    pub fn of(account: impl Into<String>) -> Self {
        Self {
            account: Some(account.into()),
            ..Self::default()
        }
    }

    /// Limits the length of the files together, in bytes.
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// Limits the number of the files.
    pub fn files(mut self, files: u64) -> Self {
        self.files = Some(files);
        self
    }
}

/// The quotas of all accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Quotas {
    of_each: Option<Quota>,
    by_account: HashMap<String, Quota>,
}

impl Quotas {
    /// Creates quotas that limit no account.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a quota. One of an account replaces that of each account for it.
    ///
    /// Fails with [`ErrorKind::InvalidRequest`] if the quota limits nothing, or if there is another one of its account.
    pub fn quota(mut self, quota: Quota) -> Result<Self> {
        let fault = |fault: &str| Err(Error::new(ErrorKind::InvalidRequest, fault.to_owned()));
        if quota.bytes.is_none() && quota.files.is_none() {
            return fault("the quota limits nothing; set `bytes`, `files` or both");
        }
        match quota.account.clone() {
            Some(account) if account.is_empty() => fault("the quota has an empty account"),
            Some(account) => match self.by_account.insert(account, quota) {
                Some(_) => fault("another quota has the same account; remove one of them"),
                None => Ok(self),
            },
            None => match self.of_each.replace(quota) {
                Some(_) => fault("another quota has no account either; remove one of them"),
                None => Ok(self),
            },
        }
    }

    /// Returns the quota of `account`, if it has one.
    pub(super) fn of(&self, account: &str) -> Option<&Quota> {
        self.by_account.get(account).or(self.of_each.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quota_of_an_account_replaces_that_of_each() {
        let each = Quota::of_each_account().bytes(10);
        let one = Quota::of("one").files(2);
        let all = |quotas: &[&Quota]| {
            quotas
                .iter()
                .try_fold(Quotas::new(), |all, one| all.quota((*one).clone()))
        };
        let quotas = all(&[&each, &one]).unwrap();
        assert_eq!((quotas.of("one"), quotas.of("two")), (Some(&one), Some(&each)));
        assert_eq!(all(&[&one]).unwrap().of("two"), None);
        for (faulty, says) in [
            (&[&Quota::of("one")][..], "limits nothing"),
            (&[&one, &Quota::of("one").bytes(1)], "another quota"),
            (&[&each, &one, &each], "another quota has no account"),
            (&[&Quota::of("").bytes(1)], "an empty account"),
        ] {
            let error = all(faulty).unwrap_err();
            assert!(error.message().contains(says), "{error}");
        }
    }
}
