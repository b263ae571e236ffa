//! The operations on files.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderName, HeaderValue, header};
use http_body_util::BodyExt as _;
use kazoo_storage::{
    BlobCatalog as _, BlobInfo, BlobKey, BlobStore as _, Body, Error, ErrorKind, Metadata,
    store::{Blob, Precondition},
};
use kazoo_storage_ledger::{FileRecord, Ledger, Search, audit::Action, holds::Hold};
use serde_json::{Value, json};

use super::{
    asked::{Answer, Asked},
    changes::Changes,
    cursor, json,
    parameters::{Parameters, invalid},
    storage::Storage,
    trail::Trail,
};
use crate::file_kind::FileKind;

pub(super) async fn list(ledger: &Ledger, mut asked: Asked<'_>) -> Answer {
    let parameters = &mut asked.parameters;
    let limit = parameters.limit()?;
    let after = cursor::take(parameters, position)?;
    let mut search = search(parameters)?;
    parameters.end()?;
    if let Some((stored_at, key)) = after {
        search = search.after(stored_at, &key);
    }
    // A page is short, because it has no metadata. One file more shows whether there is a next page.
    let mut files = ledger.search(search.without_metadata(), limit + 1).await?;
    let has_more = files.len() > limit;
    files.truncate(limit);
    let next = files.last().filter(|_| has_more).map(next);
    let files: Vec<_> = files.iter().map(|file| json::file(file, false)).collect();
    Ok(json::response(json!({"files": files, "next": next}).to_string()))
}

/// Takes the conditions of a search. One is required, or `all`.
pub(super) fn search(parameters: &mut Parameters<'_>) -> Result<Search, Error> {
    let all = parameters.flag("all")?;
    let is_limited = !parameters.is_empty();
    let search = conditions(parameters)?;
    match (all, is_limited) {
        (false, false) => Err(invalid(
            "all",
            "must be `true` in a search without conditions, which finds every file",
        )),
        (true, true) => Err(invalid("all", "is for a search without conditions")),
        _ => Ok(search),
    }
}

fn conditions(parameters: &mut Parameters<'_>) -> Result<Search, Error> {
    let mut search = Search::new();
    let account = parameters.text("account");
    if let Some(document) = parameters.text("document") {
        if account.is_none() {
            return Err(invalid("document", "needs `account`"));
        }
        search = search.document(document);
    }
    if let Some(account) = account {
        search = search.account(account);
    }
    if let Some(kind) = parameters.text("kind") {
        let kind = FileKind::from_name(&kind).ok_or_else(|| {
            let names = FileKind::ALL.map(|kind| format!("`{}`", kind.name())).join(", ");
            invalid("kind", &format!("must be one of {names}"))
        })?;
        search = search.kind(kind.attachment());
    }
    if let Some(since) = parameters.time("since")? {
        search = search.since(since);
    }
    if let Some(until) = parameters.time("until")? {
        search = search.until(until);
    }
    if let Some(number) = parameters.text("number") {
        search = search.number(number);
    }
    if let Some(call_id) = parameters.text("call_id") {
        search = search.call_id(call_id);
    }
    Ok(search)
}

/// Returns the cursor of the page after `file`.
fn next(file: &FileRecord) -> String {
    format!("{}/{}", cursor::millis(file.stored_at), file.key)
}

fn position(cursor: &str) -> Option<(SystemTime, BlobKey)> {
    let (millis, key) = cursor.split_once('/')?;
    let stored_at = cursor::time(millis)?;
    Some((stored_at, BlobKey::from_path(key).ok()?))
}

/// What the server knows of a file.
struct Known {
    file: FileRecord,
    is_stored: bool,
    etag: Option<HeaderValue>,
    /// `None` without a ledger.
    is_recorded: Option<bool>,
    holds: Vec<Hold>,
}

impl Known {
    async fn find(storage: &Storage, key: &BlobKey) -> Result<Self, Error> {
        let stored = match storage.store.describe(key).await {
            Err(error) if error.is_not_found() => None,
            described => Some(described?),
        };
        let (recorded, holds) = match &storage.ledger {
            Some(ledger) => (Some(ledger.file(key).await?), ledger.holds_of(key).await?),
            None => (None, Vec::new()),
        };
        let (is_stored, is_recorded) = (stored.is_some(), recorded.as_ref().map(Option::is_some));
        let etag = stored.as_ref().and_then(|(info, _)| info.etag.clone());
        let recorded = recorded.flatten();
        let file = match (stored, recorded) {
            (Some((info, metadata)), recorded) => described(key, &info, metadata, recorded.as_ref()),
            // A deletion was interrupted between the store and the ledger.
            (None, Some(recorded)) => recorded,
            (None, None) => return Err(unknown(key)),
        };
        Ok(Self {
            file,
            is_stored,
            etag,
            is_recorded,
            holds,
        })
    }

    fn to_json(&self, with_call: bool) -> Value {
        let mut value = json::file(&self.file, with_call);
        if let Some(fields) = value.as_object_mut() {
            let etag = self.etag.as_ref().and_then(|etag| etag.to_str().ok());
            fields.insert("etag".to_owned(), json!(etag));
            fields.insert("stored".to_owned(), json!(self.is_stored));
            fields.insert("recorded".to_owned(), json!(self.is_recorded));
            let hold = |hold: &Hold| json!({"id": hold.id, "reason": hold.reason});
            fields.insert("holds".to_owned(), self.holds.iter().map(hold).collect());
        }
        value
    }
}

