//! [`Heads`]: checks the parts of a request head that hyper does not expose.
//!
//! hyper drops a `#` and everything after it from the request target, so `call#1.mp3` and `call#2.mp3` would be stored
//! as one file. [`Heads`] parses the same bytes, and finds such a request.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::{Request, Response, Version, header};
use kazoo_storage::{Body, Error, ErrorKind};

use super::closing;

/// The minimum line limit: hyper accepts no longer line in a chunked body, and limits a line in a head by the length of
/// the head.
const MAX_LINE: usize = 64 << 10;

/// A fault in a request head, as a request extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault(&'static str);

impl Fault {
    const FRAGMENT: Self = Self(
        "the request target has a `#`, and what follows it would be lost, with the difference between two files; write it as `%23`",
    );
    const HOST: Self = Self("the request has no host header, which HTTP/1.1 requires");
    const UNKNOWN: Self =
        Self("the request target cannot be told from what was sent before it; send it on a connection of its own");

    /// Returns the response to `request` if its head has a fault: 400, and the connection closes.
    pub(crate) fn answer<B>(request: &Request<B>) -> Option<Response<Body>> {
        let Self(message) = request.extensions().get()?;
        Some(closing(Error::new(ErrorKind::InvalidRequest, *message).to_response()))
    }
}

/// The heads that were read on a connection and not answered yet. Clones share the connection.
#[derive(Clone)]
pub(crate) struct Heads(Arc<Mutex<Scanner>>);

impl Heads {
    /// Creates the state of a connection whose heads are at most `max_head` bytes long.
    pub(crate) fn new(max_head: usize) -> Self {
        Self(Arc::new(Mutex::new(Scanner {
            max_line: max_head.max(MAX_LINE),
            ..Scanner::default()
        })))
    }

    /// Parses `bytes`, the next ones that were read from the connection.
    pub(crate) fn scan(&self, bytes: &[u8]) {
        self.lock().scan(bytes);
    }

    /// Returns the fault in the head of `request`, the next one that hyper took from the connection.
    pub(crate) fn check<B>(&self, request: &Request<B>) -> Option<Fault> {
        match self.lock().heads.pop_front() {
            Some(true) => Some(Fault::FRAGMENT),
            None => Some(Fault::UNKNOWN),
            Some(false) => {
                let needs_host = request.version() == Version::HTTP_11;
                (needs_host && !request.headers().contains_key(header::HOST)).then_some(Fault::HOST)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Scanner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Parses the bytes of a connection as far as needed to find the request lines.
///
/// The scanner is more lenient than hyper, which rejects everything that the two could interpret differently and closes
/// the connection.
#[derive(Default)]
struct Scanner {
    state: State,
    /// The start of an incomplete line.
    line: Vec<u8>,
    max_line: usize,
    /// For each request whose head is complete: `true` if its target has a fragment.
    heads: VecDeque<bool>,
}

#[derive(Clone, Copy, Default)]
enum State {
    #[default]
    RequestLine,
    Fields(Head),
    /// The number of bytes until the next request line.
    Body(u64),
    ChunkSize,
    /// The number of bytes until the next chunk size.
    Chunk(u64),
    Trailers,
    /// The bytes are not HTTP.
    Lost,
}

#[derive(Clone, Copy)]
struct Head {
    fragment: bool,
    chunked: bool,
    len: u64,
}

impl Scanner {
    fn scan(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Body(left) => self.skip(bytes, left, State::Body, State::RequestLine),
                State::Chunk(left) => self.skip(bytes, left, State::Chunk, State::ChunkSize),
                State::Lost => return,
                _ => self.scan_line(bytes),
            };
        }
    }

    /// Skips those `bytes` that belong to the remaining `left` bytes of a body.
    fn skip<'a>(&mut self, bytes: &'a [u8], left: u64, more: fn(u64) -> State, then: State) -> &'a [u8] {
        let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let left = left - here as u64;
        self.state = if left == 0 { then } else { more(left) };
        bytes.get(here..).unwrap_or_default()
    }

