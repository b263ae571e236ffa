//! Held files, over the API and with the command `hold`.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{expect, keys, run};
use crate::{events::site::Site, process::multipart};

const KEY: &str = "acc/DOC/message.mp3";
const TARGET: &str = "/v1/files/acc%2FDOC%2Fmessage.mp3";

fn hold(site: &Site, status: i32, arguments: &[&str]) -> (String, String) {
    expect(status, arguments, site.command("hold", arguments).output().unwrap())
}

#[test]
fn a_held_file_is_neither_deleted_nor_replaced() {
    let site = Site::with(TempDir::new().unwrap(), &[]);
    site.put(KEY, "old");
    let request = json!({"reason": "case 7", "author": "legal", "account": "acc"}).to_string();
    let (status, added) = site.ask("POST", "/v1/holds", &request);
    assert_eq!(
        (status, &added["settled"], &added["removed"]),
        (200, &true.into(), &json!([]))
    );
    let id = added["hold"]["id"].as_str().unwrap();

    let (status, refused) = site.ask("DELETE", TARGET, "");
    let message = refused["message"].as_str().unwrap();
    assert!(
        status == 409 && message.contains(id) && message.contains("case 7"),
        "{refused}"
    );
    for arguments in [&["rm", "--yes", KEY][..], &["rm", KEY]] {
        let (shown, refused) = run(&site, 1, arguments);
        assert!(
            refused.contains(id) && shown.is_empty(),
            "{arguments:?}: {shown}{refused}"
        );
    }
    site.put(KEY, "new");
    site.put(KEY, "new");
    site.put(KEY, "old");
    assert_eq!(run(&site, 0, &["get", KEY]).0, "old");
    let stored = keys(&run(&site, 0, &["list", "--account=acc", "--json"]).0);
    assert_eq!(stored.len(), 2, "{stored:?}");
    assert_eq!(run(&site, 0, &["get", &stored[0]]).0, "new");
    let log = site.server.log();
    let reports: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("would replace a protected file"))
        .collect();
    let name = stored[0].strip_prefix("acc/DOC/message~").unwrap();
    let suffix = format!("suffix=\"~{}\"", name.strip_suffix(".mp3").unwrap());
    assert!(
        reports.len() == 1 && reports[0].contains(&suffix) && !reports[0].contains("message"),
        "{log}"
    );

    let (_, shown) = site.ask("GET", TARGET, "");
    assert_eq!(shown["file"]["holds"], json!([{"id": id, "reason": "case 7"}]));
    let (shown, _) = run(&site, 0, &["stat", KEY]);
    assert!(shown.contains(&format!("{id} (case 7)")), "{shown}");

    let one = format!("/v1/holds/{id}");
    assert_eq!(site.ask("GET", &one, "").1, added["hold"]);
    assert_eq!(site.ask("GET", "/v1/holds", "").1["holds"], json!([added["hold"]]));
    assert_eq!(site.ask("DELETE", &one, "").0, 400);
    assert_eq!(site.ask("DELETE", &format!("{one}?reason=settled"), "").0, 200);
    assert_eq!(site.ask("DELETE", &format!("{one}?reason=settled"), "").0, 404);
    assert_eq!(site.ask("GET", &one, "").0, 404);
    assert_eq!(site.ask("DELETE", TARGET, "").0, 200);
}

#[test]
fn the_command_adds_lists_and_removes_holds() {
    let site = Site::with(TempDir::new().unwrap(), &[]);
    let metadata = r#"{"call_id":"call-7","caller_id_number":"+491"}"#;
    let mut client = site.server.connect();
    client.send(multipart("/some_prefix/acc/DOC/message.mp3", metadata, "media"));
    assert_eq!(client.receive().status, 201);
    let because = ["--reason=case 7", "--author=legal"];
    let (added, _) = hold(
        &site,
        0,
        &[
            &["add", "--number=+491", "--call-id=call-7", "--since=2h"],
            &because[..],
        ]
        .concat(),
    );
    let id = added.strip_suffix(" added: it protects 1 file\n").unwrap();
    let (json, _) = hold(&site, 0, &[&["add", KEY, "--json"], &because[..]].concat());
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["hold"]["key"], &json["files"]), (&KEY.into(), &1.into()));
    let (table, _) = hold(&site, 0, &["list"]);
    assert!(table.starts_with("ID ") && table.lines().count() == 3, "{table}");
    assert!(
        table.contains("number=+491 call-id=call-7 since=") && table.contains(&format!("key={KEY}")),
        "{table}"
    );
    assert_eq!(hold(&site, 0, &["list", "--json"]).0.lines().count(), 2);
    for other in [id, json["hold"]["id"].as_str().unwrap()] {
        assert_eq!(site.ask("DELETE", TARGET, "").0, 409);
        let (removed, _) = hold(&site, 0, &["rm", other, "--reason=settled"]);
        assert_eq!(removed, format!("{other} removed\n"));
    }
    let (_, missing) = hold(&site, 1, &["rm", id, "--reason=settled"]);
    assert!(missing.contains("there is no hold"), "{missing}");
    assert_eq!(site.ask("DELETE", TARGET, "").0, 200);
    let log = site.server.log();
    assert!(
        log.contains("has added a hold") && log.contains("has removed a hold"),
        "{log}"
    );
    assert!(!log.contains("+491") && !log.contains("call-7"), "{log}");
}

#[test]
fn a_hold_without_files_protects_those_that_are_stored_later() {
    let site = Site::with(TempDir::new().unwrap(), &[]);
    site.put("acc/OTHER/message.mp3", "media");
    let because = ["--reason=case 7", "--author=legal"];
    let (added, note) = hold(&site, 0, &[&["add", KEY], &because[..]].concat());
    assert!(added.ends_with(" added: it protects no file yet\n"), "{added}");
    assert!(
        note.contains("no file in the ledger satisfies the conditions"),
        "{note}"
    );
    site.put(KEY, "media");
    assert_eq!(site.ask("DELETE", TARGET, "").0, 409);
}

#[test]
fn refuses_holds_that_keep_everything_or_nothing() {
    let site = Site::with(TempDir::new().unwrap(), &[]);
    for (request, says) in [
        (json!({"reason": "r", "author": "a"}), "condition"),
        (json!({"reason": "r", "author": "a", "document": "d"}), "account"),
        (json!({"reason": "", "author": "a", "account": "acc"}), "reason"),
        (json!({"reason": "r", "author": "a", "since": "yesterday"}), "`since`"),
        (json!({"reason": "r", "author": "a", "key": "a/../b"}), ".."),
        (json!({"reason": "r", "author": "a", "acount": "acc"}), "acount"),
        (json!({"reason": "r", "account": "acc"}), "author"),
    ] {
        let (status, refused) = site.ask("POST", "/v1/holds", &request.to_string());
        assert_eq!(status, 400, "{request}: {refused}");
        assert!(
            refused["message"].as_str().unwrap().contains(says),
            "{request}: {refused}"
        );
    }
    hold(&site, 2, &["add", "--reason=r", "--author=a"]);
    hold(&site, 2, &["add", "--account=acc", "--author=a"]);
    let without = Site::with(TempDir::new().unwrap(), &["--ledger=none"]);
    let (status, refused) = without.ask("GET", "/v1/holds", "");
    assert!(
        status == 409 && refused["message"].as_str().unwrap().contains("--ledger"),
        "{refused}"
    );
}
