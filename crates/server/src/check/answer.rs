//! An answer in a few words.

use std::error::Error as StdError;

use bytes::Bytes;
use http::{HeaderName, Response, header};
use kazoo_storage_client::Failure;

use super::{diagnose::our_error, secrets::Secrets};
use crate::log::chain;

/// How much of a text of the server's is shown, in characters.
const SHOWN: usize = 160;

/// What stands before the server's own message.
pub(crate) const OURS: &str = ", kazoo-storage: ";

/// The status, what the body is, and who says so; without `secrets`, which a page may repeat.
pub(crate) fn describe(answer: &Response<Bytes>, secrets: &Secrets) -> String {
    let status = answer.status();
    if our_error(answer).is_some() {
        let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        let message = body.get("message").and_then(|message| message.as_str());
        return format!("{status}{OURS}{}", secrets.hide(message.unwrap_or_default()));
    }
    let header = |name: HeaderName| answer.headers().get(name)?.to_str().ok();
    let mut text = status.to_string();
    if let Some(server) = header(header::SERVER) {
        text = format!("{text}, by {}", secrets.hide(server));
    }
    let len = answer.body().len();
    text = match header(header::CONTENT_TYPE) {
        Some(media_type) => format!("{text}, {len} bytes of {}", secrets.hide(media_type)),
        None => format!("{text}, {len} bytes"),
    };
    if let Some(encoding) = header(header::CONTENT_ENCODING) {
        text = format!("{text}, {}", secrets.hide(encoding));
    }
    match std::str::from_utf8(answer.body()) {
        Ok(body) if !status.is_success() && !body.trim().is_empty() => {
            let words: Vec<&str> = body.split_whitespace().collect();
            let body: String = secrets
                .hide(&words.join(" "))
                .chars()
                .filter(|c| !c.is_control())
                .take(SHOWN)
                .collect();
            format!("{text}: {body}")
        }
        _ => text,
    }
}

/// What came in place of a file: an answer, or what an answer was prevented by.
pub(crate) fn describe_failure(failure: &Failure, secrets: &Secrets) -> Option<String> {
    if let Some(answer) = failure.answer() {
        return Some(describe(answer, secrets));
    }
    // The outermost says what the cause does.
    let source = failure.source()?;
    Some(format!("none: {}", secrets.hide(&chain(source))))
}
