//! The command `events`.

use std::{fs, io::Write as _};

use serde_json::Value;

use super::site::{Receiver, Site, expect, terminal};
use crate::process::{eventually, multipart, program};

/// Asserts the status, and returns stdout and stderr.
fn run(site: &Site, status: i32, arguments: &[&str]) -> (String, String) {
    expect(status, arguments, site.events(arguments))
}

#[test]
fn shows_retries_and_discards_events() {
    let receiver = Receiver::start(500);
    let site = Site::start(&receiver);
    for number in 0..3 {
        site.put(&format!("acc/DOC/{number}"), "content");
    }
    let dead = site.dead(3);
    let id = dead[2]["id"].as_str().unwrap();

    let (table, _) = run(&site, 0, &["list", "--since", "2h"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(lines[0].starts_with("TIME ") && lines[3].contains(id), "{table}");
    let (json, _) = run(
        &site,
        0,
        &[
            "list",
            "--json",
            "--oldest",
            "--state=dead",
            "--receiver=webhook:crm",
            "--account=acc",
        ],
    );
    let first: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!((&first["id"], json.lines().count()), (&id.into(), 3));
    let (table, more) = run(&site, 0, &["list", "--limit=2"]);
    assert!(table.lines().count() == 3 && more.contains("--limit"), "{table}{more}");
    assert_eq!(run(&site, 0, &["list", "--limit=0", "--json"]).0.lines().count(), 3);
    let (shown, _) = run(&site, 0, &["show", id]);
    assert!(
        shown.contains("acc/DOC/0") && shown.contains("webhook:crm  dead"),
        "{shown}"
    );
    run(&site, 0, &["show", id, "--json", "--metadata"]);
    let (receivers, _) = run(&site, 0, &["receivers"]);
    assert!(
        receivers.lines().nth(1).unwrap().starts_with("webhook:crm"),
        "{receivers}"
    );
    assert_eq!(run(&site, 0, &["receivers", "--json"]).0.lines().count(), 1);

    let (asked, _) = run(&site, 2, &["discard", "--dead", "--account=acc"]);
    assert!(asked.starts_with("3 dead events would be discarded"), "{asked}");
    let newest = dead[0]["id"].as_str().unwrap();
    let (asked, _) = run(&site, 2, &["discard", newest]);
    assert!(
        asked.contains("acc/DOC/2") && asked.ends_with("\n1 event would be discarded; to do it, pass --yes\n"),
        "{asked}"
    );
    let (none, _) = run(&site, 0, &["discard", newest, "--receiver=webhook:other"]);
    assert_eq!(none, "nothing to discard\n");
    let (_, stopped) = run(&site, 1, &["discard", newest, "other", "--yes"]);
    assert!(
        stopped.contains("`other`") && stopped.ends_with("; the first 1 of the 2 events are done\n"),
        "{stopped}"
    );
    for refused in [&["discard", newest, "--yes"][..], &["discard", newest]] {
        let (_, refused) = run(&site, 1, refused);
        assert!(refused.contains("no undelivered event"), "{refused}");
    }
    receiver.mend();
    assert_eq!(run(&site, 0, &["retry", id]).0, "1 retried, 0 superseded\n");
    assert_eq!(receiver.next(), id);
    assert_eq!(run(&site, 0, &["retry", "--dead"]).0, "1 retried, 0 superseded\n");
    receiver.next();
    eventually("all events are settled", || {
        run(&site, 0, &["list", "--json"]).0.is_empty().then_some(())
    });
    let (replayed, _) = run(
        &site,
        0,
        &["replay", "--since=1h", "--account=acc", "--receiver=webhook:crm"],
    );
    assert!(replayed.starts_with("3 files, 3 events queued, up to 2"), "{replayed}");
    for _ in 0..3 {
        receiver.next();
    }
    let (discarded, _) = run(&site, 0, &["discard", "--dead", "--yes"]);
    assert_eq!(discarded, "0 discarded\n");
}

#[test]
fn asks_on_a_terminal_before_it_discards_events_or_removes_a_receiver() {
    let site = Site::start(&Receiver::start(500));
    for key in ["a/DOC/1", "a/DOC/2", "b/DOC/3"] {
        site.put(key, "content");
    }
    let dead = site.dead(3);
    let id = dead[2]["id"].as_str().unwrap();
    fs::write(site.root.path().join("deliveries.json"), r#"{"webhooks": []}"#).unwrap();
    site.server.signal("HUP");
    eventually("the webhook is not active", || {
        let (_, crm) = site.ask("GET", "/v1/receivers/webhook:crm", "");
        (crm["state"] == "inactive").then_some(())
    });
    for (arguments, question) in [
        (&["discard", id][..], "Discard 1 event?"),
        (&["discard", "--dead", "--account=a"], "Discard 1 dead event?"),
        (
            &["receivers", "rm", "webhook:crm"],
            "Remove webhook:crm with 0 waiting and 1 dead events?",
        ),
    ] {
        for (answer, status) in [("n\n", 2), ("y\n", 0)] {
            let (terminal, mut typed) = terminal();
            typed.write_all(answer.as_bytes()).unwrap();
            let output = site.command("events", arguments).stdin(terminal).output().unwrap();
            let (_, asked) = expect(status, arguments, output);
            assert!(asked.contains(question), "{arguments:?}: {asked}");
        }
    }
}

#[test]
fn shows_metadata_as_it_was_uploaded() {
    let receiver = Receiver::start(500);
    let site = Site::start(&receiver);
    let deep = format!("{}1e400{}", "[".repeat(500), "]".repeat(500));
    let metadata = format!("{{\"x\": {deep},\n \"s\":\"\\ud800 \u{202e}\u{9b}1m\"}}");
    let mut client = site.server.connect();
    client.send(multipart("/some_prefix/acc/DOC/a", &metadata, "media"));
    assert_eq!(client.receive().status, 201);
    let id = site.dead(1)[0]["id"].as_str().unwrap().to_owned();
    let (json, _) = run(&site, 0, &["show", &id, "--metadata", "--json"]);
    let expected = metadata.replace(": ", ":").replace(",\n ", ",");
    let expected = expected.replace('\u{202e}', r"\u202e").replace('\u{9b}', r"\u009b");
    assert!(json.ends_with(&format!(",\"metadata\":{expected}}}\n")), "{json}");
    let (text, _) = run(&site, 0, &["show", &id, "--metadata"]);
    assert!(
        text.contains(&deep) && text.contains("\\ud800 \\u{202e}\\u{9b}1m"),
        "{text}"
    );
    let is_shown = |letter: char| letter == '\n' || !(letter.is_control() || letter == '\u{202e}');
    assert!(text.chars().all(is_shown), "{text:?}");
}

#[test]
fn removes_a_receiver_with_events_only_if_confirmed() {
    let site = Site::start(&Receiver::start(500));
    site.put("acc/DOC/1", "content");
    site.dead(1);
    let (_, refused) = run(&site, 1, &["receivers", "rm", "webhook:crm", "--yes"]);
    assert!(refused.contains("--deliveries"), "{refused}");
    fs::write(site.root.path().join("deliveries.json"), r#"{"webhooks": []}"#).unwrap();
    site.server.signal("HUP");
    eventually("the webhook is not active", || {
        run(&site, 0, &["receivers", "--json"])
            .0
            .contains("\"state\":\"inactive\"")
            .then_some(())
    });
    let (asked, _) = run(&site, 2, &["receivers", "rm", "webhook:crm"]);
    assert_eq!(
        asked,
        "webhook:crm with 0 waiting and 1 dead events would be removed; to do it, pass --yes\n"
    );
    let (removed, _) = run(&site, 0, &["receivers", "rm", "webhook:crm", "--yes"]);
    assert_eq!(removed, "webhook:crm removed, with 1 events\n");
    let (_, unknown) = run(&site, 1, &["receivers", "rm", "webhook:crm"]);
    assert!(unknown.contains("no receiver"), "{unknown}");
}

#[test]
fn explains_what_is_wrong() {
    let site = Site::start(&Receiver::start(200));
    let events = |arguments: &[&str]| {
        let mut command = program();
        command.arg("events").args(arguments).output().unwrap()
    };
    let (token, admin) = (site.token_file(), site.admin.to_string());
    let token = token.to_str().unwrap();
    let wrong = site.root.path().join("wrong");
    fs::write(&wrong, "0123456789abcdef0123456789abcdef").unwrap();
    for (status, arguments, says) in [
        (1, &["list"][..], "--admin-token-file"),
        (
            1,
            &["list", "--admin-token-file=/none"],
            "cannot read --admin-token-file /none",
        ),
        (
            1,
            &["list", "--admin=127.0.0.1:1", "--admin-token-file", token],
            "cannot reach the server at 127.0.0.1:1",
        ),
        (
            1,
            &["list", "--admin", &admin, "--admin-token-file", wrong.to_str().unwrap()],
            "the token is wrong",
        ),
        (
            1,
            &[
                "list",
                "--admin",
                &site.server.address.to_string(),
                "--admin-token-file",
                token,
            ],
            "refused: no storage here",
        ),
        (2, &["list", "--admin=9180"], "unix:PATH"),
        (2, &["list", "--since=yesterday"], "duration back"),
        (2, &["list", "--state=x"], "waiting"),
        (2, &["retry"], "--dead"),
        (2, &["retry", "x", "--dead"], "cannot be used with"),
        (2, &["replay"], "--since"),
        (2, &[], "Usage"),
    ] {
        let (_, stderr) = expect(status, arguments, events(arguments));
        assert!(stderr.contains(says), "{arguments:?}: {stderr}");
    }
}

#[test]
fn shows_a_webhook_that_wants_no_more_events_until_a_reload() {
    let receiver = Receiver::start(410);
    let site = Site::start(&receiver);
    site.put("acc/DOC/1", "content");
    let is = |state: &str| {
        let (_, crm) = site.ask("GET", "/v1/receivers/webhook:crm", "");
        (crm["state"] == state).then_some(())
    };
    eventually("the webhook is gone", || is("gone"));
    let (receivers, _) = run(&site, 0, &["receivers"]);
    assert!(receivers.contains("webhook:crm  webhook  gone "), "{receivers}");
    // It is still configured.
    let (_, refused) = run(&site, 1, &["receivers", "rm", "webhook:crm", "--yes"]);
    assert!(refused.contains("SIGHUP"), "{refused}");
    receiver.mend();
    site.server.signal("HUP");
    receiver.next();
    eventually("the webhook is active", || is("active"));
}
