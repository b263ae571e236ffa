//! The parameters of a request, and its body.

use std::{fmt::Display, time::SystemTime};

use form_urlencoded::parse;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Incoming};
use kazoo_storage::{Error, ErrorKind};
use serde::de::DeserializeOwned;

/// Number of rows in a page if no other is asked for.
const PAGE: i64 = 100;

/// Maximum number of rows in a page.
const MAX_PAGE: usize = 1000;

/// Maximum length of a body, in bytes.
const MAX_BODY: usize = 64 << 10;

/// The captured segment of the path, and the parameters of the query. Each is taken once, and [`end`](Self::end) refuses
/// the others.
pub(super) struct Parameters<'a> {
    captured: Option<String>,
    query: Vec<(std::borrow::Cow<'a, str>, std::borrow::Cow<'a, str>)>,
}

impl<'a> Parameters<'a> {
    pub(super) fn new(captured: Option<String>, query: Option<&'a str>) -> Self {
        Self {
            captured,
            query: parse(query.unwrap_or_default().as_bytes()).collect(),
        }
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
    let too_large = || {
        let message = format!("the body is longer than {MAX_BODY} bytes");
        Error::new(ErrorKind::TooLarge, message)
    };
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_large());
    }
    let read = Limited::new(body, MAX_BODY).collect().await;
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
    serde_json::from_slice(text).map_err(|error| mismatch(&error))
}
