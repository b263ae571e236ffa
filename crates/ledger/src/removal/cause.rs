//! [`Cause`]: the reason of a removal.

use crate::audit::Action;

/// The reason why files are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The operator removes them.
    Operator,
    /// They are older than a rule of retention permits.
    Retention,
    /// A person or an account is erased. Receivers get the events without metadata and numbers.
    Erasure,
    /// KAZOO has removed their document.
    Request,
    /// The store does not have them.
    Repair,
}

impl Cause {
    /// Returns the name of the cause, such as `retention`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Retention => "retention",
            Self::Erasure => "erasure",
            Self::Request => "request",
            Self::Repair => "repair",
        }
    }

    /// Returns the action of its entries in the audit trail.
    pub(super) fn action(self) -> Action {
        match self {
            Self::Operator | Self::Request | Self::Repair => Action::Delete,
            Self::Retention => Action::Retention,
            Self::Erasure => Action::Erase,
        }
    }

    /// Returns the cause with this name.
    pub(super) fn named(name: &str) -> Self {
        let all = [Self::Retention, Self::Erasure, Self::Request, Self::Repair];
        all.into_iter()
            .find(|cause| cause.as_str() == name)
            .unwrap_or(Self::Operator)
    }
}
