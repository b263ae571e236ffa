//! How the journal writes down what an upload changes.

use std::{io::Read, time::SystemTime};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    error::{BoxError, Error, ErrorKind, Result},
    key::BlobKey,
    store::fs::error::failed,
};

/// What one upload changes.
#[derive(Debug)]
pub(in crate::store::fs) struct Change<'a> {
    pub(in crate::store::fs) key: &'a BlobKey,
    /// The modification time of the new content.
    pub(in crate::store::fs) modified: SystemTime,
    pub(in crate::store::fs) content: Content,
    /// The text of the new sidecar, if there is to be one.
    pub(in crate::store::fs) sidecar: Option<Bytes>,
}

/// The new content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store::fs) enum Content {
    /// All of it.
    Whole(Bytes),
    /// It is in the staging directory, durable, under this name, or in its place already.
    Staged(String),
}

/// A change as it stands in a segment: a prefix, a head as JSON, the sidecar's text and the content.
#[derive(Debug)]
pub(super) struct Record {
    prefix: [u8; PREFIX],
    head: Vec<u8>,
    sidecar: Bytes,
    content: Bytes,
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    /// The segments of the key, as a path.
    key: String,
    modified: SystemTime,
    /// How long the sidecar is, if there is one.
    sidecar: Option<usize>,
    /// The name of the staged content, if it is not in the record.
    staged: Option<String>,
}

/// A change read back.
#[derive(Debug)]
pub(super) struct Logged {
    pub(super) key: BlobKey,
    pub(super) modified: SystemTime,
    pub(super) content: Content,
    pub(super) sidecar: Option<Bytes>,
}

/// The epoch of the segment, the length of the head and that of the rest, the checksum of both.
const PREFIX: usize = 8 + 4 + 4 + 4;

impl Record {
    pub(super) fn of(change: &Change<'_>) -> Result<Self> {
        let (content, staged) = match &change.content {
            Content::Whole(content) => (content.clone(), None),
            Content::Staged(name) => (Bytes::new(), Some(name.clone())),
        };
        let head = Head {
            key: change.key.to_string(),
            modified: change.modified,
            sidecar: change.sidecar.as_ref().map(Bytes::len),
            staged,
        };
        let mut record = Self {
            prefix: [0; PREFIX],
            head: serde_json::to_vec(&head).map_err(unwritable)?,
            sidecar: change.sidecar.clone().unwrap_or_default(),
            content,
        };
        let mut checksum = crc32fast::Hasher::new();
        for part in [&*record.head, &record.sidecar, &record.content] {
            checksum.update(part);
        }
        let len = |len: usize| u32::try_from(len).map_err(unwritable);
        let numbers = [
            len(record.head.len())?,
            len(record.sidecar.len() + record.content.len())?,
            checksum.finalize(),
        ];
        for (place, number) in record.prefix.as_chunks_mut().0.iter_mut().skip(2).zip(numbers) {
            *place = number.to_le_bytes();
        }
        Ok(record)
    }

    /// Says which segment this is for.
    pub(super) fn stamp(&mut self, epoch: u64) {
        if let Some(place) = self.prefix.first_chunk_mut() {
            *place = epoch.to_le_bytes();
        }
    }

    pub(super) fn slices(&self) -> [&[u8]; 4] {
        [&self.prefix, &self.head, &self.sidecar, &self.content]
    }

    pub(super) fn len(&self) -> u64 {
        self.slices().iter().map(|part| part.len() as u64).sum()
    }
}

fn unwritable(error: impl Into<BoxError>) -> Error {
    Error::new(ErrorKind::Internal, "an upload cannot be written to the journal").with_source(error)
}

