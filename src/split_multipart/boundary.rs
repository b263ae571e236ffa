//! The boundary of a multipart body, from its `content-type` or its first line.

use crate::encoding::media_type;

/// The maximum length of a boundary. KAZOO's has 64 characters; RFC 2046 allows 70.
const MAX_LEN: usize = 200;

/// The meaning of a `content-type`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ContentType {
    /// Not one of the multipart types that KAZOO sends.
    Plain,
    /// Multipart, with this boundary.
    Multipart(String),
    /// Multipart without a boundary, which is in the first line of the body.
    Undelimited,
    /// Multipart with an invalid boundary.
    Invalid,
}

/// Parses the value of a `content-type` header.
///
/// A strict parser of media types would reject KAZOO's header: its boundary is not quoted even if it contains `/` or
/// `+`.
pub(super) fn of_content_type(value: &[u8]) -> ContentType {
    let media_type = media_type(value);
    if ![&b"multipart/form-data"[..], b"multipart/mixed"]
        .iter()
        .any(|multipart| media_type.eq_ignore_ascii_case(multipart))
    {
        return ContentType::Plain;
    }
    let mut params = value.split(|byte| *byte == b';').skip(1).map(<[u8]>::trim_ascii);
    let boundary = params.find_map(|param| {
        let (name, value) = param.split_at_checked(b"boundary=".len())?;
        name.eq_ignore_ascii_case(b"boundary=").then_some(value)
    });
    match boundary {
        None => ContentType::Undelimited,
        Some(value) => {
            let boundary = value
                .strip_prefix(b"\"")
                .and_then(|quoted| quoted.strip_suffix(b"\""))
                .unwrap_or(value);
            checked(boundary).map_or(ContentType::Invalid, ContentType::Multipart)
        }
    }
}

/// The first line of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FirstLine {
    /// The line is a delimiter with this boundary.
    Boundary(String),
    /// The line has not ended yet.
    Incomplete,
    /// The line is not a delimiter.
    Invalid,
}

/// Parses the first line of a body, after the line break that KAZOO sends before it.
pub(super) fn of_first_line(start: &[u8]) -> FirstLine {
    let line = start.strip_prefix(b"\r\n").unwrap_or(start);
    let longest = b"--".len() + MAX_LEN;
    let Some(end) = line.windows(2).position(|pair| pair == b"\r\n") else {
        // The last byte may be the start of the line break.
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let invalid = line.len() > longest || line.iter().zip(b"--").any(|(byte, dash)| byte != dash);
        return if invalid {
            FirstLine::Invalid
        } else {
            FirstLine::Incomplete
        };
    };
    if end > longest {
        return FirstLine::Invalid;
    }
    line.get(..end)
        .and_then(|line| checked(line.strip_prefix(b"--")?.trim_ascii_end()))
        .map_or(FirstLine::Invalid, FirstLine::Boundary)
}

fn checked(boundary: &[u8]) -> Option<String> {
    let valid = (1..=MAX_LEN).contains(&boundary.len()) && boundary.iter().all(|byte| (0x20..0x7f).contains(byte));
    valid.then(|| String::from_utf8_lossy(boundary).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn multipart(boundary: &str) -> ContentType {
        ContentType::Multipart(boundary.to_owned())
    }

    #[test]
    fn parses_content_types() {
        for (value, expected) in [
            ("multipart/form-data; boundary=-qBt_AI-", multipart("-qBt_AI-")),
            ("multipart/mixed; boundary=a/b+c", multipart("a/b+c")),
            ("Multipart/Mixed;charset=x; BOUNDARY=\"b c\"", multipart("b c")),
            ("multipart/mixed", ContentType::Undelimited),
            ("multipart/mixed; boundary=", ContentType::Invalid),
            ("multipart/mixed; boundary=\"\"", ContentType::Invalid),
            ("multipart/related; boundary=x", ContentType::Plain),
            ("multipart/form-datax; boundary=x", ContentType::Plain),
            ("audio/mpeg", ContentType::Plain),
            ("", ContentType::Plain),
        ] {
            assert_eq!(of_content_type(value.as_bytes()), expected, "{value}");
        }
        let long = format!("multipart/mixed; boundary={}", "x".repeat(MAX_LEN + 1));
        assert_eq!(of_content_type(long.as_bytes()), ContentType::Invalid);
    }

    #[test]
    fn waits_for_the_end_of_the_first_line() {
        let body = b"\r\n--Xw-_-\r\ncontent-type: x\r\n";
        for end in 0..=body.len() {
            let expected = if end < "\r\n--Xw-_-\r\n".len() {
                FirstLine::Incomplete
            } else {
                FirstLine::Boundary("Xw-_-".to_owned())
            };
            assert_eq!(of_first_line(&body[..end]), expected, "{end}");
        }
        assert_eq!(of_first_line(b"--B \r\n"), FirstLine::Boundary("B".to_owned()));
    }

    #[test]
    fn the_first_line_does_not_depend_on_the_chunks() {
        for (len, blanks, taken) in [
            (MAX_LEN, 0, true),
            (MAX_LEN - 1, 1, true),
            (1, MAX_LEN, false),
            (MAX_LEN + 1, 0, false),
            (MAX_LEN, 1, false),
        ] {
            let body = format!("\r\n--{}{}\r\nID3", "x".repeat(len), " ".repeat(blanks));
            let whole = of_first_line(body.as_bytes());
            assert_eq!(whole != FirstLine::Invalid, taken, "{len} letters and {blanks} blanks");
            let mut starts = (0..=body.len()).map(|end| of_first_line(&body.as_bytes()[..end]));
            let first = starts.find(|line| *line != FirstLine::Incomplete);
            assert_eq!(first, Some(whole), "{len} letters and {blanks} blanks");
        }
    }

    #[test]
    fn rejects_a_first_line_that_is_not_a_delimiter() {
        for start in [&b"ID3"[..], b"-x", b"\r\nx", b"--\r\n", b"\r\n\r\n", b"--\x00\r\n"] {
            assert_eq!(of_first_line(start), FirstLine::Invalid, "{start:?}");
        }
        assert_eq!(of_first_line(&[b'-'; MAX_LEN + 3]), FirstLine::Invalid);
    }
}
