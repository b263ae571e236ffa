//! KAZOO's documents as types.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Deserializer};

use super::time::{gregorian, milliseconds, seconds};

/// The document of a voicemail message.
///
/// [The metadata](https://github.com/kazoo-storage/kazoo-storage/blob/main/docs/metadata.md) has an example of each field. KAZOO may omit any field. `Debug` shows only the
/// id, because the document contains callers' names and numbers; so does that of the other documents.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Voicemail {
    /// Id of the document.
    pub id: Option<String>,
    /// Name of the message, with its mailbox and its time.
    pub name: Option<String>,
    /// Description for people.
    pub description: Option<String>,
    /// `voicemail`.
    pub source_type: Option<String>,
    /// Id of the mailbox.
    pub source_id: Option<String>,
    /// `recording`.
    pub media_source: Option<String>,
    /// Name of the file.
    pub media_filename: Option<String>,
    /// `true` if the file can be streamed.
    pub streamable: Option<bool>,
    /// Time of the message.
    #[serde(deserialize_with = "gregorian")]
    pub utc_seconds: Option<SystemTime>,
    /// The message itself: the only part that a fetch repeats in its query.
    #[serde(deserialize_with = "object")]
    pub metadata: Message,
}

/// The nested `metadata` of a [`Voicemail`].
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Message {
    /// Id of the document, again.
    pub media_id: Option<String>,
    /// Id of the call.
    pub call_id: Option<String>,
    /// Name of the caller.
    pub caller_id_name: Option<String>,
    /// Number of the caller.
    pub caller_id_number: Option<String>,
    /// SIP address of the caller.
    pub from: Option<String>,
    /// User in `from`.
    pub from_user: Option<String>,
    /// Realm in `from`.
    pub from_realm: Option<String>,
    /// Length of the message.
    #[serde(deserialize_with = "milliseconds")]
    pub length: Option<Duration>,
    /// Time of the message.
    #[serde(deserialize_with = "gregorian")]
    pub timestamp: Option<SystemTime>,
    /// SIP address that was called.
    pub to: Option<String>,
    /// User in `to`.
    pub to_user: Option<String>,
    /// Realm in `to`.
    pub to_realm: Option<String>,
    /// Folder of the mailbox, such as `new`.
    pub folder: Option<String>,
}

/// The document of a call recording.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Recording {
    /// Id of the document.
    pub id: Option<String>,
    /// Id of the call. A call may have several recordings.
    pub call_id: Option<String>,
    /// Name of the callee.
    pub callee_id_name: Option<String>,
    /// Number of the callee.
    pub callee_id_number: Option<String>,
    /// Name of the caller.
    pub caller_id_name: Option<String>,
    /// Number of the caller.
    pub caller_id_number: Option<String>,
    /// Id of the call detail record.
    pub cdr_id: Option<String>,
    /// Media type of the file.
    pub content_type: Option<String>,
    /// Variables of the channel.
    #[serde(deserialize_with = "object")]
    pub custom_channel_vars: ChannelVars,
    /// Description for people.
    pub description: Option<String>,
    /// `inbound` or `outbound`.
    pub direction: Option<String>,
    /// Length of the recording, in whole seconds.
    #[serde(deserialize_with = "seconds")]
    pub duration: Option<Duration>,
    /// Length of the recording, in milliseconds.
    #[serde(deserialize_with = "milliseconds")]
    pub duration_ms: Option<Duration>,
    /// SIP address of the caller.
    pub from: Option<String>,
    /// Id that all legs of the call share.
    pub interaction_id: Option<String>,
    /// `recorded`.
    pub media_source: Option<String>,
    /// Extension of the file.
    pub media_type: Option<String>,
    /// Name of the file.
    pub name: Option<String>,
    /// Origin of the recording, for people.
    pub origin: Option<String>,
    /// Id of the user who owns the recording.
    pub owner_id: Option<String>,
    /// SIP address of the request.
    pub request: Option<String>,
    /// A name that contains `recording`.
    pub source_type: Option<String>,
    /// Time at which the recording began.
    #[serde(deserialize_with = "gregorian")]
    pub start: Option<SystemTime>,
    /// SIP address that was called.
    pub to: Option<String>,
    /// URL in the configuration of the recording.
    pub url: Option<String>,
}

/// The `custom_channel_vars` of a [`Recording`].
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ChannelVars {
    /// Id of the account.
    #[serde(rename = "Account-ID")]
    pub account_id: Option<String>,
    /// Id of the user who owns the device.
    #[serde(rename = "Owner-ID")]
    pub owner_id: Option<String>,
    /// Id that all legs of the call share.
    #[serde(rename = "Call-Interaction-ID")]
    pub call_interaction_id: Option<String>,
}

/// The document of a fax.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Fax {
    /// Id of the document.
    pub id: Option<String>,
    /// Number of attempts to send the fax.
    pub attempts: Option<u64>,
    /// Folder of the fax box, such as `inbox`.
    pub folder: Option<String>,
    /// Name of the sender.
    pub from_name: Option<String>,
    /// Number of the sender.
    pub from_number: Option<String>,
    /// Number that was called.
    pub to_number: Option<String>,
    /// Time of the fax.
    #[serde(deserialize_with = "gregorian")]
    pub timestamp: Option<SystemTime>,
    /// Result of the transmission of a received fax.
    #[serde(deserialize_with = "object")]
    pub rx_result: FaxResult,
    /// `incoming_fax` or `outgoing_fax`.
    pub source_type: Option<String>,
    /// Id of the fax box.
    pub faxbox_id: Option<String>,
}

/// The `rx_result` of a [`Fax`].
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct FaxResult {
    /// `true` if the whole fax was received.
    pub success: Option<bool>,
    /// Number of pages.
    pub total_pages: Option<u64>,
    /// Result for people, such as `OK`.
    pub result_text: Option<String>,
}

/// Reads a nested object. `null` is the same as a missing object, as in other fields.
fn object<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Implements `Debug` without the names and numbers of callers.
macro_rules! debug_without_callers {
    ($($name:ident { $($field:ident),* }),* $(,)?) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))$(.field(stringify!($field), &self.$field))*.finish_non_exhaustive()
            }
        }
    )*};
}

debug_without_callers! {
    Voicemail { id },
    Message { media_id },
    Recording { id },
    ChannelVars {},
    Fax { id },
    FaxResult { success },
}
