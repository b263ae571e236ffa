//! [`Webhooks`]: a set of webhooks, and its JSON.

use std::{fmt::Display, fs, time::Duration};

use kazoo_storage::{Error, ErrorKind, Result, kazoo_id::AttachmentKind};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

use super::endpoint::Webhook;
use crate::{event::EventKind, file::kind_named};

/// Webhooks with different names.
#[derive(Clone, Debug, Default)]
pub struct Webhooks(Vec<Webhook>);

impl Webhooks {
    /// Collects webhooks. Two with the same name are an error.
    pub fn new(webhooks: impl IntoIterator<Item = Webhook>) -> Result<Self> {
        let webhooks: Vec<Webhook> = webhooks.into_iter().collect();
        for (position, webhook) in webhooks.iter().enumerate() {
            let mut before = webhooks.iter().take(position);
            if let Some(first) = before.position(|other| other.name == webhook.name) {
                let name = &webhook.name;
                return Err(invalid(format!(
                    "webhooks {} and {} have the same name `{name}`; remove one, or set `name` in each",
                    first + 1,
                    position + 1
                )));
            }
        }
        Ok(Self(webhooks))
    }

    /// Reads webhooks from JSON, such as:
    ///
    /// ```
    /// # use kazoo_storage_ledger::webhook::Webhooks;
    /// let webhooks = Webhooks::from_json(
    ///     r#"{"webhooks": [{
    ///         "url": "https://crm.example.com/kazoo",
    ///         "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    ///     }]}"#,
    /// )?;
    /// # Ok::<(), kazoo_storage::Error>(())
    /// ```
    ///
    /// The other fields are named after the methods of [`Webhook`]: `secrets` (one or two, in place of `secret`), `name`,
    /// `accounts`, `kinds` (`voicemail`, `call_recording`, `fax`, `other`), `events`, `metadata`, `link`, `timeout` and
    /// `max_age` (such as `15s` and `3days`), `in_flight` (1 to 1000), and `ca_file`, the path of a PEM file with the
    /// [authorities](Webhook::authorities). An error names the webhook and the field, and shows neither URLs nor secrets.
    pub fn from_json(text: &str) -> Result<Self> {
        let json: Box<RawValue> = serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?;
        let file: File = object(&json)?;
        let entries: Option<Vec<Box<RawValue>>> = serde_json::from_str(file.webhooks.get()).ok();
        let entries = entries.ok_or_else(|| in_field("webhooks", "must be a list"))?;
        let webhooks: Result<Vec<Webhook>> = (1..)
            .zip(entries)
            .map(|(position, entry)| {
                let webhook = object::<Entry>(&entry).and_then(Entry::webhook);
                webhook.map_err(|error| invalid(format!("webhook {position}: {}", error.message())))
            })
            .collect();
        Self::new(webhooks?)
    }
}

impl IntoIterator for Webhooks {
    type Item = Webhook;
    type IntoIter = std::vec::IntoIter<Webhook>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    webhooks: Box<RawValue>,
}

/// The fields have any type here, so that an error about a type names the field.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    url: Option<Value>,
    secret: Option<Value>,
    secrets: Option<Value>,
    name: Option<Value>,
    accounts: Option<Value>,
    kinds: Option<Value>,
    events: Option<Value>,
    metadata: Option<Value>,
    link: Option<Value>,
    timeout: Option<Value>,
    max_age: Option<Value>,
    in_flight: Option<Value>,
    ca_file: Option<Value>,
}

impl Entry {
    fn webhook(self) -> Result<Webhook> {
        let url = self.url.ok_or_else(|| invalid("`url` is missing"))?;
        let url = text("url", &url)?;
        let (first, second) = secrets(self.secret, self.secrets)?;
        let mut webhook = Webhook::new(&url, &first).map_err(|error| match error.message() {
            message if message.starts_with("the URL") => in_field("url", message),
            message => in_field("secret", message),
        })?;
        if let Some(second) = second {
            webhook = field("secrets", webhook.second_secret(&second))?;
        }
        if let Some(value) = self.name {
            webhook = field("name", webhook.named(text("name", &value)?))?;
        }
        if let Some(value) = self.accounts {
            webhook = webhook.accounts(list("accounts", &value)?);
        }
        if let Some(value) = self.kinds {
            let kinds = list("kinds", &value)?;
            let kinds: Vec<_> = kinds.iter().map(|name| kind(name)).collect::<Result<_>>()?;
            webhook = webhook.kinds(kinds);
        }
        if let Some(value) = self.events {
            let events = list("events", &value)?;
            let events: Result<Vec<EventKind>> = events.iter().map(|name| field("events", name.parse())).collect();
            webhook = webhook.events(events?);
        }
        if let Some(value) = self.metadata {
            let metadata = value
                .as_bool()
                .ok_or_else(|| in_field("metadata", "must be `true` or `false`"))?;
            webhook = webhook.metadata(metadata);
        }
        if let Some(value) = self.link {
            webhook = field("link", webhook.link(&text("link", &value)?))?;
        }
        if let Some(value) = self.timeout {
            webhook = webhook.timeout(duration("timeout", &value)?);
        }
        if let Some(value) = self.max_age {
            webhook = webhook.max_age(duration("max_age", &value)?);
        }
        if let Some(value) = self.in_flight {
            webhook = webhook.in_flight(in_flight(&value)?);
        }
        if let Some(value) = self.ca_file {
            let path = text("ca_file", &value)?;
            let pem = fs::read(&path).map_err(|error| in_field("ca_file", format!("cannot read {path}: {error}")))?;
            webhook = field("ca_file", webhook.authorities(&pem))?;
        }
        Ok(webhook)
    }
}

