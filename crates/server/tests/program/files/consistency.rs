//! Store, ledger and events agree after a deletion, also after one that was interrupted.

use std::fs;

use tempfile::TempDir;

use crate::{
    events::site::{Receiver, Site},
    process::eventually,
};

const TARGET: &str = "/v1/files/acc%2FDOC%2F1";

/// Returns the types of the events that are dead, newest first.
fn dead(site: &Site, count: usize) -> Vec<String> {
    let events = site.dead(count);
    events
        .iter()
        .map(|event| event["type"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_deletion_has_its_event() {
    let site = Site::start(&Receiver::start(500));
    site.put("acc/DOC/1", "content");
    site.dead(1);
    assert_eq!(site.ask("DELETE", TARGET, "").0, 200);
    assert_eq!(dead(&site, 2), ["file.deleted", "file.stored"]);
}

#[test]
fn a_damaged_file_can_be_deleted() {
    let site = Site::with(TempDir::new().unwrap(), &["--verify-on-read"]);
    site.put("acc/DOC/1", "content");
    // The sidecar describes another version.
    fs::write(site.root.path().join("data/acc/DOC/1%file"), "damaged content").unwrap();
    let (status, refused) = site.ask("GET", TARGET, "");
    assert_eq!((status, &refused["error"]), (500, &"damaged".into()));
    assert_eq!(site.ask("DELETE", TARGET, "").0, 200);
    assert_eq!(site.ask("DELETE", TARGET, "").0, 404);
    let (_, usage) = site.ask("GET", "/v1/usage", "");
    assert_eq!(usage["accounts"], serde_json::json!([]));
}

#[test]
fn a_deletion_that_the_ledger_refuses_is_finished_by_the_next_one() {
    let site = Site::start(&Receiver::start(500));
    site.put("acc/DOC/1", "content");
    site.dead(1);
    let ledger = site.root.path().join("data/.ledger/files.sqlite");
    let ledger = rusqlite::Connection::open(ledger).unwrap();
    ledger.busy_timeout(crate::process::TIMEOUT).unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE DELETE ON files BEGIN SELECT RAISE(FAIL, 'full'); END";
    ledger.execute_batch(refuse).unwrap();
    let (status, refused) = site.ask("DELETE", TARGET, "");
    assert_eq!(status, 503, "{refused}");
    // The store has deleted it, and the ledger has not.
    let (_, shown) = site.ask("GET", TARGET, "");
    assert_eq!(
        (&shown["file"]["stored"], &shown["file"]["recorded"]),
        (&false.into(), &true.into())
    );
    assert_eq!(
        site.ask("GET", "/v1/files?account=acc", "").1["files"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(site.ask("GET", &format!("{TARGET}/content"), "").0, 404);
    assert_eq!(dead(&site, 1), ["file.stored"]);

    ledger.execute_batch("DROP TRIGGER refuse").unwrap();
    let (status, deleted) = site.ask("DELETE", TARGET, "");
    assert_eq!((status, &deleted["deleted"]), (200, &"acc/DOC/1".into()));
    assert_eq!(dead(&site, 2), ["file.deleted", "file.stored"]);
    assert_eq!(site.ask("GET", TARGET, "").0, 404);
    assert!(
        site.ask("GET", "/v1/files?account=acc", "").1["files"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_deletion_that_was_interrupted_is_finished_at_the_next_start() {
    let site = Site::with(TempDir::new().unwrap(), &[]);
    site.put("acc/DOC/1", "content");
    let ledger = site.root.path().join("data/.ledger/files.sqlite");
    let ledger = rusqlite::Connection::open(ledger).unwrap();
    ledger.busy_timeout(crate::process::TIMEOUT).unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE DELETE ON files BEGIN SELECT RAISE(FAIL, 'full'); END";
    ledger.execute_batch(refuse).unwrap();
    assert_eq!(site.ask("DELETE", TARGET, "").0, 503);
    let Site { root, server, .. } = site;
    // It is killed.
    drop(server);
    ledger.execute_batch("DROP TRIGGER refuse").unwrap();
    drop(ledger);
    let site = Site::with(root, &[]);
    eventually("the removal is finished", || {
        site.server.log().contains("finished removals").then_some(())
    });
    assert_eq!(site.ask("GET", TARGET, "").0, 404);
}
