//! `files verify` compares the store with the ledger.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use serde_json::Value;
use tempfile::TempDir;

use super::run;
use crate::events::site::{Receiver, Site};

/// Overwrites the file at `path`, which keeps its length and its time.
fn damage(path: &Path) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    let damaged: Vec<u8> = fs::read(path).unwrap().iter().map(|byte| byte ^ 1).collect();
    fs::write(path, damaged).unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(modified).unwrap();
}

#[test]
fn finds_differences_and_repairs_the_ledger() {
    let site = Site::start(&Receiver::start(500));
    for name in ["same.mp3", "gone.mp3", "other.mp3"] {
        site.put(&format!("acc/doc/{name}"), "content");
    }
    site.dead(3);
    let (same, _) = run(&site, 0, &["verify", "--content"]);
    assert!(same.contains("0 differ, 0 repaired"), "{same}");

    let directory = site.root.path().join("data/acc/doc");
    for name in ["gone.mp3", ".gone.mp3.json"] {
        fs::remove_file(directory.join(name)).unwrap();
    }
    fs::write(directory.join("added.mp3"), "by hand").unwrap();
    fs::write(directory.join("other.mp3"), "changed by hand").unwrap();
    let (shown, _) = run(&site, 1, &["verify"]);
    assert_eq!(shown.lines().count(), 4, "{shown}");
    for line in [
        "gone        acc/doc/gone.mp3\n",
        "unrecorded  acc/doc/added.mp3\n",
        "3 differ, 0 repaired\n",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
    assert!(
        shown.contains("differs     acc/doc/other.mp3: the store has 15 bytes"),
        "{shown}"
    );

    let (lines, _) = run(&site, 1, &["verify", "--json"]);
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4);
    assert!(
        lines
            .iter()
            .any(|line| line["kind"] == "gone" && line["stored"].is_null())
    );
    assert_eq!(
        (&lines[3]["differences"], &lines[3]["repaired"]),
        (&3.into(), &0.into())
    );

    // The digest in the ledger is the only one of the file as it was uploaded.
    let (repaired, _) = run(&site, 1, &["verify", "--repair"]);
    assert!(
        repaired.contains("gone.mp3 (repaired)") && repaired.contains("3 differ, 2 repaired"),
        "{repaired}"
    );
    let events = site.dead(4);
    assert_eq!(
        (&events[0]["type"], &events[0]["file"]["key"]),
        (&"file.deleted".into(), &"acc/doc/gone.mp3".into())
    );
    site.put("acc/doc/other.mp3", "content");
    let done = site.follow("/v1/files/verify", r#"{"content": true, "repair": true}"#);
    assert_eq!((&done["compared"], &done["differences"]), (&3.into(), &0.into()));
    assert_eq!(done["bytes"], 21);
}

#[test]
fn reads_contents_only_if_asked_to() {
    let site = Site::with(TempDir::new().unwrap(), &[]);
    site.put("acc/doc/a.mp3", "content");
    damage(&site.root.path().join("data/acc/doc/a.mp3"));
    run(&site, 0, &["verify"]);
    for arguments in [&["verify", "--content"][..], &["verify", "--content", "--repair"]] {
        let (shown, _) = run(&site, 1, arguments);
        assert!(shown.starts_with("damaged     acc/doc/a.mp3\n"), "{shown}");
    }
    let done = site.follow("/v1/files/verify", r#"{"content": true}"#);
    assert_eq!(done["differences"], 1);
}

#[test]
fn needs_a_ledger() {
    let site = Site::with(TempDir::new().unwrap(), &["--ledger=none"]);
    for arguments in [&["verify"][..], &["export", "--all", "--to=/nonexistent/a.zip"]] {
        run(&site, 1, arguments);
    }
    assert_eq!(site.ask("POST", "/v1/files/verify", "{}").0, 409);
    assert_eq!(site.ask("POST", "/v1/files/export?all=true", "").0, 409);
    assert_eq!(site.ask("POST", "/v1/files/verify", r#"{"x": 1}"#).0, 409);
}

/// The store ignores the digest in the sidecar, as the file has another time, but the ledger has the digest too.
#[test]
fn gets_no_file_that_was_changed_later() {
    let site = Site::with(TempDir::new().unwrap(), &[]);
    site.put("acc/doc/a.mp3", "content");
    let path = site.root.path().join("data/acc/doc/a.mp3");
    fs::write(&path, "damaged").unwrap();
    let later = SystemTime::now() + Duration::from_secs(1);
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(later)
        .unwrap();
    let target = site.root.path().join("a.mp3");
    let (_, refused) = run(
        &site,
        1,
        &["get", "acc/doc/a.mp3", "--output", target.to_str().unwrap()],
    );
    assert!(refused.contains("differs from its SHA-256"), "{refused}");
    assert!(!target.exists());
}
