//! The format of the records in the journal.

use std::time::SystemTime;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    error::{BoxError, Error, ErrorKind, Result},
    key::BlobKey,
};

/// The change of one upload or deletion.
#[derive(Debug)]
pub(in crate::store::fs) struct Change<'a> {
    pub(in crate::store::fs) key: &'a BlobKey,
    /// The modification time of the new content, or the time of the deletion.
    pub(in crate::store::fs) modified: SystemTime,
    pub(in crate::store::fs) content: Content,
    /// The text of the new sidecar; `None` for a deletion.
    pub(in crate::store::fs) sidecar: Option<Bytes>,
}

/// The new content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store::fs) enum Content {
    /// The complete content.
    Whole(Bytes),
    /// A durable file with this name in the staging directory, or already at its path.
    Staged(String),
    /// No content: the file is deleted.
    Deleted,
}

/// A change in the format of a segment: a prefix, a head as JSON, the text of the sidecar, the content.
#[derive(Debug)]
pub(super) struct Record {
    prefix: [u8; PREFIX],
    checksum: u32,
    head: Vec<u8>,
    sidecar: Bytes,
    content: Bytes,
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    /// The key, as a path.
    key: String,
    modified: SystemTime,
    /// The length of the sidecar, if there is one.
    sidecar: Option<usize>,
    /// The name of the staged content, if it is not in the record.
    staged: Option<String>,
    /// `true` for a deletion.
    #[serde(default)]
    deleted: bool,
}

/// An entry of a segment.
#[derive(Debug)]
pub(in crate::store::fs) enum Entry {
    Change(Logged),
    /// The change failed and must not be applied.
    Withdrawn,
    /// The checksum is correct, but this version cannot interpret the record.
    Unknown(Unknown),
    /// The checksum is wrong: the record was not completely written, or the disk has corrupted it since.
    Damaged(Bytes),
    /// The start of a batch, which is written only when the batch before it is durable.
    Batch,
}

/// A change that was read from a journal.
#[derive(Debug)]
pub(in crate::store::fs) struct Logged {
    pub(in crate::store::fs) key: BlobKey,
    pub(in crate::store::fs) modified: SystemTime,
    pub(in crate::store::fs) content: Content,
    pub(in crate::store::fs) sidecar: Option<Bytes>,
}

/// A record written by another version.
#[derive(Debug)]
pub(in crate::store::fs) struct Unknown {
    pub(in crate::store::fs) key: String,
    pub(in crate::store::fs) modified: Option<SystemTime>,
    pub(in crate::store::fs) content: Content,
    pub(in crate::store::fs) sidecar: Option<Bytes>,
    pub(in crate::store::fs) head: Bytes,
    pub(in crate::store::fs) reason: Error,
}

/// The offset of the byte that is inverted to withdraw a record: the first byte of the checksum.
pub(super) const MARK: u64 = 8 + 4 + 4;

/// The length of the prefix: the epoch of the segment, the length of the head and that of the rest, the checksum of
/// all.
pub(super) const PREFIX: usize = 8 + 4 + 4 + 4;

/// The length of the mark of a batch: a prefix without a head, and one byte.
pub(super) const BATCH_MARK: usize = PREFIX + 1;

fn prefix(epoch: u64, head: u32, rest: u32, checksum: u32) -> [u8; PREFIX] {
    let mut prefix = [0; PREFIX];
    let numbers = [
        &epoch.to_le_bytes()[..],
        &head.to_le_bytes(),
        &rest.to_le_bytes(),
        &checksum.to_le_bytes(),
    ];
    for (target, byte) in prefix.iter_mut().zip(numbers.into_iter().flatten()) {
        *target = *byte;
    }
    prefix
}

/// Returns the checksum of a record whose head and rest have the checksum `body`.
fn sealed(epoch: u64, head: u32, rest: u32, body: u32) -> u32 {
    crc32fast::hash(&prefix(epoch, head, rest, body))
}

impl Record {
    pub(super) fn of(change: &Change<'_>) -> Result<Self> {
        let (content, staged) = match &change.content {
            Content::Whole(content) => (content.clone(), None),
            Content::Staged(name) => (Bytes::new(), Some(name.clone())),
            Content::Deleted => (Bytes::new(), None),
        };
        let head = Head {
            key: change.key.to_string(),
            modified: change.modified,
            sidecar: change.sidecar.as_ref().map(Bytes::len),
            staged,
            deleted: change.content == Content::Deleted,
        };
        let mut record = Self {
            prefix: [0; PREFIX],
            checksum: 0,
            head: serde_json::to_vec(&head).map_err(unwritable)?,
            sidecar: change.sidecar.clone().unwrap_or_default(),
            content,
        };
        let mut checksum = crc32fast::Hasher::new();
        for part in [&*record.head, &record.sidecar, &record.content] {
            checksum.update(part);
        }
        record.checksum = checksum.finalize();
        // The store never accepts a longer upload.
        u32::try_from(record.len()).map_err(unwritable)?;
        Ok(record)
    }

    /// Prepares the record for the segment with this `epoch`.
    pub(super) fn stamp(&mut self, epoch: u64) {
        let len = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let (head, rest) = (len(self.head.len()), len(self.sidecar.len() + self.content.len()));
        self.prefix = prefix(epoch, head, rest, sealed(epoch, head, rest, self.checksum));
    }

