//! What the crate should make of a request, done in the plainest way: everything is there at once, and nothing is fast.

use std::convert::Infallible;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{FutureExt as _, future, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header, request::Parts};
use kazoo_storage::{Base64, BlobKey, Metadata, Probe};
use serde_json::{Map, Value};

/// How many bytes between the parts of a multipart body are always taken.
pub const BETWEEN_PARTS: usize = 16 << 10;

/// Every use of the multipart parser on a body is this far from a limit of ours.
#[must_use]
pub fn is_small(body: &[u8]) -> bool {
    body.len() <= BETWEEN_PARTS
}

/// What a `content-type` says of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentType {
    Plain,
    Multipart(String),
    /// Multipart, and the boundary is in the body.
    Undelimited,
    /// Multipart, with a boundary that cannot be one.
    Invalid,
}

#[must_use]
pub fn content_type(value: Option<&HeaderValue>) -> ContentType {
    let text: String = value
        .map_or(&b""[..], HeaderValue::as_bytes)
        .iter()
        .map(|byte| char::from(*byte))
        .collect();
    let is_space = |letter: char| matches!(letter, ' ' | '\t');
    let mut params = text.split(';').map(|param| param.trim_matches(is_space));
    let essence = params.next().unwrap().to_ascii_lowercase();
    if essence != "multipart/form-data" && essence != "multipart/mixed" {
        return ContentType::Plain;
    }
    for param in params {
        if param.to_ascii_lowercase().starts_with("boundary=") {
            let mut boundary = &param["boundary=".len()..];
            if boundary.len() >= 2 && boundary.starts_with('"') && boundary.ends_with('"') {
                boundary = &boundary[1..boundary.len() - 1];
            }
            return if is_boundary(boundary) {
                ContentType::Multipart(boundary.to_owned())
            } else {
                ContentType::Invalid
            };
        }
    }
    ContentType::Undelimited
}

#[must_use]
pub fn is_boundary(text: &str) -> bool {
    (1..=200).contains(&text.len()) && text.chars().all(|letter| letter == ' ' || letter.is_ascii_graphic())
}

/// The boundary in the first line of a body, behind a line break.
#[must_use]
pub fn first_line(body: &[u8]) -> Option<String> {
    let text: String = body.iter().map(|byte| char::from(*byte)).collect();
    let (line, _) = text.strip_prefix("\r\n").unwrap_or(&text).split_once("\r\n")?;
    let boundary = line.strip_prefix("--")?.trim_end_matches([' ', '\t']);
    (line.len() <= 202 && is_boundary(boundary)).then(|| boundary.to_owned())
}

/// The parts of a whole multipart body, as `multer` reads it by itself.
#[must_use]
pub fn parts(body: &[u8], boundary: &str) -> Option<Vec<(HeaderMap, Bytes)>> {
    let body = Bytes::copy_from_slice(body);
    let body = stream::once(future::ready(Ok::<_, Infallible>(body)));
    let mut multipart = multer::Multipart::new(body, boundary);
    let read = async {
        let mut parts = Vec::new();
        while let Some(field) = multipart.next_field().await? {
            parts.push((field.headers().clone(), field.bytes().await?));
        }
        Ok::<_, multer::Error>(parts)
    };
    // It has everything, and waits for nothing.
    read.now_or_never()?.ok()
}

/// The contents of the parts of a multipart body, each delimiter searched for from the start; none if the body is not
/// laid out as KAZOO does it.
#[must_use]
pub fn contents<'b>(body: &'b [u8], boundary: &str) -> Option<Vec<&'b [u8]>> {
    fn find(text: &[u8], what: &[u8]) -> Option<usize> {
        text.windows(what.len()).position(|window| window == what)
    }
    let delimiter = format!("\r\n--{boundary}");
    let mut rest = body.strip_prefix(delimiter.as_bytes())?;
    let mut contents = Vec::new();
    while let Some(part) = rest.strip_prefix(b"\r\n") {
        let content = &part[find(part, b"\r\n\r\n")? + 4..];
        let end = find(content, delimiter.as_bytes())?;
        contents.push(&content[..end]);
        rest = &content[end + delimiter.len()..];
    }
    rest.starts_with(b"--").then_some(contents)
}

/// A plain upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    pub content_type: Option<HeaderValue>,
    pub json: Option<Bytes>,
    pub content: Bytes,
}

