//! The fields of every receiver in a configuration.

use kazoo_storage::{Result, kazoo_id::AttachmentKind};

use super::{
    fields::{Fields, in_field, of_field},
    receiver::Receiver,
};
use crate::{event::EventKind, file::kind_named};

/// The fields of every receiver.
pub(super) const FIELDS: [&str; 9] = [
    "name",
    "accounts",
    "kinds",
    "events",
    "metadata",
    "link",
    "timeout",
    "max_age",
    "in_flight",
];

/// Sets the fields of every receiver.
pub(super) fn configure(mut receiver: Receiver, mut fields: Fields) -> Result<Receiver> {
    if let Some(name) = fields.text("name")? {
        receiver = of_field("name", receiver.named(name))?;
    }
    if let Some(accounts) = fields.texts("accounts")? {
        receiver = receiver.accounts(accounts);
    }
    if let Some(kinds) = fields.texts("kinds")? {
        let kinds: Result<Vec<_>> = kinds.iter().map(|name| kind(name)).collect();
        receiver = receiver.kinds(kinds?);
    }
    if let Some(events) = fields.texts("events")? {
        let events: Result<Vec<EventKind>> = events.iter().map(|name| of_field("events", name.parse())).collect();
        receiver = receiver.events(events?);
    }
    if let Some(metadata) = fields.bool("metadata")? {
        receiver = receiver.metadata(metadata);
    }
    if let Some(link) = fields.text("link")? {
        receiver = of_field("link", receiver.link(&link))?;
    }
    if let Some(timeout) = fields.duration("timeout")? {
        receiver = receiver.timeout(timeout);
    }
    if let Some(max_age) = fields.duration("max_age")? {
        receiver = receiver.max_age(max_age);
    }
    if let Some(in_flight) = fields.number("in_flight", 1000)? {
        receiver = receiver.in_flight(in_flight);
    }
    Ok(receiver)
}

fn kind(name: &str) -> Result<Option<AttachmentKind>> {
    match (name, kind_named(name)) {
        ("other", _) => Ok(None),
        (_, Some(kind)) => Ok(Some(kind)),
        _ => Err(in_field(
            "kinds",
            format!("has `{name}`; a kind is `voicemail`, `call_recording`, `fax` or `other`"),
        )),
    }
}
