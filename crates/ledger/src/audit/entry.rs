//! [`Entry`]: an entry before it is appended, and its bytes.

use std::{fmt, net::IpAddr, time::SystemTime};

use kazoo_storage::{BlobKey, digest::Digest};
use uuid::Uuid;

use crate::{rows::encode, time};

/// The first byte of an encoded entry.
const VERSION: u8 = 1;

/// The length of an absent field.
const ABSENT: u32 = u32::MAX;

/// Maximum length of a name or an outcome, in characters.
const MAX_TEXT: usize = 200;

/// The action that an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// A file, or a part of it, was sent.
    Fetch,
    /// The length, the digest and the time of a file were sent, without its content.
    Describe,
    /// A file is removed.
    Delete,
    /// Files are copied to another place.
    Export,
    /// The data of an account or a person is erased.
    Erase,
    /// Files are removed because of their age.
    Retention,
    /// A hold is added.
    HoldAdd,
    /// A hold is removed.
    HoldRemove,
    /// The events of files are queued again.
    Replay,
    /// Undelivered events are sent again.
    Retry,
    /// Undelivered events are removed.
    Discard,
    /// A receiver of events is removed.
    ReceiverRemove,
    /// A suspension of retention is ended.
    RetentionResume,
    /// A request for the deletion of a document is cancelled.
    RequestCancel,
    /// The ledger is made to agree with the store.
    Repair,
    /// Old entries of the trail are removed.
    Prune,
}

impl Action {
    /// All actions.
    pub const ALL: [Self; 16] = [
        Self::Fetch,
        Self::Describe,
        Self::Delete,
        Self::Export,
        Self::Erase,
        Self::Retention,
        Self::HoldAdd,
        Self::HoldRemove,
        Self::Replay,
        Self::Retry,
        Self::Discard,
        Self::ReceiverRemove,
        Self::RetentionResume,
        Self::RequestCancel,
        Self::Repair,
        Self::Prune,
    ];

    /// Returns the name of the action, such as `fetch`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Describe => "describe",
            Self::Delete => "delete",
            Self::Export => "export",
            Self::Erase => "erase",
            Self::Retention => "retention",
            Self::HoldAdd => "hold.add",
            Self::HoldRemove => "hold.remove",
            Self::Replay => "replay",
            Self::Retry => "retry",
            Self::Discard => "discard",
            Self::ReceiverRemove => "receiver.remove",
            Self::RetentionResume => "retention.resume",
            Self::RequestCancel => "request.cancel",
            Self::Repair => "repair",
            Self::Prune => "prune",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An entry that is to be appended to the audit trail.
///
/// `Debug` does not show the key.
#[derive(Clone)]
pub struct Entry {
    pub(super) at: SystemTime,
    pub(super) action: Action,
    pub(super) outcome: String,
    pub(super) name: Option<String>,
    pub(super) address: Option<IpAddr>,
    pub(super) key: Option<BlobKey>,
}

impl Entry {
    /// Creates an entry about something that happens now. `outcome` is its result, such as the status of a response.
    ///
    /// Each text is cut to 200 characters.
    #[must_use]
    pub fn new(action: Action, outcome: impl AsRef<str>) -> Self {
        Self {
            at: SystemTime::now(),
            action,
            outcome: clean(outcome.as_ref()),
            name: None,
            address: None,
            key: None,
        }
    }

    /// Sets the name of the one who acted.
    #[must_use]
    pub fn name(mut self, name: Option<&str>) -> Self {
        self.name = name.map(clean);
        self
    }

    /// Sets the address that the request came from.
    #[must_use]
    pub fn address(mut self, address: Option<IpAddr>) -> Self {
        self.address = address;
        self
    }

    /// Sets the key of the file.
    #[must_use]
    pub fn key(mut self, key: &BlobKey) -> Self {
        self.key = Some(key.detached());
        self
    }

    /// Sets the time of the action.
    #[must_use]
    pub fn at(mut self, at: SystemTime) -> Self {
        self.at = at;
        self
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("action", &self.action)
            .field("outcome", &self.outcome)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// PostgreSQL stores no NUL, which would change the hash.
fn clean(text: &str) -> String {
    let kept = text.chars().take(MAX_TEXT);
    kept.map(|letter| if letter == '\0' { '\u{fffd}' } else { letter })
        .collect()
}

/// The fields of an entry that its hash covers, as the database has them.
pub(super) struct Fields<'a> {
    pub(super) at: i64,
    pub(super) name: Option<&'a str>,
    pub(super) address: Option<&'a str>,
    pub(super) action: &'a str,
    pub(super) outcome: &'a str,
    pub(super) subject: Option<&'a [u8]>,
}

impl Fields<'_> {
    /// Returns the bytes that the hash covers. The page `docs/audit.md` describes them.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend(self.at.to_be_bytes());
        let texts = [self.name, self.address, Some(self.action), Some(self.outcome)];
        let fields = texts
            .into_iter()
            .map(|text| text.map(str::as_bytes))
            .chain([self.subject]);
        for field in fields {
            let len = field.map_or(ABSENT, |field| u32::try_from(field.len()).unwrap_or(ABSENT - 1));
            bytes.extend(len.to_be_bytes());
            bytes.extend(field.unwrap_or_default());
        }
        bytes
    }
}

/// A key, and the digest by which an entry commits to it.
pub(super) struct Subject {
    pub(super) key: String,
    pub(super) salt: Vec<u8>,
    pub(super) digest: Vec<u8>,
}

impl Subject {
    pub(super) fn of(key: &BlobKey) -> Self {
        let (key, salt) = (encode(key), Uuid::new_v4().as_bytes().to_vec());
        let digest = commitment(&salt, &key);
        Self { key, salt, digest }
    }
}

/// Returns the digest by which an entry commits to `key`.
pub(super) fn commitment(salt: &[u8], key: &str) -> Vec<u8> {
    Digest::of(&[salt, key.as_bytes()].concat()).as_bytes().to_vec()
}

pub(super) fn millis(at: SystemTime) -> i64 {
    time::to_millis(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of `docs/audit.md`.
    #[test]
    fn encodes_as_documented() {
        let subject = commitment(&[7; 16], "a\u{1f}b");
        let fields = Fields {
            at: 0x0102,
            name: Some("é"),
            address: None,
            action: "fetch",
            outcome: "200",
            subject: Some(&subject),
        };
        let expected = [
            &[1, 0, 0, 0, 0, 0, 0, 1, 2][..],
            &[0, 0, 0, 2, 0xc3, 0xa9],
            &[0xff; 4],
            b"\0\0\0\x05fetch",
            b"\0\0\0\x03200",
            b"\0\0\0\x20",
            &subject,
        ];
        assert_eq!(fields.encode(), expected.concat());
    }

    #[test]
    fn keeps_texts_short_and_without_nul() {
        let entry = Entry::new(Action::Fetch, "x".repeat(300)).name(Some("a\0b"));
        assert_eq!(
            (entry.outcome.len(), entry.name.as_deref()),
            (MAX_TEXT, Some("a\u{fffd}b"))
        );
    }
}
