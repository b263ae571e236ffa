//! Reads a key from a path.

use kazoo_storage::BlobKey;

/// The segments of a path, if each is valid and together they are at most as long as `keys` keys.
#[must_use]
pub fn segments(path: &str, keys: usize) -> Option<Vec<String>> {
    let segments: Option<Vec<String>> = path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| String::from_utf8(unescape(segment.as_bytes())).ok())
        .collect();
    let segments = segments?;
    let count = (1..=keys * BlobKey::MAX_SEGMENTS).contains(&segments.len());
    let len: usize = segments.iter().map(|segment| segment.len() + 1).sum();
    let fits = count && len <= keys * (BlobKey::MAX_LEN + 1);
    (fits && segments.iter().all(|segment| is_segment(segment))).then_some(segments)
}

fn is_segment(segment: &str) -> bool {
    let dots = segment == "." || segment == "..";
    !dots && segment.len() <= BlobKey::MAX_SEGMENT_LEN && !segment.chars().any(char::is_control)
}

/// Percent-decodes `text`. Invalid escapes stay as they are.
#[must_use]
pub fn unescape(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| char::from(*text.get(at)?).to_digit(16);
    let mut bytes = Vec::new();
    let mut at = 0;
    while at < text.len() {
        if let (b'%', Some(high), Some(low)) = (text[at], digit(at + 1), digit(at + 2)) {
            bytes.push(u8::try_from(high * 16 + low).unwrap());
            at += 3;
        } else {
            bytes.push(text[at]);
            at += 1;
        }
    }
    bytes
}

/// Asserts that no segment of `key` can lead to another directory.
pub fn assert_safe(key: &BlobKey) {
    assert!((1..=BlobKey::MAX_SEGMENTS).contains(&key.segments().count()), "{key}");
    assert!(
        key.segments().map(|segment| segment.len() + 1).sum::<usize>() <= BlobKey::MAX_LEN + 1,
        "{key}"
    );
    for segment in key.segments() {
        assert!(!segment.is_empty() && is_segment(segment), "{key}");
    }
}
