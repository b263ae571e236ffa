//! What happens when an administrator saves the settings: [`Client::probe`], and what is [`Shown`].

use bytes::Bytes;
use http::{Response, header};
use serde_json::{Value, json};

use super::{
    attachment::Attachment,
    client::{Client, Fetched, Stored},
    dialect::Dialect,
    failure::{Failure, FailureKind},
    handler::Handler,
    status::text,
};
use kazoo_storage::{Error, ErrorKind, Result};

/// What KAZOO tells an administrator who saves the settings.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Shown {
    /// The settings are saved.
    Saved,
    /// They are not, and this says why.
    Refused {
        /// The status of KAZOO's answer: 400 for what the server has to do with, 500 for a file that comes back as another.
        status: u16,
        /// What the answer says: `{"attachments":{ID:{"invalid":{"error_code":…,"error_body":…,"message":…}}}}`, or
        /// `{"message":"datastore_fault","cause":"invalid_data"}`.
        body: Value,
    },
    /// They are not, and nothing says why: KAZOO crashes, or refuses to send anything, and answers 500.
    Crashed,
    /// Nothing, for as long as the server does not answer otherwise.
    Waiting,
}

/// How a credentials probe went.
#[derive(Debug)]
#[non_exhaustive]
pub struct Trial {
    /// The file that was tried.
    pub attachment: Attachment,
    /// What became of the store.
    pub stored: Result<Stored, Failure>,
    /// What became of the fetch; none if nothing was stored.
    pub fetched: Option<Result<Fetched, Failure>>,
    /// What the administrator is shown.
    pub shown: Shown,
}

impl Client {
    /// Stores and fetches a `…_test_credentials_file.txt` of `account`, as KAZOO does before it saves the settings; `id` is
    /// the handler's in the storage document, which what is shown names.
    ///
    /// [`ErrorKind::Internal`] if the system has no random numbers.
    pub async fn probe(&mut self, dialect: &Dialect, handler: &Handler, account: &str, id: &str) -> Result<Trial> {
        let mut token = [0; 16];
        getrandom::fill(&mut token)
            .map_err(|error| Error::new(ErrorKind::Internal, "the system has no random numbers").with_source(error))?;
        let attachment = Attachment::probe(account, u128::from_be_bytes(token))?;
        let stored = self.store(dialect, handler, &attachment).await;
        let fetched = match &stored {
            Ok(stored) => Some(self.fetch(dialect, handler, &stored.url, &attachment).await),
            Err(_) => None,
        };
        let shown = match (&stored, &fetched) {
            (Err(failure), _) | (_, Some(Err(failure))) => failure.shown(id),
            (_, Some(Ok(fetched))) if dialect.compares_probe && fetched.content != attachment.content() => {
                Shown::Refused {
                    status: 500,
                    body: json!({"message": "datastore_fault", "cause": "invalid_data"}),
                }
            }
            _ => Shown::Saved,
        };
        Ok(Trial {
            attachment,
            stored,
            fetched,
            shown,
        })
    }
}

impl Failure {
    /// What the administrator is shown of it, if it is the credentials probe that failed so; `id` is the handler's in the
    /// storage document.
    #[must_use]
    pub fn shown(&self, id: &str) -> Shown {
        let invalid = match (self.kind(), self.answer()) {
            (FailureKind::Refused, Some(answer)) => {
                let code = answer.status().as_u16();
                json!({"error_code": code, "error_body": error_body(answer), "message": text(code)})
            }
            (FailureKind::Crash | FailureKind::NotSent, _) => return Shown::Crashed,
            (FailureKind::TooLong | FailureKind::TimedOut | FailureKind::Waiting, _) => return Shown::Waiting,
            // Of what is no answer nothing is told but that.
            _ => json!({"error_code": 500, "error_body": "", "message": "request_error"}),
        };
        Shown::Refused {
            status: 400,
            body: json!({"attachments": {id: {"invalid": invalid}}}),
        }
    }
}

/// The body of an error: decoded if it is JSON and its media type, to the letter, says so or is missing, and a text otherwise.
fn error_body(answer: &Response<Bytes>) -> Value {
    let media_type = answer.headers().get(header::CONTENT_TYPE);
    let is_json = media_type.is_none_or(|media_type| media_type.as_bytes().starts_with(b"application/json"));
    let decoded = is_json.then(|| serde_json::from_slice(answer.body()).ok()).flatten();
    decoded.unwrap_or_else(|| String::from_utf8_lossy(answer.body()).into())
}
