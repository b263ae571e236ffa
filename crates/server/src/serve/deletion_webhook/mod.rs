//! [`DeletionWebhook`]: receives the deletions of documents from KAZOO.
//!
//! A webhook `object` of KAZOO reports each deletion, also that of a voicemail that moves to the folder of deleted messages. KAZOO
//! counts only a 200 as success, and repeats a report only after connection errors. So the answer is 200 as soon as the request is
//! durable in the ledger; the files are removed later.

mod report;
mod secret;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body::Body as HttpBody;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use kazoo_storage::{Body, Error, ErrorKind, normalize::normalize_path};
use kazoo_storage_ledger::Ledger;
use tokio::time::timeout;

use self::report::{Format, Report};
pub(super) use self::secret::Secret;
use crate::{config::MountPath, log::redact};

/// Maximum length of a body, in bytes. KAZOO sends a few hundred. Each connection may have one, so their number needs no other limit:
/// with one, callers without the secret could keep KAZOO out.
const MAX_BODY: usize = 8 << 10;

/// Time limit for a body.
const DEADLINE: Duration = Duration::from_secs(10);

/// The path at which KAZOO reports the deletion of documents.
#[derive(Clone)]
pub(super) struct DeletionWebhook {
    path: Arc<str>,
    secret: Arc<Secret>,
    ledger: Ledger,
}

/// What the server did with a report.
#[derive(Clone, Copy)]
enum Outcome {
    /// The ledger has the deletion.
    Recorded,
    /// The report is about something other than a deletion.
    Ignored,
}

impl DeletionWebhook {
    pub(super) fn new(path: &MountPath, secret: Arc<Secret>, ledger: Ledger) -> Self {
        Self {
            path: path.as_str().trim_end_matches('/').into(),
            secret,
            ledger,
        }
    }

    /// Answers `request` if it is for this path, or for a secret below it.
    pub(super) async fn answer<B>(&self, request: Request<B>) -> Option<Response<Body>>
    where
        B: HttpBody<Data = Bytes, Error: Into<kazoo_storage::error::BoxError>> + Send,
    {
        let path = normalize_path(request.uri().path()).into_owned();
        let secret = match path.strip_prefix(&*self.path)? {
            "" => None,
            rest => Some(rest.strip_prefix('/')?.to_owned()),
        };
        Some(match self.receive(request, secret).await {
            Ok(outcome) => response(outcome),
            Err(error) => error.to_response(),
        })
    }

    async fn receive<B>(&self, request: Request<B>, secret: Option<String>) -> Result<Outcome, Error>
    where
        B: HttpBody<Data = Bytes, Error: Into<kazoo_storage::error::BoxError>> + Send,
    {
        // Checked before the body is read.
        if secret.as_ref().is_some_and(|secret| !self.secret.is(secret)) {
            return Err(unauthorized());
        }
        let (head, body) = request.into_parts();
        let (format, text) = match head.method {
            Method::GET => (Format::Form, head.uri.query().unwrap_or_default().to_owned().into()),
            Method::POST | Method::PUT => (format(&head.headers)?, read(body).await?),
            _ => {
                let message = "a webhook of KAZOO sends `post`, `put` or `get`; set its `http_verb` to `post`";
                return Err(Error::new(ErrorKind::MethodNotAllowed, message));
            }
        };
        let report = Report::parse(format, &text)?;
        if secret.is_none() && !report.secret.as_ref().is_some_and(|secret| self.secret.is(secret)) {
            return Err(unauthorized());
        }
        let Some(document) = report.document()? else {
            return Ok(Outcome::Ignored);
        };
        let is_new = self
            .ledger
            .request_deletion(&document.account, &document.id, &document.kind)
            .await?;
        tracing::info!(
            account = document.account,
            document = redact::path(&document.id),
            kind = document.kind,
            is_new,
            "KAZOO has deleted a document; its files are removed after the grace period"
        );
        Ok(Outcome::Recorded)
    }
}

async fn read<B>(body: B) -> Result<Bytes, Error>
where
    B: HttpBody<Data = Bytes, Error: Into<kazoo_storage::error::BoxError>> + Send,
{
    let too_large = || Error::new(ErrorKind::TooLarge, format!("the body is longer than {MAX_BODY} bytes"));
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_large());
    }
    let read = timeout(DEADLINE, Limited::new(body, MAX_BODY).collect()).await;
    let read = read.map_err(|_| {
        let message = format!("the body did not arrive within {} seconds", DEADLINE.as_secs());
        Error::new(ErrorKind::Timeout, message)
    })?;
    let read = read.map_err(|error| {
        if error.is::<LengthLimitError>() {
            too_large()
        } else {
            Error::from_body(error)
        }
    })?;
    Ok(read.to_bytes())
}

/// Returns the format of a body.
fn format(headers: &http::HeaderMap) -> Result<Format, Error> {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    match media_type.trim().to_ascii_lowercase().as_str() {
        "application/json" => Ok(Format::Json),
        "application/x-www-form-urlencoded" => Ok(Format::Form),
        _ => Err(Error::new(
            ErrorKind::UnsupportedEncoding,
            "a webhook of KAZOO sends application/json or application/x-www-form-urlencoded; set its `format` to `json`",
        )),
    }
}

/// KAZOO does not read the body. It is for the operator who sends a report by hand.
fn response(outcome: Outcome) -> Response<Body> {
    let mut response = Response::new(Body::from(match outcome {
        Outcome::Recorded => "{\"status\":\"recorded\"}",
        Outcome::Ignored => "{\"status\":\"ignored\"}",
    }));
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn unauthorized() -> Error {
    Error::new(
        ErrorKind::Forbidden,
        "the secret of the webhook is missing or wrong; set `secret` in its `custom_data` to that of \
         --deletion-webhook-secret-file",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_has_a_deadline() {
        let body = Body::from_stream(futures_util::stream::pending::<Result<Bytes, Error>>());
        assert_eq!(read(body).await.unwrap_err().kind(), ErrorKind::Timeout);
    }
}
