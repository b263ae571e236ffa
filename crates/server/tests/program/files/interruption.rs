//! `files export` keeps what it has fetched when it is interrupted.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
};

use tempfile::TempDir;

use crate::process::{TIMEOUT, eventually, program};

/// Number of batches that are fetched at once.
const CONCURRENT: usize = 4;

/// Length of a file that is a batch of its own, in bytes.
const LONG: usize = 4 << 20;

/// A server with one file more than the number of batches that are fetched at once.
struct Server {
    address: SocketAddr,
    /// The requests of contents that have no complete response, and their connections.
    held: mpsc::Receiver<(String, TcpStream)>,
}

/// The end of a response that has the first file and another one.
#[derive(Clone, Copy)]
enum End {
    /// The other file is never sent.
    Held,
    /// The connection is closed in the middle of the other file.
    Closed,
    /// None: every file is a byte shorter than the list says.
    Shorter,
}

impl Server {
    /// Starts a server that lists each file with `size` bytes. It sends the content of the first file and, with `End::Closed`, those of
    /// the others.
    fn start(size: usize, end: End) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, held) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, sender) = (stream.unwrap(), sender.clone());
                thread::spawn(move || serve(stream, size, end, &sender));
            }
        });
        Self { address, held }
    }

    /// Waits until the first of the batches is fetched: the last one is requested after it. Returns the connections of the others.
    fn first_is_fetched(&self) -> Vec<TcpStream> {
        let held: Vec<_> = (0..CONCURRENT)
            .map(|_| self.held.recv_timeout(TIMEOUT).unwrap())
            .collect();
        let last = name(CONCURRENT);
        assert!(held.iter().any(|(request, _)| request.contains(&last)));
        held.into_iter().map(|(_, stream)| stream).collect()
    }
}

fn name(number: usize) -> String {
    format!("acc/doc/{number}.mp3")
}

/// Returns a content of `size` bytes that begins with `text`.
fn content(text: &str, size: usize) -> String {
    text.to_owned() + &" ".repeat(size - text.len())
}

fn serve(stream: TcpStream, size: usize, end: End, held: &mpsc::Sender<(String, TcpStream)>) {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut target, mut line, mut len) = (String::new(), String::new(), 0);
        if stream.read_line(&mut target).unwrap_or_default() == 0 {
            return;
        }
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).unwrap();
            if let Some(value) = line.strip_prefix("content-length: ") {
                len = value.trim().parse().unwrap();
            }
        }
        let mut request = vec![0; len];
        stream.read_exact(&mut request).unwrap();
        let request = String::from_utf8(request).unwrap();
        let (mut body, mut is_whole) = (String::new(), true);
        if target.contains("/contents") {
            let asked: Vec<_> = (0..=CONCURRENT)
                .filter(|number| request.contains(&name(*number)))
                .collect();
            for number in &asked {
                let key = name(*number);
                let size = size - usize::from(matches!(end, End::Shorter));
                let line = format!("{{\"key\": \"{key}\", \"size\": {size}, \"sha256\": null}}\n");
                match (number, end) {
                    (_, End::Shorter) => body += &(line + &content("", size)),
                    (0, _) => body += &(line + &content("first", size)),
                    (_, End::Closed) if !asked.contains(&0) => body += &(line + &content("other", size)),
                    (_, End::Closed) => body += &(line + "oth"),
                    (_, End::Held) => {}
                }
                is_whole &= match end {
                    End::Held => *number == 0,
                    End::Closed => *number == 0 || !asked.contains(&0),
                    End::Shorter => true,
                };
                if !is_whole {
                    break;
                }
            }
        } else {
            let line = |number| {
                let key = name(number);
                format!(
                    r#"{{"file": {{"key": "{key}", "size": {size}, "sha256": null, "content_type": null, "stored_at": "x"}}}}"#
                ) + "\n"
            };
            body = (0..=CONCURRENT).map(line).collect::<String>() + "{\"done\": true}\n";
        }
        let len = body.len() + usize::from(!is_whole);
        let status = format!("HTTP/1.1 200 OK\r\ncontent-length: {len}\r\n\r\n");
        stream.get_mut().write_all((status + &body).as_bytes()).unwrap();
        match end {
            _ if is_whole => {}
            End::Closed | End::Shorter => return,
            End::Held => {
                let _ = held.send((request, stream.into_inner()));
                return;
            }
        }
    }
}

/// Starts an export from `server` to `export` in `directory`.
fn export(server: &Server, directory: &Path) -> Child {
    export_to(server, directory, "export")
}

