//! [`Event`]: something that happened to a file.

use std::{fmt, str::FromStr, time::SystemTime};

use uuid::Uuid;

use crate::file::FileRecord;

/// Something that happened to a file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// A UUID, the same for every receiver and attempt: a receiver that keeps it can drop repeats.
    pub id: String,
    /// The change.
    pub kind: EventKind,
    /// The time at which the ledger recorded the change.
    pub time: SystemTime,
    /// The file after the change; for [`Deleted`](EventKind::Deleted), the file that was deleted.
    pub file: FileRecord,
}

/// The kind of an [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A file was stored under a key that had none: `file.stored`.
    Stored,
    /// A file with other content, metadata or media type took the place of the one before: `file.replaced`. A repeated
    /// upload of the same file is no event.
    Replaced,
    /// The file was deleted: `file.deleted`.
    Deleted,
}

impl EventKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Stored, Self::Replaced, Self::Deleted];

    /// Returns the name of the kind, such as `file.stored`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "file.stored",
            Self::Replaced => "file.replaced",
            Self::Deleted => "file.deleted",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EventKind {
    type Err = kazoo_storage::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Self::ALL.into_iter();
        all.find(|kind| kind.as_str() == text).ok_or_else(|| {
            kazoo_storage::Error::new(
                kazoo_storage::ErrorKind::InvalidRequest,
                "an event is `file.stored`, `file.replaced` or `file.deleted`",
            )
        })
    }
}

/// Creates the id of an event.
pub(crate) fn new_id() -> String {
    Uuid::now_v7().to_string()
}
