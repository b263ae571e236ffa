//! How a file and the facts about it are found, and the body that streams it.

use std::{
    fs::File,
    future::Future,
    io,
    ops::Range,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use http_body::{Frame, SizeHint};
use tokio::task::JoinHandle;

use super::{
    Inner,
    cached::{self, Stamp},
    error::failed,
    hot::Stamps,
    name::KeyPath,
    sidecar::{self, Facts},
    tree::{self, Found},
    version::Version,
};
use crate::{
    body::Body,
    digest::{Digest, Digester},
    error::{Error, ErrorKind, Result},
    kazoo_id,
    key::BlobKey,
    store::{Blob, BlobInfo, ByteRange, Fetched},
};

/// What is at most this long is read whole before the answer starts, so that a read that fails is an error and not a
/// body that breaks off.
const WHOLE: u64 = 64 * 1024;

/// How much of a longer file is read at once.
const CHUNK: usize = 128 * 1024;

/// How often a reader looks again before it waits for the upload that keeps it from seeing a whole pair.
const LOOKS: usize = 2;

/// A stored file, opened, and the facts that belong to exactly this content.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) file: File,
    pub(super) version: Version,
    pub(super) facts: Facts,
}

/// Finds what is stored under `key`. Blocks.
pub(super) fn find(store: &Inner, key: &BlobKey) -> Result<Content> {
    let path = KeyPath::of(key);
    for _ in 0..LOOKS {
        let (content, settled) = look(store, &path)?;
        if settled {
            return Ok(content);
        }
    }
    // An upload is moving the pair, or the sidecar is about content that somebody put here by other means. No upload
    // moves anything while the turn is this reader's.
    let _turn = store.locks.lock(key);
    let (content, settled) = look(store, &path)?;
    if store.verify && !settled && !is_deleted(&content.file)? {
        return Err(damaged());
    }
    Ok(content)
}

/// What is known about the file under `key`, without waiting; `None` if that takes a look that may wait.
pub(super) fn info_cached(store: &Inner, key: &BlobKey) -> Option<Result<BlobInfo>> {
    Some(find_cached(store, key)?.map(|(content, _)| content.info(key)))
}

fn find_cached(store: &Inner, key: &BlobKey) -> Option<Result<(Content, Stamps)>> {
    let path = KeyPath::of(key);
    let (file, stat) = match cached::open(store.tree.root(), &path, &path.file)? {
        cached::Found::File(file, stat) => (file, stat),
        cached::Found::Absent => return Some(Err(not_found())),
    };
    let version = Version::of(&stat).ok()?;
    let media = Stamp::of(&stat);
    let (facts, sidecar) = match cached::open(store.tree.root(), &path, &path.sidecar())? {
        cached::Found::Absent if is_deleted(&file).ok()? => return None,
        cached::Found::Absent => (Facts::default(), None),
        cached::Found::File(_, stat) if stat.len() > sidecar::MAX_LEN => return None,
        cached::Found::File(sidecar, stat) => {
            let text = cached::read(&sidecar, 0..stat.len())?;
            // Where it is not as it should be, what that means is found out below.
            if store.verify && sidecar::digests(&text).is_none() {
                return None;
            }
            (sidecar::read(&text, version)?, Some(Stamp::of(&stat)))
        }
    };
    Some(Ok((Content { file, version, facts }, Stamps { media, sidecar })))
}

/// The answer to a fetch, without waiting; `None` if that takes a read that may wait.
pub(super) fn fetch_cached(store: &Inner, key: &BlobKey, range: Option<ByteRange>) -> Option<Result<Fetched>> {
    if let Some(hot) = store.hot.find(store.tree.root(), key) {
        return Some(hot.fetch(range));
    }
    let wanted = find_cached(store, key)?.and_then(|(content, stamps)| Ok((content.wanted(key, range)?, stamps)));
    match wanted {
        Ok((mut wanted, stamps)) if wanted.rest.is_small() => {
            let bytes = wanted.rest.read_cached()?;
            if let Err(error) = wanted.verify(store.verify, &bytes) {
                return Some(Err(error));
            }
            if wanted.is_whole() {
                store.hot.keep(key, stamps, &wanted.info, &bytes);
            }
            Some(Ok(wanted.with(Body::from(bytes))))
        }
        Ok((wanted, _)) => Some(Ok(wanted.streamed(store.verify))),
        Err(error) => Some(Err(error)),
    }
}

