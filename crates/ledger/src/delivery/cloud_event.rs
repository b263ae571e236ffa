//! Events as `CloudEvents` 1.0 in structured JSON.

use std::time::SystemTime;

use kazoo_storage::{BlobKey, Error, ErrorKind, Metadata, Result};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::receiver::Receiver;
use crate::{
    event::{Event, EventKind},
    file::{FileRecord, kind_name},
};

/// The media type of the JSON.
pub(super) const CONTENT_TYPE: &str = "application/cloudevents+json";

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'static str,
    #[serde(rename = "type")]
    kind: String,
    subject: String,
    #[serde(serialize_with = "rfc3339")]
    time: SystemTime,
    datacontenttype: &'static str,
    data: Data<'a>,
}

/// The file of the event. Without `metadata`, the call and its numbers are left out, too.
#[derive(Serialize)]
struct Data<'a> {
    #[serde(serialize_with = "display")]
    key: &'a BlobKey,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<&'a str>,
    attachment: &'a str,
    kind: &'static str,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    #[serde(serialize_with = "rfc3339")]
    stored_at: SystemTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    call_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller_number: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callee_number: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
}

/// Returns the JSON of `event` for `receiver`.
pub(super) fn encode(event: &Event, receiver: &Receiver) -> Result<Vec<u8>> {
    let key = event.file.key.to_string();
    // A deleted file has no URL.
    let link = receiver.link.as_ref().filter(|_| event.kind != EventKind::Deleted);
    let url = link.map(|base| format!("{}/{key}", base.as_str().trim_end_matches('/')));
    let cloud_event = CloudEvent {
        specversion: "1.0",
        id: &event.id,
        source: "/kazoo-storage",
        kind: kind(event),
        time: event.time,
        datacontenttype: "application/json",
        data: data(&event.file, receiver.metadata, url)?,
        subject: key,
    };
    serde_json::to_vec(&cloud_event).map_err(unencodable)
}

/// Returns the type of `event`, such as `kazoo_storage.file.stored`.
pub(super) fn kind(event: &Event) -> String {
    format!("kazoo_storage.{}", event.kind)
}

fn data(file: &FileRecord, with_metadata: bool, url: Option<String>) -> Result<Data<'_>> {
    let call = Some(file).filter(|_| with_metadata);
    Ok(Data {
        key: &file.key,
        url,
        account: file.key.account_id(),
        owner: file.key.owner_id(),
        document: file.key.document_id(),
        attachment: file.key.attachment(),
        kind: kind_name(file.kind),
        size: file.size,
        sha256: file.sha256.map(|digest| digest.to_string()),
        content_type: file.content_type.as_deref(),
        stored_at: file.stored_at,
        call_id: call.and_then(|file| file.call_id.as_deref()),
        caller_number: call.and_then(|file| file.caller_number.as_deref()),
        callee_number: call.and_then(|file| file.callee_number.as_deref()),
        metadata: call.and_then(|file| file.metadata.as_ref()).map(raw).transpose()?,
    })
}

fn raw(metadata: &Metadata) -> Result<&RawValue> {
    serde_json::from_slice(metadata.as_json()).map_err(unencodable)
}

fn unencodable(error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Internal, "the event cannot be encoded").with_source(error)
}

// serde passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_millis(*time))
}

fn display<S: Serializer>(key: &BlobKey, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(key)
}
