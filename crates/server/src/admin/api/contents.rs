//! The contents of an export: those of several files in one response.

use std::{sync::Arc, vec};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::BodyExt as _;
use kazoo_storage::{BlobKey, Body, Error, ErrorKind, store::Blob};
use kazoo_storage_ledger::audit::Action;
use serde::Deserialize;
use serde_json::json;

use super::{
    asked::{Answer, Asked},
    files::open,
    json,
    parameters::{body, invalid},
    storage::Storage,
    trail::Trail,
};
use crate::admin::connections::{MAX_CONTENTS, State};

/// The files to send.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    keys: Vec<String>,
}

/// The rest of a response.
struct Contents {
    /// The line in front of each content. A file that cannot be sent has only a line.
    files: vec::IntoIter<(Bytes, Option<Blob>)>,
    /// The content that is being sent, and the number of bytes that are left.
    current: Option<(Body, u64)>,
    state: Arc<State>,
}

/// Sends a line of JSON for each file, followed by its content. The line of a file that cannot be sent has the error. One append to
/// the audit trail, which waits for the disk, records all files.
pub(super) async fn send(storage: &Storage, asked: Asked<'_>) -> Answer {
    asked.parameters.end()?;
    let (trail, state) = (
        Trail::new(storage.ledger.as_ref(), &asked),
        Arc::clone(&asked.call.state),
    );
    let Request { keys } = body(asked.body).await?;
    if !(1..=MAX_CONTENTS).contains(&keys.len()) {
        return Err(invalid("keys", "must have 1 to 32 keys"));
    }
    let opened = stream::iter(keys).map(|text| async {
        let opened = match BlobKey::from_path(&text) {
            Ok(key) => open(storage, &key).await.map(|blob| (key, blob)),
            Err(error) => Err(error),
        };
        state.progressed();
        (text, opened)
    });
    // All at once: an object store may take its whole deadline for each, and the client does not wait for several of them.
    let opened: Vec<_> = opened.buffered(MAX_CONTENTS).collect().await;
    let (mut files, mut sent) = (Vec::new(), Vec::new());
    for (text, opened) in opened {
        let (key, opened) = opened.map_or_else(|error| (None, Err(error)), |(key, blob)| (Some(key), Ok(blob)));
        files.push(file(&text, opened));
        sent.extend(key);
    }
    trail.record_all(Action::Fetch, &sent, "200").await?;
    state.progressed();
    let contents = Contents {
        files: files.into_iter(),
        current: None,
        state,
    };
    let chunks = stream::try_unfold(contents, |mut contents| async move {
        let chunk = contents.next().await?;
        Ok::<_, Error>(chunk.map(|chunk| (chunk, contents)))
    });
    Ok(json::typed("application/octet-stream", Body::from_stream(chunks)))
}

/// Returns the line of a file, and its content.
fn file(key: &str, opened: Result<Blob, Error>) -> (Bytes, Option<Blob>) {
    let (line, blob) = match opened {
        Ok(blob) => {
            let sha256 = blob.info.digest.map(|digest| digest.to_string());
            let line = json!({"key": key, "size": blob.info.len, "sha256": sha256});
            (line, Some(blob))
        }
        Err(error) => {
            let line = json!({"key": key, "error": error.kind().as_str(), "message": error.message()});
            (line, None)
        }
    };
    (format!("{line}\n").into(), blob)
}

impl Contents {
    /// Returns the next chunk, or `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        // If the length were wrong, the client could not find the next line.
        let other_length = || {
            Error::new(
                ErrorKind::Internal,
                "the store returned fewer or more bytes than it announced",
            )
        };
        if let Some((body, left)) = &mut self.current {
            if let Some(frame) = body.frame().await {
                self.state.progressed();
                let chunk = frame?.into_data().unwrap_or_default();
                *left = left.checked_sub(chunk.len() as u64).ok_or_else(other_length)?;
                return Ok(Some(chunk));
            }
            if *left > 0 {
                return Err(other_length());
            }
        }
        let Some((line, blob)) = self.files.next() else {
            return Ok(None);
        };
        self.state.progressed();
        self.current = blob.map(|blob| (blob.body, blob.info.len));
        Ok(Some(line))
    }
}
