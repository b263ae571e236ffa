//! The files that flags name.

use std::{fs, path::Path, process::Command};

use tempfile::TempDir;

use crate::process::{FILE, Server, eventually, program};

fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Nothing writes into the pipe, so reading it would block.
#[test]
fn does_not_block_a_reload_on_a_pipe() {
    let directory = TempDir::new().unwrap();
    let access = directory.path().join("access.json");
    fs::write(&access, r#"{"networks":["127.0.0.1"]}"#).unwrap();
    let option = format!("--access={}", access.display());
    let mut server = Server::start(&directory.path().join("store"), &[&option]);
    fs::remove_file(&access).unwrap();
    make_pipe(&access);
    for reloads in 1..=4 {
        server.signal("HUP");
        eventually("the pipe is refused", || {
            (server.log().matches("not a regular file").count() == reloads).then_some(())
        });
    }
    assert_eq!(
        server.connect().put(FILE, b"content").status,
        201,
        "the rules are unchanged"
    );
    fs::remove_file(&access).unwrap();
    fs::write(&access, r#"{"networks":["192.0.2.1"]}"#).unwrap();
    server.signal("HUP");
    eventually("the new rules apply", || {
        (server.connect().get(FILE).status == 403).then_some(())
    });
    server.stop();
}

#[test]
fn refuses_to_start_with_a_pipe_in_place_of_a_file() {
    let directory = TempDir::new().unwrap();
    let pipe = directory.path().join("pipe");
    make_pipe(&pipe);
    let pipe = pipe.to_str().unwrap();
    for flags in [
        &["--access", pipe][..],
        &["--settings", pipe],
        &["--tls-cert", pipe, "--tls-key", pipe],
    ] {
        let store = directory.path().join("store");
        let output = program()
            .args(["serve", "--listen=127.0.0.1:0", "--store"])
            .arg(store)
            .args(flags)
            .output();
        let output = output.unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {stderr}");
        assert!(
            stderr.contains(flags[0]) && stderr.contains("not a regular file"),
            "{flags:?}: {stderr}"
        );
    }
}
