//! Reads the journal that an earlier process left.

use std::{
    fs::File,
    io::{self, Read as _},
};

use bytes::Bytes;

use super::{
    record::{self, Entry},
    segment::{self, SEGMENTS},
};
use crate::{
    error::{Error, Result},
    store::fs::{
        error::broken,
        fault::{self, Point},
    },
};

/// The entries of a journal.
#[derive(Debug, Default)]
pub(in crate::store::fs) struct Journaled {
    /// The segments, oldest first.
    segments: Vec<ReadSegment>,
    /// The first error, if a segment could not be read to its end.
    pub(in crate::store::fs) unreadable: Option<Error>,
}

/// The entries of a segment, each with its offset.
#[derive(Debug)]
struct ReadSegment {
    epoch: u64,
    entries: Vec<(usize, Entry)>,
}

impl Journaled {
    pub(in crate::store::fs) fn is_empty(&self) -> bool {
        self.segments.iter().all(|segment| segment.entries.is_empty())
    }

    /// Returns the entries in the order in which they were written, each with a unique id that sorts in this order.
    pub(in crate::store::fs) fn entries(&self) -> impl Iterator<Item = (String, &Entry)> {
        self.segments.iter().flat_map(|ReadSegment { epoch, entries }| {
            let id = move |offset: &usize| format!("{epoch:020}-{offset:010}");
            entries.iter().map(move |(offset, entry)| (id(offset), entry))
        })
    }
}

/// Reads the journal in `dir`. Blocks.
pub(in crate::store::fs) fn read(dir: &File) -> Result<Journaled> {
    let mut journaled = Journaled::default();
    for name in SEGMENTS {
        if let Some(file) = segment::open(dir, name)? {
            let (segment, end) = read_segment(&file);
            journaled.segments.extend(segment);
            if let Err(error) = end {
                journaled.unreadable.get_or_insert(error);
            }
        }
    }
    journaled.segments.sort_by_key(|segment| segment.epoch);
    if let Some(newest) = journaled.segments.last_mut() {
        newest.drop_unsynced();
    }
    Ok(journaled)
}

impl ReadSegment {
    /// Drops the damaged entries of the last batch: it never became durable, so no change in it was acknowledged.
    ///
    /// The journal of an older version has no batch marks, and keeps its damaged entries.
    fn drop_unsynced(&mut self) {
        let last = self
            .entries
            .iter()
            .rposition(|(_, entry)| matches!(entry, Entry::Batch));
        if let Some(last) = last {
            let last = self.entries.split_off(last);
            let kept = last
                .into_iter()
                .filter(|(_, entry)| !matches!(entry, Entry::Damaged(_)));
            self.entries.extend(kept);
        }
    }
}

/// Returns the entries of a segment, if any, and an error if it could not be read to its end.
fn read_segment(mut file: &File) -> (Option<ReadSegment>, Result<()>) {
    let mut bytes = Vec::new();
    let end = fault::at(Point::ReadJournal).map_err(io::Error::from);
    let end = end.and_then(|()| file.read_to_end(&mut bytes).map(drop));
    let mut segment: Option<ReadSegment> = None;
    let mut offset = 0;
    while offset < bytes.len() {
        let epoch = segment.as_ref().map(|segment| segment.epoch);
        let (epoch, entry, next) = match record::read(&bytes, offset, epoch) {
            Some((epoch, entry, next)) if !matches!(entry, Entry::Damaged(_)) => (epoch, entry, next),
            damaged => {
                // The length may be damaged too, so the search for the next record goes byte by byte. If there is
                // none, the machine stopped while it wrote the last records, which were therefore not acknowledged.
                let Some(epoch) = epoch.or(damaged.map(|(epoch, ..)| epoch)) else {
                    break;
                };
                let Some(next) = record::next(&bytes, offset + 1, epoch) else {
                    break;
                };
                let lost = bytes.get(offset..next).unwrap_or_default();
                (epoch, Entry::Damaged(Bytes::copy_from_slice(lost)), next)
            }
        };
        let entries = Vec::new();
        let segment = segment.get_or_insert(ReadSegment { epoch, entries });
        segment.entries.push((offset, entry));
        offset = next;
    }
    (segment, end.map_err(|error| broken("read its journal", error)))
}
