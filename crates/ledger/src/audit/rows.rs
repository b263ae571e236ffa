//! [`Audited`]: an entry of the trail.

use std::{fmt, time::SystemTime};

use kazoo_storage::{BlobKey, Error, ErrorKind, Result, digest::Digest};

use super::entry::{Fields, commitment};
use crate::{database::Row, rows::SEPARATOR, time};

/// The columns that [`read`] reads.
macro_rules! audit_columns {
    () => {
        "seq, at, name, address, action, outcome, key, salt, subject, hash"
    };
}
pub(super) use audit_columns;

/// An entry of the audit trail.
///
/// `Debug` does not show the key.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Audited {
    /// The number of the entry. Each entry has the number after that of the entry before it.
    pub seq: i64,
    /// The time of the action, to the millisecond.
    pub at: SystemTime,
    /// The name of the one who acted.
    pub name: Option<String>,
    /// The address that the request came from.
    pub address: Option<String>,
    /// The name of the [`Action`](super::Action).
    pub action: String,
    /// The result of the action.
    pub outcome: String,
    /// The key of the file. `None` if the entry is about no file, or the key was erased.
    pub key: Option<BlobKey>,
    /// The salt of the subject. `None` if there is no key.
    pub salt: Option<Vec<u8>>,
    /// The SHA-256 of salt and key. `None` if the entry is about no file.
    pub subject: Option<Vec<u8>>,
    /// The SHA-256 of the hash before it and of this entry.
    pub hash: Vec<u8>,
}

impl Audited {
    /// Returns `true` if the key was erased.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        self.subject.is_some() && self.key.is_none()
    }

    /// Returns the hash of this entry after one with the hash `before`.
    pub(super) fn computed(&self, before: &[u8]) -> Vec<u8> {
        let fields = Fields {
            at: time::to_millis(self.at),
            name: self.name.as_deref(),
            address: self.address.as_deref(),
            action: &self.action,
            outcome: &self.outcome,
            subject: self.subject.as_deref(),
        };
        Digest::of(&[before, &fields.encode()].concat()).as_bytes().to_vec()
    }

    /// Returns `true` if the key is the one that the entry commits to, or was erased.
    pub(super) fn has_its_key(&self) -> bool {
        match (&self.key, &self.salt, &self.subject) {
            (Some(key), Some(salt), Some(subject)) => commitment(salt, &crate::rows::encode(key)) == *subject,
            (None, None, _) => true,
            _ => false,
        }
    }
}

impl fmt::Debug for Audited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audited")
            .field("seq", &self.seq)
            .field("action", &self.action)
            .field("outcome", &self.outcome)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Reads a row of [`audit_columns!`].
pub(super) fn read(mut row: Row) -> Result<Audited> {
    let seq = row.integer()?;
    let rest = read_rest(seq, row);
    rest.map_err(|error| {
        let message = format!("entry {seq} of the audit trail cannot be read: {}", error.message());
        Error::new(ErrorKind::Damaged, message).with_source(error)
    })
}

fn read_rest(seq: i64, mut row: Row) -> Result<Audited> {
    let at = row.integer()?;
    let (name, address) = (row.optional_text()?, row.optional_text()?);
    let (action, outcome) = (row.text()?, row.text()?);
    let key = row.optional_text()?;
    let key = key
        .map(|key| BlobKey::from_segments(key.split(SEPARATOR)))
        .transpose()?;
    Ok(Audited {
        seq,
        at: time::from_millis(at),
        name,
        address,
        action,
        outcome,
        key,
        salt: row.optional_bytes()?,
        subject: row.optional_bytes()?,
        hash: row.bytes()?,
    })
}
