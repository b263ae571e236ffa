//! Files are listed, shown, fetched and deleted over the API.

use std::{
    collections::BTreeSet,
    fs::File,
    time::{Duration, SystemTime},
};

use kazoo_storage::digest::Digest;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tempfile::TempDir;

use super::NAMES;
use crate::{
    events::site::Site,
    process::{Client, multipart},
};

/// Returns the target of the file `key`.
fn target(key: &str) -> String {
    format!("/v1/files/{}", utf8_percent_encode(key, NON_ALPHANUMERIC))
}

fn site() -> Site {
    Site::with(TempDir::new().unwrap(), &[])
}

fn list(site: &Site, parameters: &str) -> Vec<Value> {
    let (status, page) = site.ask("GET", &format!("/v1/files?{parameters}"), "");
    assert_eq!(status, 200, "{page}");
    page["files"].as_array().unwrap().clone()
}

#[test]
fn every_name_is_listed_shown_fetched_and_deleted() {
    let site = site();
    for name in NAMES {
        site.put(&format!("acc/DOC/{name}"), name);
    }
    let listed = list(&site, "account=acc");
    assert_eq!(listed.len(), NAMES.len());
    for file in listed {
        let key = file["key"].as_str().unwrap();
        let target = target(key);
        let (status, shown) = site.ask("GET", &target, "");
        let shown = &shown["file"];
        assert_eq!(
            (status, &shown["key"], &shown["account"]),
            (200, &key.into(), &"acc".into())
        );
        assert_eq!((&shown["stored"], &shown["recorded"]), (&true.into(), &true.into()));
        assert_eq!((&shown["size"], &shown["sha256"]), (&file["size"], &file["sha256"]));
        let content = site.ask_with("GET", &format!("{target}/content"), "", "");
        assert_eq!(content.status, 200, "{content:?}");
        let content_of = String::from_utf8(content.body).unwrap();
        assert!(key.ends_with(&content_of), "{key}: {content_of}");
        assert!(
            content.head.contains("\r\ncontent-disposition: attachment\r\n"),
            "{}",
            content.head
        );
        let (status, deleted) = site.ask("DELETE", &target, "");
        assert_eq!((status, &deleted["deleted"]), (200, &key.into()));
        for (method, target) in [
            ("GET", &target),
            ("DELETE", &target),
            ("GET", &format!("{target}/content")),
        ] {
            let (status, refused) = site.ask(method, target, "");
            assert_eq!(status, 404, "{method} {target}: {refused}");
        }
    }
    assert!(list(&site, "all=true").is_empty());
}

/// Splits a response with contents into its lines, each with the content behind it.
fn contents(mut body: &[u8]) -> Vec<(Value, Vec<u8>)> {
    let mut found = Vec::new();
    while !body.is_empty() {
        let end = body.iter().position(|byte| *byte == b'\n').unwrap();
        let line: Value = serde_json::from_slice(&body[..end]).unwrap();
        let len = usize::try_from(line["size"].as_u64().unwrap_or_default()).unwrap();
        let (content, rest) = body[end + 1..].split_at(len);
        found.push((line, content.to_vec()));
        body = rest;
    }
    found
}

