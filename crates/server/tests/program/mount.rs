//! A mount that was copied from KAZOO's URL contains the token, which must not be shown.

use std::fs;

use tempfile::TempDir;

use crate::{
    process::{Server, eventually},
    startup::complaint,
};

const TOKEN: &str = "1f0e6b9c7d2a4835b6c1d0e9f8a7b6c5";

#[test]
fn refuses_a_mount_with_a_token_of_the_rules() {
    let root = TempDir::new().unwrap();
    let rules = root.path().join("access.json");
    let data = root.path().join("data");
    let write = |rule: &str| fs::write(&rules, rule).unwrap();
    let token = format!(r#"{{"credentials":[{{"token":"{TOKEN}"}}]}}"#);
    let access = ["--access", rules.to_str().unwrap()];
    let mount = format!("--mount=/some_prefix/{TOKEN}");

    write(&token);
    let start = ["serve", "--listen=127.0.0.1:0", "--store", data.to_str().unwrap()];
    let line = complaint(&[&start[..], &access, &[&mount]].concat());
    assert!(
        line.contains("--mount has a token of --access in it: end it before the token"),
        "{line}"
    );
    assert!(!line.contains(TOKEN), "{line}");

    // Neither may rules that are loaded later contain it.
    write(r#"{"networks":["127.0.0.1"]}"#);
    let server = Server::start(&data, &[&access[..], &[&mount]].concat());
    write(&token);
    server.signal("HUP");
    eventually("the error is logged", || {
        server.log().contains("the previous version stays in use").then_some(())
    });
    assert!(server.log().contains("--mount has a token"), "{}", server.log());
    let file = format!("/some_prefix/{TOKEN}/ACC/DOC/a.mp3");
    assert_eq!(server.connect().put(&file, b"content").status, 201);
    assert!(!server.log().contains(TOKEN), "{}", server.log());
}

#[test]
fn shows_no_token_of_the_mount_in_logs_and_answers() {
    let root = TempDir::new().unwrap();
    let settings = root.path().join("storage.json");
    let url = format!("http://storage.example.com:8080/some_prefix/{TOKEN}");
    fs::write(&settings, format!(r#"{{"url":"{url}","verb":"put"}}"#)).unwrap();
    let settings = ["--settings", settings.to_str().unwrap()];
    let mount = format!("--mount=/some_prefix/{TOKEN}");
    let before = [&settings[..], &["--mount=/some_prefix"]].concat();
    for (options, warned, mount) in [
        (&settings[..], true, format!("/some_prefix/{TOKEN}")),
        (&[&*mount], true, format!("/some_prefix/{TOKEN}")),
        (&before, false, "/some_prefix".to_owned()),
    ] {
        let mut server = Server::start(&root.path().join("data"), options);
        let mut client = server.connect();
        let stored = client.put(&format!("/some_prefix/{TOKEN}/ACC/DOC/a.mp3"), b"content");
        assert_eq!(stored.status, 201);
        let wrong = client.get(&format!("/other/{TOKEN}/ACC/DOC/a.mp3"));
        let answer = String::from_utf8(wrong.body).unwrap();
        let shown = mount.replace(TOKEN, "***");
        assert!(
            wrong.status == 404 && answer.contains(&format!("it is mounted at {shown};")),
            "{answer}"
        );
        drop(client);
        server.stop();
        let log = server.log();
        assert!(log.contains("/some_prefix/***/…/…/….mp3"), "{log}");
        assert_eq!(log.contains("add it to --access"), warned, "{log}");
        assert!(!log.contains(TOKEN) && !answer.contains(TOKEN), "{answer} {log}");
    }
}

/// KAZOO on every Erlang release is served, and paths are logged without a possible token.
#[test]
fn serves_and_logs_both_spellings_of_the_url_in_the_settings() {
    const SPELLED: &str = "1f0e6b9c-d2a4835b6c1d";
    let root = TempDir::new().unwrap();
    let settings = root.path().join("storage.json");
    let escaped = SPELLED.replace('-', "%2D");
    let url = format!("http://storage.example.com:8080/pre%2Dfix/./{escaped}");
    fs::write(&settings, format!(r#"{{"url":"{url}","verb":"put"}}"#)).unwrap();
    let settings = ["--settings", settings.to_str().unwrap()];
    for mount in [None, Some("--mount=/pre-fix"), Some("--mount=/pre%2dfix/.")] {
        let options: Vec<&str> = settings.into_iter().chain(mount).collect();
        let mut server = Server::start(&root.path().join("data"), &options);
        let mut client = server.connect();
        for (number, base) in [format!("/pre%2Dfix/./{escaped}"), format!("/pre-fix/{SPELLED}")]
            .iter()
            .enumerate()
        {
            let file = format!("ACC/DOC/{number}.mp3");
            assert_eq!(
                client.put(&format!("{base}/{file}"), b"content").status,
                201,
                "{mount:?}"
            );
            let fetched = client.get(&format!("{base}/{file}/{file}"));
            assert_eq!((fetched.status, &fetched.body[..]), (200, &b"content"[..]), "{mount:?}");
        }
        drop(client);
        server.stop();
        let log = server.log();
        assert!(log.contains("different spelling"), "{log}");
        assert_eq!(log.matches("path=\"/pre-fix/***/").count(), 4, "{log}");
        assert!(!log.contains(SPELLED) && !log.contains(&escaped), "{log}");
    }
}

#[test]
fn refuses_settings_by_which_every_file_has_the_same_url() {
    let root = TempDir::new().unwrap();
    let settings = root.path().join("storage.json");
    let url = "http://storage.example.com:8080/some_prefix";
    // As KAZOO 5 stores sequences.
    fs::write(&settings, format!(r#"{{"url":"{url}","verb":"post","field_list":[]}}"#)).unwrap();
    let data = root.path().join("data");
    let start = ["serve", "--listen=127.0.0.1:0", "--store", data.to_str().unwrap()];
    let line = complaint(&[&start[..], &["--settings", settings.to_str().unwrap()]].concat());
    assert!(
        line.contains("each would replace the last one: set `send_multipart` to true"),
        "{line}"
    );

    // Without the settings, each upload is refused, so none replaces another.
    for options in [&[][..], &["--key=metadata=media_id,id,call_id"]] {
        let server = Server::start(&data, options);
        for content in [b"one", b"two"] {
            let refused = server.connect().put("/some_prefix/", content);
            let text = String::from_utf8(refused.body).unwrap();
            assert_eq!(refused.status, 400, "{text}");
            assert!(text.contains("send_multipart") && text.contains("field_list"), "{text}");
        }
        let kept = fs::read_dir(&data).unwrap().flatten();
        let kept: Vec<_> = kept
            .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
            .collect();
        assert!(kept.is_empty(), "{kept:?}");
    }
}
