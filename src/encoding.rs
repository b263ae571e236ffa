//! The declared encoding of a body or part: its media type, [`TransferEncoding`] and content encoding.

use http::{HeaderMap, HeaderValue, header};

use crate::error::{Error, ErrorKind, Result};

/// Returns the media type in the value of a `content-type` header, without parameters and in its original case.
pub(crate) fn media_type(content_type: &[u8]) -> &[u8] {
    content_type
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii()
}

/// The `content-transfer-encoding` of a part of a multipart body (RFC 2045).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransferEncoding {
    /// `7bit`, `8bit` or `binary`: the content is not encoded.
    Identity,
    /// `base64`, possibly with line breaks.
    Base64,
}

impl TransferEncoding {
    /// Parses the value of a `content-transfer-encoding` header; any other encoding is
    /// [`ErrorKind::UnsupportedEncoding`].
    pub fn parse(value: &HeaderValue) -> Result<Self> {
        let is = |name: &str| value.as_bytes().trim_ascii().eq_ignore_ascii_case(name.as_bytes());
        if is("base64") {
            return Ok(Self::Base64);
        }
        if ["7bit", "8bit", "binary"].into_iter().any(is) {
            return Ok(Self::Identity);
        }
        let message = "the content-transfer-encoding is not supported: send the media as 7bit, 8bit, binary or base64";
        Err(Error::new(ErrorKind::UnsupportedEncoding, message))
    }
}

/// The `content-encoding` of an upload.
pub(crate) struct ContentEncoding;

impl ContentEncoding {
    /// Rejects an upload with a `content-encoding`: it is not stored, and KAZOO does not decode it when it fetches the
    /// file.
    pub(crate) fn refuse_any(headers: &HeaderMap) -> Result<()> {
        headers
            .get_all(header::CONTENT_ENCODING)
            .iter()
            .try_for_each(Self::refuse)
    }

    /// Rejects a single header value in the same way.
    pub(crate) fn refuse(value: &HeaderValue) -> Result<()> {
        let is_identity = |coding: &[u8]| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity");
        if value
            .as_bytes()
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii)
            .all(is_identity)
        {
            return Ok(());
        }
        let message = "the upload has a content-encoding, which is not decoded when the file is fetched: send the file \
                       without content-encoding";
        Err(Error::new(ErrorKind::UnsupportedEncoding, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_type_omits_the_parameters() {
        for (value, expected) in [
            ("audio/mpeg", "audio/mpeg"),
            (" Audio/MPEG ; rate=8000", "Audio/MPEG"),
            (";audio/mpeg", ""),
            ("", ""),
        ] {
            assert_eq!(media_type(value.as_bytes()), expected.as_bytes(), "{value}");
        }
    }

    #[test]
    fn parses_transfer_encodings() {
        for (value, expected) in [
            ("base64", Some(TransferEncoding::Base64)),
            (" Base64 ", Some(TransferEncoding::Base64)),
            ("7bit", Some(TransferEncoding::Identity)),
            ("8BIT", Some(TransferEncoding::Identity)),
            ("binary", Some(TransferEncoding::Identity)),
            ("quoted-printable", None),
            ("base64, gzip", None),
            ("x-uuencode", None),
            ("", None),
        ] {
            let found = TransferEncoding::parse(&HeaderValue::from_static(value));
            assert_eq!(found.as_ref().ok().copied(), expected, "{value}");
            if let Err(error) = found {
                assert_eq!(error.status(), 415);
                assert!(error.message().contains("content-transfer-encoding"));
            }
        }
    }

    #[test]
    fn rejects_every_content_encoding_but_identity() {
        for (values, allowed) in [
            (&[][..], true),
            (&[""], true),
            (&["identity"], true),
            (&["Identity, identity"], true),
            (&["gzip"], false),
            (&["identity", "br"], false),
            (&["identity,aws-chunked"], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_ENCODING, HeaderValue::from_static(value));
            }
            assert_eq!(ContentEncoding::refuse_any(&headers).is_ok(), allowed, "{values:?}");
        }
    }
}
