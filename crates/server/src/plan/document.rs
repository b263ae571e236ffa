//! [`PlannedDocument`]: the storage document for KAZOO, and the server command for it.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use kazoo_storage::settings::{KazooSettings, StorageUrl};
use serde_json::{Map, Value, json};

use super::Fallible;
use crate::{
    cli::{PlanOptions, Verb},
    log::redact::looks_secret,
};

/// A storage document and the settings in it.
pub(super) struct PlannedDocument {
    pub(super) json: String,
    pub(super) settings: KazooSettings,
    pub(super) url: StorageUrl,
    /// `true` if the URL in the document is the normalized form of the one passed.
    pub(super) normalized: bool,
}

impl PlannedDocument {
    pub(super) fn new(options: &PlanOptions, url: &str) -> Fallible<Self> {
        let planned = Self::with_url(options, url)?;
        let normalized = planned.url.normalized();
        if normalized == planned.url {
            return Ok(planned);
        }
        Ok(Self {
            normalized: true,
            ..Self::with_url(options, normalized.as_str())?
        })
    }

    fn with_url(options: &PlanOptions, url: &str) -> Fallible<Self> {
        let verb = match options.verb {
            Verb::Put => "put",
            Verb::Post => "post",
        };
        let settings = json!({
            "url": url,
            "verb": verb,
            "send_multipart": options.multipart,
            "base64_encode_data": options.base64_encode_data,
        });
        let json = document(options, &settings, &uuid()?);
        Ok(Self {
            // Parses the document as the server does.
            settings: KazooSettings::from_json(&json)?,
            url: StorageUrl::parse(url)?,
            normalized: false,
            json,
        })
    }

    /// Returns the command that starts a server for the document.
    pub(super) fn serve_command(&self) -> String {
        let listen = SocketAddr::new(self.listen(), self.url.port());
        let mut serve = format!("kazoo-storage serve --settings storage.json --listen {listen}");
        if self.needs_access() {
            serve += " --access access.json";
        }
        if let Some(mount) = self.path_before_token() {
            serve = format!("{serve} --mount {}", quoted(mount));
        }
        if self.url.is_https() {
            serve += " --tls-cert cert.pem --tls-key key.pem";
        }
        serve
    }

    /// Describes the file for `--access`; empty if the server needs none.
    pub(super) fn access_hint(&self) -> String {
        if !self.needs_access() {
            return String::new();
        }
        let rules = if self.path_before_token().is_some() {
            r#"{"credentials": [{"token": "TOKEN"}]}`, with the token at the end of the URL's path"#
        } else if self.has_user() {
            r#"{"credentials": [{"user": "USER", "password": "PASSWORD"}]}`, with the credentials in the URL"#
        } else {
            r#"{"networks": ["10.0.0.0/8"]}`, with the network of KAZOO's machines. If the path of the URL ends with a token, set `--mount` to the path before it"#
        };
        format!("access.json contains the access rules, such as `{rules}.\n\n")
    }

    fn needs_access(&self) -> bool {
        !self.listen().is_loopback() || self.has_user() || self.path_before_token().is_some()
    }

