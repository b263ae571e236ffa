//! The body of a multipart upload: the document as JSON, and the media.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;

use super::{
    attachment::Attachment,
    dialect::{Dialect, Multipart},
};
use kazoo_storage::{Error, ErrorKind, Result};

/// The boundary of a multipart upload. KAZOO generates 64 random characters: letters, digits, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boundary(String);

impl Boundary {
    /// Uses `text` as the boundary: 1 to 70 letters, digits, `-`, `_`, `+` or `/`.
    ///
    /// Returns [`ErrorKind::InvalidRequest`] for any other text.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let fits = |letter: u8| letter.is_ascii_alphanumeric() || b"-_+/".contains(&letter);
        if (1..=70).contains(&text.len()) && text.bytes().all(fits) {
            Ok(Self(text))
        } else {
            Err(Error::new(
                ErrorKind::InvalidRequest,
                "not a boundary that KAZOO can generate: it has 1 to 70 letters, digits, `-`, `_`, `+` or `/`",
            ))
        }
    }

    /// Generates a boundary as KAZOO does.
    ///
    /// Returns [`ErrorKind::Internal`] if the system has no random numbers.
    pub fn random() -> Result<Self> {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut bytes = [0; 64];
        getrandom::fill(&mut bytes)
            .map_err(|error| Error::new(ErrorKind::Internal, "the system has no random numbers").with_source(error))?;
        let letters = bytes.iter().filter_map(|byte| LETTERS.get(usize::from(byte % 64)));
        Ok(Self(letters.map(|letter| char::from(*letter)).collect()))
    }
}

impl fmt::Display for Boundary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns the `content-type` and the body of a multipart upload, or `None` if the dialect has no multipart.
pub(super) fn body(
    dialect: &Dialect,
    attachment: &Attachment,
    base64: bool,
    boundary: &Boundary,
) -> Option<(String, Bytes)> {
    let content_type = match dialect.multipart {
        Multipart::Never => return None,
        Multipart::MixedWithoutBoundary => "multipart/mixed".to_owned(),
        Multipart::Mixed => format!("multipart/mixed; boundary={boundary}"),
        Multipart::FormData => format!("multipart/form-data; boundary={boundary}"),
    };
    let head = |name: &str, media_type: &str| {
        let disposition = match dialect.multipart {
            Multipart::FormData => format!("content-disposition: form-data; name={name}\r\n"),
            _ => String::new(),
        };
        format!("\r\n--{boundary}\r\n{disposition}content-type: {media_type}\r\n\r\n")
    };
    let document = &attachment.document;
    let before = [
        head(document.id().unwrap_or_default(), "application/json"),
        document.to_json(),
        head(&attachment.name, attachment.content_type()),
    ]
    .concat();
    let end = format!("\r\n--{boundary}--");

    let media = attachment.content.len();
    // Copies the media only once, raw or encoded.
    if base64 && dialect.encodes_base64 {
        let mut body = String::with_capacity(before.len() + media.div_ceil(3) * 4 + end.len());
        body.push_str(&before);
        STANDARD.encode_string(&attachment.content, &mut body);
        body.push_str(&end);
        return Some((content_type, body.into()));
    }
    let mut body = Vec::with_capacity(before.len() + media + end.len());
    body.extend_from_slice(before.as_bytes());
    body.extend_from_slice(&attachment.content);
    body.extend_from_slice(end.as_bytes());
    Some((content_type, body.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_boundary_has_64_characters() {
        let boundary = Boundary::random().unwrap();
        assert_eq!(boundary.0.len(), 64);
        assert_eq!(Boundary::new(boundary.0.clone()).unwrap(), boundary);
        assert_ne!(Boundary::random().unwrap(), boundary);
        for text in ["", "a b", "a\r\n", "\"", &"x".repeat(71)] {
            Boundary::new(text).unwrap_err();
        }
    }
}
