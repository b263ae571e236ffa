//! The credentials probe that KAZOO makes when an administrator saves the settings: [`Client::probe`].

use bytes::Bytes;
use http::{Response, header};
use serde_json::{Value, json};

use super::{
    attachment::Attachment,
    client::{Client, FetchedFile, StoredFile},
    dialect::Dialect,
    failure::{Failure, FailureKind},
    handler::Handler,
    status::text,
};
use kazoo_storage::{Error, ErrorKind, Result};

/// The response that KAZOO shows an administrator who saves the settings.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SaveResult {
    /// The settings are saved.
    Saved,
    /// The settings are refused, with a reason.
    Refused {
        /// The status: 400 if the server caused the failure, 500 if the fetched content differs.
        status: u16,
        /// The body: `{"attachments":{ID:{"invalid":{"error_code":…,"error_body":…,"message":…}}}}`, or
        /// `{"message":"datastore_fault","cause":"invalid_data"}`.
        body: Value,
    },
    /// The settings are refused without a reason: KAZOO crashes or sends nothing, and answers 500.
    Crashed,
    /// No response: KAZOO waits for the server.
    Waiting,
}

/// The result of a credentials probe.
#[derive(Debug)]
#[non_exhaustive]
pub struct ProbeReport {
    /// The file.
    pub attachment: Attachment,
    /// The result of the store.
    pub stored: Result<StoredFile, Failure>,
    /// The result of the fetch, or `None` if the store failed.
    pub fetched: Option<Result<FetchedFile, Failure>>,
    /// The response that KAZOO shows the administrator.
    pub result: SaveResult,
}

impl Client {
    /// Stores and fetches a `…_test_credentials_file.txt` of `account`, as KAZOO does before it saves the settings. `id` is
    /// the id of the handler in the storage document.
    ///
    /// Returns [`ErrorKind::Internal`] if the system has no random numbers.
    pub async fn probe(
        &mut self,
        dialect: &Dialect,
        handler: &Handler,
        account: &str,
        id: &str,
    ) -> Result<ProbeReport> {
        let mut token = [0; 16];
        getrandom::fill(&mut token)
            .map_err(|error| Error::new(ErrorKind::Internal, "the system has no random numbers").with_source(error))?;
        let attachment = Attachment::probe(account, u128::from_be_bytes(token))?;
        let stored = self.store(dialect, handler, &attachment).await;
        let fetched = match &stored {
            Ok(stored) => Some(self.fetch(dialect, handler, &stored.url, &attachment).await),
            Err(_) => None,
        };
        let result = match (&stored, &fetched) {
            (Err(failure), _) | (_, Some(Err(failure))) => failure.save_result(id),
            (_, Some(Ok(fetched))) if dialect.compares_probe && fetched.content != attachment.content() => {
                SaveResult::Refused {
                    status: 500,
                    body: json!({"message": "datastore_fault", "cause": "invalid_data"}),
                }
            }
            _ => SaveResult::Saved,
        };
        Ok(ProbeReport {
            attachment,
            stored,
            fetched,
            result,
        })
    }
}

impl Failure {
    /// Returns the response that KAZOO shows the administrator if the credentials probe fails in this way. `id` is the id of
    /// the handler in the storage document.
    #[must_use]
    pub fn save_result(&self, id: &str) -> SaveResult {
        let invalid = match (self.kind(), self.answer()) {
            (FailureKind::Refused, Some(answer)) => {
                let code = answer.status().as_u16();
                json!({"error_code": code, "error_body": error_body(answer), "message": text(code)})
            }
            (FailureKind::Crash | FailureKind::NotSent, _) => return SaveResult::Crashed,
            (FailureKind::TooLong | FailureKind::TimedOut | FailureKind::Waiting, _) => return SaveResult::Waiting,
            // KAZOO reports all failures without a response in the same way.
            _ => json!({"error_code": 500, "error_body": "", "message": "request_error"}),
        };
        SaveResult::Refused {
            status: 400,
            body: json!({"attachments": {id: {"invalid": invalid}}}),
        }
    }
}

/// Returns the body of an error: decoded if its media type is exactly `application/json` or missing, and otherwise as text.
fn error_body(answer: &Response<Bytes>) -> Value {
    let media_type = answer.headers().get(header::CONTENT_TYPE);
    let is_json = media_type.is_none_or(|media_type| media_type.as_bytes().starts_with(b"application/json"));
    let decoded = is_json.then(|| serde_json::from_slice(answer.body()).ok()).flatten();
    decoded.unwrap_or_else(|| String::from_utf8_lossy(answer.body()).into())
}
