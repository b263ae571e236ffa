//! The quotas of the policy.

use std::fs;

use super::{ACCOUNT, DOCUMENT, put, start, status};
use crate::{
    events::site::Site,
    process::{Response, eventually, multipart, program},
};

const POLICY: &str = "[[quota]]\nfiles = 3\n\n[[quota]]\naccount = '0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7'\nbytes = '20B'\n";

/// Uploads 14 bytes as the file `name`.
fn upload(site: &Site, name: &str) -> Response {
    let target = format!("/some_prefix/{ACCOUNT}/{DOCUMENT}/{name}");
    site.server.connect().put(&target, b"twice as large")
}

#[test]
fn an_upload_over_the_quota_is_refused_until_the_quota_is_raised() {
    let site = start(POLICY, &[]);
    put(&site, "a.mp3");
    let refused = upload(&site, "b.mp3");
    assert_eq!(refused.status, 507, "{refused:?}");
    let error = refused.json();
    assert_eq!(error["error"], "storage_full");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains(&format!("the quota of the account `{ACCOUNT}`, 20 bytes")),
        "{message}"
    );
    assert_eq!(status(&site, "b.mp3"), 404);
    // Before the body is read.
    let mut client = site.server.connect();
    client.send(format!(
        "PUT /some_prefix/{ACCOUNT}/{DOCUMENT}/b.mp3 HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 14\r\n\r\n"
    ));
    assert_eq!(client.receive().status, 507);
    // KAZOO repeats an upload whose response was lost.
    let target = format!("/some_prefix/{ACCOUNT}/{DOCUMENT}/a.mp3");
    assert!(site.server.connect().put(&target, b"content").status < 300);
    // The quota of each other account.
    for name in ["a", "b", "c"] {
        site.put(&format!("OTHER/{DOCUMENT}/{name}"), "longer than twenty bytes");
    }
    let target = format!("/some_prefix/OTHER/{DOCUMENT}/d");
    assert_eq!(site.server.connect().put(&target, b"x").status, 507);

    let metrics = site.ask_with("GET", "/metrics", "", "");
    let metrics = String::from_utf8(metrics.body).unwrap();
    for line in [
        "kazoo_storage_quota_refusals_total 3\n",
        "kazoo_storage_quota_near 0\n",
        "kazoo_storage_error_responses_total{error_type=\"storage_full\"} 3\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
    let of_store = |line: &&str| line.starts_with("kazoo_storage_store_errors_total") && line.contains("storage_full");
    let full: Vec<_> = metrics.lines().filter(of_store).collect();
    assert!(
        full.iter().all(|line| line.ends_with(" 0")),
        "the store is not full: {full:?}"
    );

    let file = site.root.path().join("policy.toml");
    fs::write(&file, POLICY.replace("20B", "21B")).unwrap();
    site.server.signal("HUP");
    eventually("the quota is raised", || {
        (upload(&site, "b.mp3").status == 201).then_some(())
    });
    assert_eq!(upload(&site, "c.mp3").status, 507);
    fs::write(&file, "").unwrap();
    site.server.signal("HUP");
    eventually("there is no quota", || {
        (upload(&site, "c.mp3").status == 201).then_some(())
    });
}

/// Its length is not known before its end.
#[test]
fn an_upload_with_metadata_that_takes_the_account_over_its_quota_can_be_repeated() {
    let site = start(POLICY, &[]);
    let upload = |name: &str| {
        let target = format!("/some_prefix/{ACCOUNT}/{DOCUMENT}/{name}");
        let mut client = site.server.connect();
        client.send(multipart(&target, "{}", "longer than twenty bytes"));
        client.receive().status
    };
    assert_eq!(upload("a.mp3"), 201);
    let repeated = upload("a.mp3");
    assert!(repeated < 300, "{repeated}");
    assert_eq!(upload("b.mp3"), 507);
}

#[test]
fn a_wrong_quota_is_an_error_at_the_start_and_changes_nothing_later() {
    let site = start(POLICY, &[]);
    put(&site, "a.mp3");
    let file = site.root.path().join("policy.toml");
    let config = site.root.path().join("config.toml");
    let store = site.root.path().join("other");
    let text = format!("policy = '{}'\nstore = '{}'\n", file.display(), store.display());
    fs::write(&config, text).unwrap();
    for (policy, says) in [
        (
            "[[quota]]\nbyte = 1\n",
            "policy.toml:2: unknown key `byte`; is it `bytes`?",
        ),
        (
            "[[quota]]\nfiles = 0\n",
            "policy.toml:2: `files` must be a number, at least 1",
        ),
        (
            "[audit]\nkeep_days = 0\n",
            "policy.toml:2: `keep_days` must be a number of days from 1",
        ),
    ] {
        fs::write(&file, policy).unwrap();
        site.server.signal("HUP");
        eventually("the error is logged", || site.server.log().contains(says).then_some(()));
        for command in [&["config", "check"][..], &["serve", "--listen=127.0.0.1:0"]] {
            let output = program().args(command).arg("--config").arg(&config).output().unwrap();
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{error}");
            assert!(error.contains(says), "{error}");
        }
    }
    assert_eq!(upload(&site, "b.mp3").status, 507, "the quota stays");
}
