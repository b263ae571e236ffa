//! Answers a fetch: the description of the file and a body with the requested bytes.

use std::{ops::Range, sync::Arc};

use super::{
    Inner,
    body::{FileBody, FileRange},
    lookup::{self, Content, damaged},
};
use crate::{
    body::Body,
    digest::Digest,
    error::Result,
    key::BlobKey,
    store::{Blob, BlobInfo, ByteRange, GetResult},
};

/// The maximum length of a body that is read before the response starts, in bytes. A read error is then an error
/// response instead of an interrupted body.
const WHOLE: u64 = 64 * 1024;

/// Answers a fetch. Blocks.
pub(super) fn fetch(store: &Inner, key: &BlobKey, range: Option<ByteRange>) -> Result<GetResult> {
    let mut fetch = Fetch::new(lookup::find(store, key)?, key, range)?;
    if !fetch.is_small() {
        return Ok(fetch.streamed(store.verify));
    }
    let bytes = fetch.rest.read()?;
    fetch.verify(store.verify, &bytes)?;
    Ok(fetch.with(Body::from(bytes)))
}

/// Answers a fetch without waiting; `None` if a read would have to wait.
pub(super) fn fetch_nonblocking(store: &Inner, key: &BlobKey, range: Option<ByteRange>) -> Option<Result<GetResult>> {
    if let Some(hot) = store.hot.find(store.tree.root(), key) {
        return Some(hot.fetch(range));
    }
    let found = lookup::find_nonblocking(store, key)?;
    match found.and_then(|(content, stamps)| Ok((Fetch::new(content, key, range)?, stamps))) {
        Ok((mut fetch, stamps)) if fetch.is_small() => {
            let bytes = fetch.rest.read_nonblocking()?;
            if let Err(error) = fetch.verify(store.verify, &bytes) {
                return Some(Err(error));
            }
            if fetch.is_whole() {
                store.hot.keep(key, stamps, &fetch.info, &bytes);
            }
            Some(Ok(fetch.with(Body::from(bytes))))
        }
        fetch => Some(fetch.map(|(fetch, _)| fetch.streamed(store.verify))),
    }
}

/// A file and the range of it that was requested.
struct Fetch {
    info: BlobInfo,
    range: Range<u64>,
    rest: FileRange,
}

impl Fetch {
    fn new(content: Content, key: &BlobKey, range: Option<ByteRange>) -> Result<Self> {
        let info = content.info(key);
        let range = range.map_or(Ok(0..info.len), |range| range.of(info.len))?;
        let rest = FileRange::new(Arc::new(content.file), range.clone());
        Ok(Self { info, range, rest })
    }

    fn is_whole(&self) -> bool {
        self.range == (0..self.info.len)
    }

    fn is_small(&self) -> bool {
        self.rest.len() <= WHOLE
    }

    /// Returns the digest to verify the bytes against. A part of a file has none.
    fn expected(&self, verify: bool) -> Option<Digest> {
        self.info.digest.filter(|_| verify && self.is_whole())
    }

    fn verify(&self, verify: bool, bytes: &[u8]) -> Result<()> {
        match self.expected(verify) {
            Some(expected) if Digest::of(bytes) != expected => Err(damaged()),
            _ => Ok(()),
        }
    }

    fn streamed(self, verify: bool) -> GetResult {
        let body = FileBody::new(self.rest.clone(), self.expected(verify));
        self.with(Body::new(body))
    }

    fn with(self, body: Body) -> GetResult {
        GetResult::Blob(Blob::partial(self.info, self.range, body))
    }
}