    /// Returns the address to listen on: every address, or the loopback address in the URL.
    fn listen(&self) -> IpAddr {
        match self.url.host().parse() {
            Ok(address) if IpAddr::is_loopback(&address) => address,
            Ok(IpAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
            Err(_) if self.url.host() == "localhost" => Ipv4Addr::LOCALHOST.into(),
            _ => Ipv4Addr::UNSPECIFIED.into(),
        }
    }

    fn has_user(&self) -> bool {
        self.url.userinfo().is_some()
    }

    /// Returns the part of the path before a token, if the path ends with one.
    fn path_before_token(&self) -> Option<&str> {
        if self.has_user() {
            return None;
        }
        let (before, last) = self.settings.mount().rsplit_once('/')?;
        looks_secret(last).then_some(if before.is_empty() { "/" } else { before })
    }
}

/// Quotes `text` as one word of a shell.
fn quoted(text: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_.~%-".contains(&byte);
    if text.bytes().all(plain) {
        text.into()
    } else {
        format!("'{}'", text.replace('\'', r"'\''")).into()
    }
}

/// Returns the storage document in the form in which it is PUT to KAZOO.
fn document(options: &PlanOptions, settings: &Value, uuid: &str) -> String {
    let types = options
        .types
        .iter()
        .map(|kind| (kind.clone(), json!({"attachments": {"handler": uuid}})));
    let document = json!({
        "data": {
            "attachments": {
                uuid: {"handler": "http", "name": options.name, "settings": settings},
            },
            "plan": {"modb": {"types": types.collect::<Map<_, _>>()}},
        },
    });
    format!("{document:#}")
}

/// Generates an id in KAZOO's form.
fn uuid() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn planned(url: &str) -> Fallible<PlannedDocument> {
        let options = PlanOptions {
            url: None,
            webhook: false,
            types: vec!["fax".to_owned()],
            verb: Verb::Put,
            multipart: false,
            base64_encode_data: false,
            name: "x".to_owned(),
        };
        PlannedDocument::new(&options, url)
    }

    #[test]
    fn the_command_starts_a_server_that_kazoo_reaches() {
        for (url, options) in [
            ("http://localhost:8080/p", "--listen 127.0.0.1:8080"),
            ("http://storage/p", "--listen 0.0.0.0:80 --access access.json"),
            (
                "http://u:p@127.0.0.1:81/p",
                "--listen 127.0.0.1:81 --access access.json",
            ),
            (
                "http://storage:8080/a/b/1f0e6b9c7d2a4835b6c1d0e9f8a7b6c5/",
                "--listen 0.0.0.0:8080 --access access.json --mount /a/b",
            ),
            ("http://[::1]:81/p", "--listen [::1]:81"),
            ("http://127.0.0.2:81/p", "--listen 127.0.0.2:81"),
            ("http://[fd00::1]:81/p", "--listen [::]:81 --access access.json"),
            (
                "http://storage/it's$(id)&/5d9e3f70",
                r"--listen 0.0.0.0:80 --access access.json --mount '/it'\''s$(id)&'",
            ),
            // With a user in the URL, the last segment is not taken for a token.
            (
                "http://u:p@storage/2600hz-v4-s3",
                "--listen 0.0.0.0:80 --access access.json",
            ),
            (
                "https://storage/archive-5d9e3f70",
                "--listen 0.0.0.0:443 --access access.json --mount / --tls-cert cert.pem --tls-key key.pem",
            ),
        ] {
            let serve = planned(url).unwrap().serve_command();
            assert_eq!(serve, format!("kazoo-storage serve --settings storage.json {options}"));
        }
    }

    #[test]
    fn the_document_has_the_normalized_url() {
        let planned = |url: &str| {
            let planned = self::planned(url).unwrap();
            (planned.url.as_str().to_owned(), planned.normalized)
        };
        assert_eq!(
            planned("http://u:p%2Dw@storage/pre%2Dfix/./x?rec%6Frding="),
            ("http://u:p-w@storage/pre-fix/x?recording=".to_owned(), true)
        );
        assert_eq!(planned("http://storage/p/"), ("http://storage/p/".to_owned(), false));
        let error = self::planned("http://storage/a/../p").map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("`..`"), "{error}");
    }

    #[test]
    fn the_access_hint_matches_the_credentials_of_the_url() {
        for (url, says) in [
            ("http://storage/5d9e3f70", "\"token\""),
            ("http://u:p@storage/p", "\"password\""),
            ("http://storage/p", "\"networks\""),
        ] {
            let hint = planned(url).unwrap().access_hint();
            assert!(hint.contains(says) && !hint.contains("5d9e3f70"), "{hint}");
        }
        assert_eq!(planned("http://localhost/p").unwrap().access_hint(), "");
    }
}
