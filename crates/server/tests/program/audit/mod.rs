//! The audit trail of a running server.

mod operator;
mod restore;

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use kazoo_storage::digest::Digest;
use kazoo_storage_client::Dialect;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    events::site::{Site, expect},
    kazoo::Kazoo,
    process::eventually,
};

const RULES: &str = r#"{"credentials": [{"token": "1f0e6b9c7d2a4835b6c1d0e9f8a7b6c5", "name": "kazoo"}]}"#;

const BELOW: &str = "/some_prefix/1f0e6b9c7d2a4835b6c1d0e9f8a7b6c5";

/// A server with access rules that records fetches, and copies the trail to a file.
fn site() -> (Site, PathBuf) {
    start(TempDir::new().unwrap())
}

fn start(root: TempDir) -> (Site, PathBuf) {
    let (rules, file) = (root.path().join("access.json"), root.path().join("audit.jsonl"));
    fs::write(&rules, RULES).unwrap();
    let options = [
        "--audit",
        "--audit-file",
        file.to_str().unwrap(),
        "--access",
        rules.to_str().unwrap(),
    ];
    (Site::with(root, &options), file)
}

fn entries(site: &Site, parameters: &str) -> Vec<Value> {
    let (status, page) = site.ask("GET", &format!("/v1/audit?{parameters}"), "");
    assert_eq!(status, 200, "{page}");
    page["entries"].as_array().unwrap().clone()
}

/// Runs `kazoo-storage audit` with these arguments. Asserts the status, and returns stdout.
fn run(site: &Site, status: i32, arguments: &[&str]) -> String {
    expect(status, arguments, site.command("audit", arguments).output().unwrap()).0
}

fn fields<'a>(entry: &'a Value, names: &[&str]) -> Vec<Option<&'a str>> {
    names.iter().map(|name| entry[name].as_str()).collect()
}

#[test]
fn each_fetch_is_an_entry_and_nothing_else_is() {
    let (site, _) = site();
    let mut kazoo = Kazoo::new(&format!("http://{}{BELOW}", site.server.address));
    for (position, dialect) in Dialect::ALL.iter().enumerate() {
        kazoo.round_trip(dialect, b"content");
        assert_eq!(entries(&site, "").len(), position + 1, "{}", dialect.name);
    }
    let target = format!("{BELOW}/ACC/DOC/a.mp3");
    let mut client = site.server.connect();
    assert_eq!(client.put(&target, b"content").status, 201);
    assert_eq!(client.get(&format!("{BELOW}/ACC/DOC/other.mp3")).status, 404);
    assert_eq!(client.get("/some_prefix/guess/ACC/DOC/a.mp3").status, 401);
    assert_eq!(site.ask_with("GET", "/healthz", "", "").status, 200);
    assert_eq!(site.ask_with("GET", "/metrics", "", "").status, 200);
    assert_eq!(entries(&site, "").len(), Dialect::ALL.len());
    for (more, status) in [("", 200), ("range: bytes=0-1\r\n", 206), ("if-none-match: *\r\n", 304)] {
        client.send(format!("GET {target} HTTP/1.1\r\nhost: x\r\n{more}\r\n"));
        assert_eq!(client.receive().status, status);
        let newest = &entries(&site, "limit=1")[0];
        assert_eq!(
            fields(newest, &["name", "address", "action", "outcome", "key"]),
            ["kazoo", "127.0.0.1", "fetch", &status.to_string(), "ACC/DOC/a.mp3"].map(Some)
        );
    }
    assert!(
        site.server.log().contains("credential=\"kazoo\""),
        "{}",
        site.server.log()
    );
}

#[test]
fn a_fetch_that_cannot_be_recorded_is_answered_503() {
    let (site, _) = site();
    let target = format!("{BELOW}/ACC/DOC/a.mp3");
    let mut client = site.server.connect();
    assert_eq!(client.put(&target, b"content").status, 201);
    let connection = rusqlite::Connection::open(site.root.path().join("data/.ledger/files.sqlite")).unwrap();
    connection
        .execute_batch("CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(FAIL, 'full'); END;")
        .unwrap();
    let refused = client.get(&target);
    assert!(
        refused.status == 503 && refused.head.contains("retry-after"),
        "{refused:?}"
    );
    assert!(!refused.body.windows(7).any(|part| part == b"content"));
    let (status, refused) = site.ask("GET", "/v1/files/ACC%2FDOC%2Fa.mp3/content", "");
    assert_eq!((status, &refused["error"]), (503, &"unavailable".into()));
    let keys = r#"{"keys": ["ACC/DOC/a.mp3"]}"#;
    let (status, refused) = site.ask("POST", "/v1/files/export/contents", keys);
    assert_eq!((status, &refused["error"]), (503, &"unavailable".into()));
    let (status, _) = site.ask("DELETE", "/v1/files/ACC%2FDOC%2Fa.mp3", "");
    assert_eq!(status, 503);
    connection.execute_batch("DROP TRIGGER full").unwrap();
    assert_eq!(client.get(&target).body, b"content", "it was not deleted");
}

