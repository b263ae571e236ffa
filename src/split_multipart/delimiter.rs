//! Where the content of a part ends, and where it begins.

use std::mem;

use bytes::Bytes;
use memchr::{memmem::Finder, memrchr};

/// What stands behind the content of every part: the line break that belongs to it, and the boundary.
pub(super) struct Delimiter(Finder<'static>);

/// What a body goes on with, inside a part.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// More of the part's content, not empty.
    Bytes(Bytes),
    /// The delimiter.
    Delimiter,
    /// One of the two, or nothing: that is not to be told from so few bytes.
    Unclear,
}

/// What was read from a body and not taken yet.
#[derive(Default)]
pub(super) struct Unread {
    /// The end of a chunk that may be the beginning of a delimiter, and of nothing else.
    held: Bytes,
    /// The chunk behind it.
    chunk: Bytes,
}

impl Delimiter {
    pub(super) fn new(boundary: &str) -> Self {
        Self(Finder::new(format!("\r\n--{boundary}").as_bytes()).into_owned())
    }

    /// How many bytes at the end of `chunk`, which has no whole delimiter, may be the beginning of one.
    fn begun(&self, chunk: &[u8]) -> usize {
        let delimiter = self.0.needle();
        let recent = chunk.len().saturating_sub(delimiter.len());
        let tail = chunk.get(recent..).unwrap_or_default();
        // A boundary has no line break in it, so the last one is the only one that a delimiter can begin with.
        let begun = memrchr(b'\r', tail).and_then(|at| tail.get(at..)).unwrap_or_default();
        if delimiter.starts_with(begun) { begun.len() } else { 0 }
    }
}

impl Unread {
    /// Adds the next chunk; the one before it must have been taken.
    pub(super) fn push(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty());
        self.chunk = chunk;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.chunk.is_empty()
    }

    /// Takes the content in front of the `delimiter`.
    pub(super) fn content(&mut self, delimiter: &Delimiter) -> Content {
        if !self.held.is_empty() {
            let needle = delimiter.0.needle();
            let missing = self.chunk.get(..needle.len() - self.held.len()).unwrap_or(&self.chunk);
            let joined = [&*self.held, missing].concat();
            if joined == needle {
                return Content::Delimiter;
            }
            if !needle.starts_with(&joined) {
                return Content::Bytes(mem::take(&mut self.held));
            }
            self.held = joined.into();
            self.chunk.clear();
            return Content::Unclear;
        }
        let end = delimiter.0.find(&self.chunk);
        let len = end.unwrap_or_else(|| self.chunk.len() - delimiter.begun(&self.chunk));
        if end == Some(0) {
            return Content::Delimiter;
        }
        let content = self.chunk.split_to(len);
        if end.is_none() {
            // Copied, so that a few bytes do not keep a chunk in memory.
            self.held = Bytes::copy_from_slice(&mem::take(&mut self.chunk));
        }
        if content.is_empty() {
            Content::Unclear
        } else {
            Content::Bytes(content)
        }
    }

    /// Takes at most `room` bytes, and none behind the end of a part's headers.
    pub(super) fn headers(&mut self, end: &mut HeadersEnd, room: usize) -> Bytes {
        let next = if self.held.is_empty() {
            &mut self.chunk
        } else {
            &mut self.held
        };
        let upto = end.find(next.get(..room).unwrap_or(next));
        next.split_to(upto)
    }
}

/// Finds the empty line that ends the headers of a part, in a body that comes in any pieces.
#[derive(Default)]
pub(super) struct HeadersEnd {
    /// How many bytes of `CR LF CR LF` the body has just ended with.
    seen: u8,
}

impl HeadersEnd {
    /// How many bytes of `next` there are up to and with the end of an empty line, or all of them.
    fn find(&mut self, next: &[u8]) -> usize {
        for (at, byte) in next.iter().enumerate() {
            self.seen = match (byte, self.seen) {
                (b'\r', 2) => 3,
                (b'\r', _) => 1,
                (b'\n', 1) => 2,
                (b'\n', 3) => {
                    // Its second half is the first half of another, if that follows.
                    self.seen = 2;
                    return at + 1;
                }
                _ => 0,
            };
        }
        next.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Everything that `chunks` have before the delimiter, and whether there is one.
    fn content(chunks: &[Vec<u8>]) -> (Vec<u8>, bool) {
        let delimiter = Delimiter::new("B-");
        let (mut content, mut unread) = (Vec::new(), Unread::default());
        for chunk in chunks {
            unread.push(Bytes::copy_from_slice(chunk));
            loop {
                match unread.content(&delimiter) {
                    Content::Bytes(bytes) => {
                        assert!(!bytes.is_empty());
                        content.extend_from_slice(&bytes);
                    }
                    Content::Delimiter => {
                        let rest = [&*unread.held, &*unread.chunk].concat();
                        assert!(rest.starts_with(b"\r\n--B-"));
                        return (content, true);
                    }
                    Content::Unclear => break,
                }
            }
            assert!(b"\r\n--B".starts_with(&unread.held) && unread.chunk.is_empty());
        }
        content.extend_from_slice(&unread.held);
        (content, false)
    }

    /// Bytes that look like delimiters, in pieces.
    fn chunks() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let byte = prop::sample::select(b"\r\n-Bx".to_vec());
        prop::collection::vec(prop::collection::vec(byte, 0..9), 0..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn the_content_ends_at_the_first_delimiter_however_it_is_cut(mut chunks in chunks(), at in 0usize..12, cut in 0usize..7) {
            let (one, two) = b"\r\n--B-".split_at(cut.min(6));
            let at = at.min(chunks.len());
            chunks.insert(at, one.to_vec());
            chunks.insert(at + 1, two.to_vec());
            let whole = chunks.concat();
            let end = memchr::memmem::find(&whole, b"\r\n--B-").unwrap();
            prop_assert_eq!(content(&chunks), (whole[..end].to_vec(), true));
        }

        #[test]
        fn without_a_delimiter_all_is_content(chunks in chunks()) {
            let whole = chunks.concat();
            prop_assume!(memchr::memmem::find(&whole, b"\r\n--B-").is_none());
            prop_assert_eq!(content(&chunks), (whole, false));
        }

        #[test]
        fn an_empty_line_ends_where_it_ends_however_it_is_cut(chunks in chunks()) {
            let whole = chunks.concat();
            let expected: Vec<usize> = (0..=whole.len()).filter(|at| whole[..*at].ends_with(b"\r\n\r\n")).collect();
            let (mut end, mut found, mut position) = (HeadersEnd::default(), Vec::new(), 0);
            for chunk in &chunks {
                let mut rest = &chunk[..];
                while !rest.is_empty() {
                    let upto = end.find(rest);
                    position += upto;
                    rest = &rest[upto..];
                    if whole[..position].ends_with(b"\r\n\r\n") {
                        found.push(position);
                    } else {
                        prop_assert!(rest.is_empty());
                    }
                }
            }
            prop_assert_eq!(found, expected);
        }
    }
}
