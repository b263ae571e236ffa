//! [`Outgoing`]: a request as KAZOO puts it on the wire. No I/O.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header, uri::PathAndQuery};
use kazoo_storage::{Error, ErrorKind, Result, settings::StorageUrl};

use super::dialect::Dialect;

/// The header in which older releases repeat the `content-type`.
const CONTENT_TYPE_AGAIN: HeaderName = HeaderName::from_static("content_type");

/// A request and its URL.
///
/// The request's target is path and query, as in the request line, and its headers are in KAZOO's order, so that hyper's
/// HTTP/1 client writes the same bytes as KAZOO.
#[derive(Clone)]
pub struct Outgoing {
    /// The requested URL. For a store, KAZOO keeps it to fetch the file.
    pub url: StorageUrl,
    /// The request.
    pub request: Request<Bytes>,
}

impl Outgoing {
    /// Builds a request with KAZOO's headers.
    pub(super) fn new(
        dialect: &Dialect,
        method: Method,
        url: StorageUrl,
        content_type: Option<HeaderValue>,
        body: Bytes,
    ) -> Result<Self> {
        let again = content_type.clone().filter(|_| dialect.repeats_content_type);
        // KAZOO keeps the URL unchanged; its HTTP client normalizes it for each request.
        let requested = if dialect.normalizes_url {
            check_characters(&url)?;
            url.normalized()
        } else {
            url.clone()
        };
        let headers = [
            (header::CONTENT_TYPE, content_type),
            (header::CONTENT_LENGTH, Some(body.len().into())),
            // KAZOO sends this header with an empty value.
            (header::TE, Some(HeaderValue::from_static(""))),
            (header::HOST, Some(host(&requested)?)),
            (header::AUTHORIZATION, authorization(&requested)?),
            (header::CONNECTION, Some(HeaderValue::from_static("keep-alive"))),
            (CONTENT_TYPE_AGAIN, again),
        ];
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = target(&requested)?;
        let headers = headers.into_iter().filter_map(|(name, value)| Some((name, value?)));
        request.headers_mut().extend(headers);
        Ok(Self { url, request })
    }

    /// Returns the same request for the URL of a redirect, with the credentials of that URL. A GET has no body.
    pub(super) fn redirected(&self, dialect: &Dialect, url: StorageUrl, method: Method) -> Result<Self> {
        if method == *self.request.method() {
            let content_type = self.request.headers().get(header::CONTENT_TYPE).cloned();
            let body = self.request.body().clone();
            return Self::new(dialect, method, url, content_type, body);
        }
        Self::new(dialect, method, url, None, Bytes::new())
    }
}

/// Omits the target and the body, which contain data about callers.
impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("method", self.request.method())
            .field("url", &self.url)
            .field("len", &self.request.body().len())
            .finish_non_exhaustive()
    }
}

/// Returns the error for a request that KAZOO does not send.
pub(super) fn not_sent(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidRequest, message)
}

/// Rejects characters that must be escaped: Erlang's HTTP client since OTP 22 sends no request for them.
fn check_characters(url: &StorageUrl) -> Result<()> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte);
    if url.path_and_query().bytes().all(is_plain) {
        Ok(())
    } else {
        Err(not_sent(
            "the request target has characters that must be escaped: Erlang since OTP 22 sends no request for it",
        ))
    }
}

/// Returns the target of a request: path and query.
fn target(url: &StorageUrl) -> Result<Uri> {
    let target = url.path_and_query();
    let slash = if target.starts_with('/') { "" } else { "/" };
    PathAndQuery::try_from(format!("{slash}{target}"))
        .map(Uri::from)
        .map_err(|error| {
            not_sent("the request target has characters that no request line can hold, such as a space")
                .with_source(error)
        })
}

fn host(url: &StorageUrl) -> Result<HeaderValue> {
    HeaderValue::try_from(url.host_and_port())
        .map_err(|error| not_sent("the host has characters that no header can hold").with_source(error))
}

/// Returns the `authorization` header for the credentials in the URL, which KAZOO does not decode.
fn authorization(url: &StorageUrl) -> Result<Option<HeaderValue>> {
    let Some(userinfo) = url.userinfo() else {
        return Ok(None);
    };
    let colon = if userinfo.contains(':') { "" } else { ":" };
    let encoded = STANDARD.encode(format!("{userinfo}{colon}"));
    let mut value = HeaderValue::try_from(format!("Basic {encoded}"))
        .map_err(|error| not_sent("the credentials have characters that no header can hold").with_source(error))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> StorageUrl {
        StorageUrl::parse(text).unwrap()
    }

    #[test]
    fn the_target_is_path_and_query_as_written() {
        for (text, expected) in [
            ("http://h", "/"),
            ("http://h?x=/y", "/?x=/y"),
            ("http://u@h:1/a/../%2F/ü?b[c]=/#f", "/a/../%2F/ü?b[c]=/"),
        ] {
            assert_eq!(target(&url(text)).unwrap().to_string(), expected);
        }
        let error = target(&url("http://h/a b")).unwrap_err();
        assert!(error.message().contains("space"), "{error}");
    }

    #[test]
    fn credentials_are_sent_as_written() {
        let sent = |url: &StorageUrl| {
            let header = authorization(url).unwrap().unwrap();
            let encoded = header.to_str().unwrap().strip_prefix("Basic ").unwrap().to_owned();
            String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
        };
        for (userinfo, as_written, reassembled) in [
            ("user:p%40ss", "user:p%40ss", "userp%40ss:"),
            ("user:42secret", "user:42secret", "user:42secret"),
            ("user:007secret", "user:007secret", "user:7secret"),
            ("user:00", "user:00", "user:0"),
            ("token", "token:", "token:"),
        ] {
            let url = url(&format!("http://{userinfo}@h:80/p"));
            assert_eq!(sent(&url), as_written);
            assert_eq!(sent(&url.reassembled().unwrap()), reassembled);
        }
        assert_eq!(authorization(&url("http://h/p")).unwrap(), None);
    }
}