    /// Reads to the end of the line and returns the bytes after it.
    fn scan_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            self.line.extend_from_slice(bytes);
            if self.line.len() > self.max_line {
                self.lose();
            }
            return &[];
        };
        let (here, rest) = bytes.split_at_checked(end + 1).unwrap_or_default();
        let mut held = std::mem::take(&mut self.line);
        let line = if held.is_empty() {
            here
        } else {
            held.extend_from_slice(here);
            &held
        };
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        self.end_line(line.strip_suffix(b"\r").unwrap_or(line));
        rest
    }

    fn end_line(&mut self, line: &[u8]) {
        self.state = match self.state {
            // Empty lines before a request are ignored.
            State::RequestLine | State::Trailers if line.is_empty() => State::RequestLine,
            State::RequestLine => State::Fields(Head {
                // A method may contain a `#`.
                fragment: line.iter().skip_while(|byte| **byte != b' ').any(|byte| *byte == b'#'),
                chunked: false,
                len: 0,
            }),
            State::Fields(head) if line.is_empty() => {
                self.heads.push_back(head.fragment);
                match head {
                    Head { chunked: true, .. } => State::ChunkSize,
                    Head { len: 0, .. } => State::RequestLine,
                    Head { len, .. } => State::Body(len),
                }
            }
            State::Fields(head) => State::Fields(head.with(line)),
            State::ChunkSize => match chunk_size(line) {
                Some(0) => State::Trailers,
                // The line break after the data of a chunk has two bytes.
                Some(size) => State::Chunk(size.saturating_add(2)),
                None => State::Lost,
            },
            state => state,
        };
    }

    fn lose(&mut self) {
        self.state = State::Lost;
        self.line = Vec::new();
    }
}

impl Head {
    /// Returns this head with one more line.
    fn with(mut self, line: &[u8]) -> Self {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at_checked(colon).unwrap_or_default();
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            // hyper accepts no other encoding.
            self.chunked = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let digits = value.get(1..).unwrap_or_default().trim_ascii();
            let len = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
            self.len = len.unwrap_or_default();
        }
        self
    }
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?.trim_ascii();
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns, for each request in `bytes` read in pieces of `size`, `true` if its target has a fragment.
    fn fragments(bytes: &[u8], size: usize) -> Vec<bool> {
        let heads = Heads::new(0);
        let mut scanner = heads.lock();
        for piece in bytes.chunks(size) {
            scanner.scan(piece);
        }
        scanner.heads.iter().copied().collect()
    }

    #[test]
    fn finds_the_targets_of_requests_behind_each_other() {
        const BODY: &str = "PUT /#/ HTTP/1.1\r\n\r\n";
        let len = BODY.len();
        for (requests, expected) in [
            ("GET /a HTTP/1.1\r\nhost: h\r\n\r\n".to_owned(), &[false][..]),
            ("GET /a#b HTTP/1.1\r\nhost: h\r\n\r\n".to_owned(), &[true]),
            ("G#T /a HTTP/1.1\n\nGET #a HTTP/1.1\n\n".to_owned(), &[false, true]),
            (
                "\r\n\r\nGET /a HTTP/1.1\r\nx: #\r\n\r\nGET /?a#b HTTP/1.1\r\n\r\n".to_owned(),
                &[false, true],
            ),
            (
                format!("PUT /a HTTP/1.1\r\nContent-Length: {len}\r\n\r\n{BODY}GET /# HTTP/1.1\r\n\r\n"),
                &[false, true],
            ),
            (
                format!(
                    "PUT /a HTTP/1.1\r\nTransfer-Encoding:chunked\r\n\r\n{len:x};#\r\n{BODY}\r\n0\r\nx: #\r\n\r\n{BODY}"
                ),
                &[false, true],
            ),
            (
                "PUT /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nx\r\nGET /# HTTP/1.1\r\n\r\n".to_owned(),
                &[false],
            ),
            ("GET /# HTTP/1.1\r\nhost: h\r\n".to_owned(), &[]),
        ] {
            for size in [1, 2, 7, usize::MAX] {
                assert_eq!(fragments(requests.as_bytes(), size), expected, "{requests} by {size}");
            }
        }
    }

    #[test]
    fn holds_no_line_that_hyper_refuses() {
        let heads = Heads::new(0);
        let mut scanner = heads.lock();
        let piece = vec![b'x'; 64 << 10];
        for _ in 0..100 {
            scanner.scan(&piece);
        }
        assert_eq!(scanner.line.capacity(), 0);
    }

    #[test]
    fn refuses_a_request_that_was_not_followed() {
        let request = Request::get("/").header("host", "h").body(()).unwrap();
        let heads = Heads::new(0);
        assert_eq!(heads.check(&request), Some(Fault::UNKNOWN));
        heads.scan(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n");
        assert_eq!(heads.check(&request), None);
    }

    #[test]
    fn requires_a_host_by_http_1_1() {
        for (version, fault) in [(Version::HTTP_11, Some(Fault::HOST)), (Version::HTTP_10, None)] {
            let heads = Heads::new(0);
            heads.scan(b"GET / HTTP/1.1\r\n\r\n");
            let request = Request::get("/").version(version).body(()).unwrap();
            assert_eq!(heads.check(&request), fault, "{version:?}");
        }
    }
}