#[test]
fn the_command_lists_and_verifies() {
    let (site, _) = site();
    let mut client = site.server.connect();
    for number in 0..5 {
        let target = format!("{BELOW}/ACC{}/DOC/{number}.mp3", number % 2);
        assert_eq!(client.put(&target, b"content").status, 201);
        assert_eq!(client.get(&target).status, 200);
    }
    let count = |arguments: &[&str]| {
        run(&site, 0, &[&["list", "--json"], arguments].concat())
            .lines()
            .count()
    };
    assert_eq!(count(&[]), 5);
    assert_eq!(count(&["--account", "ACC1"]), 2);
    assert_eq!(count(&["--key", "ACC0/DOC/4.mp3"]), 1);
    assert_eq!(
        count(&["--name", "kazoo", "--action", "fetch", "--since", "1h", "--limit", "3"]),
        3
    );
    assert_eq!(count(&["--name", "operator"]), 0);
    assert_eq!(count(&["--until", "1h"]), 0);
    let table = run(&site, 0, &["list", "--limit", "1"]);
    assert!(
        table.starts_with("SEQ") && table.contains("kazoo") && table.contains("ACC0/DOC/4.mp3"),
        "{table}"
    );
    let verified = run(&site, 0, &["verify"]);
    assert!(verified.starts_with("5 entries verified"), "{verified}");

    let connection = rusqlite::Connection::open(site.root.path().join("data/.ledger/files.sqlite")).unwrap();
    connection
        .execute_batch("UPDATE audit SET name = 'other' WHERE seq = 3")
        .unwrap();
    let verified = run(&site, 1, &["verify"]);
    assert!(verified.contains("entry 3 was changed"), "{verified}");
    let line: Value = serde_json::from_str(&run(&site, 1, &["verify", "--json"])).unwrap();
    assert_eq!((&line["fault"]["seq"], &line["entries"]), (&3.into(), &2.into()));
}

/// Recomputes the chain from the lines, as docs/audit.md describes it.
fn verify(lines: &str) -> usize {
    let bytes = |text: &str| -> Vec<u8> {
        let digits: Vec<char> = text.chars().collect();
        let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    };
    let mut hash = vec![0; 32];
    for (position, line) in lines.lines().enumerate() {
        let entry: Value = serde_json::from_str(line).unwrap();
        assert_eq!(entry["seq"], position + 1, "{line}");
        let at = humantime::parse_rfc3339(entry["time"].as_str().unwrap()).unwrap();
        let at = at.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        let mut text = [&hash[..], &[1], &u64::try_from(at).unwrap().to_be_bytes()].concat();
        let subject = entry["subject"].as_str().map(bytes);
        let texts = ["name", "address", "action", "outcome"]
            .map(|name| entry[name].as_str().map(|text| text.as_bytes().to_vec()));
        for field in texts.into_iter().chain([subject.clone()]) {
            let len = field
                .as_ref()
                .map_or(u32::MAX, |field| u32::try_from(field.len()).unwrap());
            text.extend(len.to_be_bytes());
            text.extend(field.unwrap_or_default());
        }
        if let (Some(key), Some(salt)) = (entry["key"].as_str(), entry["salt"].as_str()) {
            let committed = [bytes(salt), key.replace('/', "\u{1f}").into_bytes()].concat();
            assert_eq!(Digest::of(&committed).as_bytes().to_vec(), subject.unwrap(), "{line}");
        }
        hash = Digest::of(&text).as_bytes().to_vec();
        assert_eq!(bytes(entry["hash"].as_str().unwrap()), hash, "{line}");
    }
    lines.lines().count()
}

/// The file is moved away by `logrotate`, and the server killed.
#[test]
fn the_file_has_every_entry_once_and_in_order() {
    let (mut site, file) = site();
    let rotated = file.with_extension("1");
    let mut lines = 0;
    let mut fetch = |site: &Site, file: &PathBuf, count: usize| {
        let mut client = site.server.connect();
        let target = format!("{BELOW}/ACC/DOC/a.mp3");
        assert_eq!(client.put(&target, b"content").status, 201);
        for _ in 0..count {
            assert_eq!(client.get(&target).status, 200);
        }
        lines += count;
        let all = || fs::read_to_string(&rotated).unwrap_or_default() + &fs::read_to_string(file).unwrap_or_default();
        eventually("the entries in the file", || {
            (all().lines().count() == lines).then_some(())
        });
        assert_eq!(verify(&all()), lines);
    };
    fetch(&site, &file, 3);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    fs::rename(&file, &rotated).unwrap();
    site.server.signal("HUP");
    eventually("a new file", || file.exists().then_some(()));
    fetch(&site, &file, 3);

    // Entries that were not copied before the kill are copied after the start.
    let mut client = site.server.connect();
    for _ in 0..20 {
        assert_eq!(client.get(&format!("{BELOW}/ACC/DOC/a.mp3")).status, 200);
    }
    site.server.signal("KILL");
    site.server.wait();
    let Site { root, .. } = site;
    let (site, file) = start(root);
    let all = || fs::read_to_string(&rotated).unwrap() + &fs::read_to_string(&file).unwrap();
    eventually("the entries in the file", || {
        (all().lines().count() == 26).then_some(())
    });
    assert_eq!(verify(&all()), 26);
    assert!(run(&site, 0, &["verify"]).starts_with("26 entries verified"));
}
