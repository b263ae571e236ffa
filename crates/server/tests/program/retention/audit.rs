//! The policy removes old entries of the audit trail.

use std::fs;

use super::{ACCOUNT, DOCUMENT, execute, put, run, start, start_in};
use crate::{
    events::site::{Site, expect},
    process::eventually,
};

const KEEP: &str = "[audit]\nkeep_days = 30\n";

/// Fetches three files as the operator. The first two entries are from 40 days ago.
fn record(site: &Site) {
    put(site, "a.mp3");
    for _ in 0..3 {
        let target = format!("/v1/files/{ACCOUNT}%2F{DOCUMENT}%2Fa.mp3/content");
        assert_eq!(site.ask_with("GET", &target, "", "").status, 200);
    }
    let millis = 40_u64 * 86_400_000;
    execute(
        site.root.path(),
        &format!("UPDATE audit SET at = at - {millis} WHERE seq <= 2"),
    );
}

/// The numbers and actions of the entries, the oldest first.
fn entries(site: &Site) -> Vec<(i64, String)> {
    let (_, page) = site.ask("GET", "/v1/audit", "");
    let mut entries: Vec<_> = page["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            (
                entry["seq"].as_i64().unwrap(),
                entry["action"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    entries.sort();
    entries
}

/// Waits until the first two entries are removed. `later` are the actions after the third.
fn await_pruned(site: &Site, later: &[&str]) {
    let actions = [&["fetch"], later, &["prune"]].concat();
    let expected: Vec<_> = (3..).zip(actions.iter().map(|action| (*action).to_owned())).collect();
    eventually("old entries are removed", || (entries(site) == expected).then_some(()));
    let verified = site.command("audit", &["verify"]).output().unwrap();
    let (verified, _) = expect(0, &["verify"], verified);
    let count = expected.len();
    assert!(verified.starts_with(&format!("{count} entries verified")), "{verified}");
}

#[test]
fn old_entries_are_removed_after_a_reload() {
    let site = start("", &[]);
    record(&site);
    fs::write(site.root.path().join("policy.toml"), KEEP).unwrap();
    site.server.signal("HUP");
    await_pruned(&site, &[]);
    let log = site.server.log();
    assert!(
        log.contains("old entries of the audit trail have been removed entries=2 days=30"),
        "{log}"
    );
}

#[test]
fn nothing_is_removed_while_the_clock_is_wrong() {
    let site = start("", &[]);
    record(&site);
    let Site { root, mut server, .. } = site;
    server.stop();
    execute(
        root.path(),
        "UPDATE state SET value = 4000000000000 WHERE name = 'clock_noted_at'",
    );
    let site = start_in(root, KEEP, &[]);
    eventually("it is logged", || {
        let log = site.server.log();
        log.contains("retention is suspended: the clock is behind")
            .then_some(())
    });
    assert_eq!(entries(&site).len(), 3);
    run(&site, 0, &["resume"]);
    site.server.signal("HUP");
    await_pruned(&site, &["retention.resume"; 2]);
}
