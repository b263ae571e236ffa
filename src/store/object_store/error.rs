//! Converts errors of the engine to [`Error`].

use std::{error::Error as StdError, fmt, time::Duration};

use object_store::Error as EngineError;

use crate::error::{Error, ErrorKind};

/// The operation of the engine that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Store,
    Read,
    List,
    Delete,
}

impl Task {
    fn as_str(self) -> &'static str {
        match self {
            Self::Store => "store the file",
            Self::Read => "read the file",
            Self::List => "list the files",
            Self::Delete => "delete the file",
        }
    }
}

/// Returns the error for `error`, which occurred during `task`.
///
/// The message contains no host, bucket or credential, because KAZOO shows it to its administrator. The source contains
/// the engine's message, for the operator's log.
pub(super) fn failed(task: Task, error: &EngineError) -> Error {
    let code = code(error);
    let (kind, message) = match (error, code.as_deref()) {
        (_, Some("NoSuchUpload")) => (
            ErrorKind::Unavailable,
            "the object store has aborted the upload; send it again".into(),
        ),
        (_, Some("NoSuchBucket" | "ContainerNotFound" | "ContainerBeingDeleted")) => (
            ErrorKind::Unavailable,
            "the bucket does not exist; the operator has to create it or to configure another".into(),
        ),
        (EngineError::NotFound { .. }, _) if task == Task::Store => (
            ErrorKind::Unavailable,
            "the bucket does not exist; the operator has to create it or to configure another".into(),
        ),
        (EngineError::NotFound { .. }, _) => (ErrorKind::NotFound, "no file is stored under this name".into()),
        (
            _,
            Some(
                "KeyTooLongError"
                | "InvalidObjectName"
                | "InvalidURI"
                | "InvalidUri"
                | "InvalidBlobName"
                | "InvalidResourceName"
                | "XMinioInvalidObjectName",
            ),
        ) => (
            ErrorKind::InvalidKey,
            "the object store does not accept this name; nothing was stored".into(),
        ),
        (_, Some("EntityTooLarge" | "RequestBodyTooLarge" | "MetadataTooLarge")) => (
            ErrorKind::TooLarge,
            "the file or its metadata is larger than the object store accepts; nothing was stored".into(),
        ),
        (_, Some("QuotaExceeded" | "QuotaExceededException" | "InsufficientStorage" | "XMinioStorageFull")) => (
            ErrorKind::StorageFull,
            "the object store, or a quota on it, is full; free some space".into(),
        ),
        (EngineError::PermissionDenied { .. } | EngineError::Unauthenticated { .. }, _) => (
            ErrorKind::Unavailable,
            format!(
                "the object store refuses to {}: the operator has to correct the credentials of this service or their \
                 permissions",
                task.as_str()
            ),
        ),
        (EngineError::NotImplemented { .. } | EngineError::NotSupported { .. }, _) => (
            ErrorKind::Internal,
            format!(
                "the object store does not support an operation that is needed to {}",
                task.as_str()
            ),
        ),
        _ => (
            ErrorKind::Unavailable,
            format!("the object store failed to {}", task.as_str()),
        ),
    };
    Error::new(kind, message).with_source(EngineMessage::of(error, code))
}

/// Returns the error for an engine that does not respond in time.
pub(super) fn late(task: Task, deadline: Duration) -> Error {
    let message = format!("the object store did not {} within {deadline:?}", task.as_str());
    Error::new(ErrorKind::Unavailable, message)
}

/// Returns the error for an object that is inconsistent.
pub(super) fn damaged(what: &'static str) -> Error {
    Error::new(ErrorKind::Internal, what)
}

/// The part of an engine's message that belongs in a log.
///
/// The full message may repeat the refused request, with the metadata and the credentials in its headers.
#[derive(Debug)]
struct EngineMessage(String);

impl EngineMessage {
    /// The maximum length of a text that is copied from a response, in characters.
    const MAX_LEN: usize = 200;

