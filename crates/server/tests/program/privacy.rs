//! No log contains callers' names and numbers, credentials or tokens, at any log level.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use kazoo_storage::settings::KazooSettings;
use kazoo_storage_test_support::fixture::{FIXTURES, Fixture, KeyPlace, target};
use percent_encoding::percent_decode;
use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Server, eventually, program};

/// The fields of a document that describe people.
const FIELDS: [&str; 13] = [
    "caller_id_name",
    "caller_id_number",
    "callee_id_name",
    "callee_id_number",
    "from",
    "from_name",
    "from_number",
    "from_user",
    "request",
    "to",
    "to_name",
    "to_number",
    "to_user",
];

/// The secrets of a request: names and numbers, whole and word by word, and credentials, encoded and decoded.
fn secrets() -> BTreeSet<String> {
    let mut texts = BTreeSet::new();
    for fixture in FIXTURES.iter() {
        for request in [Some(&fixture.request), fixture.fetch.as_ref()].into_iter().flatten() {
            let target = target(request);
            let query = target.splitn(2, |byte| *byte == b'?').nth(1).unwrap_or_default();
            for (name, value) in form_urlencoded::parse(query) {
                // The last value of a URL with a query is followed by a path.
                if (FIELDS.contains(&&*name) || name == "key") && !value.contains('/') {
                    texts.insert(value.into_owned());
                }
            }
            let head = String::from_utf8_lossy(request);
            let head = head.split("\r\n\r\n").next().unwrap();
            texts.extend(
                head.lines()
                    .filter_map(|line| line.strip_prefix("authorization: Basic "))
                    .map(str::to_owned),
            );
        }
        let userinfo = fixture.url.split_once("://").and_then(|(_, rest)| rest.split_once('@'));
        texts.extend(
            userinfo
                .into_iter()
                .flat_map(|(info, _)| info.split(':'))
                .map(str::to_owned),
        );
        if let Some(metadata) = &fixture.metadata {
            people(&serde_json::from_str(metadata).unwrap(), &mut texts);
        }
    }
    let words = texts.clone();
    let words = words
        .iter()
        .flat_map(|text| text.split(|letter: char| !letter.is_alphanumeric()));
    // Only the user part of a URI: its host is not personal.
    let words = words.filter(|word| !["example", "sip", "com"].contains(word));
    texts.extend(words.map(str::to_owned));
    texts.retain(|text| text.chars().count() >= 3);
    // Names in the URL of a test are not personal.
    texts.retain(|text| !["pqc_cb_storage", "pqc", "storage"].contains(&&**text));
    texts
}

fn people(value: &Value, texts: &mut BTreeSet<String>) {
    let Value::Object(fields) = value else { return };
    for (name, value) in fields {
        match value {
            Value::String(text) if FIELDS.contains(&&**name) => {
                texts.insert(text.clone());
            }
            value => people(value, texts),
        }
    }
}

/// Returns `true` if `text` contains `secret` as a whole word or number.
fn has(text: &str, secret: &str) -> bool {
    text.match_indices(secret).any(|(at, _)| {
        let inside = |letter: Option<char>| letter.is_some_and(char::is_alphanumeric);
        !inside(text[..at].chars().next_back()) && !inside(text[at + secret.len()..].chars().next())
    })
}

/// Sends each capture on its own connection and stops the server. Returns its log, percent-decoded too.
fn log_of<'a>(options: &[&str], fixtures: impl Iterator<Item = &'a Fixture>) -> String {
    let root = TempDir::new().unwrap();
    let mut command = program();
    command
        .env("RUST_LOG", "trace,hyper=trace,kazoo_storage=trace")
        .args(["serve", "--listen=127.0.0.1:0", "--no-fsync", "--store"])
        .arg(root.path())
        .args(options);
    let mut server = Server::spawn(&mut command);
    let mut sent = 0;
    for fixture in fixtures {
        for request in [Some(&fixture.request), fixture.fetch.as_ref()].into_iter().flatten() {
            let mut client = server.connect();
            client.send(request);
            client.receive();
            sent += 1;
        }
    }
    server.stop();
    let log = server.log();
    let lines = log.matches("request_id").count() + log.matches("refused a request that is not HTTP").count();
    assert!(sent > 0 && lines >= sent, "{sent} requests, and {lines} lines: {log}");
    let decoded = percent_decode(log.as_bytes()).decode_utf8_lossy().into_owned();
    // Durations are numbers too.
    let timed = |line: &str| {
        let (before, after) = line.split_once("elapsed_ms")?;
        let after = after.trim_start_matches(|letter: char| letter.is_ascii_digit() || "\":=.".contains(letter));
        Some(format!("{before}{after}"))
    };
    let lines = log.lines().chain(decoded.lines());
    lines
        .map(|line| timed(line).unwrap_or_else(|| line.to_owned()) + "\n")
        .collect()
}

#[track_caller]
fn assert_clean(log: &str, secrets: &BTreeSet<String>) {
    for secret in secrets {
        let line = log.lines().find(|line| has(line, secret));
        assert!(line.is_none(), "{secret:?} is in {line:?}");
    }
}

