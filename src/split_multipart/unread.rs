//! [`Unread`]: splits a body that arrives in arbitrary chunks into content and delimiters.

use std::mem;

use bytes::{Buf as _, Bytes};

use super::{
    delimiter::{Delimiter, Line},
    headers::HeadersEnd,
};

/// The next piece of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// Content before a delimiter, never empty.
    Content(Bytes),
    /// A delimiter, up to the line break that ends it, which stays unread.
    Delimiter,
    /// The closing delimiter, up to the line break after it or the end of the body.
    Close,
    /// More input is needed: the available bytes may be a delimiter or content.
    Unclear,
}

/// The bytes that were read from a body and not yet consumed.
#[derive(Default)]
pub(super) struct Unread {
    /// The end of a chunk that may be the start of a delimiter; begins with its line break.
    held: Bytes,
    /// The chunk after it.
    chunk: Bytes,
    /// The number of bytes at the start of `held` that are not part of the body.
    added: usize,
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

    /// Allows a delimiter at this position: at the start of the body, or after the headers of an empty part.
    pub(super) fn begin_line(&mut self) {
        debug_assert!(self.held.is_empty());
        self.held = Bytes::from_static(b"\r\n");
        self.added = self.held.len();
    }

    /// Takes the next token of the body, which has no more bytes than these if it has `ended`.
    pub(super) fn next(&mut self, delimiter: &Delimiter, ended: bool) -> Token {
        loop {
            let mut token = self.scan(delimiter, ended);
            match &mut token {
                Token::Content(content) => {
                    let added = self.added.min(content.len());
                    content.advance(added);
                    self.added -= added;
                    if content.is_empty() {
                        continue;
                    }
                }
                Token::Delimiter | Token::Close => self.added = 0,
                Token::Unclear => {}
            }
            return token;
        }
    }

    fn scan(&mut self, delimiter: &Delimiter, ended: bool) -> Token {
        if !self.held.is_empty() {
            return self.scan_held(delimiter, ended);
        }
        let mut from = 0;
        while let Some(rest) = self.chunk.get(from..)
            && let Some(at) = delimiter.find(rest)
        {
            let start = from + at;
            let candidate = self.chunk.get(start..).unwrap_or_default();
            let candidate = candidate.get(..delimiter.longest()).unwrap_or(candidate);
            match delimiter.line(candidate, ended) {
                Line::Content => from = start + delimiter.needle().len(),
                Line::Delimiter { len } if start == 0 => return self.take_line(len, Token::Delimiter),
                Line::Close { len } if start == 0 => return self.take_line(len, Token::Close),
                Line::Unclear => return self.hold(start),
                Line::Delimiter { .. } | Line::Close { .. } => return Token::Content(self.chunk.split_to(start)),
            }
        }
        let partial = if ended { 0 } else { delimiter.partial_len(&self.chunk) };
        self.hold(self.chunk.len() - partial)
    }

    /// Takes the next token where a delimiter may have begun in an earlier chunk.
    fn scan_held(&mut self, delimiter: &Delimiter, ended: bool) -> Token {
        let missing = delimiter.longest().saturating_sub(self.held.len());
        let missing = self.chunk.get(..missing).unwrap_or(&self.chunk);
        let joined = [&*self.held, missing].concat();
        match delimiter.line(&joined, ended) {
            Line::Delimiter { len } => self.take_line(len, Token::Delimiter),
            Line::Close { len } => self.take_line(len, Token::Close),
            Line::Unclear => {
                self.held = joined.into();
                self.chunk.clear();
                Token::Unclear
            }
            Line::Content => {
                // The next delimiter may have begun with a later line break.
                let next = self.held.iter().skip(1).position(|byte| *byte == b'\r');
                Token::Content(self.held.split_to(next.map_or(self.held.len(), |at| at + 1)))
            }
        }
    }

    fn take_line(&mut self, len: usize, token: Token) -> Token {
        let held = len.min(self.held.len());
        self.held.advance(held);
        self.chunk.advance(len - held);
        token
    }

    /// Returns the first `len` bytes of the chunk as content, and holds the rest until the next chunk.
    fn hold(&mut self, len: usize) -> Token {
        let content = self.chunk.split_to(len);
        // Copied, so that a few bytes do not keep a whole chunk in memory.
        self.held = Bytes::copy_from_slice(&mem::take(&mut self.chunk));
        if content.is_empty() {
            Token::Unclear
        } else {
            Token::Content(content)
        }
    }

    /// Takes at most `limit` bytes, and none after the empty line that ends the headers of a part.
    pub(super) fn headers(&mut self, end: &mut HeadersEnd, limit: usize) -> Bytes {
        let next = if self.held.is_empty() {
            &mut self.chunk
        } else {
            &mut self.held
        };
        let upto = end.find(next.get(..limit).unwrap_or(next));
        next.split_to(upto)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::delimiter::MAX_PADDING, *};

