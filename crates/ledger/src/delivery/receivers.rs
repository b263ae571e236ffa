//! [`Receivers`]: a set of receivers, and its JSON.

use kazoo_storage::{Error, ErrorKind, Result};
use serde_json::value::RawValue;

#[cfg(feature = "amqp")]
use super::amqp;
#[cfg(feature = "webhooks")]
use super::webhook;
use super::{fields::Fields, receiver::Receiver};

/// Receivers with different names.
#[derive(Clone, Debug, Default)]
pub struct Receivers(Vec<Receiver>);

impl Receivers {
    /// Collects receivers. Two of one kind with the same name are an error.
    pub fn new(receivers: impl IntoIterator<Item = impl Into<Receiver>>) -> Result<Self> {
        let receivers: Vec<Receiver> = receivers.into_iter().map(Into::into).collect();
        for (position, receiver) in receivers.iter().enumerate() {
            let before = receivers.iter().take(position);
            if before.into_iter().any(|other| other.id() == receiver.id()) {
                let id = receiver.id();
                return Err(invalid(format!(
                    "two receivers have the same name `{id}`; remove one, or set `name` in each"
                )));
            }
        }
        Ok(Self(receivers))
    }

    /// Reads receivers from JSON, such as:
    ///
    /// ```json
    /// {
    ///     "webhooks": [{
    ///         "url": "https://crm.example.com/kazoo",
    ///         "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    ///     }],
    ///     "amqp": [{"url": "amqp://user:password@rabbitmq.example.com", "exchange": "kazoo_storage"}]
    /// }
    /// ```
    ///
    /// There is one list, or both; a list may be empty. A webhook has `secret`, or one or two `secrets`. The other fields
    /// are named after the methods of [`Receiver`]: `name`, `accounts`, `kinds` (`voicemail`, `call_recording`, `fax`,
    /// `other`), `events`, `metadata`, `link`, `timeout` and `max_age` (such as `15s` and `3days`), `in_flight` (1 to 1000);
    /// and `ca_file` is the path of a PEM file with the authorities that are trusted in place of the system's. An error names
    /// the receiver and the field, and shows neither URLs nor secrets.
    pub fn from_json(text: &str) -> Result<Self> {
        const LISTS: &[(&str, &str, Read)] = &[
            #[cfg(feature = "webhooks")]
            ("webhooks", "webhook", webhook::config::read),
            #[cfg(feature = "amqp")]
            ("amqp", "amqp", amqp::config::read),
        ];
        let json: Box<RawValue> = serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?;
        let names: Vec<&str> = LISTS.iter().map(|(list, ..)| *list).collect();
        let mut file = Fields::read(&json, &[&names])?;
        let mut receivers = None;
        for (list, kind, read) in LISTS {
            let Some(entries) = file.objects(list)? else {
                continue;
            };
            let receivers = receivers.get_or_insert_with(Vec::new);
            for (position, entry) in (1..).zip(entries) {
                let receiver = read(&entry);
                receivers.push(receiver.map_err(|error| invalid(format!("{kind} {position}: {}", error.message())))?);
            }
        }
        let expected = || {
            names
                .iter()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(" or ")
        };
        let receivers = receivers.ok_or_else(|| invalid(format!("missing field {}", expected())))?;
        Self::new(receivers)
    }
}

/// Reads one entry of a list.
type Read = fn(&RawValue) -> Result<Receiver>;

impl IntoIterator for Receivers {
    type Item = Receiver;
    type IntoIter = std::vec::IntoIter<Receiver>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidRequest, message.into())
}

/// Returns the error of the file `text`.
#[cfg(test)]
pub(super) fn fault(text: &str) -> String {
    let error = Receivers::from_json(text).unwrap_err();
    error.message().to_owned()
}

#[cfg(test)]
#[cfg(feature = "webhooks")]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn reads_every_field() {
        let json = format!(
            r#"{{"webhooks": [{{"url": "https://crm.example.com/kazoo", "secrets": ["{SECRET}", "{SECRET}"], "name": "crm",
                "accounts": ["0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7"], "kinds": ["voicemail", "other"],
                "events": ["file.stored"], "metadata": true, "link": "https://files.example.com/kazoo/",
                "timeout": "5s", "max_age": "2h", "in_flight": 8}}, {{"url": "http://10.0.0.1", "secret": "{SECRET}"}}]}}"#
        );
        let receivers: Vec<Receiver> = Receivers::from_json(&json).unwrap().into_iter().collect();
        let [first, second] = &receivers[..] else { panic!() };
        assert_eq!(first.id(), "webhook:crm");
        assert_eq!((first.in_flight, first.metadata), (8, true));
        assert_eq!(first.timeout, Duration::from_secs(5));
        assert_eq!(first.max_age, Duration::from_secs(7200));
        assert_eq!(second.max_age, Receiver::DEFAULT_MAX_AGE);
        assert!(second.name.starts_with("10.0.0.1-"), "{}", second.name);
        assert!(
            Receivers::from_json(r#"{"webhooks": []}"#)
                .unwrap()
                .into_iter()
                .next()
                .is_none()
        );
    }

    #[test]
    fn errors_show_no_values_of_the_wrong_type() {
        for (text, expected) in [
            (r#""hunter2""#, "it must be an object"),
            (r#"{"webhooks": "hunter2"}"#, "`webhooks`: must be a list of objects"),
            (r#"{"webhooks": ["hunter2"]}"#, "webhook 1: it must be an object"),
            (r#"{"webhook": []}"#, "unknown field `webhook`"),
            ("{}", "missing field `webhooks`"),
            ("", "EOF"),
        ] {
            let found = fault(text);
            assert!(
                found.starts_with(expected) && !found.contains("hunter2"),
                "{text}: {found}"
            );
        }
    }

    #[test]
    fn refuses_two_webhooks_of_one_name() {
        let entry = format!(r#"{{"url": "https://x.example.com/hook?token=a", "secret": "{SECRET}"}}"#);
        let same = entry.replace("token=a", "token=b");
        let found = fault(&format!(r#"{{"webhooks": [{entry}, {same}]}}"#));
        assert!(
            found.starts_with("two receivers have the same name `webhook:x.example.com-"),
            "{found}"
        );
        let other = entry.replace("hook", "other");
        assert!(Receivers::from_json(&format!(r#"{{"webhooks": [{entry}, {other}]}}"#)).is_ok());
    }
}
