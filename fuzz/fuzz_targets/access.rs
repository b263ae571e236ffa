//! The JSON of the access rules and, after a NUL, the forwarding headers of proxies.

#![no_main]

use std::net::{IpAddr, SocketAddr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, Request, request::Parts};
use kazoo_storage::{AccessRules, BlobKey, Error, ErrorKind, Grant, PeerAddr, authorize::Authorizer as _};
use kazoo_storage_fuzz::{oracle::forwarded, run::run};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(2, |byte| *byte == 0);
    if let (Some(text), lines) = (parts.next(), parts.next()) {
        json(text);
        proxies(lines.unwrap_or_default());
    }
});

/// Each line is a `forwarded` header if it starts with `f`, and an `x-forwarded-for` header otherwise.
fn proxies(lines: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let name = if line.starts_with(b"f") {
            "forwarded"
        } else {
            "x-forwarded-for"
        };
        if let Ok(line) = HeaderValue::from_bytes(&line[1..]) {
            headers.append(name, line);
        }
    }
    forwarded::check(&headers);
}

fn json(text: &[u8]) {
    let Ok(text) = str::from_utf8(text) else { return };
    let rules = AccessRules::from_json(text);
    if let Err(error) = &rules {
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    }
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        assert!(rules.is_err());
        return;
    };
    // A repeated field is an error in the rules, but not in a `Value`, which contains it once.
    let said = Said::of(&value);
    assert!(rules.is_err() || said.is_some());
    let rules = AccessRules::from_json(&value.to_string());
    assert_eq!(rules.is_ok(), said.is_some(), "{value}");

    let masked = AccessRules::from_json(&mask(value.clone()).to_string());
    match (&rules, &masked) {
        (Ok(rules), Ok(masked)) => assert_eq!(format!("{rules:?}"), format!("{masked:?}"), "a secret is visible"),
        (Err(error), Err(masked)) => assert_eq!(without_digits(error), without_digits(masked), "a secret is visible"),
        (rules, masked) => assert_eq!(rules.is_ok(), masked.is_ok()),
    }
    if let (Ok(rules), Some(said)) = (rules, said) {
        assert_access(&rules, &said);
    }
}

/// Returns the message of an error without digits: its line and column depend on the secrets.
fn without_digits(error: &Error) -> String {
    error.message().replace(|letter: char| letter.is_ascii_digit(), "")
}

/// The access rules, read from the JSON in the simplest way.
struct Said {
    networks: Vec<Network>,
    credentials: Vec<Credential>,
}

struct Network {
    address: IpAddr,
    name: Option<String>,
}

struct Credential {
    name: Option<String>,
    max_body: Option<u64>,
    user: Option<(String, String)>,
    token: Option<String>,
    accounts: Option<Vec<String>>,
    folders: Option<Vec<BlobKey>>,
    read: bool,
    write: bool,
}

impl Said {
    fn of(value: &Value) -> Option<Self> {
        let object = value.as_object()?;
        only(object, &["networks", "trusted_proxies", "credentials"])?;
        let networks = list(object.get("networks"), Network::of)?;
        list(object.get("trusted_proxies"), address)?;
        let credentials = list(object.get("credentials"), Credential::of)?;
        (!networks.is_empty() || !credentials.is_empty()).then_some(Self { networks, credentials })
    }
}

impl Network {
    fn of(value: &Value) -> Option<Self> {
        let Some(object) = value.as_object() else {
            let address = address(value)?;
            return Some(Self { address, name: None });
        };
        only(object, &["network", "name"])?;
        let name = Some(name(object.get("name")?)?.to_owned());
        let address = address(object.get("network")?)?;
        Some(Self { address, name })
    }
}