#[test]
fn sends_the_contents_of_several_files_and_records_each() {
    let site = site();
    let long = "0123456789abcdef".repeat(20_000);
    site.put("acc/DOC/a.mp3", "first");
    site.put("acc/DOC/b.mp3", &long);
    site.put("acc/DOC/empty.mp3", "");
    let keys = [
        "acc/DOC/b.mp3",
        "acc/DOC/none.mp3",
        "",
        "acc/DOC/empty.mp3",
        "acc/DOC/a.mp3",
    ];
    let request = |keys: &[&str]| {
        let body = serde_json::json!({"keys": keys}).to_string();
        site.ask_with("POST", "/v1/files/export/contents", "", &body)
    };
    let response = request(&keys);
    assert_eq!(response.status, 200, "{response:?}");
    let contents = contents(&response.body);
    let found: Vec<_> = contents.iter().map(|(line, _)| line["key"].as_str().unwrap()).collect();
    assert_eq!(found, keys);
    for ((line, content), expected) in contents.iter().zip([Some(&*long), None, None, Some(""), Some("first")]) {
        let error = line["error"].as_str();
        match expected {
            Some(expected) => {
                assert_eq!((error, content.as_slice()), (None, expected.as_bytes()), "{line}");
                assert_eq!(line["sha256"], Digest::of(expected.as_bytes()).to_string(), "{line}");
            }
            None => assert!(matches!(error, Some("not_found" | "invalid_key")), "{line}"),
        }
    }
    let (_, audit) = site.ask("GET", "/v1/audit?action=fetch", "");
    let audited = audit["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["key"].as_str().unwrap());
    let sent = ["acc/DOC/a.mp3", "acc/DOC/empty.mp3", "acc/DOC/b.mp3"];
    assert_eq!(audited.collect::<Vec<_>>(), sent, "newest first");
    for refused in [&[][..], &["acc/DOC/a.mp3"; 33]] {
        assert_eq!(request(refused).status, 400);
    }
}

#[test]
fn removes_only_the_file_in_if_match() {
    let site = site();
    site.put("acc/DOC/1", "first");
    let target = target("acc/DOC/1");
    let etag = || {
        let (_, shown) = site.ask("GET", &target, "");
        shown["file"]["etag"].as_str().unwrap().to_owned()
    };
    let first = etag();
    site.put("acc/DOC/1", "second");
    let delete = |etag: &str| {
        let response = site.ask_with("DELETE", &target, &format!("if-match: {etag}\r\n"), "");
        (response.status, response.json()["error"].clone())
    };
    assert_eq!(delete(&first), (412, "precondition_failed".into()));
    assert_eq!(delete("second"), (400, "invalid_request".into()));
    assert_eq!(site.ask("GET", &target, "").1["file"]["size"], 6);
    assert_eq!(delete(&etag()).0, 200);
    assert_eq!(delete(&first), (404, "not_found".into()));
}

#[test]
fn a_file_has_the_time_that_listings_show() {
    let site = site();
    site.put("acc/doc/1.mp3", "content");
    // As in a copy of the store.
    let path = site.root.path().join("data/acc/doc/1.mp3");
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(3600))
        .unwrap();
    let (_, shown) = site.ask("GET", &target("acc/doc/1.mp3"), "");
    assert_eq!(shown["file"]["stored_at"], list(&site, "all=true")[0]["stored_at"]);
}

#[test]
fn finds_files_by_each_condition_page_by_page() {
    let site = site();
    let mut client = site.server.connect();
    for number in 0..30 {
        let (account, document) = (["a", "b"][number % 2], ["DOC", "OTHER", "DOC"][number % 3]);
        let metadata = format!(
            r#"{{"call_id":"c{}","caller_id_number":"+49{}","callee_id_number":"1"}}"#,
            number / 10,
            number % 5
        );
        let target = format!("/some_prefix/{account}/{document}/call_recording_{number}.mp3");
        client.send(multipart(&target, &metadata, "media"));
        assert_eq!(client.receive().status, 201);
    }
    for (parameters, expected) in [
        ("all=true", 30),
        ("account=a", 15),
        ("account=a&document=DOC", 10),
        ("account=a&document=DOC&call_id=c0", 4),
        ("account=c", 0),
        ("kind=call_recording", 30),
        ("kind=fax", 0),
        ("call_id=c2", 10),
        ("number=%2B493", 6),
        ("number=1&account=b", 15),
        ("since=2020-01-01T00:00:00Z&until=2999-01-01T00:00:00Z", 30),
        ("until=2020-01-01T00:00:00Z", 0),
    ] {
        let (mut keys, mut times, mut cursor) = (BTreeSet::new(), Vec::new(), String::new());
        loop {
            let (status, page) = site.ask("GET", &format!("/v1/files?{parameters}&limit=4{cursor}"), "");
            assert_eq!(status, 200, "{page}");
            for file in page["files"].as_array().unwrap() {
                assert!(keys.insert(file["key"].to_string()), "{parameters}: {file}");
                times.push(file["stored_at"].to_string());
            }
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={}", utf8_percent_encode(next, NON_ALPHANUMERIC)),
                None => break,
            }
        }
        assert_eq!(keys.len(), expected, "{parameters}");
        assert!(times.iter().rev().is_sorted());
    }
    let (_, usage) = site.ask("GET", "/v1/usage", "");
    let accounts = usage["accounts"].as_array().unwrap();
    assert_eq!((accounts.len(), &accounts[0]["files"]), (2, &15.into()));
    let (_, usage) = site.ask("GET", "/v1/usage?account=b", "");
    assert_eq!(
        (&usage["accounts"][0]["bytes"], &usage["accounts"][1]),
        (&75.into(), &Value::Null)
    );
}