/// Reads an object whose fields have any type, so that the error contains no value.
fn object<T: DeserializeOwned>(json: &RawValue) -> Result<T> {
    if !json.get().starts_with('{') {
        return Err(invalid("it must be an object: {…}"));
    }
    serde_json::from_str(json.get()).map_err(|error| {
        let message = error.to_string();
        // The position is that in the object.
        let fault = message.split(" at line ").next().unwrap_or_default();
        invalid(fault)
    })
}

/// Returns the secret, or the two of them.
fn secrets(one: Option<Value>, several: Option<Value>) -> Result<(String, Option<String>)> {
    match (one, several) {
        (Some(secret), None) => Ok((text("secret", &secret)?, None)),
        (None, Some(value)) => {
            let mut secrets = list("secrets", &value)?.into_iter();
            match (secrets.next(), secrets.next(), secrets.next()) {
                (Some(first), second, None) => Ok((first, second)),
                _ => Err(in_field("secrets", "has more than two; remove the oldest")),
            }
        }
        _ => Err(invalid("set either `secret` or, with up to two of them, `secrets`")),
    }
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

fn text(field: &str, value: &Value) -> Result<String> {
    let text = value.as_str().map(str::to_owned);
    text.ok_or_else(|| in_field(field, "must be a string"))
}

fn list(field: &str, value: &Value) -> Result<Vec<String>> {
    let texts = value.as_array().and_then(|values| {
        let mut texts = values.iter().map(|value| value.as_str().map(str::to_owned));
        texts.by_ref().collect::<Option<Vec<String>>>()
    });
    let texts = texts.ok_or_else(|| in_field(field, "must be a list of strings"))?;
    if texts.is_empty() || texts.iter().any(String::is_empty) {
        return Err(in_field(field, "is empty, or has an empty string; omit it for all"));
    }
    Ok(texts)
}

fn duration(field: &str, value: &Value) -> Result<Duration> {
    let parsed = value.as_str().and_then(|text| humantime::parse_duration(text).ok());
    parsed
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| in_field(field, "must be a duration such as \"15s\", \"2h\" or \"3days\""))
}

fn in_flight(value: &Value) -> Result<usize> {
    let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
    number
        .filter(|number| (1..=1000).contains(number))
        .ok_or_else(|| in_field("in_flight", "must be a number from 1 to 1000"))
}

fn field<T>(field: &str, result: Result<T>) -> Result<T> {
    result.map_err(|error| in_field(field, error.message()))
}