    /// Returns all tokens of a body in these chunks, with adjacent content joined.
    fn tokens(chunks: &[Vec<u8>], begin_line: bool) -> Vec<(&'static str, Vec<u8>)> {
        let delimiter = Delimiter::new("B-");
        let (mut tokens, mut unread) = (Vec::<(&'static str, Vec<u8>)>::new(), Unread::default());
        if begin_line {
            unread.begin_line();
        }
        for (chunk, ended) in chunks.iter().map(|chunk| (&chunk[..], false)).chain([(&b""[..], true)]) {
            unread.push(Bytes::copy_from_slice(chunk));
            loop {
                match unread.next(&delimiter, ended) {
                    Token::Content(bytes) => {
                        assert!(!bytes.is_empty());
                        match tokens.last_mut() {
                            Some(("content", content)) => content.extend_from_slice(&bytes),
                            _ => tokens.push(("content", bytes.to_vec())),
                        }
                    }
                    Token::Delimiter => tokens.push(("delimiter", Vec::new())),
                    Token::Close => tokens.push(("close", Vec::new())),
                    Token::Unclear => break,
                }
            }
            assert!(unread.chunk.is_empty() && unread.held.len() < delimiter.longest());
            assert!(unread.held.is_empty() || unread.held.starts_with(b"\r"));
            assert!(unread.added <= unread.held.len());
        }
        assert!(unread.is_empty());
        tokens
    }

    /// Returns the same by checking every position of the whole body.
    fn naive(body: &[u8], begin_line: bool) -> Vec<(&'static str, Vec<u8>)> {
        if begin_line {
            let mut tokens = naive(&[b"\r\n", body].concat(), false);
            if let Some(("content", content)) = tokens.first_mut() {
                content.drain(..2);
                tokens.retain(|(name, content)| *name != "content" || !content.is_empty());
            }
            return tokens;
        }
        let mut tokens = Vec::<(&'static str, Vec<u8>)>::new();
        let mut at = 0;
        while at < body.len() {
            let rest = &body[at..];
            let line = rest.strip_prefix(b"\r\n--B-").and_then(|tail| {
                let (name, tail) = tail
                    .strip_prefix(b"--")
                    .map_or(("delimiter", tail), |tail| ("close", tail));
                let padding = tail.iter().take_while(|byte| b" \t".contains(byte)).count();
                let tail = &tail[padding..];
                let ends = tail.starts_with(b"\r\n") || (name == "close" && tail.is_empty());
                (ends && padding <= MAX_PADDING).then_some((name, rest.len() - tail.len()))
            });
            if let Some((name, len)) = line {
                tokens.push((name, Vec::new()));
                at += len;
            } else {
                match tokens.last_mut() {
                    Some(("content", content)) => content.push(rest[0]),
                    _ => tokens.push(("content", vec![rest[0]])),
                }
                at += 1;
            }
        }
        tokens
    }

    /// Bytes that look like delimiters, in pieces.
    fn chunks() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let byte = prop::sample::select(b"\r\n-Bx ".to_vec()).prop_map(|byte| vec![byte]);
        let piece = prop::sample::select(vec![
            "\r\n--B-",
            "\r\n--B-\r\n",
            "\r\n--B---",
            "\r\n--B- \t",
            "\r\n--",
            "B-",
        ]);
        let piece = piece.prop_map(|piece| piece.as_bytes().to_vec());
        let chunk = prop::collection::vec(prop_oneof![3 => byte, 1 => piece], 0..9).prop_map(|pieces| pieces.concat());
        prop::collection::vec(chunk, 0..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn finds_the_same_delimiters_in_pieces_as_in_the_whole(chunks in chunks(), begin_line: bool) {
            prop_assert_eq!(tokens(&chunks, begin_line), naive(&chunks.concat(), begin_line));
        }

        #[test]
        fn bounds_the_padding_of_a_delimiter(padding in MAX_PADDING - 2..MAX_PADDING + 3, size in 1usize..90) {
            let body = format!("x\r\n--B-{}\r\ny", " ".repeat(padding)).into_bytes();
            let chunks: Vec<Vec<u8>> = body.chunks(size).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(tokens(&chunks, false), naive(&body, false));
        }

        #[test]
        fn finds_the_end_of_headers_in_pieces(chunks in chunks()) {
            let whole = chunks.concat();
            let expected = memchr::memmem::find(&whole, b"\r\n\r\n").map(|at| at + 4);
            let (mut end, mut position) = (HeadersEnd::default(), 0);
            for chunk in &chunks {
                if !end.is_found() {
                    position += end.find(chunk);
                }
            }
            prop_assert_eq!(end.is_found().then_some(position), expected);
        }
    }
}