/// The answer to a fetch. Blocks.
pub(super) fn fetch(store: &Inner, key: &BlobKey, range: Option<ByteRange>) -> Result<Fetched> {
    let mut wanted = find(store, key)?.wanted(key, range)?;
    if wanted.rest.is_small() {
        let bytes = wanted.rest.read()?;
        wanted.verify(store.verify, &bytes)?;
        Ok(wanted.with(Body::from(bytes)))
    } else {
        Ok(wanted.streamed(store.verify))
    }
}

fn not_found() -> Error {
    Error::new(ErrorKind::NotFound, "no file is stored under this name")
}

/// Opens the content, then its sidecar; not settled if the sidecar is about other contents.
fn look(store: &Inner, path: &KeyPath<'_>) -> Result<(Content, bool)> {
    let dir = store.tree.find(path)?.ok_or_else(not_found)?;
    let (file, stat) = match tree::open(&dir, &path.file)? {
        Found::File(file, stat) => (file, stat),
        Found::Absent | Found::Directory(_) => return Err(not_found()),
        found => return Err(found.blocks(path.len())),
    };
    let version = Version::of(&stat).map_err(|error| failed("open a file", error))?;
    let (facts, settled) = match sidecar(tree::open(&dir, &path.sidecar())?)? {
        // No upload put this here, unless it was just deleted.
        None => (Facts::default(), !is_deleted(&file)?),
        Some(text) => {
            let facts = sidecar::read(&text, version);
            let settled = facts.is_some() && !(store.verify && sidecar::digests(&text).is_none());
            (facts.unwrap_or_default(), settled)
        }
    };
    Ok((Content { file, version, facts }, settled))
}

/// Whether the media has no name any more. A deletion removes the media first, so that this is known to whoever finds no
/// sidecar; an upload that replaces it leaves one.
pub(super) fn is_deleted(media: &File) -> Result<bool> {
    let stat = media.metadata().map_err(|error| failed("open a file", error))?;
    Ok(stat.nlink() == 0)
}

/// Returns the text of the sidecar that was `found`, if there is one.
pub(super) fn sidecar(found: Found) -> Result<Option<Vec<u8>>> {
    match found {
        Found::Absent => Ok(None),
        Found::File(file, stat) if stat.len() <= sidecar::MAX_LEN => {
            // It is never written in place, so this is all of it.
            let mut text = vec![0; usize::try_from(stat.len()).unwrap_or_default()];
            file.read_exact_at(&mut text, 0)
                .map_err(|error| failed("read a sidecar", error))?;
            Ok(Some(text))
        }
        // Not the store's own, and about no content.
        Found::File(..) | Found::Directory(_) | Found::Symlink | Found::Other => Ok(Some(Vec::new())),
    }
}

/// Describes the content with this `version` and these `facts`.
pub(super) fn info(key: &BlobKey, version: Version, facts: &Facts) -> BlobInfo {
    let implied = || HeaderValue::from_static(kazoo_id::media_type(key.attachment()));
    let mut info = BlobInfo::new(version.len);
    info.content_type = Some(facts.content_type.clone().unwrap_or_else(implied));
    // The digest, or another value that is unique to the content.
    let tag = facts
        .digest
        .map_or_else(|| version.to_string(), |digest| digest.to_string());
    info.etag = HeaderValue::try_from(format!("\"{tag}\"")).ok();
    info.modified = Some(version.modified);
    info.digest = facts.digest;
    info
}

impl Content {
    pub(super) fn info(&self, key: &BlobKey) -> BlobInfo {
        info(key, self.version, &self.facts)
    }

    fn wanted(self, key: &BlobKey, range: Option<ByteRange>) -> Result<Wanted> {
        let info = self.info(key);
        let range = range.map_or(Ok(0..info.len), |range| range.of(info.len))?;
        let file = Arc::new(self.file);
        Ok(Wanted {
            info,
            range: range.clone(),
            rest: Rest { file, range },
        })
    }
}

/// What a fetch asks for, before it is read.
struct Wanted {
    info: BlobInfo,
    range: Range<u64>,
    rest: Rest,
}

impl Wanted {
    fn is_whole(&self) -> bool {
        self.range == (0..self.info.len)
    }

    /// The digest that the bytes must have, if there is one and they are to be verified. A part has none of its own.
    fn expected(&self, verify: bool) -> Option<Digest> {
        self.info.digest.filter(|_| verify && self.is_whole())
    }