/// The upload that a multipart body holds, or the status that it is refused with.
pub fn split(body: &[u8], boundary: &str, max_metadata: usize) -> Result<Upload, StatusCode> {
    let refused = StatusCode::BAD_REQUEST;
    let parts = parts(body, boundary).ok_or(refused)?;
    let mut parts = parts.into_iter().peekable();
    let is_json = |(headers, _): &(HeaderMap, Bytes)| {
        let value = headers
            .get(header::CONTENT_TYPE)
            .map_or(&b""[..], HeaderValue::as_bytes);
        let essence = value.split(|byte| *byte == b';').next().unwrap();
        essence.trim_ascii().eq_ignore_ascii_case(b"application/json")
    };
    let json = parts.next_if(is_json).map(|(_, json)| json);
    if json.as_ref().is_some_and(|json| json.len() > max_metadata) {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    if let Some(json) = &json {
        Metadata::from_json(json.clone()).map_err(|_| refused)?;
    }
    let (headers, content) = parts.next().ok_or(refused)?;
    if parts.next().is_some() {
        return Err(refused);
    }
    Ok(Upload {
        content_type: headers.get(header::CONTENT_TYPE).cloned(),
        json,
        content,
    })
}

/// What a body stands for, base64 or not; none if it is taken for base64 and is none.
#[must_use]
pub fn decode(mode: Base64, media_part: bool, content_type: Option<&HeaderValue>, body: &Bytes) -> Option<Bytes> {
    let start = &body[..body.len().min(1024)];
    let whole = body.len() <= 1024;
    let letters = |text: &[u8]| {
        text.iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(byte))
    };
    let looks_encoded = if whole {
        let padding = start.iter().rev().take_while(|byte| **byte == b'=').count().min(2);
        !start.is_empty() && start.len().is_multiple_of(4) && letters(&start[..start.len() - padding])
    } else {
        letters(start)
    };
    let encoded = match (mode, media_part) {
        (Base64::Off, _) | (Base64::Detect, false) => false,
        (Base64::Declared, true) => true,
        (Base64::Declared, false) => looks_encoded,
        (Base64::Detect, true) => {
            let is_probe = || whole && STANDARD.decode(start).is_ok_and(|text| Probe::is_content(&text));
            looks_encoded && (!content_type.is_some_and(is_textual) || is_probe())
        }
    };
    if encoded {
        STANDARD.decode(body).ok().map(Bytes::from)
    } else {
        Some(body.clone())
    }
}

fn is_textual(content_type: &HeaderValue) -> bool {
    let value = String::from_utf8_lossy(content_type.as_bytes()).to_ascii_lowercase();
    let essence = value.split(';').next().unwrap().trim_matches([' ', '\t']);
    let exact = ["application/json", "application/xml"].contains(&essence);
    exact || essence.starts_with("text/") || essence.ends_with("+json") || essence.ends_with("+xml")
}

/// The segments that a path names, if each holds the rules and they are at most as long as `keys` keys.
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

/// Percent-decodes `text`; what is no escape stays as it is.
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

/// Every segment of `key` is one that cannot name another place.
pub fn assert_safe(key: &BlobKey) {
    assert!((1..=BlobKey::MAX_SEGMENTS).contains(&key.segments().count()), "{key}");
    assert!(key.segments().map(|segment| segment.len() + 1).sum::<usize>() <= BlobKey::MAX_LEN + 1, "{key}");
    for segment in key.segments() {
        assert!(!segment.is_empty() && is_segment(segment), "{key}");
    }
}

/// Whether it is in doubt where an upload by HTTP/1 ends, or whom it is for.
#[must_use]
pub fn is_doubtful(head: &Parts) -> bool {
    let all = |name: HeaderName| head.headers.get_all(name).iter().collect::<Vec<_>>();
    let hosts = all(header::HOST);
    let encodings = all(header::TRANSFER_ENCODING);
    let chunked = encodings
        .iter()
        .all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    let without_length = head.version == Version::HTTP_10 && all(header::CONTENT_LENGTH).is_empty();
    let odd_host = hosts.iter().any(|host| !is_host(host.as_bytes()));
    hosts.len() > 1 || odd_host || encodings.len() > 1 || !chunked || without_length
}

fn is_host(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let uri: Result<http::Uri, _> = format!("http://{host}/").parse();
    let port = host.rsplit_once(']').map_or(host, |(_, port)| port).split_once(':');
    let numeric = port.is_none_or(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let whole = uri.is_ok_and(|uri| uri.authority().is_some_and(|authority| authority.as_str() == host));
    host.is_empty() || (whole && numeric && !host.contains('@'))
}

/// The upload that a whole request makes, or none if it has to be refused.
#[must_use]
pub fn upload(headers: &HeaderMap, body: &Bytes, mode: Base64, max_metadata: usize) -> Option<Upload> {
    let outer = headers.get(header::CONTENT_TYPE);
    let (boundary, plain) = match content_type(outer) {
        ContentType::Invalid => return None,
        ContentType::Plain => (None, true),
        ContentType::Multipart(boundary) => (Some(boundary), false),
        ContentType::Undelimited => (Some(first_line(body)?), false),
    };
    let mut upload = match boundary {
        None => Upload {
            content_type: outer.cloned(),
            json: None,
            content: body.clone(),
        },
        Some(boundary) => split(body, &boundary, max_metadata).ok()?,
    };
    upload.content = decode(mode, !plain, upload.content_type.as_ref(), &upload.content)?;
    Some(upload)
}

/// The value of the first of `fields` in the JSON of an upload: in the object `metadata` in it, or else in itself.
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
