//! The JSON form of access rules.

use std::{fmt, marker::PhantomData, sync::Arc};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::error::Category;

use super::{
    AccessRules, Credential,
    networks::{self, Network},
};
use crate::{
    error::{Error, ErrorKind, Result},
    grant::Grant,
    key::BlobKey,
};

const KEYS: &str = "; the keys are networks, trusted_proxies and credentials, and in each credential name, user, password, token, accounts, folders, max_body (in bytes) and may; a network is a text, or has the keys network and name";

/// Maximum length of a name, in characters.
const MAX_NAME: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    #[serde(default)]
    networks: Vec<Listed>,
    #[serde(default)]
    trusted_proxies: Vec<String>,
    #[serde(default)]
    credentials: Vec<Object<Entry>>,
}

/// A network, with or without a name.
#[derive(Deserialize)]
#[serde(untagged)]
enum Listed {
    Plain(String),
    Named(Object<Named>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    network: String,
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Option<String>,
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
    accounts: Option<Vec<String>>,
    folders: Option<Vec<String>>,
    max_body: Option<u64>,
    #[serde(default)]
    may: May,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum May {
    Read,
    Write,
    #[default]
    Both,
}

/// A struct that is written as an object. Alone, it could be written as an array of its fields too.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields)).map(Object)
            }
        }

        deserializer.deserialize_map(Fields(PhantomData))
    }
}

/// Parses `text`; see [`AccessRules::from_json`].
pub(super) fn parse(text: &str) -> Result<AccessRules> {
    let Object(json): Object<Rules> = serde_json::from_str(text).map_err(|error| invalid(fault(&error)))?;
    let mut rules = AccessRules::new().trusted_proxies(json.trusted_proxies)?;
    for (position, listed) in (1..).zip(json.networks) {
        let (range, name) = match listed {
            Listed::Plain(range) => (range, None),
            Listed::Named(Object(Named { network, name })) => (
                network,
                Some(checked(name).map_err(|fault| invalid(format!("network {position} {fault}")))?),
            ),
        };
        let ranges = networks::parse([range])?.into_iter();
        rules.networks.extend(ranges.map(|range| Network {
            range,
            name: name.clone(),
        }));
    }
    for (position, Object(entry)) in (1..).zip(json.credentials) {
        let credential = entry
            .into_credential()
            .map_err(|fault| invalid(format!("credential {position} {fault}")))?;
        rules = rules.credential(credential);
    }
    if rules.is_empty() {
        return Err(invalid(
            "the access rules contain no network and no credential; add at least one".to_owned(),
        ));
    }
    Ok(rules)
}

impl Entry {
    fn into_credential(self) -> Result<Credential, &'static str> {
        let credential = match (self.user, self.password, self.token) {
            (Some(user), Some(password), None) => Credential::password(user, password),
            (None, None, Some(token)) => Credential::token(token),
            _ => return Err("needs either a `user` and a `password`, or a `token`"),
        };
        if let Some(fault) = credential.fault() {
            return Err(fault);
        }
        let mut grant = Grant::everything();
        if let Some(name) = self.name {
            grant = grant.named(checked(name)?);
        }
        if let Some(accounts) = self.accounts {
            if accounts.iter().any(String::is_empty) {
                return Err("has an empty account; use an account id, or omit `accounts`");
            }
            grant = grant.accounts(accounts);
        }
        if let Some(folders) = self.folders {
            let folders: Result<Vec<_>> = folders.iter().map(|path| BlobKey::from_path(path)).collect();
            grant = grant.folders(
                folders.map_err(|_| "has an invalid folder; use a percent-encoded path such as `archive/acme`")?,
            );
        }
        if let Some(bytes) = self.max_body {
            if bytes == 0 {
                return Err(
                    "has a `max_body` of 0, which refuses every file; for fetches only, use `\"may\": \"read\"`",
                );
            }
            grant = grant.max_body(bytes);
        }
        Ok(credential.grant(match self.may {
            May::Read => grant.read_only(),
            May::Write => grant.write_only(),
            May::Both => grant,
        }))
    }
}

/// Returns `name` if it can be shown in a log.
fn checked(name: String) -> Result<Arc<str>, &'static str> {
    if (1..=MAX_NAME).contains(&name.chars().count()) && name.chars().all(is_printable) && name.trim() == name {
        Ok(name.into())
    } else {
        Err("has an invalid name; use 1 to 64 printable characters, without a space at either end")
    }
}

/// Returns `false` for characters that change how the text beside them is shown.
fn is_printable(letter: char) -> bool {
    let is_format = matches!(letter, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}');
    !letter.is_control() && !is_format
}

/// Describes the fault and its position. serde's own message may quote a secret, so only its kind is used.
fn fault(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let (fault, hint) = match error.classify() {
        Category::Eof => ("the JSON is truncated", ""),
        Category::Syntax | Category::Io => ("invalid JSON", ""),
        Category::Data if message.starts_with("unknown field") => ("unknown key", KEYS),
        Category::Data if message.starts_with("duplicate field") => ("duplicate key", ""),
        Category::Data if message.starts_with("unknown variant") => {
            ("unknown value of `may`", "; use read, write or both")
        }
        Category::Data => ("a value has the wrong type", KEYS),
    };
    format!("{fault} at line {}, column {}{hint}", error.line(), error.column())
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidRequest, message)
}