impl Credential {
    fn of(value: &Value) -> Option<Self> {
        let object = value.as_object()?;
        only(object, &["name", "user", "password", "token", "accounts", "folders", "max_body", "may"])?;
        let secret = |name: &str| match object.get(name) {
            None | Some(Value::Null) => Some(None),
            Some(Value::String(text)) if text.len() <= 1024 && !text.chars().any(char::is_control) => {
                Some(Some(text.clone()))
            }
            Some(_) => None,
        };
        let (user, token) = match (secret("user")?, secret("password")?, secret("token")?) {
            (Some(user), Some(password), None) if !user.is_empty() && !password.is_empty() => {
                (Some((user, password)), None)
            }
            (None, None, Some(token)) if !token.is_empty() => (None, Some(token)),
            _ => return None,
        };
        let holder = match object.get("name") {
            None | Some(Value::Null) => None,
            Some(text) => Some(name(text)?.to_owned()),
        };
        let max_body = match object.get("max_body") {
            None | Some(Value::Null) => None,
            Some(bytes) => Some(bytes.as_u64().filter(|bytes| *bytes > 0)?),
        };
        let accounts = match object.get("accounts") {
            None | Some(Value::Null) => None,
            Some(list) => Some(strings(list).filter(|accounts| accounts.iter().all(|account| !account.is_empty()))?),
        };
        let folders = match object.get("folders") {
            None | Some(Value::Null) => None,
            Some(list) => {
                let keys = strings(list)?.into_iter().map(|path| BlobKey::from_path(&path).ok());
                Some(keys.collect::<Option<Vec<_>>>()?)
            }
        };
        let (read, write) = match object.get("may").map(Value::as_str) {
            None | Some(Some("both")) => (true, true),
            Some(Some("read")) => (true, false),
            Some(Some("write")) => (false, true),
            _ => return None,
        };
        Some(Self {
            name: holder,
            max_body,
            user,
            token,
            accounts,
            folders,
            read,
            write,
        })
    }

    fn grant(&self) -> Grant {
        let mut grant = Grant::everything();
        if let Some(name) = &self.name {
            grant = grant.named(name.as_str());
        }
        if let Some(bytes) = self.max_body {
            grant = grant.max_body(bytes);
        }
        if let Some(accounts) = &self.accounts {
            grant = grant.accounts(accounts);
        }
        if let Some(folders) = &self.folders {
            grant = grant.folders(folders.iter().cloned());
        }
        match (self.read, self.write) {
            (true, false) => grant.read_only(),
            (false, true) => grant.write_only(),
            _ => grant,
        }
    }
}

fn only(object: &Map<String, Value>, names: &[&str]) -> Option<()> {
    object.keys().all(|key| names.contains(&key.as_str())).then_some(())
}

fn strings(list: &Value) -> Option<Vec<String>> {
    let texts = list.as_array()?.iter().map(|text| text.as_str().map(str::to_owned));
    texts.collect()
}

/// An absent list is empty.
fn list<T>(list: Option<&Value>, of: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
    list.map_or(Some(Vec::new()), |list| list.as_array()?.iter().map(of).collect())
}

/// The address of a network.
fn address(text: &Value) -> Option<IpAddr> {
    let text = text.as_str()?.trim();
    let (address, len) = text
        .split_once('/')
        .map_or((text, None), |(address, len)| (address, Some(len)));
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let len: u8 = match len {
        None => most,
        Some(len) if len.chars().all(|digit| digit.is_ascii_digit()) => len.parse().ok()?,
        Some(_) => return None,
    };
    (len <= most).then_some(address)
}

/// A name without control characters and without those that change how a line is shown.
fn name(value: &Value) -> Option<&str> {
    let changes_a_line = |letter: char| {
        letter.is_control()
            || matches!(u32::from(letter), 0xad | 0x61c | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f
                | 0xfeff | 0xfff0..=0xfffb | 0xe0000..=0xe0fff)
    };
    let name = value.as_str()?;
    let fits = (1..=64).contains(&name.chars().count()) && name.trim() == name;
    (fits && !name.chars().any(changes_a_line)).then_some(name)
}

