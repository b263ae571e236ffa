//! The results of a scrub.

use std::fmt;

use crate::{
    error::Error,
    store::fs::{name, set_aside::SetAside},
};

/// One file that a scrub has read.
#[derive(Debug)]
#[non_exhaustive]
pub struct Scrubbed {
    /// The key of the file, or of an unreadable directory, in the form that messages show.
    pub key: String,
    /// The number of bytes that were read.
    pub len: u64,
    /// The result for this file.
    pub verdict: Verdict,
}

/// The result of a scrub for one file.
#[derive(Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// The content matches the upload.
    Intact,
    /// The content is readable but has no digest: it was not uploaded.
    Unverifiable,
    /// The file is damaged.
    Damaged(Damage),
}

/// The damage of a file.
#[derive(Debug)]
#[non_exhaustive]
pub enum Damage {
    /// The bytes differ from the upload.
    Content,
    /// The sidecar differs from what the store wrote.
    Sidecar,
    /// The bytes are intact, but the modification time has changed, so the sidecar is ignored.
    Detached,
    /// The sidecar exists, but the file does not.
    Missing,
    /// A recovery after a crash could not apply the change, and it is [set aside](crate::FsStore::set_aside).
    SetAside(SetAside),
    /// The file, or everything below the directory, cannot be read.
    Unreadable(Error),
}

impl Scrubbed {
    pub(super) fn of(names: &[String], len: u64, verdict: Verdict) -> Self {
        Self {
            key: name::Decoded(names).to_string(),
            len,
            verdict,
        }
    }

    pub(super) fn damaged(names: &[String], damage: Damage) -> Self {
        Self::of(names, 0, Verdict::Damaged(damage))
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Content => f.write_str("the bytes differ from the upload"),
            Self::Sidecar => f.write_str("the sidecar differs from what the store wrote"),
            Self::Detached => f.write_str(
                "the modification time differs from the one in the sidecar, whose metadata is therefore ignored; copy files \
                 with their times",
            ),
            Self::Missing => f.write_str("the sidecar exists, the file is missing"),
            Self::SetAside(SetAside { directory, reason, .. }) => write!(
                f,
                "it could not be moved to its path after a crash, and is in `{directory}`: {reason}"
            ),
            Self::Unreadable(error) => write!(f, "{error}"),
        }
    }
}
