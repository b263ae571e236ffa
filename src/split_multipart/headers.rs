//! The headers of a part.

use http::{HeaderName, HeaderValue, header};

use crate::{
    encoding::{ContentEncoding, TransferEncoding},
    error::{Error, ErrorKind, Result},
};

const CONTENT_TRANSFER_ENCODING: HeaderName = HeaderName::from_static("content-transfer-encoding");

/// Finds the empty line that ends the headers of a part.
///
/// The line break that ends the delimiter is the first of the two that this state machine expects, so a part without
/// headers ends them immediately.
#[derive(Default)]
pub(super) struct HeadersEnd {
    /// The number of bytes of `CR LF CR LF` that the input so far ends with.
    seen: u8,
}

/// The headers of a part that describe its content. All others are validated and dropped.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PartHeaders {
    pub(super) content_type: Option<HeaderValue>,
    pub(super) transfer_encoding: Option<TransferEncoding>,
}

impl HeadersEnd {
    /// Returns `true` once the empty line has been found.
    pub(super) fn is_found(&self) -> bool {
        self.seen == 4
    }

    /// Returns the number of bytes of `next` up to the end of the empty line, or all of them.
    pub(super) fn find(&mut self, next: &[u8]) -> usize {
        for (at, byte) in next.iter().enumerate() {
            self.seen = match (byte, self.seen) {
                (b'\r', 2) => 3,
                (b'\r', _) => 1,
                (b'\n', 1) => 2,
                (b'\n', 3) => {
                    self.seen = 4;
                    return at + 1;
                }
                _ => 0,
            };
        }
        next.len()
    }
}

impl PartHeaders {
    /// Parses the headers of part `number`: the lines between two delimiters up to and including the empty one.
    ///
    /// `block` begins with the line break of the delimiter and ends with that of the empty line. A part may have no
    /// headers, and a header may be folded (RFC 2046, RFC 822). `delimiter` in a line means that the empty line is
    /// missing.
    pub(super) fn parse(number: usize, block: &[u8], delimiter: &[u8]) -> Result<Self> {
        let mut headers = Self::default();
        let mut unfolded: Vec<u8> = Vec::new();
        for line in lines(block) {
            if line.starts_with(delimiter) {
                return Err(malformed(number, "no empty line follows its headers"));
            }
            if line.contains(&b'\n') {
                return Err(malformed(number, "a header line ends with LF alone instead of CR LF"));
            }
            if !line.starts_with(b" ") && !line.starts_with(b"\t") {
                headers.take(number, &unfolded)?;
                unfolded.clear();
            } else if unfolded.is_empty() || line.trim_ascii().is_empty() {
                return Err(malformed(number, "a folded line is empty or follows no header"));
            }
            unfolded.extend_from_slice(line);
        }
        headers.take(number, &unfolded)?;
        Ok(headers)
    }

