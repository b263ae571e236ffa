//! Finds the [`Cause`] of a failure. No I/O.

use std::{error::Error as StdError, io};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Response, header};
use kazoo_storage_client::{Failure, FailureKind, FetchedFile};
use rustls::CertificateError;
use serde_json::Value;

use super::{
    cause::Cause,
    sample::Quirk,
    scenario::{BodyForm, Host, Scenario},
};

/// The circumstances of a request.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent fact")]
pub(crate) struct Context {
    pub(crate) body_form: BodyForm,
    pub(crate) quirk: Quirk,
    /// `true` if the query contains the name of a file.
    pub(crate) by_query: bool,
    /// `true` if the URL has credentials that this release spells differently for a fetch.
    pub(crate) mangles_credentials: bool,
    /// `true` if this release sends the URL normalized, and the URL works as written.
    pub(crate) normalized: bool,
    pub(crate) host: Host,
    /// `true` if the same file was stored just before.
    pub(crate) repeated: bool,
}

impl Context {
    /// Returns the circumstances of an ordinary file in `scenario`.
    pub(crate) fn of(scenario: &Scenario) -> Self {
        Self {
            body_form: scenario.body_form,
            quirk: Quirk::None,
            by_query: false,
            mangles_credentials: scenario.mangles_credentials(),
            normalized: false,
            host: scenario.host(),
            repeated: false,
        }
    }
}

/// The result of a fetch at the URL at which the file was stored, if this release fetches another URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoredUrlFetch {
    Failed,
    OtherContent,
    File,
}

/// Returns the cause of a failed store.
pub(crate) fn store(failure: &Failure, context: Context) -> Cause {
    let answer = match answer(failure, context) {
        Ok(answer) => answer,
        Err(cause) => return cause,
    };
    let ours = our_error(answer);
    match answer.status().as_u16() {
        300..=399 => Cause::UnsupportedRedirect,
        413 if ours.is_some() => Cause::MaxBody,
        413 => Cause::ProxyBodyLimit,
        507 => Cause::StorageFull,
        501 => Cause::MethodNotAllowed,
        502 | 504 => Cause::BadGateway,
        _ if failure.kind() == FailureKind::Crash => Cause::UnknownStatus,
        500..=599 => Cause::ServerError,
        status if context.repeated || matches!(status, 409 | 412) => Cause::NoOverwrite,
        400..=499 if context.normalized => Cause::NormalizedUrlFails,
        _ if context.quirk != Quirk::None => for_quirk(context.quirk),
        401 | 403 | 407 => credentials(ours.is_some()),
        405 => Cause::MethodNotAllowed,
        404 | 410 if ours.is_some() => Cause::WrongPath,
        404 | 410 => Cause::OtherServer,
        _ => match ours.as_deref() {
            Some("invalid_base64") => Cause::Base64Expected,
            Some("invalid_probe") if context.body_form == BodyForm::Base64 => Cause::Base64NotDecoded,
            Some("invalid_probe" | "invalid_multipart") => Cause::UploadAltered,
            Some("invalid_key") if context.by_query => Cause::QueryLost,
            None if context.body_form != BodyForm::Raw => Cause::MultipartRefused,
            _ => Cause::Refused,
        },
    }
}

/// Returns the cause of a failed fetch.
pub(crate) fn fetch(failure: &Failure, context: Context, at_stored_url: StoredUrlFetch) -> Cause {
    let answer = match answer(failure, context) {
        Ok(answer) => answer,
        Err(cause) => return cause,
    };
    let ours = our_error(answer).is_some();
    match answer.status().as_u16() {
        200..=299 => Cause::FetchNot200,
        300..=399 => Cause::UnsupportedRedirect,
        502 | 504 => Cause::BadGateway,
        _ if failure.kind() == FailureKind::Crash => Cause::UnknownStatus,
        500..=599 => Cause::ServerError,
        400..=499 if context.normalized => Cause::NormalizedUrlFails,
        401 | 403 | 407 if context.mangles_credentials => Cause::MangledCredentials,
        401 | 403 | 407 => credentials(ours),
        _ if context.by_query => Cause::QueryLost,
        _ if at_stored_url != StoredUrlFetch::Failed => Cause::DoubledPathNotFound,
        _ if context.quirk != Quirk::None => for_quirk(context.quirk),
        404 | 410 => Cause::NotStored,
        _ => Cause::Refused,
    }
}