    fn verify(&self, verify: bool, bytes: &[u8]) -> Result<()> {
        match self.expected(verify) {
            Some(expected) if Digest::of(bytes) != expected => Err(damaged()),
            _ => Ok(()),
        }
    }

    fn with(self, body: Body) -> Fetched {
        Fetched::Blob(Blob::partial(self.info, self.range, body))
    }

    fn streamed(self, verify: bool) -> Fetched {
        let verifying = self.expected(verify).map(|digest| (Digester::default(), digest));
        let body = FileBody {
            rest: self.rest.clone(),
            reading: None,
            verifying,
        };
        self.with(Body::new(body))
    }
}

/// The bytes of a file that are still to be read.
#[derive(Clone, Debug)]
struct Rest {
    file: Arc<File>,
    range: Range<u64>,
}

impl Rest {
    fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    fn is_small(&self) -> bool {
        self.len() <= WHOLE
    }

    /// The next bytes, as many as one chunk has, if they are in memory.
    fn read_cached(&mut self) -> Option<Bytes> {
        let end = self.range.end.min(self.range.start + CHUNK as u64);
        let bytes = cached::read(&self.file, self.range.start..end)?;
        self.range.start = end;
        Some(bytes)
    }

    /// The next bytes, as many as one chunk has. Blocks.
    fn read(&mut self) -> Result<Bytes> {
        let len = usize::try_from(self.len()).unwrap_or(CHUNK).min(CHUNK);
        let mut chunk = BytesMut::zeroed(len);
        self.file
            .read_exact_at(&mut chunk, self.range.start)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => Error::new(
                    ErrorKind::Unavailable,
                    "the file was cut short while it was being read; something other than this store wrote to it",
                )
                .with_source(error),
                _ => failed("read a file", error),
            })?;
        self.range.start += len as u64;
        Ok(chunk.freeze())
    }
}

fn damaged() -> Error {
    Error::new(
        ErrorKind::Damaged,
        "the stored file, or what is kept beside it, is not as it was uploaded; the operator has to put both back from a \
         backup, with their times",
    )
}

/// Streams a file chunk by chunk: those in memory at once, the others by a blocking read each.
#[derive(Debug)]
struct FileBody {
    rest: Rest,
    reading: Option<JoinHandle<Result<(Rest, Bytes)>>>,
    /// The digest so far, and that of the whole file as it was uploaded.
    verifying: Option<(Digester, Digest)>,
}

impl FileBody {
    /// Passes `chunk` on; the last one only if all of them are what was uploaded.
    fn verified(&mut self, chunk: Bytes) -> Result<Frame<Bytes>> {
        if let Some((digester, _)) = &mut self.verifying {
            digester.update(&chunk);
            if self.rest.len() == 0
                && let Some((digester, digest)) = self.verifying.take()
                && digester.finish() != digest
            {
                return Err(damaged());
            }
        }
        Ok(Frame::data(chunk))
    }
}

impl http_body::Body for FileBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        if self.is_end_stream() {
            return Poll::Ready(None);
        }
        let Self { rest, reading, .. } = &mut *self;
        if reading.is_none()
            && let Some(bytes) = rest.read_cached()
        {
            return Poll::Ready(Some(self.verified(bytes)));
        }
        let task = reading.get_or_insert_with(|| {
            let mut rest = rest.clone();
            tokio::task::spawn_blocking(move || {
                let chunk = rest.read()?;
                Ok((rest, chunk))
            })
        });
        let read = ready!(Pin::new(task).poll(cx));
        *reading = None;
        Poll::Ready(Some(match super::joined(read) {
            Ok((next, chunk)) => {
                *rest = next;
                self.verified(chunk)
            }
            Err(error) => {
                rest.range.start = rest.range.end;
                Err(error)
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.len() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As it is read where the system has nothing of it in memory.
    #[test]
    fn the_rest_is_read_chunk_by_chunk_to_its_end_and_no_further() {
        let file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..=u8::MAX).cycle().take(2 * CHUNK + 7).collect();
        file.write_all_at(&content, 0).unwrap();
        let (file, len) = (Arc::new(file), content.len() as u64);
        let mut rest = Rest { file, range: 3..len };
        let mut read = Vec::new();
        while rest.len() > 0 {
            read.extend_from_slice(&rest.read().unwrap());
        }
        assert_eq!(read, content[3..]);
        rest.range = len - 1..len + 1;
        let error = rest.read().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains("cut short"), "{error}");
    }
}