    pub(super) fn slices(&self) -> [&[u8]; 4] {
        [&self.prefix, &self.head, &self.sidecar, &self.content]
    }

    pub(super) fn len(&self) -> u64 {
        self.slices().iter().map(|part| part.len() as u64).sum()
    }
}

impl Entry {
    pub(in crate::store::fs) fn change(&self) -> Option<&Logged> {
        match self {
            Self::Change(change) => Some(change),
            _ => None,
        }
    }

    /// Returns the name of the staged file with its content.
    pub(in crate::store::fs) fn staged(&self) -> Option<&str> {
        match self {
            Self::Change(Logged {
                content: Content::Staged(name),
                ..
            })
            | Self::Unknown(Unknown {
                content: Content::Staged(name),
                ..
            }) => Some(name),
            _ => None,
        }
    }
}

/// Returns the mark of the start of a batch.
pub(super) fn batch_mark(epoch: u64) -> [u8; BATCH_MARK] {
    let body = [0];
    let mut mark = [0; BATCH_MARK];
    let prefix = prefix(epoch, 0, 1, sealed(epoch, 0, 1, crc32fast::hash(&body)));
    for (target, byte) in mark.iter_mut().zip(prefix.into_iter().chain(body)) {
        *target = byte;
    }
    mark
}

fn unwritable(error: impl Into<BoxError>) -> Error {
    Error::new(ErrorKind::Internal, "an upload cannot be written to the journal").with_source(error)
}

/// Reads the record at `offset` of a segment, and returns its epoch and the offset after it.
///
/// Returns `None` after the last record of this `epoch` (or of any epoch if it is `None`), and if the record is longer
/// than the segment.
pub(super) fn read(segment: &[u8], offset: usize, epoch: Option<u64>) -> Option<(u64, Entry, usize)> {
    let (start, rest) = segment.get(offset..)?.split_at_checked(PREFIX)?;
    let (found, numbers) = start.split_at_checked(8)?;
    let found = found.first_chunk().copied().map_or(0, u64::from_le_bytes);
    // Leftovers of an earlier epoch may be the middle of an upload, and contain any bytes.
    if epoch.is_some_and(|epoch| epoch != found) {
        return None;
    }
    let mut numbers = numbers.as_chunks().0.iter().copied().map(u32::from_le_bytes);
    let (head_len, rest_len, checksum) = (numbers.next()?, numbers.next()?, numbers.next()?);
    let len = usize::try_from(u64::from(head_len) + u64::from(rest_len)).ok()?;
    let body = rest.get(..len).filter(|body| !body.is_empty())?;
    let expected = sealed(found, head_len, rest_len, crc32fast::hash(body));
    let mut body = Bytes::copy_from_slice(body);
    let entry = if checksum == expected && head_len == 0 {
        Entry::Batch
    } else if checksum == expected {
        let head = body.split_to(usize::try_from(head_len).unwrap_or(len).min(len));
        entry(head, body)
    } else if checksum == expected ^ 0xff {
        Entry::Withdrawn
    } else {
        Entry::Damaged(body)
    };
    Some((found, entry, offset + PREFIX + len))
}

/// Returns the offset of the first complete record of this `epoch` at `from` or after it.
pub(super) fn next(segment: &[u8], from: usize, epoch: u64) -> Option<usize> {
    let mark = epoch.to_le_bytes();
    let positions = segment.get(from..)?.windows(mark.len()).enumerate();
    let mut positions = positions
        .filter(|(_, window)| **window == mark)
        .map(|(at, _)| from + at);
    positions
        .find(|at| read(segment, *at, Some(epoch)).is_some_and(|(_, entry, _)| !matches!(entry, Entry::Damaged(_))))
}

/// Interprets a record with this `head`.
fn entry(head: Bytes, mut rest: Bytes) -> Entry {
    let parsed: serde_json::Result<Head> = serde_json::from_slice(&head);
    let other = || Error::new(ErrorKind::Conflict, "it was written by another version of this program");
    let Head {
        key,
        modified,
        sidecar,
        staged,
        deleted,
    } = match parsed {
        Ok(parsed) if parsed.sidecar.is_none_or(|len| len <= rest.len()) => parsed,
        parsed => {
            let field = |name: &str| {
                let head: serde_json::Value = serde_json::from_slice(&head).unwrap_or_default();
                head.get(name).and_then(|value| value.as_str()).map(str::to_owned)
            };
            return Entry::Unknown(Unknown {
                key: field("key").unwrap_or_default(),
                modified: parsed.ok().map(|head| head.modified),
                content: field("staged").map_or(Content::Whole(rest), Content::Staged),
                sidecar: None,
                reason: other(),
                head,
            });
        }
    };
    let sidecar = sidecar.map(|len| rest.split_to(len));
    let content = match staged {
        _ if deleted => Content::Deleted,
        Some(name) => Content::Staged(name),
        None => Content::Whole(rest),
    };
    match BlobKey::from_path(&key) {
        Ok(key) => Entry::Change(Logged {
            key,
            modified,
            content,
            sidecar,
        }),
        Err(reason) => Entry::Unknown(Unknown {
            key,
            modified: Some(modified),
            content,
            sidecar,
            head,
            reason,
        }),
    }
}

#[cfg(test)]
mod tests;
