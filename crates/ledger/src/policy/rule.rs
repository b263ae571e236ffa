//! [`Rule`]: how long some files are kept.

use std::{fmt, time::Duration};

use kazoo_storage::kazoo_id::AttachmentKind;

use crate::file::kind_name;

/// The seconds of a day.
const DAY: u64 = 86_400;

/// Determines how long the files of an account, of a kind, of both, or all files are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Rule {
    pub(super) account: Option<String>,
    /// The name of the kind.
    pub(super) kind: Option<&'static str>,
    pub(super) days: Option<u32>,
    pub(super) floor_days: Option<u32>,
}

impl Rule {
    /// Creates a rule for all files, which deletes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Restricts the rule to the files of this account.
    pub fn account(mut self, account: impl Into<String>) -> Self {
        self.account = Some(account.into());
        self
    }

    /// Restricts the rule to the files of this kind. `None` stands for the others, such as greetings.
    pub fn kind(mut self, kind: impl Into<Option<AttachmentKind>>) -> Self {
        self.kind = Some(kind_name(kind.into()));
        self
    }

    /// Deletes files this many days after they were stored.
    pub fn days(mut self, days: u32) -> Self {
        self.days = Some(days);
        self
    }

    /// Protects files from deletion and replacement for this many days after they were stored.
    pub fn floor_days(mut self, days: u32) -> Self {
        self.floor_days = Some(days);
        self
    }

    /// Returns the account, if the rule is for one.
    #[must_use]
    pub fn account_id(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// Returns the name of the kind, if the rule is for one.
    #[must_use]
    pub fn kind_name(&self) -> Option<&'static str> {
        self.kind
    }

    /// Returns the number of days after which files are deleted, if they are.
    #[must_use]
    pub fn deletes_after(&self) -> Option<u32> {
        self.days
    }

    /// Returns the number of days for which nothing deletes or replaces the files, if there is a floor.
    #[must_use]
    pub fn protects_for(&self) -> Option<u32> {
        self.floor_days
    }

    /// Returns the conditions as text, such as `account A, kind fax`.
    pub(super) fn conditions(&self) -> String {
        match (&self.account, self.kind) {
            (Some(account), Some(kind)) => format!("account {account}, kind {kind}"),
            (Some(account), None) => format!("account {account}"),
            (None, Some(kind)) => format!("kind {kind}"),
            (None, None) => "all files".to_owned(),
        }
    }

    /// Returns the time for which the rule protects files, if it does.
    pub(super) fn floor(&self) -> Option<Duration> {
        let days = self.floor_days.filter(|days| *days > 0)?;
        Some(Duration::from_secs(u64::from(days) * DAY))
    }

    /// Returns the age at which files are deleted, if they are.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.days.map(|days| Duration::from_secs(u64::from(days) * DAY))
    }

    pub(super) fn has_conditions_of(&self, other: &Self) -> bool {
        (&self.account, self.kind) == (&other.account, other.kind)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.conditions())?;
        if let Some(days) = self.days {
            write!(f, ": deleted after {days} days")?;
        }
        Ok(())
    }
}