/// Proves that the search finds a secret.
#[test]
fn the_captures_contain_secrets() {
    let secrets = secrets();
    for expected in [
        "+4930123456",
        "4930123456",
        "Anna Müller",
        "Anna",
        "Müller",
        "14158867900",
        "Jörg",
        "ACME",
        "1010",
    ] {
        assert!(secrets.contains(expected), "{expected}: {secrets:?}");
    }
    let mut sent = String::new();
    for fixture in FIXTURES.iter() {
        sent += &fixture.url;
        for request in [Some(&fixture.request), fixture.fetch.as_ref()].into_iter().flatten() {
            let text = String::from_utf8_lossy(request).replace('+', " ");
            sent += &text;
            sent += &percent_decode(text.as_bytes()).decode_utf8_lossy();
        }
        let metadata = fixture
            .metadata
            .as_ref()
            .map(|json| json.replace("\\\"", "\"").replace('+', " "));
        sent += &metadata.unwrap_or_default();
    }
    for secret in &secrets {
        assert!(sent.contains(&secret.replace('+', " ")), "{secret}");
    }
    assert!(has("path=/a/Anna", "Anna") && has("\"+49\"", "+49") && !has("Annaberg", "Anna"));
}

/// Without a settings file, every path is a key.
#[test]
fn logs_no_secrets_without_settings() {
    let secrets = secrets();
    for options in [
        ["--mount=/", "--log-format=text"],
        ["--mount=/prefix", "--log-format=json"],
        ["--key=query=recording", "--mount=/"],
        ["--key=metadata=media_id,caller_id_name", "--mount=/"],
    ] {
        assert_clean(&log_of(&options, FIXTURES.iter()), &secrets);
    }
}

/// With KAZOO's own settings: each capture is sent to a server with its settings.
#[test]
fn logs_no_secrets_with_settings() {
    let secrets = secrets();
    let directory = TempDir::new().unwrap();
    let mut by_settings: BTreeMap<&str, Vec<&Fixture>> = BTreeMap::new();
    for fixture in FIXTURES.iter() {
        by_settings.entry(&fixture.settings).or_default().push(fixture);
    }
    let mut served = 0;
    for (settings, fixtures) in by_settings {
        // KAZOO may send requests by settings that the server refuses.
        if KazooSettings::from_json(settings).is_err() {
            continue;
        }
        let file = directory.path().join("settings.json");
        fs::write(&file, settings).unwrap();
        let options = ["--settings", file.to_str().unwrap(), "--log-format=json"];
        assert_clean(&log_of(&options, fixtures.iter().copied()), &secrets);
        served += fixtures.len();
    }
    assert!(served > 100, "{served}");
    assert!(FIXTURES.iter().any(|fixture| fixture.key_place() == KeyPlace::Metadata));
}

/// Neither valid credentials nor almost valid ones are logged.
#[test]
fn logs_no_credentials() {
    let mut secrets = secrets();
    let directory = TempDir::new().unwrap();
    let rules = directory.path().join("access.json");
    let token = "sesame7f3190d1";
    fs::write(
        &rules,
        format!(r#"{{"credentials":[{{"token":"{token}"}},{{"user":"user","password":"secret"}}]}}"#),
    )
    .unwrap();
    let options = ["--mount=/prefix", "--access", rules.to_str().unwrap()];
    assert_clean(&log_of(&options, FIXTURES.iter()), &secrets);

    secrets.insert(token.to_owned());
    secrets.insert(format!("{token}x"));
    let server = serve(directory.path(), &options);
    for (shown, status) in [(token.to_owned(), 201), (format!("{token}x"), 401)] {
        for target in [
            format!("/prefix/{shown}/ACC/DOC/F"),
            format!("/prefix/ACC/DOC/F?token={shown}"),
        ] {
            assert_eq!(server.connect().put(&target, b"x").status, status, "{target}");
        }
    }
    eventually("it is logged", || {
        (server.log().matches("request_id").count() >= 4).then_some(())
    });
    assert_clean(&server.log(), &secrets);
}

fn serve(directory: &Path, options: &[&str]) -> Server {
    Server::start(&directory.join("data"), options)
}

/// A token that looks like an id is in no log, wherever it occurs.
#[test]
fn logs_no_token_that_looks_like_an_id() {
    let (one, other) = ("1f0e6b9c7d2a4835b6c1d0e9f8a7b6c5", "7a31d9e3f70c8f1c4ab2d9e3f70c8f1c");
    let directory = TempDir::new().unwrap();
    let rules = directory.path().join("access.json");
    let credentials = format!(r#"{{"credentials":[{{"token":"{one}"}},{{"token":"{other}"}}]}}"#);
    fs::write(&rules, credentials).unwrap();
    let server = serve(
        directory.path(),
        &["--mount=/prefix", "--access", rules.to_str().unwrap()],
    );
    for target in [
        format!("/prefix/{one}/{other}/DOC/a.mp3"),
        format!("/prefix/{one}/ACC/{other}/a.mp3"),
    ] {
        assert_eq!(server.connect().put(&target, b"x").status, 201, "{target}");
    }
    eventually("it is logged", || {
        (server.log().matches("outcome=\"stored\"").count() == 2).then_some(())
    });
    let secrets = [one, other].map(str::to_owned);
    assert_clean(&server.log(), &secrets.into());
}
