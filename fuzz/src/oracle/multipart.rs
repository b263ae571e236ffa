//! Splits a complete multipart body.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use kazoo_storage::Metadata;

/// Number of bytes between the parts of a multipart body that the crate always accepts.
pub const BETWEEN_PARTS: usize = 16 << 10;

/// Returns `true` if `body` cannot exceed a limit on the bytes between its parts.
#[must_use]
pub fn is_small(body: &[u8]) -> bool {
    body.len() <= BETWEEN_PARTS
}

/// The form of a body according to its `content-type`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentType {
    Plain,
    Multipart(String),
    /// Multipart without a `boundary` parameter: the boundary is in the body.
    Undelimited,
    /// Multipart with an invalid boundary.
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

/// The boundary in the first line of a body, which may follow a line break.
#[must_use]
pub fn first_line(body: &[u8]) -> Option<String> {
    let text: String = body.iter().map(|byte| char::from(*byte)).collect();
    let (line, _) = text.strip_prefix("\r\n").unwrap_or(&text).split_once("\r\n")?;
    let boundary = line.strip_prefix("--")?.trim_end_matches([' ', '\t']);
    (line.len() <= 202 && is_boundary(boundary)).then(|| boundary.to_owned())
}

/// The headers and the content of a part.
pub type Part = (Vec<(String, String)>, Bytes);

/// The delimiter lines of `body` (RFC 2046): start, end, and `true` if the delimiter closes the body. Tries every position.
#[must_use]
pub fn delimiters(body: &[u8], boundary: &str) -> Vec<(usize, usize, bool)> {
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

/// The parts of a complete multipart body, cut at its delimiter lines.
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
        // From the line break after one delimiter to the one before the next.
        let text = body.get(pair[0].1..pair[1].0)?;
        let head = (4..=text.len()).find(|end| text[..*end].ends_with(b"\r\n\r\n"))?;
        let content = text.get(head..text.len() - 2).unwrap_or_default();
        Some((headers(&text[2..head - 2], boundary)?, Bytes::copy_from_slice(content)))
    });
    parts.collect()
}

/// The headers in `block`. Each line ends with a line break.
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

/// Encodes `text` as ISO 8859-1.
fn latin(text: &str) -> Vec<u8> {
    text.chars().map(|letter| u8::try_from(letter).unwrap()).collect()
}

/// The value of the header `name` of a part. Two different values are an error.
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

/// An upload without its multipart envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    pub content_type: Option<HeaderValue>,
    pub json: Option<Bytes>,
    pub content: Bytes,
    /// `Some(true)` if the part declares base64, `Some(false)` if it declares an identity encoding.
    pub base64: Option<bool>,
}

/// The upload in a multipart body, or the status of its refusal.
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
        let mut declared = None;
        for (_, value) in headers.iter().filter(|(name, _)| name == "content-transfer-encoding") {
            let base64 = match &*value.to_ascii_lowercase() {
                "base64" => true,
                "7bit" | "8bit" | "binary" => false,
                _ => return Err(refused),
            };
            if declared.is_some_and(|declared| declared != base64) {
                return Err(refused);
            }
            declared = Some(base64);
        }
        Ok(declared)
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
