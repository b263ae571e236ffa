//! Entity tags (RFC 9110, section 8.8.3), and lists of them.
//!
//! The crate `headers` panics in debug builds on white space in a client's tag, so this parser replaces it.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::BlobInfo;

/// One tag, such as `"5f3c"` or `W/"5f3c"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    weak: bool,
    opaque: Box<[u8]>,
}

impl Tag {
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let weak = text.strip_prefix(b"W/");
        let opaque = weak.unwrap_or(text).strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        (!opaque.contains(&b'"')).then(|| Self {
            weak: weak.is_some(),
            opaque: opaque.into(),
        })
    }

    /// Returns the tag of the file.
    pub(crate) fn of(info: &BlobInfo) -> Option<Self> {
        Self::parse(info.etag.as_ref()?.as_bytes())
    }

    /// Returns `true` if both tags match under this comparison.
    pub(crate) fn is(&self, other: &Self, comparison: Comparison) -> bool {
        let weak = self.weak || other.weak;
        self.opaque == other.opaque && (comparison == Comparison::Weak || !weak)
    }
}

/// The comparison of two tags (RFC 9110, section 8.8.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// The contents are equal byte for byte.
    Strong,
    /// The contents are equivalent.
    Weak,
}

/// The value of `If-Match` or `If-None-Match`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tags {
    /// `*`: every existing file.
    Any,
    List(Vec<Tag>),
}

impl Tags {
    /// Parses the header `name`, if present. Elements that are not entity tags match nothing.
    pub(crate) fn from_headers(headers: &HeaderMap, name: &HeaderName) -> Option<Self> {
        Some(match values(headers, name)?.as_slice() {
            [b"*"] => Self::Any,
            values => Self::List(
                values
                    .iter()
                    .flat_map(|value| elements(value))
                    .filter_map(Tag::parse)
                    .collect(),
            ),
        })
    }

    /// Parses the header `name`, if present; an element that is not an entity tag, or an empty list, is an error.
    pub(crate) fn from_headers_strictly(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Self>, Malformed> {
        let Some(values) = values(headers, name) else {
            return Ok(None);
        };
        if let [b"*"] = values.as_slice() {
            return Ok(Some(Self::Any));
        }
        let elements = values.iter().flat_map(|value| elements(value));
        let tags: Option<Vec<_>> = elements.filter(|element| !element.is_empty()).map(Tag::parse).collect();
        let tags = tags.filter(|tags| !tags.is_empty()).ok_or(Malformed)?;
        Ok(Some(Self::List(tags)))
    }

    /// Returns `true` if the file's tag is in the list.
    pub(crate) fn match_file(&self, info: &BlobInfo, comparison: Comparison) -> bool {
        match self {
            Self::Any => true,
            Self::List(tags) => {
                Tag::of(info).is_some_and(|of_file| tags.iter().any(|tag| tag.is(&of_file, comparison)))
            }
        }
    }
}

/// The value of the header is not a list of entity tags.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

fn values<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<Vec<&'h [u8]>> {
    let values: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    (!values.is_empty()).then_some(values)
}

/// Returns the elements of a list, separated by commas outside quotes.
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

    fn tag(text: &str) -> Option<Tag> {
        Tag::parse(text.as_bytes())
    }

    #[test]
    fn parses_strong_and_weak_tags() {
        assert!(tag("\"a b\"").is_some());
        assert!(tag("\"\"").is_some());
        for bad in ["", "\"", "W/\"", "a", "a\"", "\"a", "w/\"a\"", "\"a\"b\"", "*"] {
            assert_eq!(tag(bad), None, "{bad}");
        }
        let (strong, weak) = (tag("\"a\"").unwrap(), tag("W/\"a\"").unwrap());
        for (one, other, strongly) in [
            (&strong, &strong, true),
            (&strong, &weak, false),
            (&weak, &strong, false),
            (&weak, &weak, false),
        ] {
            assert!(one.is(other, Comparison::Weak));
            assert_eq!(one.is(other, Comparison::Strong), strongly, "{one:?} {other:?}");
        }
        assert!(!strong.is(&tag("\"b\"").unwrap(), Comparison::Weak));
    }

    #[test]
    fn splits_a_list_at_its_commas() {
        let mut headers = HeaderMap::new();
        assert_eq!(Tags::from_headers(&headers, &IF_MATCH), None);
        headers.insert(IF_MATCH, "\"a,b\" ,, x, W/\"c\"".parse().unwrap());
        headers.append(IF_MATCH, "\"d e\"".parse().unwrap());
        let expected = ["\"a,b\"", "W/\"c\"", "\"d e\""].map(|text| tag(text).unwrap());
        assert_eq!(
            Tags::from_headers(&headers, &IF_MATCH),
            Some(Tags::List(expected.to_vec()))
        );
        headers.insert(IF_MATCH, "*".parse().unwrap());
        assert_eq!(Tags::from_headers(&headers, &IF_MATCH), Some(Tags::Any));
    }

    #[test]
    fn strict_parsing_refuses_elements_that_are_not_tags() {
        let mut headers = HeaderMap::new();
        assert_eq!(Tags::from_headers_strictly(&headers, &IF_MATCH), Ok(None));
        for bad in [
            "", "v1", "\"a", "*, \"a\"", "\"a\", *", "\"a\" b", "w/\"a\"", ",", "* *",
        ] {
            headers.insert(IF_MATCH, bad.parse().unwrap());
            assert_eq!(
                Tags::from_headers_strictly(&headers, &IF_MATCH),
                Err(Malformed),
                "{bad}"
            );
        }
        headers.insert(IF_MATCH, "*".parse().unwrap());
        assert_eq!(Tags::from_headers_strictly(&headers, &IF_MATCH), Ok(Some(Tags::Any)));
        headers.append(IF_MATCH, "*".parse().unwrap());
        assert_eq!(Tags::from_headers_strictly(&headers, &IF_MATCH), Err(Malformed));
        headers.insert(IF_MATCH, "\"a,b\" ,, W/\"c\"".parse().unwrap());
        let expected = ["\"a,b\"", "W/\"c\""].map(|text| tag(text).unwrap());
        assert_eq!(
            Tags::from_headers_strictly(&headers, &IF_MATCH),
            Ok(Some(Tags::List(expected.to_vec())))
        );
    }
}
