//! The `Range` header.

use http::{HeaderMap, header};

use crate::store::ByteRange;

/// Returns the range of bytes that a request asks for, if it is exactly one.
///
/// RFC 9110 permits the whole file as the response to several ranges, to another unit and to a malformed header.
pub(super) fn requested(headers: &HeaderMap) -> Option<ByteRange> {
    let mut values = headers.get_all(header::RANGE).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let (unit, range) = value.to_str().ok()?.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim().split_once('-')?;
    match (position(first)?, position(last)?) {
        (Position::At(first), Position::At(last)) => (first <= last).then_some(ByteRange::FromTo(first, last)),
        (Position::At(first), Position::Open) => Some(ByteRange::From(first)),
        (Position::Open, Position::At(count)) => Some(ByteRange::Last(count)),
        (Position::Open, Position::Open) => None,
    }
}

/// A position before or after the dash.
enum Position {
    Open,
    At(u64),
}

fn position(text: &str) -> Option<Position> {
    let text = text.trim();
    if text.is_empty() {
        return Some(Position::Open);
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    // A larger number is past the end of every file.
    digits.then(|| Position::At(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_one_range_of_bytes_and_nothing_else() {
        for (value, expected) in [
            ("bytes=0-", Some(ByteRange::From(0))),
            ("bytes=2-5", Some(ByteRange::FromTo(2, 5))),
            ("Bytes= 2 - 5 ", Some(ByteRange::FromTo(2, 5))),
            ("bytes=-7", Some(ByteRange::Last(7))),
            ("bytes=0-99999999999999999999999", Some(ByteRange::FromTo(0, u64::MAX))),
            ("bytes=5-2", None),
            ("bytes=-", None),
            ("bytes=0-1,4-5", None),
            ("bytes=+1-2", None),
            ("items=0-1", None),
            ("bytes", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, value.parse().unwrap());
            assert_eq!(requested(&headers), expected, "{value}");
            headers.append(header::RANGE, value.parse().unwrap());
            assert_eq!(requested(&headers), None, "twice {value}");
        }
    }
}
