//! The JSON of the API.

use std::time::SystemTime;

use http::{HeaderValue, Response, header};
use humantime::format_rfc3339_millis;
use kazoo_storage::Body;
use kazoo_storage_ledger::{
    FileRecord,
    events::{ReceiverStatus, Retried, Undelivered},
    holds::Hold,
};
use serde_json::{Value, json};

/// Returns a response with `text`, which is JSON.
pub(super) fn response(text: impl Into<Body>) -> Response<Body> {
    typed("application/json", text.into())
}

/// Returns a response with a body of this media type, which nobody stores.
pub(super) fn typed(media_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Returns an event. `with_call` adds the id and the numbers of the call.
pub(super) fn event(undelivered: &Undelivered, with_call: bool) -> Value {
    let event = &undelivered.event;
    json!({
        "id": event.id,
        "type": event.kind.as_str(),
        "time": time(event.time),
        "receiver": undelivered.receiver,
        "state": undelivered.state().as_str(),
        "attempts": undelivered.attempts,
        "due_at": undelivered.due_at.map(time),
        "in_flight": undelivered.is_in_flight,
        "error": undelivered.error,
        "file": file(&event.file, with_call),
    })
}

/// Returns a file. `with_call` adds the id and the numbers of the call.
pub(super) fn file(file: &FileRecord, with_call: bool) -> Value {
    let mut value = json!({
        "key": file.key.to_string(),
        "account": file.key.account_id(),
        "kind": file.kind_name(),
        "size": file.size,
        "sha256": file.sha256.map(|digest| digest.to_string()),
        "content_type": file.content_type,
        "stored_at": time(file.stored_at),
    });
    if let (true, Some(fields)) = (with_call, value.as_object_mut()) {
        for (name, text) in [
            ("call_id", &file.call_id),
            ("caller_number", &file.caller_number),
            ("callee_number", &file.callee_number),
        ] {
            fields.insert(name.to_owned(), json!(text));
        }
    }
    value
}

pub(super) fn hold(hold: &Hold) -> Value {
    json!({
        "id": hold.id,
        "reason": hold.reason,
        "author": hold.author,
        "created_at": time(hold.created_at),
        "account": hold.account,
        "document": hold.document,
        "key": hold.key.as_ref().map(ToString::to_string),
        "number": hold.number,
        "call_id": hold.call_id,
        "since": hold.since.map(time),
        "until": hold.until.map(time),
    })
}

pub(super) fn receiver(receiver: &ReceiverStatus) -> Value {
    json!({
        "name": receiver.name,
        "kind": receiver.kind().as_str(),
        "state": receiver.state.as_str(),
        "waiting": receiver.waiting,
        "dead": receiver.dead,
        "oldest": receiver.oldest.map(time),
    })
}

pub(super) fn retried(done: Retried) -> Value {
    json!({"retried": done.retried, "superseded": done.superseded})
}

pub(super) fn time(time: SystemTime) -> String {
    format_rfc3339_millis(time).to_string()
}