fn described(key: &BlobKey, info: &BlobInfo, metadata: Option<Metadata>, recorded: Option<&FileRecord>) -> FileRecord {
    // The store has the time of its write, or of a copy. That of the ledger is the one that listings show and retention counts from.
    let stored_at = recorded.map(|file| file.stored_at).or(info.modified);
    FileRecord::new(key, info.len, metadata)
        .with_sha256(info.digest)
        .with_content_type(info.content_type.as_ref())
        .with_stored_at(stored_at.unwrap_or(SystemTime::UNIX_EPOCH))
}

pub(super) async fn show(storage: &Storage, mut asked: Asked<'_>) -> Answer {
    let key = BlobKey::from_path(&asked.parameters.captured())?;
    let with_metadata = asked.parameters.flag("metadata")?;
    asked.parameters.end()?;
    let known = Known::find(storage, &key).await?;
    let file = known.to_json(with_metadata);
    if !with_metadata {
        return Ok(json::response(json!({"file": file}).to_string()));
    }
    let document = known.file.metadata.as_ref();
    // The document as it was uploaded.
    let parts = [
        Bytes::from(format!("{{\"file\":{file},\"metadata\":")),
        document.map_or(Bytes::from_static(b"null"), |metadata| metadata.as_json().clone()),
        Bytes::from_static(b"}"),
    ];
    let parts = stream::iter(parts.map(Ok::<_, Error>));
    Ok(json::response(Body::from_stream(parts)))
}

pub(super) async fn fetch(storage: &Storage, mut asked: Asked<'_>) -> Answer {
    let key = BlobKey::from_path(&asked.parameters.captured())?;
    asked.parameters.end()?;
    let blob = open(storage, &key).await?;
    let digest = match (blob.info.digest, &storage.ledger) {
        // A bucket has no digests, and a directory has none of a file that was changed or touched.
        (None, Some(ledger)) => ledger.file(&key).await?.and_then(|file| file.sha256),
        (digest, _) => digest,
    };
    let trail = Trail::new(storage.ledger.as_ref(), &asked);
    trail.record(Action::Fetch, Some(&key), "200").await?;
    let state = Arc::clone(&asked.call.state);
    let chunks = stream::unfold((blob.body, state), |(mut body, state)| async move {
        let frame = body.frame().await?;
        state.progressed();
        let chunk = frame.map(|frame| frame.into_data().unwrap_or_default());
        Some((chunk, (body, state)))
    });
    // A browser that is sent here saves the content, and does not show it.
    let mut response = json::typed("application/octet-stream", Body::from_stream(chunks));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(blob.info.len));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    if let Some(digest) = digest.and_then(|digest| digest.repr_digest()) {
        headers.insert(HeaderName::from_static("repr-digest"), digest);
    }
    Ok(response)
}

/// Opens the content of a file.
pub(super) async fn open(storage: &Storage, key: &BlobKey) -> Result<Blob, Error> {
    let blob = storage.contents.get(key, None).await?.into_blob();
    blob.ok_or_else(|| Error::new(ErrorKind::Internal, "the store redirects the fetch"))
}

pub(super) async fn delete(storage: &Storage, changes: &Changes, mut asked: Asked<'_>) -> Answer {
    let key = BlobKey::from_path(&asked.parameters.captured())?;
    asked.parameters.end()?;
    let precondition = Precondition::from_headers(&asked.headers)?;
    if !exists(storage, &key).await? {
        return Err(unknown(&key));
    }
    let (store, recorded, detached) = (storage.store.clone(), storage.recorded.clone(), key.detached());
    let trail = Trail::new(storage.ledger.as_ref(), &asked);
    let deletion = async move {
        let deleting = async {
            let deleted = if let Some(recorded) = recorded {
                recorded.delete_if(&detached, &precondition).await
            } else {
                match precondition.check_in(&store, &detached).await {
                    Ok(()) => store.delete(&detached).await,
                    failed => failed,
                }
            };
            deleted.map_err(|error| match error.kind() {
                ErrorKind::PreconditionFailed => changed(&detached),
                _ => error,
            })
        };
        // The ledger has the entry about its success.
        let done = |(): &()| None;
        trail
            .run_with(Action::Delete, Some(&detached), None, deleting, done)
            .await
    };
    changes.run(deletion).await?;
    // The name may contain the id of a call.
    let (account, document) = (key.account_id(), key.document_id());
    tracing::warn!(account, document, "the operator has deleted a file");
    Ok(json::response(json!({"deleted": key.to_string()}).to_string()))
}

fn changed(key: &BlobKey) -> Error {
    let message = format!("the file `{key}` has changed, so it was not removed; look at it again");
    Error::new(ErrorKind::PreconditionFailed, message)
}

/// Returns `true` if the store or the ledger has the file.
async fn exists(storage: &Storage, key: &BlobKey) -> Result<bool, Error> {
    // Reads no metadata if the store can avoid it.
    let is_stored = match storage.store.head(key).await {
        Err(error) => match error.kind() {
            ErrorKind::NotFound => false,
            // The store has the file but cannot describe it, because the file is damaged or from another program.
            ErrorKind::Damaged | ErrorKind::Internal => true,
            _ => return Err(error),
        },
        Ok(_) => true,
    };
    let is_recorded = match &storage.ledger {
        Some(ledger) if !is_stored => ledger.file(key).await?.is_some(),
        _ => false,
    };
    Ok(is_stored || is_recorded)
}

fn unknown(key: &BlobKey) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no file `{key}`"))
}