/// Reads the next change from a segment that has `left` bytes from here on, and its epoch.
///
/// `None` where there is none: behind the last one, or in place of one that was not written out when the machine went
/// down, and so was not acknowledged.
pub(super) fn read(segment: &mut impl Read, left: &mut u64) -> Result<Option<(u64, Logged)>> {
    let mut prefix = [0; PREFIX];
    let Some(rest) = left.checked_sub(PREFIX as u64) else {
        return Ok(None);
    };
    let unreadable = |error| failed("read its journal", error);
    segment.read_exact(&mut prefix).map_err(unreadable)?;
    let (epoch, numbers) = prefix.split_at(8);
    let epoch = epoch.first_chunk().copied().map_or(0, u64::from_le_bytes);
    let mut numbers = numbers.as_chunks().0.iter().copied().map(u32::from_le_bytes);
    let mut number = || numbers.next().unwrap_or_default();
    let (head_len, rest_len, checksum) = (number(), number(), number());
    let len = u64::from(head_len) + u64::from(rest_len);
    let (Some(rest), Ok(len)) = (rest.checked_sub(len), usize::try_from(len)) else {
        return Ok(None);
    };
    *left = rest;
    let mut body = vec![0; len];
    segment.read_exact(&mut body).map_err(unreadable)?;
    // Nothing but zeros has the checksum of nothing.
    if head_len == 0 || checksum != crc32fast::hash(&body) {
        return Ok(None);
    }
    let mut body = Bytes::from(body);
    let head = body.split_to(usize::try_from(head_len).unwrap_or(len).min(len));
    let logged = logged(&head, body);
    // It is as it was written, so this is not what a crash leaves.
    let other = "the storage's journal was written by another version of this program; open the store with that one";
    logged
        .map(|logged| Some((epoch, logged)))
        .ok_or_else(|| Error::new(ErrorKind::Conflict, other))
}

fn logged(head: &[u8], mut rest: Bytes) -> Option<Logged> {
    let head: Head = serde_json::from_slice(head).ok()?;
    let sidecar = match head.sidecar {
        Some(len) if len > rest.len() => return None,
        sidecar => sidecar.map(|len| rest.split_to(len)),
    };
    Some(Logged {
        key: BlobKey::from_path(&head.key).ok()?,
        modified: head.modified,
        content: head.staged.map_or(Content::Whole(rest), Content::Staged),
        sidecar,
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn written(record: &Record) -> Vec<u8> {
        record.slices().concat()
    }

    fn read_all(mut segment: &[u8]) -> Vec<(u64, Logged)> {
        let mut left = segment.len() as u64;
        std::iter::from_fn(|| read(&mut segment, &mut left).unwrap()).collect()
    }

    fn segment() -> (Vec<u8>, usize) {
        let key = BlobKey::from_segments(["ACC", "a/b %.mp3"]).unwrap();
        let modified = UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_000);
        let changes = [
            (
                Content::Whole(Bytes::from_static(b"ID3")),
                Some(Bytes::from_static(b"{}\n")),
            ),
            (Content::Whole(Bytes::new()), None),
            (Content::Staged("17".to_owned()), Some(Bytes::new())),
        ];
        let mut segment = Vec::new();
        let mut last = 0;
        for (content, sidecar) in changes {
            let change = Change {
                key: &key,
                modified,
                content: content.clone(),
                sidecar: sidecar.clone(),
            };
            let mut record = Record::of(&change).unwrap();
            record.stamp(7);
            assert_eq!(written(&record).len() as u64, record.len());
            last = segment.len();
            segment.extend(written(&record));
            let (epoch, logged) = read_all(&segment).pop().unwrap();
            assert_eq!((epoch, logged.key, logged.modified), (7, key.clone(), modified));
            assert_eq!((logged.content, logged.sidecar), (content, sidecar));
        }
        (segment, last)
    }

    #[test]
    fn what_is_written_is_read_back() {
        let (segment, _) = segment();
        assert_eq!(read_all(&segment).len(), 3);
        assert_eq!(read_all(&[&*segment, &[0; 100]].concat()).len(), 3);
    }

    #[test]
    fn a_record_that_was_not_wholly_written_is_none() {
        let (segment, last) = segment();
        for end in last..segment.len() {
            assert_eq!(read_all(&segment[..end]).len(), 2, "{end}");
            // The file was extended before its bytes came.
            let mut zeros = segment.clone();
            zeros[end..].fill(0);
            assert_eq!(read_all(&zeros).len(), 2, "{end}");
        }
        for at in last + 8..segment.len() {
            let mut flipped = segment.clone();
            flipped[at] ^= 1;
            assert_eq!(read_all(&flipped).len(), 2, "{at}");
        }
    }
}
