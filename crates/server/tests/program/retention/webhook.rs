//! KAZOO's webhook reports deleted documents.

use std::{fs, io::Write as _};

use tempfile::TempDir;

use super::{ACCOUNT, DOCUMENT, put, run, start_in, status};
use crate::{
    events::site::Site,
    process::{Response, Server, eventually, program},
};

const SECRET: &str = "5f0e6b9c7d2a4835b6c1d0e9f8a7b6c5";

fn site(policy: &str) -> Site {
    let root = TempDir::new().unwrap();
    let secret = root.path().join("secret");
    fs::write(&secret, format!("{SECRET}\n")).unwrap();
    let file = secret.to_str().unwrap().to_owned();
    let options = [
        "--deletion-webhook=/kazoo/deletions",
        "--deletion-webhook-secret-file",
        &file,
    ];
    start_in(root, policy, &options)
}

/// The body that KAZOO sends, with a secret in its `custom_data`.
fn json(action: &str, secret: &str) -> String {
    format!(
        "{{\n  \"account_id\": \"{ACCOUNT}\",\n  \"action\": \"{action}\",\n  \"cluster_id\": \"x\",\n  \
         \"id\": \"{DOCUMENT}\",\n  \"secret\": \"{secret}\",\n  \"type\": \"mailbox_message\"\n}}"
    )
}

