//! [`Ledger::verify_audit`]: recomputes the chain.

use kazoo_storage::{ErrorKind, Result};

use super::rows::{Audited, audit_columns, read};
use crate::{
    database::{Row, statement},
    ledger::Ledger,
};

/// Number of entries that are in memory at once.
const PAGE: i64 = 500;

/// The result of a verification of the audit trail, and its progress.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditVerified {
    /// The number of entries that are as they were appended.
    pub entries: u64,
    /// Those of them whose key was erased.
    pub erased: u64,
    /// The number of the last entry that was removed because of its age; 0 if there is none.
    pub anchor: i64,
    /// The number of the last verified entry.
    pub last: i64,
    /// The hash of the last verified entry. Whoever has noted a number and its hash elsewhere can compare them.
    pub hash: Vec<u8>,
    /// The first fault. Nothing behind it was verified.
    pub fault: Option<AuditFault>,
}

/// A fault of the audit trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuditFault {
    /// The entry with this number is missing.
    Missing(i64),
    /// The entry with this number differs from the one that was appended, or is at another place.
    Changed(i64),
    /// The key of the entry with this number is not the one that was appended.
    OtherKey(i64),
    /// The entry with this number is behind the recorded end of the trail.
    Behind(i64),
}

impl AuditFault {
    /// Returns the number of the entry.
    #[must_use]
    pub fn seq(self) -> i64 {
        match self {
            Self::Missing(seq) | Self::Changed(seq) | Self::OtherKey(seq) | Self::Behind(seq) => seq,
        }
    }

    /// Returns the name of the fault, such as `missing`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing(_) => "missing",
            Self::Changed(_) => "changed",
            Self::OtherKey(_) => "other_key",
            Self::Behind(_) => "behind_end",
        }
    }
}

/// An end of the trail.
struct End {
    seq: i64,
    hash: Vec<u8>,
}

impl Ledger {
    /// Recomputes the chain of the audit trail, and returns the first fault. Calls `progress` after each page. Memory is bounded.
    ///
    /// Entries that are appended meanwhile are left out.
    pub async fn verify_audit(&self, mut progress: impl FnMut(&AuditVerified)) -> Result<AuditVerified> {
        let (anchor, head) = self.audit_ends().await?;
        let mut done = AuditVerified::default();
        done.start_at(&anchor);
        while done.last < head.seq {
            let mut page = self.audit_page(done.last, head.seq).await?.into_iter().peekable();
            let expected = done.last + 1;
            if page.peek().is_none_or(|page| page.seq() != Some(expected)) {
                // It may have been removed meanwhile because of its age.
                let (anchor, _) = self.audit_ends().await?;
                if anchor.seq >= expected {
                    done.start_at(&anchor);
                    continue;
                }
            }
            if page.peek().is_none() {
                done.fault = Some(AuditFault::Missing(expected));
            }
            for entry in page {
                done.add(entry);
            }
            progress(&done);
            if done.fault.is_some() {
                return Ok(done);
            }
        }
        if done.last == head.seq && done.hash != head.hash {
            done.fault = Some(AuditFault::Changed(head.seq));
        } else {
            done.fault = self.behind_end().await?;
        }
        Ok(done)
    }

    /// Returns the anchor and the head.
    async fn audit_ends(&self) -> Result<(End, End)> {
        const SQL: &str = "SELECT seq, hash FROM audit_ends ORDER BY name";
        let mut rows = self.read(statement!(SQL)).await?.into_iter();
        let mut end = || {
            let missing = || kazoo_storage::Error::new(ErrorKind::Damaged, "the audit trail has no recorded end");
            let mut row = rows.next().ok_or_else(missing)?;
            Ok::<_, kazoo_storage::Error>(End {
                seq: row.integer()?,
                hash: row.bytes()?,
            })
        };
        Ok((end()?, end()?))
    }

    async fn audit_page(&self, after: i64, to: i64) -> Result<Vec<Page>> {
        const SQL: &str = concat!(
            "SELECT seq, ",
            audit_columns!(),
            " FROM audit WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3"
        );
        let rows = self.read(statement!(SQL, after, to, PAGE)).await?;
        Ok(rows.into_iter().map(Page::of).collect())
    }

    /// Returns the fault of an entry behind the head.
    async fn behind_end(&self) -> Result<Option<AuditFault>> {
        const SQL: &str =
            "SELECT seq FROM audit WHERE seq > (SELECT seq FROM audit_ends WHERE name = 'head') ORDER BY seq LIMIT 1";
        let mut rows = self.read(statement!(SQL)).await?.into_iter();
        let behind = rows.next().map(|mut row| row.integer()).transpose()?;
        Ok(behind.map(AuditFault::Behind))
    }
}

/// An entry of a page, or only its number if it cannot be read.
enum Page {
    Entry(Box<Audited>),
    Unreadable(Option<i64>),
}

impl Page {
    fn of(mut row: Row) -> Self {
        let seq = row.integer().ok();
        read(row).map_or(Self::Unreadable(seq), |entry| Self::Entry(Box::new(entry)))
    }

    fn seq(&self) -> Option<i64> {
        match self {
            Self::Entry(entry) => Some(entry.seq),
            Self::Unreadable(seq) => *seq,
        }
    }
}

impl AuditVerified {
    fn start_at(&mut self, anchor: &End) {
        self.anchor = anchor.seq;
        self.last = anchor.seq;
        self.hash.clone_from(&anchor.hash);
    }

    /// Verifies the next entry, unless there was a fault.
    fn add(&mut self, entry: Page) {
        if self.fault.is_some() {
            return;
        }
        let expected = self.last + 1;
        let entry = match entry {
            page if page.seq() != Some(expected) => {
                self.fault = Some(AuditFault::Missing(expected));
                return;
            }
            Page::Unreadable(_) => {
                self.fault = Some(AuditFault::Changed(expected));
                return;
            }
            Page::Entry(entry) => entry,
        };
        if entry.computed(&self.hash) != entry.hash {
            self.fault = Some(AuditFault::Changed(expected));
        } else if !entry.has_its_key() {
            self.fault = Some(AuditFault::OtherKey(expected));
        } else {
            self.entries += 1;
            self.erased += u64::from(entry.is_erased());
            self.last = expected;
            self.hash = entry.hash;
        }
    }
}
