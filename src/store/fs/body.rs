//! [`FileBody`]: streams a file.

use std::{
    fs::File,
    future::Future,
    io,
    ops::Range,
    os::unix::fs::FileExt as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use tokio::task::JoinHandle;

use super::{error::failed, joined, lookup::damaged, nonblocking};
use crate::{
    digest::{Digest, Digester},
    error::{Error, ErrorKind, Result},
};

/// The maximum length of a chunk, in bytes.
const CHUNK: usize = 128 * 1024;

/// The bytes of a file that are still to be read.
#[derive(Clone, Debug)]
pub(super) struct FileRange {
    file: Arc<File>,
    range: Range<u64>,
}

impl FileRange {
    pub(super) fn new(file: Arc<File>, range: Range<u64>) -> Self {
        Self { file, range }
    }

    pub(super) fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Reads the next chunk, if it is in memory.
    pub(super) fn read_nonblocking(&mut self) -> Option<Bytes> {
        let end = self.range.end.min(self.range.start + CHUNK as u64);
        let bytes = nonblocking::read(&self.file, self.range.start..end)?;
        self.range.start = end;
        Some(bytes)
    }

    /// Reads the next chunk. Blocks.
    pub(super) fn read(&mut self) -> Result<Bytes> {
        let len = usize::try_from(self.len()).unwrap_or(CHUNK).min(CHUNK);
        let mut chunk = BytesMut::zeroed(len);
        self.file
            .read_exact_at(&mut chunk, self.range.start)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => Error::new(
                    ErrorKind::Unavailable,
                    "the file was truncated during the fetch; another program wrote to it",
                )
                .with_source(error),
                _ => failed("read a file", error),
            })?;
        self.range.start += len as u64;
        Ok(chunk.freeze())
    }
}

/// Streams a file in chunks. Reads a chunk on the current thread if it is in memory, and on a blocking thread
/// otherwise.
#[derive(Debug)]
pub(super) struct FileBody {
    rest: FileRange,
    reading: Option<JoinHandle<Result<(FileRange, Bytes)>>>,
    /// The digest of the chunks so far, and the digest of the upload.
    verifying: Option<(Digester, Digest)>,
}

impl FileBody {
    /// Streams `rest`. If a digest is `expected`, a body with another digest ends with an error instead of its last
    /// chunk.
    pub(super) fn new(rest: FileRange, expected: Option<Digest>) -> Self {
        Self {
            rest,
            reading: None,
            verifying: expected.map(|digest| (Digester::new(), digest)),
        }
    }

    /// Returns `chunk` as a frame, or an error if it is the last one and the digest differs.
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
            && let Some(bytes) = rest.read_nonblocking()
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
        Poll::Ready(Some(match joined(read) {
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

    #[test]
    fn reads_exactly_the_range_in_chunks() {
        let file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..=u8::MAX).cycle().take(2 * CHUNK + 7).collect();
        file.write_all_at(&content, 0).unwrap();
        let (file, len) = (Arc::new(file), content.len() as u64);
        let mut rest = FileRange::new(file, 3..len);
        let mut read = Vec::new();
        while rest.len() > 0 {
            read.extend_from_slice(&rest.read().unwrap());
        }
        assert_eq!(read, content[3..]);
        rest.range = len - 1..len + 1;
        let error = rest.read().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains("truncated"), "{error}");
    }
}