/// The same rules with different secrets, which are wrong in the same way: as long, with the same control characters.
fn mask(mut value: Value) -> Value {
    let credentials = value.get_mut("credentials").and_then(Value::as_array_mut);
    for entry in credentials.into_iter().flatten().filter_map(Value::as_object_mut) {
        for (name, secret) in entry.iter_mut() {
            if let ("user" | "password" | "token", Value::String(secret)) = (name.as_str(), secret) {
                *secret = secret.chars().map(masked).collect();
            }
        }
    }
    value
}

fn masked(letter: char) -> String {
    if letter.is_control() {
        letter.to_string()
    } else {
        "h".repeat(letter.len_utf8())
    }
}

/// A request with a credential is authorized with its grant, and one without a credential is refused.
fn assert_access(rules: &AccessRules, said: &Said) {
    let peer = said
        .networks
        .first()
        .map_or(IpAddr::from([192, 0, 2, 1]), |network| network.address);
    let network_name = said.networks.first().and_then(|network| network.name.as_deref());
    let ask = |path: &str, authorization: Option<&str>| {
        let mut request = Request::put(path).body(()).ok()?;
        request.extensions_mut().insert(PeerAddr(SocketAddr::new(peer, 4711)));
        if let Some(text) = authorization {
            let value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(text))).unwrap();
            request.headers_mut().insert("authorization", value);
        }
        let mut head = request.into_parts().0;
        let grant = run(rules.authorize(&mut head));
        Some((grant, head))
    };
    // The name of the network is that of a grant without one.
    let named = |grant: Grant| match network_name {
        Some(name) if grant.name().is_none() => grant.named(name),
        _ => grant,
    };
    // IPv4-mapped addresses are compared as IPv4. `forwarded` tests them, and proxies.
    if peer.to_canonical() != peer {
        return;
    }
    let (nobody, _) = ask("/ACC/DOC/ATT", None).unwrap();
    if said.credentials.is_empty() {
        assert_eq!(nobody.unwrap(), named(Grant::everything().for_address()));
        return;
    }
    // The first segment is checked too.
    let in_paths = |credential: &Credential| matches!(credential.token.as_deref(), Some("ACC" | "x"));
    if said.credentials.iter().any(in_paths) {
        return;
    }
    assert_eq!(nobody.unwrap_err().kind(), ErrorKind::Unauthorized);
    let grants: Vec<Grant> = said.credentials.iter().map(|credential| named(credential.grant())).collect();
    let assert_in = |(grant, head): (kazoo_storage::Result<Grant>, Parts)| {
        assert!(grants.contains(&grant.unwrap()));
        assert!(!head.headers.contains_key("authorization"));
        assert_eq!(head.uri.path(), "/ACC/DOC/ATT");
    };
    // A credential with a changed end is refused, unless it equals another one.
    let assert_out = |(grant, head): (kazoo_storage::Result<Grant>, Parts), shown: &str| {
        let known = |credential: &Credential| match (&credential.user, &credential.token) {
            (Some((user, password)), _) => format!("{user}:{password}") == shown,
            (None, Some(token)) => token == shown || format!("{token}:") == shown,
            (None, None) => false,
        };
        if !shown.contains('%') && !said.credentials.iter().any(known) {
            assert_eq!(grant.unwrap_err().kind(), ErrorKind::Unauthorized);
            assert_ne!(head.uri.path(), "/ACC/DOC/ATT");
        }
    };
    for credential in &said.credentials {
        match (&credential.user, &credential.token) {
            (Some((user, password)), _) => {
                let text = format!("{user}:{password}");
                assert_in(ask("/ACC/DOC/ATT", Some(&text)).unwrap());
                let wrong = format!("{text}-");
                assert_out(ask("/x/ACC/DOC/ATT", Some(&wrong)).unwrap(), &wrong);
            }
            (None, Some(token)) => {
                if let Ok(segment) = BlobKey::from_segments([token]) {
                    assert_in(ask(&format!("/{segment}/ACC/DOC/ATT"), None).unwrap());
                    assert_out(
                        ask(&format!("/{segment}-/ACC/DOC/ATT"), None).unwrap(),
                        &format!("{token}-"),
                    );
                }
            }
            (None, None) => unreachable!("a credential has a user or a token"),
        }
    }
}
