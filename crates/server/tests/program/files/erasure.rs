//! The erasure of an account or of a number, over the API and with the command `erase`.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{expect, keys, run};
use crate::{
    events::site::Site,
    process::{eventually, multipart, program},
};

fn erase(site: &Site, status: i32, arguments: &[&str]) -> (String, String) {
    expect(status, arguments, site.command("erase", arguments).output().unwrap())
}

/// Starts a server whose ledger has all files.
fn site() -> Site {
    let site = Site::with(TempDir::new().unwrap(), &[]);
    eventually("the files are indexed", || {
        site.server.log().contains("reindexed").then_some(())
    });
    site
}

#[test]
fn an_account_is_erased_with_a_receipt() {
    let site = site();
    for number in 0..300 {
        site.put(&format!("acc/DOC/{number}"), "content");
    }
    site.put("acc/HELD/1", "content");
    site.put("other/DOC/1", "content");
    let request = json!({"reason": "case 7", "author": "legal", "account": "acc", "document": "HELD"});
    assert_eq!(site.ask("POST", "/v1/holds", &request.to_string()).0, 200);

    let planned = site.follow("/v1/erasures", r#"{"account": "acc"}"#);
    assert_eq!(
        (&planned["files"], &planned["bytes"], &planned["kept"]),
        (&300.into(), &2100.into(), &1.into())
    );
    let (asked, kept) = erase(&site, 2, &["--account=acc"]);
    assert!(
        asked.lines().count() == 301
            && asked.ends_with("\n300 files (2.1 KiB) would be erased, 1 held; to do it, pass --yes\n"),
        "{asked}"
    );
    assert!(kept.contains("acc/HELD/1 is kept") && kept.contains("case 7"), "{kept}");

    let receipt = site.root.path().join("receipt");
    let (erased, _) = erase(
        &site,
        1,
        &["--account=acc", "--yes", "--receipt", receipt.to_str().unwrap()],
    );
    assert!(erased.contains("acc/DOC/7 removed"), "{erased}");
    assert!(erased.ends_with("\n300 files (2.1 KiB) erased, 1 held\n"), "{erased}");
    let text = fs::read_to_string(&receipt).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 303);
    assert_eq!(lines[0]["erasure"]["account"], "acc");
    assert_eq!(
        ["files", "kept", "held", "floor", "failed"].map(|name| lines[302][name].as_u64()),
        [300, 1, 1, 0, 0].map(Some)
    );
    for line in &lines[1..302] {
        let is_held = line["key"] == "acc/HELD/1";
        assert_eq!(line["removed_at"].is_null(), is_held, "{line}");
        assert_eq!(line["kept_because"].is_null(), !is_held, "{line}");
        assert!(
            line["size"] == 7 && line["sha256"].is_string() && line["stored_at"].is_string(),
            "{line}"
        );
    }
    assert_eq!(keys(&run(&site, 0, &["list", "--all", "--json"]).0).len(), 2);
    // A receipt is not replaced, and a second run finds only the held file.
    let (_, refused) = erase(
        &site,
        2,
        &["--account=acc", "--yes", "--receipt", receipt.to_str().unwrap()],
    );
    assert!(refused.contains("exists; remove it, or"), "{refused}");
    assert_eq!(fs::read_to_string(&receipt).unwrap(), text);
    let (nothing, _) = erase(&site, 1, &["--account=acc"]);
    assert_eq!(nothing, "nothing to erase, 1 held\n");
    let again = site.follow("/v1/erasures", r#"{"account": "acc", "confirm": true}"#);
    assert_eq!((&again["files"], &again["kept"]), (&0.into(), &1.into()));
}

#[test]
fn an_interrupted_erasure_keeps_its_receipt() {
    let directory = TempDir::new().unwrap();
    let (token, receipt) = (directory.path().join("token"), directory.path().join("receipt"));
    fs::write(&token, "0123456789abcdef0123456789abcdef").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = program();
    command
        .args(["erase", "--account=acc", "--yes", "--receipt"])
        .arg(&receipt)
        .arg(format!("--admin={}", listener.local_addr().unwrap()))
        .arg("--admin-token-file")
        .arg(token)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // The rest of the response does not arrive.
    let (mut stream, _) = listener.accept().unwrap();
    assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
    let line = "{\"key\": \"acc/DOC/1\", \"kept_because\": null, \"done\": false}\n";
    let response = format!("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{line}");
    stream.write_all(response.as_bytes()).unwrap();
    let mut removed = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut removed)
        .unwrap();
    assert_eq!(removed, "acc/DOC/1 removed\n");
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-s", "INT", &id])
            .status()
            .unwrap()
            .success()
    );
    let (_, said) = expect(130, &["erase"], child.wait_with_output().unwrap());
    assert!(
        said.contains("interrupted: ") && said.contains("run the command again"),
        "{said}"
    );
    let receipt = fs::read_to_string(receipt).unwrap();
    assert!(
        receipt.lines().count() == 2 && receipt.contains("acc/DOC/1"),
        "{receipt}"
    );
}

#[test]
fn a_number_is_erased_and_not_logged() {
    let site = site();
    let mut client = site.server.connect();
    for (path, number) in [("a/DOC/1", "+491"), ("b/DOC/2", "+491"), ("b/DOC/3", "+492")] {
        let metadata = format!(r#"{{"caller_id_number":"{number}"}}"#);
        client.send(multipart(&format!("/some_prefix/{path}"), &metadata, "media"));
        assert_eq!(client.receive().status, 201);
    }
    let (erased, _) = erase(&site, 0, &["--number=+491", "--yes"]);
    assert!(erased.ends_with("2 files (10 B) erased\n"), "{erased}");
    assert_eq!(keys(&run(&site, 0, &["list", "--all", "--json"]).0), ["b/DOC/3"]);
    let (nothing, _) = erase(&site, 0, &["--number=+491"]);
    assert_eq!(nothing, "nothing to erase\n");
    let log = site.server.log();
    assert!(log.contains("has erased files") && !log.contains("+491"), "{log}");
}

#[test]
fn refuses_what_is_not_one_account_or_number() {
    let site = site();
    for request in [
        "{}",
        r#"{"confirm": true}"#,
        r#"{"account": "a", "number": "1"}"#,
        r#"{"account": ""}"#,
        r#"{"account": "a", "confirm": 1}"#,
        r#"{"account": "a", "confirmed": true}"#,
    ] {
        let (status, refused) = site.ask("POST", "/v1/erasures", request);
        assert_eq!(status, 400, "{request}: {refused}");
    }
    erase(&site, 2, &[]);
    erase(&site, 2, &["--account=a", "--number=1"]);
    let (_, empty) = erase(&site, 2, &["--account=", "--yes"]);
    assert!(empty.contains("expected a text that is not empty"), "{empty}");
    // The account of a command that removes files is never in the environment.
    let mut command = site.command("erase", &["--yes"]);
    command.env("KAZOO_STORAGE_ACCOUNT", "a");
    expect(2, &["--yes"], command.output().unwrap());
}
