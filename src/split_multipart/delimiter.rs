//! [`Delimiter`]: recognizes the lines that separate parts.

use memchr::{memmem::Finder, memrchr};

/// The maximum length of the white space between a boundary and the end of its line, in bytes.
pub(super) const MAX_PADDING: usize = 64;

/// The line that separates parts: a line break, two dashes and the boundary.
pub(super) struct Delimiter(Finder<'static>);

/// The interpretation of bytes that begin with the needle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Delimiter { len: usize },
    Close { len: usize },
    Content,
    Unclear,
}

impl Delimiter {
    pub(super) fn new(boundary: &str) -> Self {
        Self(Finder::new(format!("\r\n--{boundary}").as_bytes()).into_owned())
    }

    /// Returns the delimiter without the leading line break.
    pub(super) fn dashes_and_boundary(&self) -> &[u8] {
        self.needle().get(2..).unwrap_or_default()
    }

    /// Returns the position of the next needle in `bytes`.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<usize> {
        self.0.find(bytes)
    }

    pub(super) fn needle(&self) -> &[u8] {
        self.0.needle()
    }

    /// Returns the maximum number of bytes that [`line`](Self::line) needs.
    pub(super) fn longest(&self) -> usize {
        self.needle().len() + b"--".len() + MAX_PADDING + b"\r\n".len()
    }

    /// Interprets the line at the start of `bytes`, which begin with the needle or with a part of it.
    ///
    /// RFC 2046, 5.1.1: only white space may appear between the boundary and the end of the line. A line with anything
    /// else there is content whose text merely begins like the delimiter.
    pub(super) fn line(&self, bytes: &[u8], ended: bool) -> Line {
        let unclear = if ended { Line::Content } else { Line::Unclear };
        let Some(tail) = bytes.strip_prefix(self.needle()) else {
            return if self.needle().starts_with(bytes) {
                unclear
            } else {
                Line::Content
            };
        };
        let (closes, padded) = match tail {
            [b'-', b'-', padded @ ..] => (true, padded),
            [] | [b'-'] => return unclear,
            _ => (false, tail),
        };
        let padding = padded.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        if padding > MAX_PADDING {
            return Line::Content;
        }
        let len = bytes.len() - padded.len() + padding;
        match (padded.get(padding..).unwrap_or_default(), closes) {
            ([b'\r', b'\n', ..], false) => Line::Delimiter { len },
            ([b'\r', b'\n', ..], true) => Line::Close { len },
            ([], true) if ended => Line::Close { len },
            ([] | [b'\r'], _) => unclear,
            _ => Line::Content,
        }
    }

    /// Returns the number of bytes at the end of `chunk`, which contains no whole needle, that may be the start of one.
    pub(super) fn partial_len(&self, chunk: &[u8]) -> usize {
        let recent = chunk.len().saturating_sub(self.needle().len());
        let tail = chunk.get(recent..).unwrap_or_default();
        // A boundary contains no line break, so a needle can begin only with the last one.
        let partial = memrchr(b'\r', tail).and_then(|at| tail.get(at..)).unwrap_or_default();
        if self.needle().starts_with(partial) {
            partial.len()
        } else {
            0
        }
    }
}
