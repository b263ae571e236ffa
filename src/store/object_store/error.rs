//! From an error of the engine to the crate's [`Error`].

use std::{error::Error as StdError, fmt, time::Duration};

use object_store::Error as EngineError;

use crate::error::{Error, ErrorKind};

/// What the engine was asked for.
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

/// The error for `error`, which came up during `task`.
///
/// The message names no host, bucket or credential: it is shown to the administrator of KAZOO. What the engine said is
/// in the source, which is for the operator's log.
pub(super) fn failed(task: Task, error: &EngineError) -> Error {
    let code = code(error);
    let (kind, message) = match (error, code.as_deref()) {
        (_, Some("NoSuchUpload")) => (
            ErrorKind::Unavailable,
            "the object store has ended the upload; send it again".into(),
        ),
        (_, Some("NoSuchBucket" | "ContainerNotFound" | "ContainerBeingDeleted")) => (
            ErrorKind::Unavailable,
            "the bucket that files are kept in does not exist; the operator has to create it, or to name another"
                .into(),
        ),
        (EngineError::NotFound { .. }, _) if task == Task::Store => (
            ErrorKind::Unavailable,
            "the object store has no such bucket; the operator has to create it, or to name another".into(),
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
            "the object store does not take this name; nothing was stored".into(),
        ),
        (_, Some("EntityTooLarge" | "RequestBodyTooLarge" | "MetadataTooLarge")) => (
            ErrorKind::TooLarge,
            "the file, or its metadata, is larger than the object store takes; nothing was stored".into(),
        ),
        (_, Some("QuotaExceeded" | "QuotaExceededException" | "InsufficientStorage" | "XMinioStorageFull")) => (
            ErrorKind::StorageFull,
            "the object store, or a quota on it, is full; make room".into(),
        ),
        (EngineError::PermissionDenied { .. } | EngineError::Unauthenticated { .. }, _) => (
            ErrorKind::Unavailable,
            format!(
                "the object store refuses to {}: the operator has to see to this service's credentials and their \
                 rights",
                task.as_str()
            ),
        ),
        (EngineError::NotImplemented { .. } | EngineError::NotSupported { .. }, _) => (
            ErrorKind::Internal,
            format!("the object store cannot do what it takes to {}", task.as_str()),
        ),
        _ => (
            ErrorKind::Unavailable,
            format!("the object store failed to {}", task.as_str()),
        ),
    };
    Error::new(kind, message).with_source(Said::by(error, code))
}

/// The error for an engine that does not answer.
pub(super) fn late(task: Task, deadline: Duration) -> Error {
    let message = format!("the object store did not {} within {deadline:?}", task.as_str());
    Error::new(ErrorKind::Unavailable, message)
}

/// The error for an object that is not what it says it is.
pub(super) fn damaged(what: &'static str) -> Error {
    Error::new(ErrorKind::Internal, what)
}

/// As much of what an engine said as belongs in a log.
///
/// Its answer may repeat the request that it refuses, with the document and the credentials in its headers.
#[derive(Debug)]
struct Said(String);

impl Said {
    /// The longest text that is taken from an answer, in characters.
    const MAX_LEN: usize = 200;

    fn by(error: &EngineError, code: Option<String>) -> Self {
        let mut innermost: &(dyn StdError + 'static) = error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        let text = innermost.to_string();
        // Up to the answer's body: the status, or what became of the connection.
        let before = text.split('<').next().unwrap_or_default().trim_end_matches([' ', ':']);
        let mut said: String = before.chars().take(Self::MAX_LEN).collect();
        if let Some(code) = code {
            said.extend([": ", &code]);
        }
        if let Some(message) = element(&text, "Message").filter(|message| !message.is_empty()) {
            said.push_str(": ");
            said.extend(message.chars().take(Self::MAX_LEN));
        }
        Self(said)
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Said {}

/// The code in the XML of an engine's error answer, such as `NoSuchBucket`.
///
/// The engine's client keeps the answer in a type of its own, of which only the text is public.
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

/// What the first element of this name holds.
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
    fn every_answer_has_its_kind() {
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
    fn a_log_has_what_the_engine_said_and_not_what_it_was_sent() {
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
