//! From what was seen to its cause. No I/O.

use std::{error::Error as StdError, io};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Response, header};
use kazoo_storage_client::{Failure, FailureKind, Fetched};
use rustls::CertificateError;
use serde_json::Value;

use super::{
    cause::Cause,
    sample::Odd,
    way::{Host, Sends},
};

/// What was tried.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Context {
    pub(crate) sends: Sends,
    pub(crate) odd: Odd,
    /// Whether the query tells where a file is.
    pub(crate) by_query: bool,
    /// Whether the URL has a user whom this release writes in another way when it fetches.
    pub(crate) mangles: bool,
    /// `true` if this release rewrites the URL and the rewritten URL works.
    pub(crate) rewritten: bool,
    pub(crate) host: Host,
    /// Whether the same file was stored just before.
    pub(crate) again: bool,
}

/// What comes if a file's own URL is asked for, where this release asks for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plain {
    Nothing,
    Something,
    File,
}

/// Why a file was not stored.
pub(crate) fn store(failure: &Failure, context: Context) -> Cause {
    if let Some(cause) = unanswered(failure, context) {
        return cause;
    }
    let Some(answer) = failure.answer() else {
        return Cause::Refused;
    };
    let ours = our_error(answer);
    match answer.status().as_u16() {
        300..=399 => Cause::RedirectCrash,
        413 if ours.is_some() => Cause::MaxBody,
        413 => Cause::ProxyLimit,
        507 => Cause::NoSpace,
        501 => Cause::NoUploads,
        502 | 504 => Cause::Gateway,
        _ if failure.kind() == FailureKind::Crash => Cause::UnknownStatus,
        500..=599 => Cause::ServerError,
        status if context.again || matches!(status, 409 | 412) => Cause::NoOverwrite,
        400..=499 if context.rewritten => Cause::RewrittenUrl,
        _ if context.odd != Odd::Nothing => of_odd(context.odd),
        401 | 403 | 407 => credentials(ours.is_some()),
        405 => Cause::NoUploads,
        404 | 410 if ours.is_some() => Cause::WrongPath,
        404 | 410 => Cause::NotOurs,
        _ => match ours.as_deref() {
            Some("invalid_base64") => Cause::Base64Expected,
            Some("invalid_probe") if context.sends == Sends::Base64 => Cause::Base64Kept,
            Some("invalid_probe" | "invalid_multipart") => Cause::NotWhole,
            Some("invalid_key") if context.by_query => Cause::QueryLost,
            None if context.sends != Sends::Raw => Cause::NoMultipart,
            _ => Cause::Refused,
        },
    }
}

/// Why a file that was stored was not fetched.
pub(crate) fn fetch(failure: &Failure, context: Context, plain: Plain) -> Cause {
    if let Some(cause) = unanswered(failure, context) {
        return cause;
    }
    let Some(answer) = failure.answer() else {
        return Cause::Refused;
    };
    let ours = our_error(answer).is_some();
    match answer.status().as_u16() {
        200..=299 => Cause::OtherThan200,
        300..=399 => Cause::RedirectCrash,
        502 | 504 => Cause::Gateway,
        _ if failure.kind() == FailureKind::Crash => Cause::UnknownStatus,
        500..=599 => Cause::ServerError,
        400..=499 if context.rewritten => Cause::RewrittenUrl,
        401 | 403 | 407 if context.mangles => Cause::MangledCredentials,
        401 | 403 | 407 => credentials(ours),
        _ if context.by_query => Cause::QueryLost,
        _ if plain != Plain::Nothing => Cause::NotDoubled,
        _ if context.odd != Odd::Nothing => of_odd(context.odd),
        404 | 410 => Cause::NotKept,
        _ => Cause::Refused,
    }
}

/// Why other bytes came than were `sent`; `is_older` is whether they were sent under that name before.
pub(crate) fn content(sent: &[u8], fetched: &Fetched, is_older: bool, context: Context, plain: Plain) -> Cause {
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
        Cause::Base64Kept
    } else if in_parts && context.sends != Sends::Raw {
        Cause::MultipartKept
    } else if has(header::CONTENT_TYPE, b"text/html") || got.starts_with(b"<!") || got.starts_with(b"<html") {
        Cause::Page
    } else if is_older {
        Cause::Stale
    } else if got.is_empty() {
        Cause::EmptyBack
    } else if sent.starts_with(got) {
        Cause::Cut
    } else if plain == Plain::File {
        Cause::NotDoubled
    } else {
        Cause::Altered
    }
}

/// The cause of a failure that is no answer, or that has nothing to do with the file.
fn unanswered(failure: &Failure, context: Context) -> Option<Cause> {
    let tried = failure.tried();
    let is_here = !tried.is_empty() && tried.iter().all(|address| address.ip().is_loopback());
    Some(match failure.kind() {
        FailureKind::NotSent => Cause::NotSent,
        FailureKind::Resolve => Cause::NoAddress,
        FailureKind::Connect if context.host == Host::Name && is_here => Cause::OwnName,
        FailureKind::Connect => Cause::NobodyListens,
        FailureKind::Tls => certificate(failure),
        FailureKind::Broken => Cause::Closed,
        FailureKind::Truncated => Cause::Cut,
        FailureKind::TooLong => Cause::TooLong,
        FailureKind::TimedOut => Cause::TimedOut,
        FailureKind::Waiting => Cause::ComesAgain,
        FailureKind::Redirect => Cause::RedirectCrash,
        _ => return None,
    })
}

fn certificate(failure: &Failure) -> Cause {
    let mut error = failure.source();
    while let Some(link) = error {
        // What an I/O error wraps is not among its sources: it speaks for it itself.
        let inner = link.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let inner = inner.map_or(link, |inner| inner);
        if let Some(rustls::Error::InvalidCertificate(why)) = inner.downcast_ref() {
            return match why {
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Cause::ExpiredCertificate,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Cause::OtherName,
                _ => Cause::UnknownAuthority,
            };
        }
        error = inner.source();
    }
    Cause::NoTls
}

fn credentials(ours: bool) -> Cause {
    if ours {
        Cause::WrongCredentials
    } else {
        Cause::ProxyCredentials
    }
}

/// The plain file was taken, so it is what sets this one apart.
fn of_odd(odd: Odd) -> Cause {
    match odd {
        Odd::Nothing => Cause::Refused,
        Odd::Empty => Cause::EmptyFile,
        Odd::Long => Cause::LongFile,
        Odd::Escaped => Cause::EscapedName,
        Odd::Unescaped => Cause::UnescapedName,
    }
}

/// The short name of an error of kazoo-storage; none if another speaks.
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
