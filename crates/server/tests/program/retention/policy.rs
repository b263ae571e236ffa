//! The file of `--policy`, and what it deletes.

use std::fs;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{age, execute, put, run, start, status};
use crate::process::{eventually, program};

#[test]
fn plans_and_removes_what_is_due() {
    let site = start("", &[]);
    for name in [
        "call_recording_a.mp3",
        "call_recording_b.mp3",
        "fax_file.tiff",
        "recent.mp3",
    ] {
        put(&site, name);
    }
    for name in ["call_recording_a.mp3", "call_recording_b.mp3", "fax_file.tiff"] {
        age(&site, name, 40);
    }
    let (empty, note) = run(&site, 0, &["plan"]);
    assert!(
        empty.starts_with("ACCOUNT") && note.contains("has no retention rules"),
        "{empty}{note}"
    );

    let hold = "INSERT INTO holds (id, reason, author, created_at, document) VALUES ('h7', 'case', 'legal', 1, NULL); \
                UPDATE holds SET key = (SELECT key FROM files WHERE attachment = 'call_recording_b.mp3')";
    execute(site.root.path(), hold);
    let policy = site.root.path().join("policy.toml");
    fs::write(
        &policy,
        "[[retention]]\ndays = 30\n[[retention]]\nkind = 'fax'\nfloor_days = 365\n",
    )
    .unwrap();
    site.server.signal("HUP");
    eventually("the recording is removed", || {
        (status(&site, "call_recording_a.mp3") == 404).then_some(())
    });
    for name in ["call_recording_b.mp3", "fax_file.tiff", "recent.mp3"] {
        assert_eq!(status(&site, name), 200, "{name}");
    }
    let (plan, _) = run(&site, 0, &["plan"]);
    let rows: Vec<Vec<&str>> = plan.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1][..5], ["(all)", "(all)", "30", "none", "0"], "{plan}");
    assert_eq!(rows[1].last(), Some(&"1"), "{plan}");
    assert_eq!(rows[2][..5], ["(all)", "fax", "never", "365", "0"], "{plan}");
    let (files, _) = run(&site, 0, &["plan", "--files"]);
    assert!(
        files.contains("call_recording_b.mp3") && files.contains("held by the hold h7"),
        "{files}"
    );
    let (json, _) = run(&site, 0, &["plan", "--files", "--json"]);
    let file: serde_json::Value = serde_json::from_str(json.trim()).unwrap();
    assert_eq!(file["hold"], "h7");
    site.ask("GET", "/v1/retention/files?limit=1", "");
    let line = site.ask_with("GET", "/v1/retention/plan", "", "");
    let text = String::from_utf8(line.body).unwrap();
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((&last["done"], &last["rules"][0]["held"]), (&true.into(), &1.into()));

    // The operator cannot remove a file before its floor.
    let fax = format!("/v1/files/{}%2F{}%2Ffax_file.tiff", super::ACCOUNT, super::DOCUMENT);
    execute(site.root.path(), "DELETE FROM holds");
    let (refused, error) = site.ask("DELETE", &fax, "");
    assert_eq!((refused, &error["error"]), (409, &"conflict".into()));
    let metrics = site.ask_with("GET", "/metrics", "", "");
    let metrics = String::from_utf8(metrics.body).unwrap();
    assert!(metrics.contains("kazoo_storage_retention_removed_total 1"), "{metrics}");
}

#[test]
fn previews_another_policy_without_applying_it() {
    let site = start("[[retention]]\ndays = 365\n", &[]);
    for name in ["call_recording_a.mp3", "fax_file.tiff", "recent.mp3"] {
        put(&site, name);
    }
    for name in ["call_recording_a.mp3", "fax_file.tiff"] {
        age(&site, name, 40);
    }
    let other = site.root.path().join("other.toml");
    let path = other.to_str().unwrap();
    let text = "[[retention]]\ndays = 30\n[[retention]]\nkind = 'fax'\ndays = 50\n[[quota]]\nbytes = 1\n";
    fs::write(&other, text).unwrap();
    let (plan, _) = run(&site, 0, &["plan", "--policy", path]);
    let rows: Vec<Vec<&str>> = plan.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1][..5], ["(all)", "(all)", "30", "none", "1"], "{plan}");
    assert_eq!(rows[2][..5], ["(all)", "fax", "50", "none", "0"], "{plan}");
    let (files, _) = run(&site, 0, &["plan", "--policy", path, "--files", "--json"]);
    assert!(
        files.lines().count() == 1 && files.contains("call_recording_a.mp3"),
        "{files}"
    );

    let body = json!({"policy": "[[retention]]\ndays = 30\n"}).to_string();
    let (status_of_page, page) = site.ask("POST", "/v1/retention/files?limit=1", &body);
    let next = utf8_percent_encode(page["next"].as_str().unwrap(), NON_ALPHANUMERIC);
    let (_, last) = site.ask("POST", &format!("/v1/retention/files?limit=1&cursor={next}"), &body);
    assert_eq!((status_of_page, &last["next"]), (200, &Value::Null));
    assert_ne!(page["files"][0]["key"], last["files"][0]["key"]);
    assert_eq!(site.follow("/v1/retention/plan", &body)["rules"][0]["files"], 2);

    let (plan, _) = run(&site, 0, &["plan", "--json"]);
    assert!(plan.contains(r#""days":365"#) && plan.lines().count() == 1, "{plan}");
    assert_eq!(status(&site, "call_recording_a.mp3"), 200);

    fs::write(&other, "[[retention]]\ndyas = 30\n").unwrap();
    let (_, refused) = run(&site, 2, &["plan", "--policy", path]);
    assert!(refused.contains("other.toml:2: unknown key `dyas`"), "{refused}");
    let (refused, error) = site.ask("POST", "/v1/retention/plan", r#"{"policy": "[[retention]]\ndyas = 1"}"#);
    let message = error["message"].as_str().unwrap();
    assert!(
        refused == 400 && message.contains("`policy`:2: unknown key `dyas`"),
        "{error}"
    );
    let (_, none) = run(&site, 2, &["plan", "--policy", "/absent"]);
    assert!(none.contains("cannot read --policy /absent"), "{none}");
}

#[test]
fn a_wrong_file_is_an_error_at_the_start_and_changes_nothing_later() {
    let site = start("[[retention]]\ndays = 30\n", &[]);
    let file = site.root.path().join("policy.toml");
    fs::write(&file, "[[retention]]\ndyas = 30\n").unwrap();
    site.server.signal("HUP");
    let says = "policy.toml:2: unknown key `dyas`; is it `days`?";
    eventually("the error is logged", || {
        let log = site.server.log();
        (log.contains(says) && log.contains("the previous version stays in use")).then_some(())
    });
    let (plan, _) = run(&site, 0, &["plan", "--json"]);
    assert!(plan.contains(r#""days":30"#), "{plan}");

    let config = site.root.path().join("config.toml");
    let store = site.root.path().join("other");
    fs::write(
        &config,
        format!("policy = '{}'\nstore = '{}'\n", file.display(), store.display()),
    )
    .unwrap();
    for command in [&["config", "check"][..], &["serve", "--listen=127.0.0.1:0"]] {
        let mut program = program();
        let output = program.args(command).arg("--config").arg(&config).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(says), "{error}");
    }
}