    fn of(error: &EngineError, code: Option<String>) -> Self {
        let mut innermost: &(dyn StdError + 'static) = error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        let text = innermost.to_string();
        // The text before the body of the response: the status, or the error of the connection.
        let before = text.split('<').next().unwrap_or_default().trim_end_matches([' ', ':']);
        let mut message: String = before.chars().take(Self::MAX_LEN).collect();
        if let Some(code) = code {
            message.extend([": ", &code]);
        }
        if let Some(detail) = element(&text, "Message").filter(|text| !text.is_empty()) {
            message.push_str(": ");
            message.extend(detail.chars().take(Self::MAX_LEN));
        }
        Self(message)
    }
}

impl fmt::Display for EngineMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for EngineMessage {}

/// Returns the code in the XML of an engine's error response, such as `NoSuchBucket`.
///
/// The type of the response in the engine's client is private, and only its text is available.
fn code(error: &EngineError) -> Option<String> {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(code) = element(&error.to_string(), "Code") {
            return Some(code.to_owned());
        }
        cause = error.source();
    }
    None
}

/// Returns the text of the first element with this name.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(answer: &str) -> EngineError {
        EngineError::Generic {
            store: "S3",
            source: answer.to_owned().into(),
        }
    }

    fn not_found(answer: &str) -> EngineError {
        EngineError::NotFound {
            path: "a/b".into(),
            source: answer.to_owned().into(),
        }
    }

    #[test]
    fn maps_every_response_to_a_kind() {
        let denied = |answer: &str| EngineError::PermissionDenied {
            path: "a/b".into(),
            source: answer.to_owned().into(),
        };
        for (task, error, kind) in [
            (Task::Read, not_found(""), ErrorKind::NotFound),
            (Task::Read, not_found("<Code>NoSuchKey</Code>"), ErrorKind::NotFound),
            (
                Task::Read,
                not_found("<Code>NoSuchBucket</Code>"),
                ErrorKind::Unavailable,
            ),
            (Task::Store, not_found(""), ErrorKind::Unavailable),
            (
                Task::Store,
                generic("400: <Code>KeyTooLongError</Code>"),
                ErrorKind::InvalidKey,
            ),
            (
                Task::Store,
                generic("400: <Code>EntityTooLarge</Code>"),
                ErrorKind::TooLarge,
            ),
            (
                Task::Store,
                denied("<Code>QuotaExceeded</Code>"),
                ErrorKind::StorageFull,
            ),
            (
                Task::Store,
                denied("<Code>SignatureDoesNotMatch</Code>"),
                ErrorKind::Unavailable,
            ),
            (
                Task::Store,
                generic("503: <Code>SlowDown</Code>"),
                ErrorKind::Unavailable,
            ),
            (Task::Store, generic("connection refused"), ErrorKind::Unavailable),
        ] {
            let text = error.to_string();
            let error = failed(task, &error);
            assert_eq!(error.kind(), kind, "{task:?}: {text}");
            assert!(error.source().is_some());
            assert!(!error.message().contains("a/b"), "{error}");
        }
    }

    #[test]
    fn logs_the_message_of_the_engine_without_the_request() {
        let refused = generic(
            "Server returned non-2xx status code: 403 Forbidden: <?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch\
             </Code><Message>The signature does not match</Message><CanonicalRequest>PUT /bucket/a x-amz-meta-metadata:\
             {\"caller_id\":\"+15550001\"} x-amz-security-token:SECRET</CanonicalRequest></Error>",
        );
        let source = failed(Task::Store, &refused).source().unwrap().to_string();
        assert_eq!(
            source,
            "Server returned non-2xx status code: 403 Forbidden: SignatureDoesNotMatch: The signature does not match"
        );
        let down = failed(Task::Store, &generic("connection refused"));
        assert_eq!(down.source().unwrap().to_string(), "connection refused");
    }
}
