//! What the crate should make of a request, done in the plainest way: everything is there at once, and nothing is fast.

use std::collections::HashSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header, request::Parts};
use kazoo_storage::{Base64, BlobKey, Metadata, probe::Probe};
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

/// The headers and the content of a part.
pub type Part = (Vec<(String, String)>, Bytes);

/// The lines of `body` that delimit parts: where each starts, where it ends, and whether it closes the body.
fn delimiters(body: &[u8], boundary: &str) -> Vec<(usize, usize, bool)> {
    let dashes = format!("--{boundary}");
    let line = |at: usize| {
        let begins = at == 0 || body[..at].ends_with(b"\r\n");
        let tail = body[at..].strip_prefix(dashes.as_bytes()).filter(|_| begins)?;
        let (closes, tail) = tail.strip_prefix(b"--").map_or((false, tail), |tail| (true, tail));
        let padding = tail.iter().take_while(|byte| b" \t".contains(byte)).count();
        let end = body.len() - tail.len() + padding;
        let ends = body[end..].starts_with(b"\r\n") || (closes && end == body.len());
        (ends && padding <= 64).then_some((at, end, closes))
    };
    (0..body.len()).filter_map(line).collect()
}

/// The parts of a whole multipart body, cut at its delimiter lines (RFC 2046).
#[must_use]
pub fn parts(body: &[u8], boundary: &str) -> Option<Vec<Part>> {
    let lines = delimiters(body, boundary);
    let (last, others) = lines.split_last()?;
    if !last.2 || others.iter().any(|(_, _, closes)| *closes) {
        return None;
    }
    let (preamble, dashes) = (&body[..lines[0].0], format!("--{boundary}"));
    if preamble.windows(dashes.len()).any(|window| window == dashes.as_bytes()) {
        return None;
    }
    let parts = lines.windows(2).map(|pair| {
        // From the line break that ends one delimiter to the one that begins the next.
        let text = body.get(pair[0].1..pair[1].0)?;
        let head = (4..=text.len()).find(|end| text[..*end].ends_with(b"\r\n\r\n"))?;
        let content = text.get(head..text.len() - 2).unwrap_or_default();
        Some((headers(&text[2..head - 2], boundary)?, Bytes::copy_from_slice(content)))
    });
    parts.collect()
}

/// The headers in `block`, each of whose lines ends with a line break.
fn headers(block: &[u8], boundary: &str) -> Option<Vec<(String, String)>> {
    let text: String = block.iter().map(|byte| char::from(*byte)).collect();
    let mut headers = Vec::<(String, String)>::new();
    for line in text.split_terminator("\r\n") {
        let is_control = |letter: char| letter != '\t' && (letter < ' ' || letter == '\x7f');
        if line.contains(is_control) || line.starts_with(&format!("--{boundary}")) {
            return None;
        }
        if line.starts_with([' ', '\t']) {
            let (_, value) = headers
                .last_mut()
                .filter(|_| !line.trim_matches([' ', '\t']).is_empty())?;
            *value = format!("{value}{line}").trim_matches([' ', '\t']).to_owned();
        } else {
            let (name, value) = line.split_once(':')?;
            HeaderName::from_bytes(&latin(name)).ok()?;
            headers.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
        }
    }
    Some(headers)
}

/// The bytes that the letters of `text` stand for.
fn latin(text: &str) -> Vec<u8> {
    text.chars().map(|letter| u8::try_from(letter).unwrap()).collect()
}

/// The value of the header `name` of a part; an error if it has two.
fn only(headers: &[(String, String)], name: &str) -> Result<Option<String>, StatusCode> {
    let mut values = headers
        .iter()
        .filter(|(other, _)| other == name)
        .map(|(_, value)| value);
    let first = values.next();
    match values.all(|value| Some(value) == first) {
        true => Ok(first.cloned()),
        false => Err(StatusCode::BAD_REQUEST),
    }
}

/// A plain upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    pub content_type: Option<HeaderValue>,
    pub json: Option<Bytes>,
    pub content: Bytes,
    /// The part is said to be base64, or said not to be.
    pub base64: Option<bool>,
}

