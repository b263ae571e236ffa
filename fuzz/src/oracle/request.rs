//! Reads a complete request.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Version, header, request::Parts};
use kazoo_storage::Base64;
use serde_json::{Map, Value};

use super::{
    base64::decode,
    multipart::{ContentType, Upload, content_type, first_line, split},
};

/// Returns `true` if the framing or the host of an HTTP/1 upload is ambiguous.
#[must_use]
pub fn is_ambiguous(head: &Parts) -> bool {
    let all = |name: HeaderName| head.headers.get_all(name).iter().collect::<Vec<_>>();
    let hosts = all(header::HOST);
    let encodings = all(header::TRANSFER_ENCODING);
    let chunked = encodings
        .iter()
        .all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    let without_length = head.version == Version::HTTP_10 && all(header::CONTENT_LENGTH).is_empty();
    let invalid_host = hosts.iter().any(|host| !is_host(host.as_bytes()));
    hosts.len() > 1 || invalid_host || encodings.len() > 1 || !chunked || without_length
}

fn is_host(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else {
        return false;
    };
    let uri: Result<http::Uri, _> = format!("http://{host}/").parse();
    let port = host.rsplit_once(']').map_or(host, |(_, port)| port).split_once(':');
    let numeric = port.is_none_or(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let whole = uri.is_ok_and(|uri| uri.authority().is_some_and(|authority| authority.as_str() == host));
    host.is_empty() || (whole && numeric && !host.contains('@'))
}

/// The upload in a complete request, or `None` if the request must be refused.
#[must_use]
pub fn upload(headers: &HeaderMap, body: &Bytes, mode: Base64, max_metadata: usize) -> Option<Upload> {
    let outer = headers.get(header::CONTENT_TYPE);
    // Two different types contradict each other.
    if headers
        .get_all(header::CONTENT_TYPE)
        .iter()
        .any(|other| Some(other) != outer)
    {
        return None;
    }
    let (boundary, plain) = match content_type(outer) {
        ContentType::Invalid => return None,
        ContentType::Plain => (None, true),
        ContentType::Multipart(boundary) => (Some(boundary), false),
        ContentType::Undelimited => (Some(first_line(body)?), false),
    };
    // A fuzzer never finds a matching digest.
    let codings = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let coded = codings
        .map(<[u8]>::trim_ascii)
        .any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"));
    if coded
        || ["content-md5", "content-digest", "repr-digest", "digest"]
            .iter()
            .any(|name| headers.contains_key(*name))
    {
        return None;
    }
    let mut upload = match boundary {
        None => Upload {
            content_type: outer.cloned(),
            json: None,
            content: body.clone(),
            base64: None,
        },
        Some(boundary) => split(body, &boundary, max_metadata).ok()?,
    };
    upload.content = decode(
        mode,
        !plain,
        upload.base64,
        upload.content_type.as_ref(),
        &upload.content,
    )?;
    upload.base64 = None;
    Some(upload)
}

/// The value of the first of `fields` in the JSON of an upload: in its object `metadata`, or else at the top level.
#[must_use]
pub fn field(json: &Bytes, fields: &[&str]) -> Option<String> {
    let document: Map<String, Value> = serde_json::from_slice(json).ok()?;
    let nested = document.get("metadata").and_then(Value::as_object);
    for object in [nested, Some(&document)].into_iter().flatten() {
        for name in fields {
            match object.get(*name) {
                Some(Value::String(text)) => return Some(text.clone()),
                Some(Value::Number(number)) => return Some(number.to_string()),
                _ => {}
            }
        }
    }
    None
}
