//! `copy` moves a store.

use std::{
    collections::BTreeSet,
    fs,
    net::TcpListener,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, SystemTime},
};

use tempfile::TempDir;

use crate::process::{Server, multipart, program};

/// Copies `from` to `to`. Asserts the status, and returns stdout and stderr.
fn copy(status: i32, from: &Path, to: &Path, more: &[&str]) -> (String, String) {
    let mut command = program();
    command
        .arg("copy")
        .arg("--from")
        .arg(from)
        .arg("--to")
        .arg(to)
        .args(more);
    let Output {
        status: found,
        stdout,
        stderr,
    } = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert_eq!(found.code(), Some(status), "{more:?}: {stdout}{stderr}");
    (stdout, stderr)
}

/// Returns the paths of everything below `directory`.
fn tree(directory: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(tree(&path));
        }
        found.insert(path);
    }
    found
}

/// Returns a directory with the store `from`, whose server has ended.
fn source() -> TempDir {
    let root = TempDir::new().unwrap();
    let mut server = Server::start(&root.path().join("from"), &["--no-fsync"]);
    let mut client = server.connect();
    client.send(multipart(
        "/some_prefix/acc/doc/message.mp3",
        r#"{"call_id": "call-7"}"#,
        "media",
    ));
    assert_eq!(client.receive().status, 201);
    for (number, content) in ["", "a", &"0123456789abcdef".repeat(100_000)].into_iter().enumerate() {
        let target = format!("/some_prefix/acc/doc/{number}.mp3");
        assert_eq!(client.put(&target, content.as_bytes()).status, 201);
    }
    drop(client);
    server.stop();
    root
}

#[test]
fn copies_a_directory_and_skips_what_is_there() {
    let root = source();
    let (from, to) = (root.path().join("from"), root.path().join("to"));
    let (planned, _) = copy(0, &from, &to, &["--dry-run"]);
    assert!(planned.starts_with("4 files to copy, 1 MiB"), "{planned}");
    assert!(!to.exists());
    let (done, _) = copy(0, &from, &to, &["--verify"]);
    assert_eq!(
        done,
        "4 files copied, 1 MiB, 0 of them replaced; 0 already there, 0 failed\n"
    );
    for name in ["message.mp3", "0.mp3", "1.mp3", "2.mp3"] {
        let path = Path::new("acc/doc").join(name);
        assert_eq!(fs::read(from.join(&path)).unwrap(), fs::read(to.join(&path)).unwrap());
    }
    let facts = |root: &Path| {
        let sidecar = fs::read(root.join("acc/doc/.message.mp3.json")).unwrap();
        let mut facts: serde_json::Value = serde_json::from_slice(&sidecar).unwrap();
        let fields = facts.as_object_mut().unwrap();
        // These are about the time.
        fields.remove("version").and(fields.remove("crc32")).unwrap();
        facts
    };
    assert_eq!(facts(&from), facts(&to));
    assert_eq!(facts(&to)["metadata"]["call_id"], "call-7");

    // As after an interruption.
    fs::remove_file(to.join("acc/doc/1.mp3")).unwrap();
    fs::remove_file(to.join("acc/doc/.1.mp3.json")).unwrap();
    let (done, _) = copy(0, &from, &to, &[]);
    assert_eq!(
        done,
        "1 files copied, 0 MiB, 0 of them replaced; 3 already there, 0 failed\n"
    );
}

