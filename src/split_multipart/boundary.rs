//! Where a body's boundary is found.

use crate::encoding::media_type;

/// The longest boundary taken. KAZOO's are 64 characters; the standard allows 70.
const MAX_LEN: usize = 200;

/// What a `content-type` says of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ContentType {
    /// Not one of the multipart types that KAZOO sends.
    Plain,
    /// Multipart, with this boundary.
    Multipart(String),
    /// Multipart, with the boundary left to the body's first line.
    Undelimited,
    /// Multipart, with a boundary that cannot be one.
    Invalid,
}

/// Reads the value of a `content-type` header.
///
/// A parser of media types by the letter would refuse KAZOO's: the boundary stands unquoted even with `/` and `+` in
/// it.
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
        Some(quoted_or_not) => {
            let boundary = quoted_or_not
                .strip_prefix(b"\"")
                .and_then(|quoted| quoted.strip_suffix(b"\""))
                .unwrap_or(quoted_or_not);
            checked(boundary).map_or(ContentType::Invalid, ContentType::Multipart)
        }
    }
}

/// What the start of a body says about its boundary.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FirstLine {
    /// It is this one.
    Boundary(String),
    /// The first line has not ended yet.
    Incomplete,
    /// The first line is no delimiter.
    Invalid,
}

/// Takes the boundary from the first line of a body, behind the line break that KAZOO puts before it.
pub(super) fn of_first_line(start: &[u8]) -> FirstLine {
    let line = start.strip_prefix(b"\r\n").unwrap_or(start);
    let longest = b"--".len() + MAX_LEN;
    let Some(end) = line.windows(2).position(|pair| pair == b"\r\n") else {
        // Its last byte may be the beginning of the line break.
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let hopeless = line.len() > longest || line.iter().zip(b"--").any(|(is, ought)| is != ought);
        return if hopeless {
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
    fn content_types_as_kazoo_writes_them() {
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
    fn the_first_line_is_waited_for_and_then_read() {
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
    fn the_first_line_is_the_same_however_it_comes() {
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
    fn what_is_no_delimiter_is_refused_at_once() {
        for start in [&b"ID3"[..], b"-x", b"\r\nx", b"--\r\n", b"\r\n\r\n", b"--\x00\r\n"] {
            assert_eq!(of_first_line(start), FirstLine::Invalid, "{start:?}");
        }
        assert_eq!(of_first_line(&[b'-'; MAX_LEN + 3]), FirstLine::Invalid);
    }
}
