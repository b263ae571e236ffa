//! `files get` leaves a whole file or none.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
};

use tempfile::TempDir;

use super::run;
use crate::{
    events::site::Site,
    process::{TIMEOUT, eventually, program},
};

/// Returns the names in `directory`.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn writes_a_file_and_replaces_none() {
    let site = Site::with(TempDir::new().unwrap(), &[]);
    let content = "0123456789abcdef".repeat(100_000);
    site.put("acc/DOC/1", &content);
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("out.mp3");
    let output = format!("--output={}", path.display());
    run(&site, 0, &["get", "acc/DOC/1", &output]);
    assert_eq!(fs::read_to_string(&path).unwrap(), content);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    fs::write(&path, "mine").unwrap();
    let (_, refused) = run(&site, 2, &["get", "acc/DOC/1", &output]);
    assert!(refused.contains("--force"), "{refused}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    let (_, missing) = run(&site, 1, &["get", "acc/DOC/2", &output, "--force"]);
    assert!(missing.contains("refused"), "{missing}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    run(&site, 0, &["get", "acc/DOC/1", &output, "--force"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), content);
    assert_eq!(run(&site, 0, &["get", "acc/DOC/1"]).0, content);
    assert_eq!(run(&site, 0, &["get", "acc/DOC/1", "--output=-"]).0, content);

    // It would replace a device, too.
    let link = directory.path().join("link");
    symlink("/dev/null", &link).unwrap();
    let (_, refused) = run(
        &site,
        1,
        &["get", "acc/DOC/1", "--force", "--output", link.to_str().unwrap()],
    );
    assert!(refused.contains("not a regular file"), "{refused}");
    let (_, refused) = run(&site, 1, &["get", "acc/DOC/1", "--output=/nowhere/x"]);
    assert!(refused.contains("cannot write /nowhere/x"), "{refused}");
    let mut left = names(directory.path());
    left.sort();
    assert_eq!(left, ["link", "out.mp3"]);
}

/// Starts a server that answers one request with `answer`. It closes the connection when the sender is dropped.
fn server(answer: &'static str) -> (SocketAddr, mpsc::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, end) = mpsc::channel();
    thread::spawn(move || {
        let mut stream: BufReader<TcpStream> = BufReader::new(listener.accept().unwrap().0);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).unwrap();
        }
        stream.get_mut().write_all(answer.as_bytes()).unwrap();
        let _ = end.recv_timeout(TIMEOUT);
    });
    (address, sender)
}

/// Starts `files get` into `directory`.
fn get(server: SocketAddr, directory: &Path) -> Child {
    let token = directory.join("token");
    fs::write(&token, "0123456789abcdef0123456789abcdef").unwrap();
    let mut command = program();
    command
        .args(["files", "get", "a/b/c", "--output"])
        .arg(directory.join("out"));
    command
        .arg(format!("--admin={server}"))
        .arg("--admin-token-file")
        .arg(token);
    command.stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn leaves_nothing_of_a_content_that_is_incomplete_or_damaged() {
    for (answer, says) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n01234", "unusable"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nrepr-digest: sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:\r\n\r\n01",
            "differs from its SHA-256",
        ),
    ] {
        let directory = TempDir::new().unwrap();
        let (server, end) = server(answer);
        let child = get(server, directory.path());
        drop(end);
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && stderr.contains(says), "{stderr}");
        assert_eq!(names(directory.path()), ["token"]);
    }
}

#[test]
fn a_signal_leaves_nothing() {
    for (signal, status) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let directory = TempDir::new().unwrap();
        let (server, _end) = server("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n01234");
        let child = get(server, directory.path());
        eventually("a part is written", || {
            let part = fs::read_dir(directory.path())
                .unwrap()
                .map(Result::unwrap)
                .find(|entry| {
                    entry.file_name() != "token" && entry.metadata().is_ok_and(|metadata| metadata.len() == 5)
                });
            part.map(drop)
        });
        let id = child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", signal, &id])
                .status()
                .unwrap()
                .success()
        );
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(status)
                && stderr.contains("interrupted: ")
                && stderr.contains("was not written"),
            "{stderr}"
        );
        assert_eq!(names(directory.path()), ["token"]);
    }
}