/// Starts an export from `server` to `target` in `directory`.
fn export_to(server: &Server, directory: &Path, target: &str) -> Child {
    let token = directory.join("token");
    fs::write(&token, "0123456789abcdef0123456789abcdef").unwrap();
    let mut command = program();
    command
        .args(["files", "export", "--all", "--to"])
        .arg(directory.join(target))
        .arg(format!("--admin={}", server.address))
        .arg("--admin-token-file")
        .arg(token);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

fn signal(child: &Child, name: &str) {
    let kill = Command::new("sh")
        .arg("-c")
        .arg(format!("kill -{name} {}", child.id()))
        .status();
    assert!(kill.unwrap().success());
}

/// Waits for the end of `child`, asserts its status, and returns its stderr.
fn ended(child: Child, status: Option<i32>) -> String {
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), status, "{said}");
    said
}

#[test]
fn a_signal_loses_no_file_that_was_fetched() {
    for (name, status) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let (server, scratch) = (Server::start(LONG, End::Held), TempDir::new().unwrap());
        let child = export(&server, scratch.path());
        let held = server.first_is_fetched();
        signal(&child, name);
        let said = ended(child, Some(status));
        assert!(
            said.starts_with("kazoo-storage: interrupted: 1 of 5 files are complete in ")
                && said.contains("to continue, run the command again"),
            "{name}: {said}"
        );
        drop(held);
        let first = fs::read_to_string(scratch.path().join("export/acc/doc/0.mp3"));
        assert_eq!(first.unwrap(), content("first", LONG), "{name}");
    }
}

#[test]
fn an_interrupted_export_to_a_zip_file_leaves_nothing_that_the_next_one_does_not_remove() {
    let scratch = TempDir::new().unwrap();
    let entries = || {
        let names = fs::read_dir(scratch.path()).unwrap();
        let mut names: Vec<_> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    for (name, status) in [
        ("INT", Some(130)),
        ("TERM", Some(143)),
        ("HUP", Some(129)),
        ("KILL", None),
    ] {
        // A file is in memory until it is longer than 1 MiB.
        let server = Server::start(LONG + 1, End::Held);
        let child = export_to(&server, scratch.path(), "export.zip");
        let held = server.first_is_fetched();
        signal(&child, name);
        let said = ended(child, status);
        drop(held);
        if name != "KILL" {
            assert!(said.contains("interrupted: nothing was exported"), "{name}: {said}");
            assert_eq!(entries(), ["token"], "{name}");
        }
    }
    assert_eq!(entries().len(), 2, "{:?}", entries());
    let server = Server::start(5, End::Closed);
    let output = export_to(&server, scratch.path(), "export.zip").wait_with_output();
    assert_eq!(output.unwrap().status.code(), Some(1));
    assert_eq!(entries(), ["export.zip", "token"]);
}

#[test]
fn a_server_that_ends_loses_no_file_that_was_fetched() {
    let (server, scratch) = (Server::start(LONG, End::Held), TempDir::new().unwrap());
    let child = export(&server, scratch.path());
    drop(server.first_is_fetched());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let first = fs::read_to_string(scratch.path().join("export/acc/doc/0.mp3"));
    assert_eq!(first.unwrap(), content("first", LONG));
}

#[test]
fn a_file_that_was_fetched_waits_for_no_other_one() {
    let (server, scratch) = (Server::start(5, End::Held), TempDir::new().unwrap());
    let mut child = export(&server, scratch.path());
    let held = server.held.recv_timeout(TIMEOUT).unwrap();
    let path = scratch.path().join("export/acc/doc/0.mp3");
    eventually("the first file is at its path", || path.exists().then_some(()));
    assert_eq!(fs::read_to_string(path).unwrap(), "first");
    child.kill().unwrap();
    child.wait().unwrap();
    drop(held);
}

#[test]
fn an_interrupted_response_fails_only_one_file() {
    let (server, scratch) = (Server::start(5, End::Closed), TempDir::new().unwrap());
    let output = export(&server, scratch.path()).wait_with_output().unwrap();
    let failed = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{failed}");
    assert!(failed.starts_with("kazoo-storage: acc/doc/1.mp3: "), "{failed}");
    assert_eq!(failed.lines().count(), 1, "{failed}");
    for number in 0..=CONCURRENT {
        let content = fs::read_to_string(scratch.path().join("export").join(name(number)));
        let expected = ["first", "", "other", "other", "other"][number];
        assert_eq!(content.unwrap_or_default(), expected, "{number}");
    }
}

#[test]
fn a_file_of_another_length_is_not_exported() {
    let (server, scratch) = (Server::start(5, End::Shorter), TempDir::new().unwrap());
    let output = export(&server, scratch.path()).wait_with_output().unwrap();
    let failed = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{failed}");
    assert_eq!(
        failed.matches("differs from what was recorded").count(),
        CONCURRENT + 1,
        "{failed}"
    );
    for number in 0..=CONCURRENT {
        assert!(!scratch.path().join("export").join(name(number)).exists(), "{number}");
    }
}
