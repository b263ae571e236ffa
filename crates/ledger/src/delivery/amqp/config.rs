//! An exchange in the configuration.

use kazoo_storage::Result;
use serde_json::value::RawValue;

use super::AmqpExchange;
use crate::delivery::{
    fields::{Fields, in_field, of_field},
    receiver::Receiver,
    receiver_fields,
};

/// Reads an exchange.
pub(in crate::delivery) fn read(json: &RawValue) -> Result<Receiver> {
    let mut fields = Fields::read(json, &[&["url", "exchange", "ca_file"], &receiver_fields::FIELDS])?;
    let url = fields.text("url")?.ok_or_else(|| in_field("url", "is missing"))?;
    let mut exchange = of_field("url", AmqpExchange::new(&url))?;
    if let Some(name) = fields.text("exchange")? {
        exchange = of_field("exchange", exchange.exchange(name))?;
    }
    if let Some(pem) = fields.file("ca_file")? {
        exchange = of_field("ca_file", exchange.authorities(&pem))?;
    }
    receiver_fields::configure(exchange.into(), fields)
}

#[cfg(test)]
mod tests {
    use crate::delivery::{Receiver, Receivers, receivers::fault};

    #[test]
    fn reads_exchanges() {
        let json = r#"{"amqp": [{"url": "amqps://u:p@h/v?heartbeat=5", "exchange": "files", "name": "mq", "kinds": ["fax"],
            "metadata": true, "link": "https://files.example.com", "timeout": "5s", "max_age": "2h", "in_flight": 8},
            {"url": "amqp://h"}], "webhooks": []}"#;
        let receivers: Vec<Receiver> = Receivers::from_json(json).unwrap().into_iter().collect();
        let [first, second] = &receivers[..] else { panic!() };
        assert_eq!((&*first.id(), first.in_flight, first.metadata), ("amqp:mq", 8, true));
        assert!(second.id().starts_with("amqp:h-"), "{}", second.id());
    }

    #[test]
    fn errors_of_exchanges_name_the_field_and_show_no_password() {
        for (fields, expected) in [
            (r"", "amqp 1: `url`: is missing"),
            (r#""url": 7"#, "amqp 1: `url`: must be a string"),
            (r#""url": "amqp://""#, "amqp 1: `url`: the URL has no host"),
            (r#""url": "amqp://u:hunter2@""#, "amqp 1: `url`: the URL "),
            (r#""url": "amqp:h""#, "amqp 1: `url`: the URL has no host"),
            (r#""url": "h:hunter2""#, "amqp 1: `url`: the URL has the scheme `h`"),
            (
                r#""url": "http://u:hunter2@h""#,
                "amqp 1: `url`: the URL has the scheme `http`",
            ),
            (
                r#""url": "amqp://hunter2@h""#,
                "amqp 1: `url`: the URL has a user, but no password",
            ),
            (
                r#""url": "amqp://u:hunter2@h/""#,
                "amqp 1: `url`: the URL ends with `/`",
            ),
            (
                r#""url": "amqp://u:hunter2@h/a/b""#,
                "amqp 1: `url`: the virtual host has a `/`",
            ),
            (
                r#""url": "amqp://u:hunter2@h#1""#,
                "amqp 1: `url`: the URL has a fragment",
            ),
            (
                r#""url": "amqp://u:hunter2%ff@h""#,
                "amqp 1: `url`: the password in the URL is not UTF-8",
            ),
            (
                r#""url": "amqp://u:hunter2@h?heartbeat=0""#,
                "amqp 1: `url`: `heartbeat` of the URL",
            ),
            (
                r#""url": "amqp://u:hunter2@h?heartbeat=x""#,
                "amqp 1: `url`: `heartbeat` of the URL",
            ),
            (
                r#""url": "amqp://u:hunter2@h?verify=none""#,
                "amqp 1: `url`: the URL has a parameter",
            ),
            (
                r#""url": "amqp://h", "exchange": """#,
                "amqp 1: `exchange`: the name of an exchange",
            ),
            (
                r#""url": "amqp://h", "ca_file": "/absent.pem""#,
                "amqp 1: `ca_file`: cannot read",
            ),
            (
                r#""url": "amqp://h", "ca_file": "/dev/null""#,
                "amqp 1: `ca_file`: the URL has the scheme `amqp`",
            ),
            (
                r#""url": "amqps://h", "ca_file": "/dev/null""#,
                "amqp 1: `ca_file`: there is no certificate",
            ),
            (
                r#""url": "amqp://h", "secret": "hunter2""#,
                "amqp 1: unknown field `secret`",
            ),
            (r#""url": "amqp://h", "name": """#, "amqp 1: `name`: a name has"),
        ] {
            let found = fault(&format!(r#"{{"amqp": [{{{fields}}}]}}"#));
            assert!(found.starts_with(expected), "{fields}: {found}");
            assert!(!found.contains("hunter2"), "{found}");
        }
        let found = fault(r#"{"amqp": [{"url": "amqp://h"}, {"url": "amqp://u:hunter2@h"}]}"#);
        assert!(
            found.starts_with("two receivers have the same name `amqp:h-"),
            "{found}"
        );
    }
}
