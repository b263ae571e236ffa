//! The command `files`.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::Stdio,
};

use serde_json::Value;
use tempfile::TempDir;

use super::{NAMES, expect, keys, run};
use crate::{
    events::site::{Site, terminal},
    process::{multipart, program},
};

#[test]
fn lists_shows_and_removes_files() {
    let site = Site::with(TempDir::new().unwrap(), &[]);
    for name in NAMES {
        site.put(&format!("acc/DOC/{name}"), "content");
    }
    site.put("other/DOC/voicemail.mp3", "longer content");

    let (table, _) = run(&site, 0, &["list", "--account=acc", "--since=2h"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), NAMES.len() + 1, "{table}");
    assert!(
        lines[0].starts_with("STORED ") && lines[1].contains("acc/DOC/content"),
        "{table}"
    );
    assert_eq!(
        keys(&run(&site, 0, &["list", "--all", "--json"]).0).len(),
        NAMES.len() + 1
    );
    assert_eq!(run(&site, 0, &["list", "--json", "--until=1h"]).0, "");
    assert_eq!(run(&site, 0, &["list", "--kind=fax", "--json"]).0, "");
    let (page, more) = run(&site, 0, &["list", "--account=acc", "--document=DOC", "--limit=3"]);
    assert!(page.lines().count() == 4 && more.contains("--limit"), "{page}{more}");
    assert_eq!(
        run(&site, 0, &["list", "--all", "--limit=0"]).0.lines().count(),
        NAMES.len() + 2
    );

    let (usage, _) = run(&site, 0, &["du"]);
    let rows: Vec<Vec<&str>> = usage.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1][..3], ["acc", "8", "56"]);
    assert_eq!(rows[3][..3], ["(all)", "9", "70"]);
    let (usage, _) = run(&site, 0, &["du", "--account=other", "--json"]);
    let usage: Value = serde_json::from_str(&usage).unwrap();
    assert_eq!((&usage["account"], &usage["bytes"]), (&"other".into(), &14.into()));

    for key in keys(&run(&site, 0, &["list", "--account=acc", "--json"]).0) {
        let (shown, _) = run(&site, 0, &["stat", &key]);
        assert!(shown.contains(&key) && shown.contains("recorded"), "{shown}");
        assert_eq!(run(&site, 0, &["get", &key]).0, "content");
        let (asked, _) = run(&site, 2, &["rm", &key]);
        assert!(
            asked.contains(&key) && asked.ends_with("1 file would be removed; to do it, pass --yes\n"),
            "{asked}"
        );
        assert_eq!(run(&site, 0, &["rm", &key, "--yes"]).0, format!("{key} removed\n"));
        let (_, missing) = run(&site, 1, &["stat", &key]);
        assert!(missing.contains("there is no file"), "{missing}");
    }
    // A removal can be repeated: the files that are left are removed.
    site.put("acc/DOC/2", "content");
    let (removed, failed) = run(&site, 1, &["rm", "--yes", "acc/DOC/1", "/acc/DOC/2"]);
    assert!(
        removed == "/acc/DOC/2 removed\n" && failed.contains("there is no file `acc/DOC/1`"),
        "{removed}{failed}"
    );
    assert_eq!(
        keys(&run(&site, 0, &["list", "--all", "--json"]).0),
        ["other/DOC/voicemail.mp3"]
    );
}

#[test]
fn finds_files_of_a_call_and_shows_their_metadata_as_uploaded() {
    let site = Site::with(TempDir::new().unwrap(), &[]);
    let metadata = "{\"call_id\": \"c\",\n \"caller_id_number\":\"+491\",\"s\":\"\\ud800 \u{202e}\u{9b}1m\"}";
    let mut client = site.server.connect();
    client.send(multipart("/some_prefix/acc/DOC/a", metadata, "media"));
    assert_eq!(client.receive().status, 201);
    site.put("acc/DOC/b", "media");
    for condition in ["--number=+491", "--call-id=c"] {
        assert_eq!(
            keys(&run(&site, 0, &["list", condition, "--json"]).0),
            ["acc/DOC/a"],
            "{condition}"
        );
    }
    let (json, _) = run(&site, 0, &["stat", "acc/DOC/a", "--metadata", "--json"]);
    let expected = metadata.replace(": ", ":").replace(",\n ", ",");
    let expected = expected.replace('\u{202e}', r"\u202e").replace('\u{9b}', r"\u009b");
    assert!(json.ends_with(&format!(",\"metadata\":{expected}}}\n")), "{json}");
    let (text, _) = run(&site, 0, &["stat", "acc/DOC/a", "--metadata"]);
    assert!(
        text.contains("+491") && text.contains("\\ud800 \\u{202e}\\u{9b}1m"),
        "{text}"
    );
    let is_shown = |letter: char| letter == '\n' || !(letter.is_control() || letter == '\u{202e}');
    assert!(text.chars().all(is_shown), "{text:?}");
}

