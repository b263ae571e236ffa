//! The parameters of a request, and its body.

use std::{borrow::Cow, fmt::Display, time::SystemTime};

use form_urlencoded::parse;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Incoming};
use kazoo_storage::{BlobKey, Error, ErrorKind};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Number of rows in a page if no other is asked for.
const PAGE: i64 = 100;

/// Maximum number of rows in a page.
const MAX_PAGE: usize = 1000;

/// Maximum length of a body, in bytes.
const MAX_BODY: usize = 64 << 10;

/// Maximum length of a parameter, in bytes. The longest one is a cursor with a key, each byte of which may be encoded.
const MAX_TEXT: usize = 3 * BlobKey::MAX_LEN + 64;

/// The captured segment of the path, and the parameters of the query. Each is taken once, and [`end`](Self::end) refuses
/// the others.
///
/// None is longer than [`MAX_TEXT`] or has control characters: no database accepts NUL everywhere, and the log and the audit trail show
/// some of them.
pub(super) struct Parameters<'a> {
    captured: Option<String>,
    query: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Parameters<'a> {
    pub(super) fn new(captured: Option<String>, query: Option<&'a str>) -> Result<Self, Error> {
        let query = query.unwrap_or_default();
        if percent_decode_str(query).decode_utf8().is_err() {
            return Err(invalid("the query", "is not UTF-8"));
        }
        let query: Vec<_> = parse(query.as_bytes()).collect();
        let in_path = captured.as_deref().map(|text| ("the last name in the path", text));
        let in_query = query
            .iter()
            .flat_map(|(name, text)| [("a name in the query", &**name), (&**name, &**text)]);
        for (name, text) in in_path.into_iter().chain(in_query) {
            if text.len() > MAX_TEXT {
                return Err(invalid(name, &format!("is longer than {MAX_TEXT} bytes")));
            }
            if text.contains(char::is_control) {
                return Err(invalid(name, "has a control character"));
            }
        }
        Ok(Self { captured, query })
    }

    /// Returns the captured segment of the path.
    pub(super) fn captured(&mut self) -> String {
        self.captured.take().unwrap_or_default()
    }

    /// Returns the text of the parameter `name`.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let at = self.query.iter().position(|(found, _)| found == name)?;
        Some(self.query.remove(at).1.into_owned())
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<bool, Error> {
        let Some(text) = self.text(name) else { return Ok(false) };
        text.parse().map_err(|_| invalid(name, "must be `true` or `false`"))
    }

    pub(super) fn time(&mut self, name: &str) -> Result<Option<SystemTime>, Error> {
        self.text(name).map(|text| time(name, &text)).transpose()
    }

    pub(super) fn number(&mut self, name: &str) -> Result<Option<i64>, Error> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = text.parse().map_err(|_| invalid(name, "must be a number"))?;
        Ok(Some(number))
    }

    /// Takes the number of rows in a page, `limit`.
    pub(super) fn limit(&mut self) -> Result<usize, Error> {
        let limit = self.number("limit")?.unwrap_or(PAGE);
        let limit = usize::try_from(limit)
            .ok()
            .filter(|limit| (1..=MAX_PAGE).contains(limit));
        limit.ok_or_else(|| invalid("limit", "must be a number from 1 to 1000"))
    }

    /// Returns `true` if all parameters of the query were taken.
    pub(super) fn is_empty(&self) -> bool {
        self.query.is_empty()
    }

    /// Refuses parameters that were not taken.
    pub(super) fn end(&self) -> Result<(), Error> {
        match self.query.first() {
            Some((name, _)) => Err(invalid(name, "is unknown here, or set twice; see GET /v1/openapi.json")),
            None => Ok(()),
        }
    }
}

/// Reads a time in UTC.
pub(super) fn time(name: &str, text: &str) -> Result<SystemTime, Error> {
    humantime::parse_rfc3339(text).map_err(|_| invalid(name, "must be a time in UTC such as 2026-11-29T10:00:00Z"))
}

pub(super) fn invalid(name: &str, fault: &str) -> Error {
    Error::new(ErrorKind::InvalidRequest, format!("`{name}` {fault}"))
}

/// Reads a JSON object; an empty body is an empty object.
pub(super) async fn body<T: DeserializeOwned>(body: Incoming) -> Result<T, Error> {
    body_of(MAX_BODY, body).await
}

/// Reads a JSON object of at most `max` bytes, as [`body`] does.
pub(super) async fn body_of<T: DeserializeOwned>(max: usize, body: Incoming) -> Result<T, Error> {
    let too_large = || {
        let message = format!("the body is longer than {max} bytes");
        Error::new(ErrorKind::TooLarge, message)
    };
    if body.size_hint().lower() > max as u64 {
        return Err(too_large());
    }
    let read = Limited::new(body, max).collect().await;
    let bytes = read.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            too_large()
        } else {
            Error::from_body(error)
        }
    })?;
    let bytes = bytes.to_bytes();
    let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
    let mismatch = |fault: &dyn Display| {
        let message = format!("the body is not the JSON object that GET /v1/openapi.json describes: {fault}");
        Error::new(ErrorKind::InvalidRequest, message)
    };
    // A list of the values would be accepted, too.
    if text.trim_ascii_start().first() != Some(&b'{') {
        return Err(mismatch(&"it does not begin with `{`"));
    }
    let parsed = serde_json::from_slice(text).map_err(|error| mismatch(&error))?;
    if serde_json::from_slice(text).is_ok_and(|value| has_nul(&value)) {
        return Err(mismatch(&"a text has the character U+0000"));
    }
    Ok(parsed)
}

/// Returns `true` if a text in `value` has a NUL, which PostgreSQL does not accept.
fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(has_nul),
        Value::Object(fields) => fields.values().any(has_nul),
        _ => false,
    }
}