/// Returns the cause of content that differs from what was `sent`. `is_older` is `true` if it was stored before under the same
/// name.
pub(crate) fn content(
    sent: &[u8],
    fetched: &FetchedFile,
    is_older: bool,
    context: Context,
    at_stored_url: StoredUrlFetch,
) -> Cause {
    let got = &*fetched.content;
    let headers = fetched.answer.headers();
    let has = |name, text: &[u8]| {
        headers
            .get(name)
            .is_some_and(|value| value.as_bytes().starts_with(text))
    };
    let in_parts = got.starts_with(b"--") || got.starts_with(b"\r\n--");
    if headers.contains_key(header::CONTENT_ENCODING) || got.starts_with(&[0x1f, 0x8b]) {
        Cause::Compressed
    } else if got.trim_ascii() == STANDARD.encode(sent).as_bytes() {
        Cause::Base64NotDecoded
    } else if in_parts && context.body_form != BodyForm::Raw {
        Cause::MultipartNotParsed
    } else if has(header::CONTENT_TYPE, b"text/html") || got.starts_with(b"<!") || got.starts_with(b"<html") {
        Cause::HtmlPage
    } else if is_older {
        Cause::Stale
    } else if got.is_empty() {
        Cause::EmptyResponse
    } else if sent.starts_with(got) {
        Cause::Truncated
    } else if at_stored_url == StoredUrlFetch::File {
        Cause::DoubledPathNotFound
    } else {
        Cause::Altered
    }
}

/// Returns the response that the cause of a failure depends on, or else the cause.
fn answer(failure: &Failure, context: Context) -> Result<&Response<Bytes>, Cause> {
    let tried = failure.tried();
    let is_here = !tried.is_empty() && tried.iter().all(|address| address.ip().is_loopback());
    Err(match failure.kind() {
        FailureKind::NotSent => Cause::RequestNotSent,
        FailureKind::Resolve => Cause::HostNotFound,
        FailureKind::Connect if context.host == Host::Name && is_here => Cause::LoopbackName,
        FailureKind::Connect => Cause::ConnectionRefused,
        FailureKind::Tls => certificate(failure),
        FailureKind::Broken => Cause::ConnectionClosed,
        FailureKind::Truncated => Cause::Truncated,
        FailureKind::TooLong => Cause::ResponseTooLong,
        FailureKind::TimedOut => Cause::TimedOut,
        FailureKind::Waiting => Cause::EndlessRetry,
        FailureKind::Redirect => Cause::UnsupportedRedirect,
        _ => return failure.answer().ok_or(Cause::Refused),
    })
}

fn certificate(failure: &Failure) -> Cause {
    let mut error = failure.source();
    while let Some(link) = error {
        // An I/O error hides the error that it wraps from its sources.
        let inner = link.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let inner = inner.map_or(link, |inner| inner);
        if let Some(rustls::Error::InvalidCertificate(why)) = inner.downcast_ref() {
            return match why {
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Cause::ExpiredCertificate,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    Cause::CertificateNameMismatch
                }
                _ => Cause::UntrustedCertificate,
            };
        }
        error = inner.source();
    }
    Cause::TlsHandshakeFailed
}

fn credentials(ours: bool) -> Cause {
    if ours {
        Cause::WrongCredentials
    } else {
        Cause::ProxyCredentials
    }
}

/// Returns the cause of a failure of a file with this quirk, since a file without one works.
fn for_quirk(quirk: Quirk) -> Cause {
    match quirk {
        Quirk::None => Cause::Refused,
        Quirk::Empty => Cause::EmptyFile,
        Quirk::Large => Cause::LargeFile,
        Quirk::Escaped => Cause::EscapedName,
        Quirk::NonAscii => Cause::NonAsciiName,
    }
}

/// Returns the `error` of a kazoo-storage response, or `None` for a response of another server.
pub(crate) fn our_error(answer: &Response<Bytes>) -> Option<String> {
    let media_type = answer.headers().get(header::CONTENT_TYPE)?;
    if media_type.as_bytes() != b"application/json" {
        return None;
    }
    let body: Value = serde_json::from_slice(answer.body()).ok()?;
    let is_ours = body.get("message")?.is_string() && body.get("status")? == answer.status().as_u16();
    is_ours
        .then(|| body.get("error")?.as_str().map(str::to_owned))
        .flatten()
}