#[test]
fn shows_numbers_and_metadata_on_request_only() {
    let site = site();
    let metadata = r#"{"call_id":"call-7","caller_id_number":"+4930123456","x": 1.50}"#;
    let mut client = site.server.connect();
    client.send(multipart("/some_prefix/acc/DOC/message.mp3", metadata, "media"));
    assert_eq!(client.receive().status, 201);
    let listed = list(&site, "number=%2B4930123456");
    let target = target(listed[0]["key"].as_str().unwrap());
    let (_, shown) = site.ask("GET", &target, "");
    for text in [listed[0].to_string(), shown.to_string()] {
        assert!(!text.contains("4930123456") && !text.contains("call-7"), "{text}");
    }
    let body = site.ask_with("GET", &format!("{target}?metadata=true"), "", "").body;
    let body = String::from_utf8(body).unwrap();
    assert!(body.contains(&format!("\"metadata\":{metadata}}}")), "{body}");
    let (_, shown) = site.ask("GET", &format!("{target}?metadata=true"), "");
    assert_eq!(shown["file"]["caller_number"], "+4930123456");
    assert_eq!(site.ask("DELETE", &target, "").0, 200);
    let log = site.server.log();
    assert!(log.contains("the operator has deleted a file"), "{log}");
    assert!(!log.contains("4930123456") && !log.contains(&site.token), "{log}");
}

#[test]
fn refuses_what_it_does_not_understand() {
    let site = site();
    for (target, says) in [
        ("/v1/files", "`all`"),
        ("/v1/files?limit=10", "`all`"),
        ("/v1/files?all=true&account=a", "`all`"),
        ("/v1/files?document=DOC", "`account`"),
        ("/v1/files?kind=x", "`kind`"),
        ("/v1/files?account=a&limit=0", "`limit`"),
        ("/v1/files?account=a&limit=1001", "`limit`"),
        ("/v1/files?account=a&cursor=7", "`cursor`"),
        ("/v1/files?account=a&cursor=99999999999999999999/a", "`cursor`"),
        ("/v1/files?account=a&since=today", "`since`"),
        ("/v1/files?acount=a", "`acount`"),
        ("/v1/files/a%2F%2E%2E%2Fb", ".."),
    ] {
        let (status, refused) = site.ask("GET", target, "");
        assert_eq!(status, 400, "{target}: {refused}");
        assert!(
            refused["message"].as_str().unwrap().contains(says),
            "{target}: {refused}"
        );
    }
    // A file is one segment.
    assert_eq!(site.ask("GET", "/v1/files/a/b", "").0, 404);
    assert_eq!(site.ask("POST", "/v1/files/a", "").0, 405);
}

#[test]
fn files_can_be_used_without_a_ledger() {
    let site = Site::with(TempDir::new().unwrap(), &["--ledger=none"]);
    site.put("acc/DOC/1", "content");
    let (status, refused) = site.ask("GET", "/v1/files?all=true", "");
    assert!(
        status == 409 && refused["message"].as_str().unwrap().contains("--ledger"),
        "{refused}"
    );
    assert_eq!(site.ask("GET", "/v1/usage", "").0, 409);
    let (_, shown) = site.ask("GET", "/v1/files/acc%2FDOC%2F1", "");
    assert_eq!(shown["file"]["recorded"], Value::Null);
    assert_eq!(site.ask("DELETE", "/v1/files/acc%2FDOC%2F1", "").0, 200);
    assert_eq!(site.ask("GET", "/v1/files/acc%2FDOC%2F1", "").0, 404);
}

#[test]
fn a_connection_serves_many_calls_or_a_single_other_request() {
    let site = site();
    let request = |target, more: &str| format!("GET {target} HTTP/1.1\r\nhost: {}\r\n{more}\r\n", site.admin);
    let token = format!("authorization: Bearer {}\r\n", site.token);
    let mut client = Client::connect(site.admin).unwrap();
    for _ in 0..3 {
        client.send(request("/v1/usage", &token));
        let response = client.receive();
        assert!(response.status == 200 && !response.closes(), "{response:?}");
    }
    for (target, status) in [("/healthz", 200), ("/v1/usage", 401)] {
        let mut client = Client::connect(site.admin).unwrap();
        client.send(request(target, ""));
        let response = client.receive();
        assert!(response.status == status && response.closes(), "{response:?}");
    }
}
