//! A webhook in the configuration.

use kazoo_storage::Result;
use serde_json::value::RawValue;

use super::Webhook;
use crate::delivery::{
    address::invalid,
    fields::{Fields, in_field, of_field},
    receiver::Receiver,
    receiver_fields,
};

/// Reads a webhook.
pub(in crate::delivery) fn read(json: &RawValue) -> Result<Receiver> {
    let mut fields = Fields::read(
        json,
        &[&["url", "secret", "secrets", "ca_file"], &receiver_fields::FIELDS],
    )?;
    let url = fields.text("url")?.ok_or_else(|| in_field("url", "is missing"))?;
    let (first, second) = secrets(&mut fields)?;
    let mut webhook = Webhook::new(&url, &first).map_err(|error| match error.message() {
        message if message.starts_with("the URL") => in_field("url", message),
        message => in_field("secret", message),
    })?;
    if let Some(second) = second {
        webhook = of_field("secrets", webhook.second_secret(&second))?;
    }
    if let Some(pem) = fields.file("ca_file")? {
        webhook = of_field("ca_file", webhook.authorities(&pem))?;
    }
    receiver_fields::configure(webhook.into(), fields)
}

/// Returns the secret, or the two of them.
fn secrets(fields: &mut Fields) -> Result<(String, Option<String>)> {
    match (fields.text("secret")?, fields.texts("secrets")?) {
        (Some(secret), None) => Ok((secret, None)),
        (None, Some(secrets)) => {
            let mut secrets = secrets.into_iter();
            match (secrets.next(), secrets.next(), secrets.next()) {
                (Some(first), second, None) => Ok((first, second)),
                _ => Err(in_field("secrets", "has more than two; remove the oldest")),
            }
        }
        _ => Err(invalid("set either `secret` or, with up to two of them, `secrets`")),
    }
}

#[cfg(test)]
mod tests {
    use crate::delivery::receivers::fault;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn errors_name_the_webhook_and_the_field() {
        for (fields, expected) in [
            (r#""secret": "S""#, "webhook 1: `url`: is missing"),
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
}
