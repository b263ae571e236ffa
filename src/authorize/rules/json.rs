//! The JSON form of access rules.

use serde::Deserialize;
use serde_json::error::Category;

use super::{AccessRules, Credential};
use crate::{
    error::{Error, ErrorKind, Result},
    grant::Grant,
    key::BlobKey,
};

const KEYS: &str = "; the keys are networks, trusted_proxies and credentials, and in each credential user, password, token, accounts, folders, max_body (in bytes) and may";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    #[serde(default)]
    networks: Vec<String>,
    #[serde(default)]
    trusted_proxies: Vec<String>,
    #[serde(default)]
    credentials: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
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

/// Parses `text`; see [`AccessRules::from_json`].
pub(super) fn parse(text: &str) -> Result<AccessRules> {
    let json: Rules = serde_json::from_str(text).map_err(|error| invalid(fault(&error)))?;
    let mut rules = AccessRules::new()
        .networks(json.networks)?
        .trusted_proxies(json.trusted_proxies)?;
    for (position, entry) in (1..).zip(json.credentials) {
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