/// The upload that a multipart body holds, or the status that it is refused with.
pub fn split(body: &[u8], boundary: &str, max_metadata: usize) -> Result<Upload, StatusCode> {
    let refused = StatusCode::BAD_REQUEST;
    let parts = parts(body, boundary).ok_or(refused)?;
    let encodings = |headers: &[(String, String)]| {
        let codings = headers.iter().filter(|(name, _)| name == "content-encoding");
        for coding in codings.flat_map(|(_, value)| value.split(',')) {
            if !["", "identity"].contains(&&*coding.trim_matches([' ', '\t']).to_ascii_lowercase()) {
                return Err(refused);
            }
        }
        let mut said = None;
        for (_, value) in headers.iter().filter(|(name, _)| name == "content-transfer-encoding") {
            let base64 = match &*value.to_ascii_lowercase() {
                "base64" => true,
                "7bit" | "8bit" | "binary" => false,
                _ => return Err(refused),
            };
            if said.is_some_and(|said| said != base64) {
                return Err(refused);
            }
            said = Some(base64);
        }
        Ok(said)
    };
    let mut parts = parts.into_iter().peekable();
    for (headers, _) in parts.clone() {
        only(&headers, "content-type")?;
        encodings(&headers)?;
    }
    let is_json = |(headers, _): &Part| {
        let value = only(headers, "content-type").unwrap().unwrap_or_default();
        let essence = value.split(';').next().unwrap();
        latin(essence).trim_ascii().eq_ignore_ascii_case(b"application/json")
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
    let content_type = only(&headers, "content-type")?;
    Ok(Upload {
        content_type: content_type.map(|value| HeaderValue::from_bytes(&latin(&value)).unwrap()),
        json,
        content,
        base64: encodings(&headers)?,
    })
}

/// What a body stands for, base64 or not; none if it is taken for base64 and is none. `said` is what the part says.
#[must_use]
pub fn decode(
    mode: Base64,
    media_part: bool,
    said: Option<bool>,
    content_type: Option<&HeaderValue>,
    body: &Bytes,
) -> Option<Bytes> {
    if let Some(base64) = said.filter(|_| media_part) {
        let joined: Vec<u8> = body.iter().copied().filter(|byte| !b" \t\r\n".contains(byte)).collect();
        return if base64 {
            STANDARD.decode(joined).ok().map(Bytes::from)
        } else {
            Some(body.clone())
        };
    }
    let encoded = match (mode, media_part) {
        (Base64::Off, _) | (Base64::Detect, false) => false,
        (Base64::Declared, true) => true,
        (Base64::Declared, false) | (Base64::Detect, true) => is_certain(content_type, body),
    };
    if encoded {
        STANDARD.decode(body).ok().map(Bytes::from)
    } else {
        Some(body.clone())
    }
}

/// The start of `body` is base64, of a file that can be named or of media with many different letters.
fn is_certain(content_type: Option<&HeaderValue>, body: &[u8]) -> bool {
    let start = &body[..body.len().min(1024)];
    let whole = body.len() <= 1024;
    let padding = start
        .iter()
        .rev()
        .take_while(|byte| whole && **byte == b'=')
        .count()
        .min(2);
    let letters = &start[..start.len() - padding];
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    let Ok(decoded) = STANDARD.decode(start) else {
        return false;
    };
    if start.is_empty() || !letters.iter().all(is_letter) {
        return false;
    }
    if content_type.is_some_and(is_textual) {
        return whole && Probe::is_content(&decoded);
    }
    let at = |from: usize, text: &[u8]| decoded.get(from..).is_some_and(|rest| rest.starts_with(text));
    let known: [&[u8]; 15] = [
        b"OggS\0",
        b"fLaC",
        b"caff\0\x01",
        b"#!AMR",
        b".snd",
        b"\x1a\x45\xdf\xa3",
        b"II*\0",
        b"MM\0*",
        b"%PDF-",
        b"%!PS",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"GIF8",
        b"PK\x03\x04",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    ];
    let boxed = [
        ("RIFF", "WAVE"),
        ("RIFX", "WAVE"),
        ("RF64", "WAVE"),
        ("RIFF", "AVI "),
        ("RIFF", "WEBP"),
        ("FORM", "AIF"),
    ];
    if known.iter().any(|text| at(0, text))
        || at(4, b"ftyp")
        || boxed
            .iter()
            .any(|(outer, inner)| at(0, outer.as_bytes()) && at(8, inner.as_bytes()))
        || (at(0, b"ID3")
            && decoded.len() > 5
            && (2..=4).contains(&decoded[3])
            && decoded[4] != 255
            && decoded[5] % 16 == 0)
    {
        return true;
    }
    let value = content_type
        .map_or(&b""[..], HeaderValue::as_bytes)
        .trim_ascii_start()
        .to_ascii_lowercase();
    let essence = value.split(|byte| *byte == b';').next().unwrap();
    let media: [&[u8]; 4] = [b"audio/", b"image/", b"video/", b"application/pdf"];
    let different = start.iter().collect::<HashSet<_>>().len();
    let frame = decoded.len() > 2 && {
        let [first, second, third] = [decoded[0], decoded[1], decoded[2]];
        let (version, layer, bitrate, rate) = (second >> 3 & 3, second >> 1 & 3, third >> 4, third >> 2 & 3);
        first == 255 && second >= 0xe0 && version != 1 && layer != 0 && bitrate != 0 && bitrate != 15 && rate != 3
    };
    media.iter().any(|kind| essence.starts_with(kind))
        && ((start.len() >= 256 && different >= 40) || (frame && different >= 8))
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
    assert!(
        key.segments().map(|segment| segment.len() + 1).sum::<usize>() <= BlobKey::MAX_LEN + 1,
        "{key}"
    );
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
    let Ok(host) = std::str::from_utf8(host) else {
        return false;
    };
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
    // Two types that differ contradict each other.
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
    // No fuzzer finds the digest of anything.
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
