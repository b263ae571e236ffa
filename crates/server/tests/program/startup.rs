//! Options, the environment, and errors at the start.

use std::{fs, net::TcpListener, process::Output};

use tempfile::TempDir;

use crate::process::{FILE, Server, eventually, program, put_head};

#[test]
fn requires_access_rules_beyond_loopback() {
    let root = TempDir::new().unwrap();
    let path = root.path().to_str().unwrap();
    let file = root.path().join("access.json");
    fs::write(&file, r#"{"networks": ["10.0.0.0/8"]}"#).unwrap();
    for address in ["0.0.0.0:0", "[::]:0"] {
        let line = complaint(&["serve", "--store", path, "--listen", address]);
        assert!(line.contains("--access") && line.contains("--allow-anyone"), "{line}");
    }
    let line = complaint(&["serve", "--store", path, "--access", "/none"]);
    assert!(line.contains("/none"), "{line}");
    fs::write(root.path().join("empty.json"), "{}").unwrap();
    let empty = root.path().join("empty.json");
    let line = complaint(&["serve", "--store", path, "--access", empty.to_str().unwrap()]);
    assert!(line.contains("no network and no credential"), "{line}");

    let server = Server::start(&root.path().join("data"), &["--access", file.to_str().unwrap()]);
    let refused = server.connect().put(FILE, b"content");
    assert_eq!(refused.status, 403, "loopback is not in the listed network");
}

#[test]
fn refuses_a_second_server_on_the_same_root() {
    let root = TempDir::new().unwrap();
    let path = root.path().to_str().unwrap();
    let server = Server::start(root.path(), &[]);
    let mut client = server.connect();
    client.send(put_head(FILE, 300_000));
    client.send(vec![7; 200_000]);
    let in_stage = || fs::read_dir(root.path().join(".stage")).unwrap().count();
    eventually("the upload beside the lock and the journal", || {
        (in_stage() == 4).then_some(())
    });
    let line = failure(&["serve", "--listen", "127.0.0.1:0", "--store", path]);
    assert!(line.contains(path) && line.contains("has this root open"), "{line}");
    assert_eq!(in_stage(), 4, "it removed nothing");
    client.send(vec![7; 100_000]);
    assert_eq!(client.receive().status, 201);
    assert_eq!(client.get(FILE).body, vec![7; 300_000]);
}

fn run(options: &[&str]) -> Output {
    program().args(options).output().unwrap()
}

/// Returns the one line on stderr of a server whose configuration is wrong.
pub(crate) fn complaint(options: &[&str]) -> String {
    refusal(2, options)
}

/// Returns the one line on stderr of a server that cannot start now, with the right configuration.
pub(crate) fn failure(options: &[&str]) -> String {
    refusal(1, options)
}

fn refusal(status: i32, options: &[&str]) -> String {
    let output = run(options);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), stderr.lines().count()),
        (Some(status), 1),
        "{options:?}: {stderr}"
    );
    assert!(output.stdout.is_empty());
    stderr
}

#[test]
fn reports_a_failed_start_in_one_line() {
    let root = TempDir::new().unwrap();
    let path = root.path().to_str().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let unborn = root.path().join("data");
    let line = failure(&["serve", "--store", unborn.to_str().unwrap(), "--listen", &address]);
    assert!(line.contains(&address) && line.contains("in use"), "{line}");
    assert!(!unborn.exists());

    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    for (bad, says) in [
        (&file, ": its root is a file, not a directory\n"),
        (
            &file.join("below"),
            ": the storage failed to create its root directory: Not a directory (os error 20)\n",
        ),
    ] {
        let bad = bad.to_str().unwrap();
        let line = failure(&["serve", "--listen", "127.0.0.1:0", "--store", bad]);
        assert!(line.ends_with(&format!("--store {bad}{says}")), "{line}");
    }

    for (bad, says) in [
        (
            &["--store", path, "--s3-endpoint=http://127.0.0.1:1"][..],
            "--s3-endpoint",
        ),
        (&["--store=s3://bucket", "--no-fsync"], "--no-fsync"),
        (&["--store=gs://bucket", "--presign=60", "--no-fsync"], "--no-fsync"),
    ] {
        let line = complaint(&[&["serve", "--listen", "127.0.0.1:0"], bad].concat());
        assert!(line.contains(says), "{line}");
    }

    for bad in ["relative", "/a?b", "/a b", ""] {
        let mount = format!("--mount={bad}");
        let line = complaint(&["serve", "--store", path, "--listen", "127.0.0.1:0", &mount]);
        assert!(line.contains("--mount"), "{line}");
    }
}

#[test]
fn explains_an_invalid_command_line() {
    for (wrong, named) in [
        (&["serve", "--base64", "maybe"][..], "detect"),
        (&["serve", "--key", "header"], "query=NAME"),
        (&["serve", "--max-body", "1XB"], "64MiB"),
        (&["serve", "--grace=-1"], "--grace"),
        (&["serve", "--tls-cert=cert.pem"], "--tls-key"),
        (&["serve", "--store=ftp://host/x"], "s3://BUCKET/PREFIX"),
        (&["serve", "--store=s3://key:secret@bucket"], "environment"),
        (
            &["serve", "--listen", "8080"],
            "'--listen <ADDR:PORT>': expected IP:PORT",
        ),
        (&["serve", "--listen", "localhost:8080"], "0.0.0.0:8080"),
        (&["serve", "--admin", "9180"], "IP:PORT"),
        (
            &["serve", "--settings=storage.json", "--base64=off"],
            "tip: --settings already defines the key and the base64 mode",
        ),
        (
            &["serve", "--key=path", "--settings=storage.json"],
            "tip: --settings already defines",
        ),
        (&["server"], "serve"),
    ] {
        let output = run(wrong);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {stderr}");
        assert!(stderr.contains(named), "{wrong:?}: {stderr}");
    }
    // `--version` also names the commit, in a release build.
    for (flag, end) in [("-V", "\n"), ("--version", "")] {
        let version = run(&[flag]);
        let expected = format!("kazoo-storage {}{end}", env!("CARGO_PKG_VERSION"));
        assert!(
            String::from_utf8(version.stdout).unwrap().starts_with(&expected),
            "{flag}"
        );
    }
}

#[test]
fn reads_options_from_the_environment() {
    let root = TempDir::new().unwrap();
    let mut command = program();
    command
        .arg("serve")
        .env("KAZOO_STORAGE_LISTEN", "127.0.0.1:0")
        .env("KAZOO_STORAGE_MOUNT", "/env")
        .env("KAZOO_STORAGE_STORE", root.path())
        .env("KAZOO_STORAGE_KEY", "query=name")
        .env("KAZOO_STORAGE_MAX_BODY", "10")
        .env("KAZOO_STORAGE_NO_FSYNC", "true");
    let server = Server::spawn(&mut command);
    let target = "/env/index.fu?token=t&name=A/B";
    assert_eq!(server.connect().put(target, b"content").status, 201);
    assert_eq!(server.connect().get(target).body, b"content");
    assert_eq!(server.connect().put(target, b"longer than 10 bytes").status, 413);
}
