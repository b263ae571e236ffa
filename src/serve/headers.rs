//! The headers of a response with a stored file.

use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue, header, request};

use crate::{
    grant::Grant,
    store::{BlobInfo, dates},
};

/// Media types that browsers display, besides audio. They save files of all other types, including these types with
/// parameters or in other letters, which a browser may interpret differently: the uploader chooses the type, and a file
/// must not run in the browser of anyone who opens it.
const SHOWN: [&[u8]; 17] = [
    b"application/pdf",
    b"image/avif",
    b"image/bmp",
    b"image/gif",
    b"image/jpeg",
    b"image/png",
    b"image/tiff",
    b"image/webp",
    b"text/plain",
    b"text/plain; charset=utf-8",
    b"text/plain;charset=utf-8",
    b"video/3gpp",
    b"video/mp4",
    b"video/mpeg",
    b"video/ogg",
    b"video/quicktime",
    b"video/webm",
];

/// Returns `true` if a browser may display a file of this type.
fn is_shown(content_type: &HeaderValue) -> bool {
    let text = content_type.as_bytes();
    // `+` is not allowed: `audio/x+xml` is a page.
    let is_plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
    let is_audio = |subtype: &[u8]| !subtype.is_empty() && subtype.iter().all(is_plain);
    SHOWN.contains(&text) || text.strip_prefix(b"audio/").is_some_and(is_audio)
}

/// Writes the headers of a complete or partial response.
pub(super) fn file(headers: &mut HeaderMap, info: &BlobInfo, request: &request::Parts) {
    let content_type = info.content_type.clone();
    let content_type = content_type.unwrap_or(HeaderValue::from_static("application/octet-stream"));
    if !is_shown(&content_type) {
        headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    }
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // The digest is that of the whole file, also in a partial response.
    if let Some(digest) = info.digest.and_then(|digest| digest.repr_digest()) {
        headers.insert(HeaderName::from_static("repr-digest"), digest);
    }
    version(headers, info, request);
}

/// Writes the headers that a 304 repeats.
pub(super) fn version(headers: &mut HeaderMap, info: &BlobInfo, request: &request::Parts) {
    if let Some(etag) = &info.etag {
        headers.insert(header::ETAG, etag.clone());
    }
    if let Some(modified) = dates::last_modified_header(info, SystemTime::now()) {
        headers.insert(header::LAST_MODIFIED, modified);
    }
    // A credential in the path does not prevent a shared cache from storing the response. A client that is authorized
    // by its address alone sends no credential: a cache on its host could serve the response to clients at other
    // addresses.
    let by_address = request.extensions.get::<Grant>().is_some_and(Grant::by_address);
    let policy = if by_address { "no-store" } else { "private, no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(policy));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displays_only_types_that_cannot_run_scripts() {
        for shown in [
            "audio/mpeg",
            "audio/x-wav",
            "audio/vnd.wave",
            "image/png",
            "video/mp4",
            "application/pdf",
            "text/plain",
            "text/plain; charset=utf-8",
        ] {
            assert!(is_shown(&HeaderValue::from_static(shown)), "{shown}");
        }
        for saved in [
            &b"text/html"[..],
            b"text/xsl",
            b"text/rdf",
            b"application/xslt+xml",
            b"multipart/x-mixed-replace",
            b"multipart/related",
            b"message/rfc822",
            b"image/svg+xml",
            b"audio/x+xml",
            b"audio/",
            b"audio/mpeg,text/html",
            b"audio/mpeg, text/html",
            b"audio/mpeg;text/html",
            b"audio/mpeg; charset=text/html",
            b"Audio/mpeg",
            b"IMAGE/PNG",
            b"image/png ",
            b"text/plain; charset=utf-7",
            b"text/plain; charset=utf-8, text/html",
            b"audio/x-\xe9",
            b"application/octet-stream",
            b"",
        ] {
            assert!(
                !is_shown(&HeaderValue::from_bytes(saved).unwrap()),
                "{}",
                saved.escape_ascii()
            );
        }
    }
}
