//! [`Difference`]: a file on which store and ledger disagree.

use kazoo_storage::{BlobInfo, BlobKey, Error, digest::Digest};

/// A file on which store and ledger disagree.
#[derive(Debug)]
#[non_exhaustive]
pub struct Difference {
    /// The key of the file.
    pub key: BlobKey,
    /// The kind of the difference.
    pub kind: DifferenceKind,
    /// The content as the store describes it, or `None` if it does not.
    pub stored: Option<Content>,
    /// The content as the ledger has it, or `None` if it does not have the file.
    pub recorded: Option<Content>,
    /// The reason why the file cannot be read.
    pub error: Option<Error>,
    /// `true` if the ledger agrees with the store now.
    pub repaired: bool,
}

/// The kind of a [`Difference`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DifferenceKind {
    /// The ledger does not have the file.
    Unrecorded,
    /// The store does not have the file.
    Gone,
    /// The ledger has another length or digest than the store.
    Differs,
    /// The content has another digest than the store or the ledger noted.
    Damaged,
    /// The store cannot read the file.
    Unreadable,
}

impl DifferenceKind {
    /// Returns the name in the API and in logs, such as `unrecorded`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unrecorded => "unrecorded",
            Self::Gone => "gone",
            Self::Differs => "differs",
            Self::Damaged => "damaged",
            Self::Unreadable => "unreadable",
        }
    }
}

/// The length and the digest of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Content {
    /// The length, in bytes.
    pub size: u64,
    /// The digest, if one is known.
    pub sha256: Option<Digest>,
}

impl Content {
    pub(super) fn from_row(size: i64, sha256: Option<Vec<u8>>) -> Self {
        Self {
            size: u64::try_from(size).unwrap_or_default(),
            sha256: sha256.and_then(|bytes| bytes.try_into().ok()).map(Digest::from_bytes),
        }
    }

    pub(super) fn of(info: &BlobInfo) -> Self {
        Self {
            size: info.len,
            sha256: info.digest,
        }
    }
}

/// Compares what the store and the ledger have.
pub(super) fn compare(stored: Option<Content>, recorded: Option<Content>) -> Option<DifferenceKind> {
    match (stored, recorded) {
        (None, None) => None,
        (Some(_), None) => Some(DifferenceKind::Unrecorded),
        (None, Some(_)) => Some(DifferenceKind::Gone),
        (Some(stored), Some(recorded)) => {
            // The store has no digest of a file that was put there by hand.
            let has_other_digest = stored.sha256.is_some() && stored.sha256 != recorded.sha256;
            let differs = stored.size != recorded.size || has_other_digest;
            differs.then_some(DifferenceKind::Differs)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_length_and_digest() {
        let content = |size, text: Option<&[u8]>| {
            Some(Content {
                size,
                sha256: text.map(Digest::of),
            })
        };
        let (a, b, unknown) = (content(1, Some(b"a")), content(1, Some(b"b")), content(1, None));
        for (stored, recorded, expected) in [
            (None, None, None),
            (a, None, Some(DifferenceKind::Unrecorded)),
            (None, a, Some(DifferenceKind::Gone)),
            (a, a, None),
            (a, b, Some(DifferenceKind::Differs)),
            (a, unknown, Some(DifferenceKind::Differs)),
            (unknown, a, None),
            (unknown, content(2, None), Some(DifferenceKind::Differs)),
        ] {
            assert_eq!(compare(stored, recorded), expected, "{stored:?} {recorded:?}");
        }
    }
}
