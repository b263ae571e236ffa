//! From an error of the engine to the crate's [`Error`].

use std::{error::Error as StdError, time::Duration};

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
/// The message names no host, bucket or credential: it is shown to the administrator of KAZOO. They are in the source,
/// which is for the operator's log.
pub(super) fn failed(task: Task, error: EngineError) -> Error {
    let code = code(&error);
    let (kind, message) = match (&error, code.as_deref()) {
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
    Error::new(kind, message).with_source(error)
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

/// The code in the XML of an engine's error answer, such as `NoSuchBucket`.
///
/// The engine's client keeps the answer in a type of its own, of which only the text is public.
fn code(error: &EngineError) -> Option<String> {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        let text = error.to_string();
        if let Some((_, rest)) = text.split_once("<Code>")
            && let Some((code, _)) = rest.split_once("</Code>")
        {
            return Some(code.to_owned());
        }
        cause = error.source();
    }
    None
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
            let error = failed(task, error);
            assert_eq!(error.kind(), kind, "{task:?}: {text}");
            assert!(error.source().is_some());
            assert!(!error.message().contains("a/b"), "{error}");
        }
    }
}