#[test]
fn accounts_cannot_control_the_terminal() {
    let site = Site::with(TempDir::new().unwrap(), &[]);
    site.put("%E2%80%AEacc/DOC/1", "content");
    for arguments in [&["du"][..], &["stat", "%E2%80%AEacc/DOC/1"]] {
        let (text, _) = run(&site, 0, arguments);
        assert!(text.contains("\\u{202e}acc") && !text.contains('\u{202e}'), "{text}");
    }
}

#[test]
fn asks_on_a_terminal_before_it_removes_a_file() {
    let site = Site::with(TempDir::new().unwrap(), &[]);
    site.put("acc/DOC/1", "content");
    let arguments = ["rm", "acc/DOC/1"];
    for (answer, status, left) in [("\n", 2, 1), ("no\n", 2, 1), ("\u{4}", 2, 1), ("y\n", 0, 0)] {
        let (terminal, mut typed) = terminal();
        typed.write_all(answer.as_bytes()).unwrap();
        let output = site.command("files", &arguments).stdin(terminal).output().unwrap();
        let (shown, asked) = expect(status, &arguments, output);
        assert!(
            shown.contains("acc/DOC/1") && asked.contains("Remove 1 file?"),
            "{shown}{asked}"
        );
        let (listed, _) = run(&site, 0, &["list", "--all", "--json"]);
        assert_eq!(keys(&listed).len(), left, "{answer:?}");
    }
}

/// An interrupted command is repeated.
#[test]
fn removes_the_other_files_on_a_terminal_if_one_is_gone() {
    let site = Site::with(TempDir::new().unwrap(), &[]);
    site.put("acc/DOC/2", "content");
    let arguments = ["rm", "acc/DOC/1", "acc/DOC/2"];
    let (terminal, mut typed) = terminal();
    typed.write_all(b"y\n").unwrap();
    let output = site.command("files", &arguments).stdin(terminal).output().unwrap();
    let (shown, asked) = expect(1, &arguments, output);
    assert!(asked.contains("there is no file `acc/DOC/1`"), "{asked}");
    assert!(asked.contains("Remove 1 file?"), "{asked}");
    assert!(shown.ends_with("acc/DOC/2 removed\n"), "{shown}");
    let output = site.command("files", &["rm", "acc/DOC/1"]).output().unwrap();
    let (shown, _) = expect(1, &["rm"], output);
    assert_eq!(shown, "", "there is nothing to confirm");
}

#[test]
fn removes_no_file_that_was_replaced_after_it_was_shown() {
    let site = Site::with(TempDir::new().unwrap(), &[]);
    site.put("acc/DOC/1", "first");
    let (terminal, mut typed) = terminal();
    let mut command = site.command("files", &["rm", "acc/DOC/1"]);
    command.stdin(terminal).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut asked = vec![0; "Remove 1 file?".len()];
    child.stderr.as_mut().unwrap().read_exact(&mut asked).unwrap();
    site.put("acc/DOC/1", "second");
    typed.write_all(b"y\n").unwrap();
    let (_, refused) = expect(1, &["rm"], child.wait_with_output().unwrap());
    assert!(
        refused.contains("the file `acc/DOC/1` has changed, so it was not removed"),
        "{refused}"
    );
    assert_eq!(run(&site, 0, &["get", "acc/DOC/1"]).0, "second");
}

#[test]
fn a_reader_that_has_seen_enough_ends_a_listing() {
    let site = Site::with(TempDir::new().unwrap(), &[]);
    site.put("acc/DOC/1", "content");
    let mut command = site.command("files", &["list", "--all"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn explains_what_is_wrong() {
    for (status, arguments, says) in [
        (2, &["list"][..], "--all"),
        (2, &["list", "--document=d"], "--account"),
        (2, &["list", "--all", "--account=a"], "cannot be used with"),
        (2, &["list", "--account=a", "--kind=x"], "call_recording"),
        (2, &["list", "--account=a", "--since=yesterday"], "duration back"),
        (2, &["rm"], "KEY"),
        (2, &["get"], "KEY"),
        (2, &[], "Usage"),
        (1, &["du"], "--admin-token-file"),
    ] {
        let output = program().arg("files").args(arguments).output().unwrap();
        let (_, stderr) = expect(status, arguments, output);
        assert!(stderr.contains(says), "{arguments:?}: {stderr}");
    }
}

#[test]
fn the_address_of_listen_is_not_that_of_admin() {
    let site = Site::with(TempDir::new().unwrap(), &[]);
    let listen = site.server.address.to_string();
    for arguments in [&["du"][..], &["list", "--all"]] {
        let mut command = site.command("files", arguments);
        let (_, refused) = expect(
            1,
            arguments,
            command.env("KAZOO_STORAGE_ADMIN", &listen).output().unwrap(),
        );
        assert!(
            refused.contains("pass that of --admin instead of that of --listen"),
            "{refused}"
        );
    }
    // To others, the advice is about their URL.
    let missing = site.server.connect().get("/v1x").json();
    assert!(
        missing["message"].as_str().unwrap().contains("storage settings"),
        "{missing}"
    );
}