    /// Takes one unfolded header; an empty line is ignored.
    fn take(&mut self, number: usize, line: &[u8]) -> Result<()> {
        if line.is_empty() {
            return Ok(());
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = colon
            .and_then(|colon| line.split_at_checked(colon))
            .ok_or_else(|| malformed(number, "a header line has no colon"))?;
        let name = HeaderName::from_bytes(name).map_err(|_| malformed(number, "the name of a header is invalid"))?;
        let value = value.strip_prefix(b":").unwrap_or_default();
        // A control character at either end is not white space.
        let value = HeaderValue::from_bytes(value)
            .and_then(|value| HeaderValue::from_bytes(value.as_bytes().trim_ascii()))
            .map_err(|_| malformed(number, &format!("the value of its header {name} is invalid")))?;
        if name == header::CONTENT_TYPE {
            once(number, &name, &mut self.content_type, value)
        } else if name == CONTENT_TRANSFER_ENCODING {
            let encoding = TransferEncoding::parse(&value).map_err(|error| in_part(number, &error))?;
            once(number, &name, &mut self.transfer_encoding, encoding)
        } else if name == header::CONTENT_ENCODING {
            ContentEncoding::refuse(&value).map_err(|error| in_part(number, &error))
        } else {
            Ok(())
        }
    }
}

/// Returns the lines of a header block, without its first line break and its empty line.
fn lines(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = block.strip_prefix(b"\r\n").unwrap_or(block);
    std::iter::from_fn(move || {
        let end = memchr::memmem::find(rest, b"\r\n").filter(|end| *end > 0)?;
        let line = rest.get(..end)?;
        rest = rest.get(end + 2..)?;
        Some(line)
    })
}

/// Sets a header that must not have two different values.
fn once<T: PartialEq>(number: usize, name: &HeaderName, slot: &mut Option<T>, value: T) -> Result<()> {
    match slot {
        Some(other) if *other != value => Err(malformed(number, &format!("it has two different {name} headers"))),
        _ => {
            *slot = Some(value);
            Ok(())
        }
    }
}

fn in_part(number: usize, error: &Error) -> Error {
    Error::new(error.kind(), format!("part {number} of the multipart body: {error}"))
}

fn malformed(number: usize, fault: &str) -> Error {
    let message = format!("the headers of part {number} of the multipart body are malformed: {fault}");
    Error::new(ErrorKind::InvalidMultipart, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &str) -> Result<PartHeaders> {
        PartHeaders::parse(2, format!("\r\n{lines}\r\n").as_bytes(), b"--B")
    }

    fn content_type(lines: &str) -> Option<String> {
        let headers = parse(lines).unwrap_or_else(|error| panic!("{lines:?}: {error}"));
        Some(headers.content_type?.to_str().unwrap().to_owned())
    }

    #[test]
    fn reads_the_headers_that_kazoo_writes() {
        assert_eq!(parse("").unwrap(), PartHeaders::default());
        let name = "content-disposition: form-data; name=q\"uo'té;b=c\r\ncontent-type: audio/mpeg\r\n";
        assert_eq!(content_type(name).unwrap(), "audio/mpeg");
        assert_eq!(content_type("Content-Type:\t a/b \r\nx:\r\n").unwrap(), "a/b");
    }

    #[test]
    fn unfolds_headers() {
        let folded = "content-disposition: attachment;\r\n filename=\"a.mp3\"\r\ncontent-type: a/b;\r\n\tc=d\r\n";
        assert_eq!(content_type(folded).unwrap(), "a/b;\tc=d");
    }

    #[test]
    fn refuses_malformed_headers_and_names_the_fault() {
        for (lines, fault) in [
            ("rubbish\r\n", "colon"),
            (" x: y\r\n", "folded"),
            ("x: y\r\n \t\r\n", "folded"),
            ("x: y\nz: a\r\n", "LF alone"),
            ("x: y\n\nRIFF\r\n", "LF alone"),
            ("x : y\r\n", "name"),
            (": y\r\n", "name"),
            ("\u{e9}: y\r\n", "name"),
            ("x: \u{0}\r\n", "value"),
            ("x: a\rb\r\n", "value"),
            ("x: a\r\r\n", "value"),
            ("--B:x\r\n", "empty line"),
            ("content-type: a/b\r\n--B--\r\n", "empty line"),
            ("content-type: a/b\r\nContent-Type: c/d\r\n", "two different"),
            (
                "content-transfer-encoding: 8bit\r\ncontent-transfer-encoding: base64\r\n",
                "two different",
            ),
        ] {
            let error = parse(lines).expect_err(lines);
            assert_eq!(error.kind(), ErrorKind::InvalidMultipart, "{lines:?}");
            let message = error.message();
            assert!(
                message.contains(fault) && message.contains("part 2"),
                "{lines:?}: {message}"
            );
        }
        assert_eq!(
            content_type("content-type: a/b\r\ncontent-type: a/b\r\n").unwrap(),
            "a/b"
        );
    }

    #[test]
    fn refuses_encodings_that_it_cannot_undo() {
        let of = |lines: &str| parse(lines).map(|headers| headers.transfer_encoding);
        assert_eq!(
            of("content-transfer-encoding: BASE64\r\n").unwrap(),
            Some(TransferEncoding::Base64)
        );
        assert_eq!(
            of("content-transfer-encoding: 8bit\r\n").unwrap(),
            Some(TransferEncoding::Identity)
        );
        for lines in [
            "content-transfer-encoding: quoted-printable\r\n",
            "content-encoding: gzip\r\n",
        ] {
            let error = of(lines).expect_err(lines);
            assert_eq!(error.kind(), ErrorKind::UnsupportedEncoding, "{lines}");
            assert!(error.message().contains(lines.split(':').next().unwrap()), "{error}");
        }
        assert_eq!(of("content-encoding: identity\r\n").unwrap(), None);
    }
}