fn send(server: &Server, method: &str, target: &str, media_type: &str, body: &str) -> Response {
    let mut client = server.connect();
    client.send(format!(
        "{method} {target} HTTP/1.1\r\nhost: storage\r\nx-hook-id: 7\r\nx-account-id: {ACCOUNT}\r\n\
         content-type: {media_type}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ));
    client.receive()
}

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const HOOK: &str = "/kazoo/deletions";

#[test]
fn a_reported_document_is_removed_after_the_grace_period() {
    let site = site("[deletion]\ngrace_days = 0\n");
    put(&site, "message.mp3");
    let answer = send(&site.server, "POST", HOOK, JSON, &json("doc_deleted", SECRET));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["status"], "recorded");
    site.server.signal("HUP");
    eventually("the file is removed", || {
        (status(&site, "message.mp3") == 404).then_some(())
    });
    eventually("the request is done", || {
        let (list, _) = run(&site, 0, &["requests", "list"]);
        (list.lines().count() == 1).then_some(())
    });
}

#[test]
fn requests_are_durable_and_can_be_cancelled() {
    let site = site("");
    put(&site, "message.mp3");
    let form = format!("account_id={ACCOUNT}&action=doc_deleted&id={DOCUMENT}&type=mailbox_message&cluster_id=x");
    let target = format!("{HOOK}/{SECRET}");
    let with_secret = format!("{form}&secret={SECRET}");
    for (method, target, media_type, body) in [
        ("POST", HOOK, JSON, &*json("doc_deleted", SECRET)),
        (
            "PUT",
            HOOK,
            "application/json; charset=utf-8",
            &json("doc_deleted", SECRET),
        ),
        ("POST", HOOK, FORM, &with_secret),
        ("POST", &target, FORM, &form),
        ("GET", &format!("{target}?{form}"), JSON, ""),
        ("GET", &format!("{HOOK}?{with_secret}"), JSON, ""),
    ] {
        let answer = send(&site.server, method, target, media_type, body);
        assert_eq!(answer.status, 200, "{method} {target}: {answer:?}");
        let (status, page) = site.ask("GET", "/v1/retention/requests", "");
        assert_eq!(
            (status, page["requests"].as_array().unwrap().len()),
            (200, 1),
            "{method} {target}"
        );
        assert_eq!(page["requests"][0]["document"], DOCUMENT);
        let (list, _) = run(&site, 0, &["requests", "list"]);
        assert!(list.contains(DOCUMENT) && list.contains("mailbox_message"), "{list}");
        let (done, _) = run(&site, 0, &["requests", "rm", ACCOUNT, DOCUMENT]);
        assert!(done.ends_with("is cancelled\n"), "{done}");
    }
    let (_, missing) = run(&site, 1, &["requests", "rm", ACCOUNT, DOCUMENT]);
    assert!(
        missing.contains("no deletion of this document is requested"),
        "{missing}"
    );
    assert_eq!(status(&site, "message.mp3"), 200);
    let log = site.server.log();
    assert!(
        !log.contains(SECRET) && log.contains("path=\"/kazoo/deletions/***\""),
        "{log}"
    );
}

#[test]
fn refuses_wrong_secrets_and_other_shapes() {
    let site = site("");
    let wrong = SECRET.replace('5', "6");
    let long = format!("{{\"x\": \"{}\"}}", "x".repeat(64 << 10));
    for (method, target, media_type, body, status) in [
        ("POST", HOOK, JSON, &*json("doc_deleted", &wrong), 403),
        ("POST", HOOK, JSON, &json("doc_deleted", ""), 403),
        ("POST", HOOK, JSON, "{\"action\": \"doc_deleted\"}", 403),
        (
            "POST",
            &format!("{HOOK}/{wrong}"),
            JSON,
            &json("doc_deleted", SECRET),
            403,
        ),
        ("POST", HOOK, JSON, &format!("{{\"secret\": \"{SECRET}\"}}"), 400),
        ("POST", HOOK, JSON, "[]", 400),
        (
            "POST",
            &format!("{HOOK}/{SECRET}"),
            JSON,
            &format!("[\"{DOCUMENT}\", \"{ACCOUNT}\", \"doc_deleted\", \"fax\", null]"),
            400,
        ),
        ("POST", HOOK, "text/plain", &json("doc_deleted", SECRET), 415),
        ("POST", HOOK, JSON, &long, 413),
        ("DELETE", HOOK, JSON, "", 405),
        ("POST", "/kazoo/deletions2", JSON, &json("doc_deleted", SECRET), 404),
        ("POST", HOOK, JSON, &json("doc_edited", SECRET), 200),
        ("POST", HOOK, JSON, &json("doc_created", SECRET), 200),
    ] {
        let answer = send(&site.server, method, target, media_type, body);
        assert_eq!(answer.status, status, "{method} {target}: {answer:?}");
        let said = answer.json();
        assert_eq!(status == 200, said.get("error").is_none());
        if status == 200 {
            assert_eq!(said["status"], "ignored");
        }
    }
    let (_, page) = site.ask("GET", "/v1/retention/requests", "");
    assert!(page["requests"].as_array().unwrap().is_empty(), "{page}");

    // A new secret is reloaded.
    fs::write(site.root.path().join("secret"), &wrong).unwrap();
    site.server.signal("HUP");
    eventually("the secret is reloaded", || {
        (send(&site.server, "POST", HOOK, JSON, &json("doc_deleted", &wrong)).status == 200).then_some(())
    });
}

#[test]
fn callers_without_the_secret_do_not_keep_kazoo_out() {
    let site = site("");
    let mut others: Vec<_> = (0..400).map(|_| site.server.connect()).collect();
    for other in &mut others {
        other.send(format!(
            "POST {HOOK} HTTP/1.1\r\nhost: storage\r\ncontent-type: {JSON}\r\ncontent-length: 5000\r\n\
             expect: 100-continue\r\n\r\n{{"
        ));
    }
    // The server waits for the rest of their bodies.
    for other in &mut others {
        assert_eq!(other.receive().status, 100);
    }
    for (target, secret) in [(HOOK, SECRET), (&*format!("{HOOK}/{SECRET}"), "")] {
        let answer = send(&site.server, "POST", target, JSON, &json("doc_deleted", secret));
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[test]
fn plan_prints_the_webhook() {
    let mut command = program();
    command.args(["plan", "--webhook", "--url=http://10.0.0.7:8080/kazoo/deletions"]);
    let output = command.output().unwrap();
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let data = &document["data"];
    assert_eq!(data["uri"], "http://10.0.0.7:8080/kazoo/deletions");
    assert_eq!(
        (&data["hook"], &data["http_verb"], &data["format"]),
        (&"object".into(), &"post".into(), &"json".into())
    );
    assert_eq!(
        (&data["custom_data"]["type"], &data["custom_data"]["action"]),
        (&"all".into(), &"doc_deleted".into())
    );
    let secret = data["custom_data"]["secret"].as_str().unwrap();
    let root = TempDir::new().unwrap();
    let file = root.path().join("secret");
    writeln!(fs::File::create(&file).unwrap(), "{secret}").unwrap();
    let options = [
        "--deletion-webhook=/kazoo/deletions",
        "--deletion-webhook-secret-file",
        file.to_str().unwrap(),
    ];
    let server = Server::start(&root.path().join("data"), &options);
    let body = json("doc_deleted", secret);
    assert_eq!(send(&server, "POST", HOOK, JSON, &body).status, 200);
}

#[test]
fn the_path_is_outside_the_mount_and_the_secret_is_long() {
    let root = TempDir::new().unwrap();
    let secret = root.path().join("secret");
    for (path, text, says) in [
        ("/some_prefix/hook", SECRET, "must be outside the mount"),
        ("/hook", "short", "at least 16 letters"),
    ] {
        fs::write(&secret, text).unwrap();
        let mut command = program();
        command.args(["serve", "--listen=127.0.0.1:0", "--deletion-webhook", path]);
        command.arg("--deletion-webhook-secret-file").arg(&secret);
        command.arg("--store").arg(root.path().join("data"));
        let output = command.output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && error.contains(says), "{error}");
    }
}
