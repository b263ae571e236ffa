//! A wrong clock suspends retention.

use super::{age, execute, put, run, start, start_in, status};
use crate::{events::site::Site, process::eventually};

#[test]
fn a_clock_behind_the_note_suspends_until_the_operator_confirms_it() {
    let policy = "[[retention]]\ndays = 30\n";
    let site = start("", &[]);
    put(&site, "old.mp3");
    age(&site, "old.mp3", 40);
    let Site { root, mut server, .. } = site;
    server.stop();
    execute(
        root.path(),
        "UPDATE state SET value = 4000000000000 WHERE name = 'clock_noted_at'",
    );

    let site = start_in(root, policy, &[]);
    eventually("it is logged", || {
        let log = site.server.log();
        log.contains("retention is suspended: the clock is behind")
            .then_some(())
    });
    let (_, note) = run(&site, 0, &["plan"]);
    assert!(
        note.contains("retention is suspended") && note.contains("2096-"),
        "{note}"
    );
    assert_eq!(status(&site, "old.mp3"), 200);
    // The time of an upload is not before the note.
    put(&site, "new.mp3");
    let (_, page) = site.ask("GET", "/v1/files?all=true&limit=1", "");
    assert!(
        page["files"][0]["stored_at"].as_str().unwrap().starts_with("2096-"),
        "{page}"
    );

    let (resumed, _) = run(&site, 0, &["resume"]);
    assert!(resumed.starts_with("retention continues; the clock is 2"), "{resumed}");
    site.server.signal("HUP");
    eventually("the file is removed", || {
        (status(&site, "old.mp3") == 404).then_some(())
    });
    assert_eq!(status(&site, "new.mp3"), 200);
    let (again, _) = run(&site, 0, &["resume"]);
    assert!(again.starts_with("retention was not suspended"), "{again}");
    site.ask("POST", "/v1/retention/resume", "");
}
