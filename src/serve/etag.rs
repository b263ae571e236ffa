//! Entity tags (RFC 9110, section 8.8.3), and lists of them.
//!
//! By our own hand, since the tags of the crate `headers` panic, in a debug build, at a blank in what a client sends.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::store::BlobInfo;

/// One tag, such as `"5f3c"` or `W/"5f3c"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag<'t> {
    weak: bool,
    opaque: &'t [u8],
}

impl<'t> Tag<'t> {
    pub(super) fn parse(text: &'t [u8]) -> Option<Self> {
        let strong = text.strip_prefix(b"W/");
        let opaque = strong.unwrap_or(text).strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        (!opaque.contains(&b'"')).then_some(Self {
            weak: strong.is_some(),
            opaque,
        })
    }

    /// The tag of the file.
    pub(super) fn of(info: &'t BlobInfo) -> Option<Self> {
        Self::parse(info.etag.as_ref()?.as_bytes())
    }

    /// Whether both stand for the same file.
    pub(super) fn is(self, other: Tag<'_>, comparison: Comparison) -> bool {
        let weak = self.weak || other.weak;
        self.opaque == other.opaque && (comparison == Comparison::Weak || !weak)
    }
}

/// How alike two files with the same tag have to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    /// To the byte.
    Strong,
    /// As good as the same.
    Weak,
}

/// What `If-Match` and `If-None-Match` hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tags<'h> {
    /// `*`: every file that there is.
    Any,
    List(Vec<Tag<'h>>),
}

impl<'h> Tags<'h> {
    /// What stands under `name`, if it is there; what is no tag is left out.
    pub(super) fn under(headers: &'h HeaderMap, name: &HeaderName) -> Option<Self> {
        let values: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        match *values {
            [] => None,
            [b"*"] => Some(Self::Any),
            _ => Some(Self::List(
                values.into_iter().flat_map(elements).filter_map(Tag::parse).collect(),
            )),
        }
    }

    /// Whether the file is among them.
    pub(super) fn have(&self, info: &BlobInfo, comparison: Comparison) -> bool {
        match self {
            Self::Any => true,
            Self::List(tags) => Tag::of(info).is_some_and(|of_file| tags.iter().any(|tag| tag.is(of_file, comparison))),
        }
    }
}

/// What the commas separate that are in no quotes.
fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let separates = move |byte: &u8| {
        quoted ^= *byte == b'"';
        *byte == b',' && !quoted
    };
    value.split(separates).map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use http::header::IF_MATCH;

    use super::*;

    fn tag(text: &str) -> Option<Tag<'_>> {
        Tag::parse(text.as_bytes())
    }

    #[test]
    fn a_tag_is_quoted_and_maybe_weak() {
        assert!(tag("\"a b\"").is_some());
        assert!(tag("\"\"").is_some());
        for bad in ["", "\"", "W/\"", "a", "a\"", "\"a", "w/\"a\"", "\"a\"b\"", "*"] {
            assert_eq!(tag(bad), None, "{bad}");
        }
        let (strong, weak) = (tag("\"a\"").unwrap(), tag("W/\"a\"").unwrap());
        for (one, other, strongly) in [
            (strong, strong, true),
            (strong, weak, false),
            (weak, strong, false),
            (weak, weak, false),
        ] {
            assert!(one.is(other, Comparison::Weak));
            assert_eq!(one.is(other, Comparison::Strong), strongly, "{one:?} {other:?}");
        }
        assert!(!strong.is(tag("\"b\"").unwrap(), Comparison::Weak));
    }

    #[test]
    fn a_list_is_cut_at_its_commas() {
        let mut headers = HeaderMap::new();
        assert_eq!(Tags::under(&headers, &IF_MATCH), None);
        headers.insert(IF_MATCH, "\"a,b\" ,, x, W/\"c\"".parse().unwrap());
        headers.append(IF_MATCH, "\"d e\"".parse().unwrap());
        let expected = ["\"a,b\"", "W/\"c\"", "\"d e\""].map(|text| tag(text).unwrap());
        assert_eq!(Tags::under(&headers, &IF_MATCH), Some(Tags::List(expected.to_vec())));
        headers.insert(IF_MATCH, "*".parse().unwrap());
        assert_eq!(Tags::under(&headers, &IF_MATCH), Some(Tags::Any));
    }
}
