//! Short descriptions of responses.

use std::error::Error as StdError;

use bytes::Bytes;
use http::{HeaderName, Response, header};
use kazoo_storage_client::Failure;

use super::{diagnose::our_error, secrets::Secrets};
use crate::log::chain;

/// Maximum length of the text shown from a response, in characters.
const MAX_TEXT: usize = 160;

/// Separator in front of kazoo-storage's own message.
pub(crate) const OUR_MESSAGE: &str = ", kazoo-storage: ";

/// Describes the status, the sender and the body, without `secrets`, which a page may repeat.
pub(crate) fn describe(answer: &Response<Bytes>, secrets: &Secrets) -> String {
    let status = answer.status();
    if our_error(answer).is_some() {
        let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        let message = body.get("message").and_then(|message| message.as_str());
        return format!("{status}{OUR_MESSAGE}{}", secrets.hide(message.unwrap_or_default()));
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
                .take(MAX_TEXT)
                .collect();
            format!("{text}: {body}")
        }
        _ => text,
    }
}

/// Describes the response of a failure, or the error without a response.
pub(crate) fn describe_failure(failure: &Failure, secrets: &Secrets) -> Option<String> {
    if let Some(answer) = failure.answer() {
        return Some(describe(answer, secrets));
    }
    // The outermost error only repeats the cause of the finding.
    let source = failure.source()?;
    Some(format!("none: {}", secrets.hide(&chain(source))))
}