#[test]
fn an_interrupted_copy_or_reindex_says_that_it_can_be_continued() {
    let root = source();
    let (from, ledger) = (root.path().join("from"), root.path().join("ledger.sqlite"));
    let ledger = format!("--ledger=sqlite:{}", ledger.display());
    for (arguments, done) in [
        (
            ["copy", "--to=s3://bucket", "--from", from.to_str().unwrap()],
            "0 files copied",
        ),
        (["--config=none", "reindex", "--store=s3://bucket", &ledger], "0 files;"),
    ] {
        // A bucket that does not answer.
        let bucket = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut command = program();
        command
            .args(arguments)
            .arg(format!("--s3-endpoint=http://{}", bucket.local_addr().unwrap()))
            .envs([("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let _connection = bucket.accept().unwrap();
        let id = child.id().to_string();
        let kill = Command::new("kill").args(["-s", "INT", &id]).status();
        assert!(kill.unwrap().success());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(130), "{said}");
        assert!(
            said.contains(&format!("interrupted after {done}"))
                && said.ends_with("; to continue, run the command again\n"),
            "{said}"
        );
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn replaces_a_different_file_only_if_asked_to() {
    let root = source();
    let (from, to) = (root.path().join("from"), root.path().join("to"));
    fs::create_dir_all(to.join("acc/doc")).unwrap();
    fs::write(to.join("acc/doc/1.mp3"), "b").unwrap();
    let (done, failed) = copy(1, &from, &to, &[]);
    assert_eq!(
        done,
        "3 files copied, 1 MiB, 0 of them replaced; 0 already there, 1 failed\n"
    );
    assert!(
        failed.contains("acc/doc/1.mp3: the destination has a different file"),
        "{failed}"
    );
    assert_eq!(fs::read_to_string(to.join("acc/doc/1.mp3")).unwrap(), "b");
    copy(1, &from, &to, &["--dry-run"]);
    let (done, _) = copy(0, &from, &to, &["--replace"]);
    assert_eq!(
        done,
        "1 files copied, 0 MiB, 1 of them replaced; 3 already there, 0 failed\n"
    );
    assert_eq!(fs::read_to_string(to.join("acc/doc/1.mp3")).unwrap(), "a");
}

#[test]
fn does_not_copy_a_damaged_file() {
    let root = source();
    let (from, to) = (root.path().join("from"), root.path().join("to"));
    let path = |name: &str| from.join("acc/doc").join(name);
    let touch = |name: &str, time: SystemTime| {
        let file = fs::File::options().write(true).open(path(name)).unwrap();
        file.set_modified(time).unwrap();
    };
    let modified = fs::metadata(path("1.mp3")).unwrap().modified().unwrap();
    // Changed with the time of the upload, changed later, and only touched.
    fs::write(path("1.mp3"), "b").unwrap();
    touch("1.mp3", modified);
    fs::write(path("0.mp3"), "longer").unwrap();
    touch("message.mp3", modified + Duration::from_secs(1));
    let (done, failed) = copy(1, &from, &to, &[]);
    assert_eq!(
        done,
        "1 files copied, 1 MiB, 0 of them replaced; 0 already there, 3 failed\n"
    );
    for name in ["0.mp3", "1.mp3", "message.mp3"] {
        let error = format!("acc/doc/{name}: the stored file or its sidecar differs from what was uploaded");
        assert!(failed.contains(&error), "{failed}");
        assert!(!to.join("acc/doc").join(name).exists());
    }
}

#[test]
fn refuses_directories_that_a_server_has_open_and_that_do_not_exist() {
    let root = source();
    let (from, to) = (root.path().join("from"), root.path().join("to"));
    let _server = Server::start(&to, &["--no-fsync"]);
    let (_, refused) = copy(1, &from, &to, &[]);
    assert!(refused.contains("has this root open"), "{refused}");
    let (_, refused) = copy(1, &to, &root.path().join("other"), &[]);
    assert!(refused.contains("has this root open"), "{refused}");
    let missing = root.path().join("missing");
    let (_, refused) = copy(1, &missing, &root.path().join("other"), &[]);
    assert!(
        refused.contains("there is no such directory") && !missing.exists(),
        "{refused}"
    );

    let mut reindex = program();
    let refused = reindex
        .args(["reindex", "--store"])
        .arg(root.path().join("none"))
        .output();
    let refused = String::from_utf8(refused.unwrap().stderr).unwrap();
    assert!(refused.contains("there is no such directory"), "{refused}");
    assert!(!root.path().join("none").exists());
}

#[test]
fn refuses_a_location_in_the_other_one() {
    let root = source();
    let from = root.path().join("from");
    symlink(&from, root.path().join("link")).unwrap();
    for (from, to) in [
        ("from", "from/sub"),
        ("from", "from/sub/of/it"),
        ("from/acc", "from"),
        ("from", "from"),
        ("from", "link"),
        ("link", "from/sub"),
        ("from", "link/sub"),
        ("from", "missing/../link/sub"),
        ("from/..", "to"),
        ("from/acc/..", "from/sub"),
    ] {
        let before = tree(root.path());
        for more in [&[][..], &["--dry-run"]] {
            let (_, refused) = copy(1, &root.path().join(from), &root.path().join(to), more);
            assert!(refused.contains("contains"), "{from} to {to}: {refused}");
        }
        assert_eq!(tree(root.path()), before, "{from} to {to}");
    }
    // Names that only begin alike.
    copy(0, &from, &root.path().join("from2"), &[]);
}