fn in_field(field: &str, fault: impl Display) -> Error {
    invalid(format!("`{field}`: {fault}"))
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidRequest, message.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn fault(text: &str) -> String {
        let error = Webhooks::from_json(text).unwrap_err();
        error.message().to_owned()
    }

    #[test]
    fn reads_every_field() {
        let json = format!(
            r#"{{"webhooks": [{{"url": "https://crm.example.com/kazoo", "secrets": ["{SECRET}", "{SECRET}"], "name": "crm",
                "accounts": ["0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7"], "kinds": ["voicemail", "other"],
                "events": ["file.stored"], "metadata": true, "link": "https://files.example.com/kazoo/",
                "timeout": "5s", "max_age": "2h", "in_flight": 8}}, {{"url": "http://10.0.0.1", "secret": "{SECRET}"}}]}}"#
        );
        let webhooks: Vec<Webhook> = Webhooks::from_json(&json).unwrap().into_iter().collect();
        let [first, second] = &webhooks[..] else { panic!() };
        assert_eq!((&*first.name, first.secrets.len()), ("crm", 2));
        assert_eq!((first.in_flight, first.metadata), (8, true));
        assert_eq!(first.timeout, Duration::from_secs(5));
        assert_eq!(first.max_age, Duration::from_secs(7200));
        assert_eq!(second.max_age, Webhook::DEFAULT_MAX_AGE);
        assert!(second.name.starts_with("10.0.0.1-"), "{}", second.name);
        assert!(
            Webhooks::from_json(r#"{"webhooks": []}"#)
                .unwrap()
                .into_iter()
                .next()
                .is_none()
        );
    }

    #[test]
    fn errors_name_the_webhook_and_the_field() {
        for (fields, expected) in [
            (r#""secret": "S""#, "webhook 1: `url` is missing"),
            (r#""url": "https://x.example.com""#, "webhook 1: set either `secret`"),
            (
                r#""url": "U", "secret": "S", "secrets": ["S"]"#,
                "webhook 1: set either `secret`",
            ),
            (r#""url": "U", "secrets": []"#, "webhook 1: `secrets`: is empty"),
            (
                r#""url": "U", "secrets": ["S", "S", "S"]"#,
                "webhook 1: `secrets`: has more than two",
            ),
            (r#""url": "U", "secret": "hunter2hunter2"#, "EOF"),
            (
                r#""url": "U", "secret": "hunter2hunter2""#,
                "webhook 1: `secret`: the secret does not begin",
            ),
            (r#""url": "U", "secret": 7"#, "webhook 1: `secret`: must be a string"),
            (
                r#""url": "U", "secret": "S", "secret": "S""#,
                "webhook 1: duplicate field `secret`",
            ),
            (
                r#""url": "U", "secret": "S", "retries": 3"#,
                "webhook 1: unknown field `retries`",
            ),
            (
                r#""url": "https://", "secret": "S""#,
                "webhook 1: `url`: the URL is invalid (empty host)",
            ),
            (
                r#""url": "x.example.com", "secret": "S""#,
                "webhook 1: `url`: the URL is invalid",
            ),
            (
                r#""url": "ftp://x.example.com", "secret": "S""#,
                "webhook 1: `url`: the URL has the scheme `ftp`",
            ),
            (
                r#""url": "https://u:hunter2@x.example.com", "secret": "S""#,
                "webhook 1: `url`: the URL has a user",
            ),
            (
                r#""url": "U", "secret": "S", "link": "U?key=""#,
                "webhook 1: `link`: the key follows",
            ),
            (
                r#""url": "U", "secret": "S", "kinds": ["voice"]"#,
                "webhook 1: `kinds`: has `voice`",
            ),
            (
                r#""url": "U", "secret": "S", "events": ["stored"]"#,
                "webhook 1: `events`: an event is",
            ),
            (
                r#""url": "U", "secret": "S", "accounts": "x""#,
                "webhook 1: `accounts`: must be a list",
            ),
            (
                r#""url": "U", "secret": "S", "timeout": 15"#,
                "webhook 1: `timeout`: must be a duration",
            ),
            (
                r#""url": "U", "secret": "S", "max_age": "0s""#,
                "webhook 1: `max_age`: must be a duration",
            ),
            (
                r#""url": "U", "secret": "S", "in_flight": 0"#,
                "webhook 1: `in_flight`: must be a number",
            ),
            (
                r#""url": "U", "secret": "S", "metadata": "yes""#,
                "webhook 1: `metadata`: must be `true`",
            ),
            (
                r#""url": "U", "secret": "S", "name": """#,
                "webhook 1: `name`: a name has",
            ),
            (
                r#""url": "U", "secret": "S", "ca_file": "/absent.pem""#,
                "webhook 1: `ca_file`: cannot read /absent.pem",
            ),
        ] {
            let fields = fields
                .replace("\"U", "\"https://x.example.com/hook")
                .replace("\"S\"", &format!("\"{SECRET}\""));
            let found = fault(&format!(r#"{{"webhooks": [{{{fields}}}]}}"#));
            assert!(found.starts_with(expected), "{fields}: {found}");
            assert!(!found.contains("hunter2") && !found.contains(SECRET), "{found}");
        }
    }

    #[test]
    fn errors_show_no_values_of_the_wrong_type() {
        for (text, expected) in [
            (r#""hunter2""#, "it must be an object"),
            (r#"{"webhooks": "hunter2"}"#, "`webhooks`: must be a list"),
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
            found.starts_with("webhooks 1 and 2 have the same name `x.example.com-"),
            "{found}"
        );
        let other = entry.replace("hook", "other");
        assert!(Webhooks::from_json(&format!(r#"{{"webhooks": [{entry}, {other}]}}"#)).is_ok());
    }
}
