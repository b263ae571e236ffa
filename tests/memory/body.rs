//! Generated bodies, and the requests that send them.

use std::{
    io::{self},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Request;
use http_body::{Body as HttpBody, Frame};

use super::CHUNK;

/// A generated body: `head`, then `repeated` up to `len` bytes, then `tail`.
///
/// Every chunk is a separate allocation, so a chunk that is kept counts.
#[derive(Clone, Debug)]
pub(crate) struct Generated {
    pub(crate) head: Bytes,
    pub(crate) repeated: Arc<[u8]>,
    pub(crate) len: u64,
    pub(crate) tail: Bytes,
    /// Yields between two chunks. Otherwise it is always ready.
    pub(crate) pauses: bool,
    pub(crate) paused: bool,
    /// Sends the head in chunks instead of at once.
    pub(crate) split: bool,
}

impl Generated {
    /// `len` bytes of `pattern`, in chunks.
    pub(crate) fn new(pattern: &[u8], len: u64) -> Self {
        Self::in_chunks(CHUNK, pattern, len)
    }

    pub(crate) fn in_chunks(chunk: usize, pattern: &[u8], len: u64) -> Self {
        Self {
            head: Bytes::new(),
            repeated: pattern.iter().copied().cycle().take(chunk).collect(),
            len,
            tail: Bytes::new(),
            pauses: false,
            paused: false,
            split: false,
        }
    }

    pub(crate) fn between(mut self, head: impl Into<Bytes>, tail: impl Into<Bytes>) -> Self {
        self.head = head.into();
        self.tail = tail.into();
        self
    }

    pub(crate) fn pausing(mut self) -> Self {
        self.pauses = true;
        self
    }

    pub(crate) fn total(&self) -> u64 {
        self.head.len() as u64 + self.len + self.tail.len() as u64
    }
}

impl HttpBody for Generated {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        this.paused = this.pauses && !this.paused;
        if this.paused {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let chunk = if !this.head.is_empty() {
            let len = if this.split { CHUNK } else { usize::MAX };
            Bytes::copy_from_slice(&this.head.split_to(len.min(this.head.len())))
        } else if this.len > 0 {
            let len = this.repeated.len().min(usize::try_from(this.len).unwrap_or(usize::MAX));
            this.len -= len as u64;
            Bytes::copy_from_slice(&this.repeated[..len])
        } else if !this.tail.is_empty() {
            std::mem::take(&mut this.tail)
        } else {
            return Poll::Ready(None);
        };
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }
}

pub(crate) const BOUNDARY: &str = "-Bq_-Zk29rt-";

/// A PUT of a multipart body with `len` bytes of `pattern` as media.
pub(crate) fn multipart(target: &str, pattern: &[u8], len: u64) -> Request<Generated> {
    let head = format!(
        "\r\n--{BOUNDARY}\r\ncontent-type: application/json\r\n\r\n{{\"id\":\"DOC\"}}\r\n--{BOUNDARY}\r\n\
         content-disposition: form-data; name=m.wav\r\ncontent-type: audio/x-wav\r\n\r\n"
    );
    let body = Generated::new(pattern, len).between(head, format!("\r\n--{BOUNDARY}--"));
    multipart_of(target, body)
}

pub(crate) fn multipart_of(target: &str, body: Generated) -> Request<Generated> {
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    Request::put(target)
        .header("content-type", content_type)
        .body(body)
        .unwrap()
}

pub(crate) fn raw(target: &str, len: u64) -> Request<Generated> {
    let request = Request::put(target)
        .header("content-type", "audio/x-wav")
        .header("content-length", len);
    request.body(Generated::new(b"\r\n--RIFF\x00\xff", len)).unwrap()
}

/// The base64 of the start of an MP3 file, repeated.
pub(crate) const BASE64: &[u8] = b"SUQzBAAA";

/// The uploads for the whole stack, with the length of their media.
pub(crate) fn uploads(len: u64) -> [(&'static str, Request<Generated>, u64); 3] {
    [
        ("raw", raw("/ACC/DOC/raw.wav", len), len),
        (
            "multipart",
            multipart("/ACC/DOC/multipart.wav", b"RIFF\x00\xff\r\n", len),
            len,
        ),
        ("base64", multipart("/ACC/DOC/base64.wav", BASE64, len), len / 4 * 3),
    ]
}
