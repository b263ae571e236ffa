//! The `kazoo-storage` program, run as its users run it: over sockets, with signals, on a directory.

use std::{
    fs,
    io::{BufRead as _, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Output, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use kazoo_storage_client::{Dialect, FailureKind, Tls};
use tempfile::TempDir;

use crate::{
    kazoo::{Kazoo, by_tls},
    limits::drip,
    process::{FILE, Server, clean, eventually, multipart, program, put_head},
};

#[test]
fn stores_and_serves_across_a_restart() {
    let root = TempDir::new().unwrap();
    let content: Vec<u8> = (0..3_000_000_u32).map(|i| i.to_le_bytes()[1]).collect();
    let mut server = Server::start(root.path(), &[]);
    let mut client = server.connect();
    assert_eq!(client.put(FILE, &content).status, 201);
    let got = client.get(FILE);
    assert_eq!((got.status, got.body == content), (200, true));
    drop(client);
    server.stop();

    let mut server = Server::start(root.path(), &[]);
    let mut client = server.connect();
    let got = client.get(&format!("{FILE}/ACC/DOC/message.mp3?media_id=DOC"));
    assert_eq!((got.status, got.body == content), (200, true));
    drop(client);
    server.stop();
}

/// Uploads until the server is gone, and records the acknowledged uploads.
fn upload_until_it_ends(address: SocketAddr, client: usize, acknowledged: &Mutex<Vec<(String, Vec<u8>)>>) {
    let Ok(mut stream) = TcpStream::connect(address) else {
        return;
    };
    for number in 0.. {
        let target = format!("/some_prefix/ACC/DOC{}/{client}-{number}.mp3", number % 7);
        let body = format!("{client}-{number};")
            .repeat([1, 500, 20_000][number % 3])
            .into_bytes();
        let request = [put_head(&target, body.len()).as_bytes(), &body].concat();
        let mut answer = [0; 1024];
        let sent = stream.write_all(&request).and_then(|()| stream.read(&mut answer));
        if !sent.is_ok_and(|len| answer[..len].starts_with(b"HTTP/1.1 201 ")) {
            return;
        }
        acknowledged.lock().unwrap().push((target, body));
    }
}

#[test]
fn keeps_every_acknowledged_upload_when_killed() {
    let root = TempDir::new().unwrap();
    let acknowledged = Mutex::new(Vec::new());
    for round in 1..=3 {
        let mut server = Server::start(root.path(), &[]);
        let address = server.address;
        thread::scope(|scope| {
            for client in 0..4 {
                let acknowledged = &acknowledged;
                scope.spawn(move || upload_until_it_ends(address, round * 10 + client, acknowledged));
            }
            eventually("some uploads", || {
                (acknowledged.lock().unwrap().len() > round * 50).then_some(())
            });
            server.signal("KILL");
        });
        server.wait();
    }
    let mut server = Server::start(root.path(), &[]);
    let mut client = server.connect();
    for (target, body) in &*acknowledged.lock().unwrap() {
        assert!(client.get(target).body == *body, "{target}");
    }
    drop(client);
    server.stop();
    let staged = fs::read_dir(root.path().join(".stage")).unwrap().count();
    assert_eq!(staged, 3, "the lock and the journal");
}

#[test]
fn finishes_an_upload_after_the_signal() {
    let upload = put_head(FILE, 8) + "12345678";
    // In the request line, in the headers, before the body, and in the body.
    for (signal, sent) in [
        ("TERM", 9),
        ("INT", 80),
        ("TERM", upload.len() - 8),
        ("INT", upload.len() - 4),
    ] {
        let root = TempDir::new().unwrap();
        let mut server = Server::start(root.path(), &[]);
        let mut client = server.connect();
        assert_eq!(client.put(FILE, b"old").status, 201);
        client.send(&upload[..sent]);
        server.stop_accepting(signal);
        client.send(&upload[sent..]);
        let response = client.receive();
        assert_eq!((response.status, response.closes()), (201, true), "{response:?}");
        assert!(client.is_closed());
        drop(client);
        assert!(server.wait().success());

        let server = Server::start(root.path(), &[]);
        assert_eq!(server.connect().get(FILE).body, b"12345678");
    }
}

#[test]
fn finishes_a_download_after_the_signal() {
    let root = TempDir::new().unwrap();
    let mut server = Server::start(root.path(), &["--no-fsync"]);
    // More than two socket buffers hold.
    let content = vec![7; 32 << 20];
    assert_eq!(server.connect().put(FILE, &content).status, 201);
    let mut client = server.connect();
    client.send(format!("GET {FILE} HTTP/1.1\r\nhost: storage\r\n\r\n"));
    client.0.fill_buf().unwrap();
    server.stop_accepting("TERM");
    let response = client.receive();
    assert_eq!((response.status, response.body == content), (200, true));
    // The head was sent before the signal, so the connection stays open for another request.
    assert!(client.get(FILE).closes());
    drop(client);
    assert!(server.wait().success());
}

#[test]
fn answers_an_idle_connection_after_the_signal() {
    let root = TempDir::new().unwrap();
    let mut server = Server::start(root.path(), &[]);
    let mut used = server.connect();
    let mut also_used = server.connect();
    for client in [&mut used, &mut also_used] {
        let response = client.put(FILE, b"before");
        assert_eq!((response.status, response.closes()), (201, false), "{response:?}");
    }
    server.stop_accepting("TERM");
    let response = used.put(FILE, b"after");
    assert_eq!((response.status, response.closes()), (201, true), "{response:?}");
    assert!(used.is_closed());
    drop(used);
    let response = also_used.get(FILE);
    assert_eq!((response.status, response.closes()), (200, true), "{response:?}");
    assert_eq!(response.body, b"after");
    drop(also_used);
    assert!(server.wait().success());
}

#[test]
fn answers_a_connection_that_was_queued_at_the_signal() {
    let root = TempDir::new().unwrap();
    let mut server = Server::start(root.path(), &[]);
    // The kernel establishes the connection for the stopped server, which then sees it together with the signal.
    server.signal("STOP");
    let mut client = server.connect();
    client.send(put_head(FILE, 4));
    client.send("body");
    server.signal("TERM");
    server.signal("CONT");
    let response = client.receive();
    assert_eq!(response.status, 201, "{response:?}");
    drop(client);
    assert!(server.wait().success());
}

#[test]
fn a_second_signal_stops_it_at_once() {
    let root = TempDir::new().unwrap();
    let mut server = Server::start(root.path(), &["--grace", "3600"]);
    let mut stuck = server.connect();
    assert_eq!(stuck.get(FILE).status, 404);
    stuck.send(put_head(FILE, 8));
    stuck.send("half");
    server.stop_accepting("TERM");
    assert!(server.child.try_wait().unwrap().is_none());
    server.signal("INT");
    assert_eq!(server.wait().code(), Some(128 + 2));

    let server = Server::start(root.path(), &[]);
    assert_eq!(server.connect().get(FILE).status, 404);
}

#[test]
fn asks_to_retry_a_stuck_upload_at_the_end_of_the_grace_period() {
    let root = TempDir::new().unwrap();
    let mut server = Server::start(root.path(), &["--grace", "2"]);
    let mut stuck = server.connect();
    assert_eq!(stuck.get(FILE).status, 404);
    stuck.send(put_head(FILE, 8));
    stuck.send("half");
    server.signal("TERM");
    let response = stuck.receive();
    assert_eq!((response.status, response.closes()), (503, true), "{response:?}");
    assert!(response.head.contains("\r\nretry-after: 5\r\n"), "{response:?}");
    assert_eq!(response.json()["error"], "unavailable");
    // The client keeps the connection open; the server waits for it no longer than the grace period.
    assert_eq!(server.wait().code(), Some(0));
    assert!(server.log().contains("the grace period is over"), "{}", server.log());

    let server = Server::start(root.path(), &[]);
    assert_eq!(server.connect().get(FILE).status, 404);
}

#[test]
fn a_client_that_writes_the_whole_body_first_reads_the_refusal() {
    let root = TempDir::new().unwrap();
    let server = Server::start(root.path(), &["--max-body", "1MiB"]);
    let body = vec![0; 64 << 20];
    for _ in 0..5 {
        let response = server.connect().put(FILE, &body);
        assert_eq!(response.status, 413, "{response:?}");
        assert_eq!(response.json()["status"], 413);

        let mut client = server.connect();
        client.send(format!(
            "PUT {FILE} HTTP/1.1\r\nhost: storage\r\ntransfer-encoding: chunked\r\n\r\n"
        ));
        client.send(format!("{:x}\r\n", body.len()));
        client.send(&body);
        client.send("\r\n0\r\n\r\n");
        let response = client.receive();
        assert_eq!(response.status, 413, "{response:?}");
    }
    assert_eq!(server.connect().get(FILE).status, 404);
    assert_eq!(server.connect().put(FILE, &body[..1 << 20]).status, 201);
}

#[test]
fn names_the_mount_in_answers_outside_it() {
    let root = TempDir::new().unwrap();
    let server = Server::start(root.path(), &["--mount", "/kazoo/files"]);
    let mut client = server.connect();
    assert_eq!(client.put("/kazoo/files/A/B/C", b"x").status, 201);
    for target in ["/", "/other/A/B/C", "/kazoo", "/kazoo/filesystem/A"] {
        let response = client.get(target);
        assert_eq!(response.status, 404, "{target}");
        let json = response.json();
        assert_eq!(json["error"], "not_found");
        assert_eq!(json["status"], 404);
        assert!(json["message"].as_str().unwrap().contains("/kazoo/files"), "{json}");
    }
}

const ID: &str = "0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7";

#[test]
fn logs_each_request_without_its_query() {
    for format in ["text", "json"] {
        let root = TempDir::new().unwrap();
        let mut command = program();
        command
            .env("RUST_LOG", "trace,hyper=trace")
            .args(["serve", "--listen=127.0.0.1:0", "--log-format", format, "--store"])
            .arg(root.path());
        let mut server = Server::spawn(&mut command);
        let query = "caller_id_name=Anna&caller_id_number=%2B4930123456";
        let mut client = server.connect();
        let file = format!("/some_prefix/{ID}/202401-{ID}/{ID}.mp3");
        assert_eq!(client.put(&format!("{file}?{query}"), b"content").status, 201);
        assert_eq!(client.get(&format!("{file}?{query}")).status, 200);
        client.send(format!(
            "HEAD {file} HTTP/1.1\r\nhost: storage\r\nx-request-id: proxys-1\r\n\r\n"
        ));
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            client.0.read_line(&mut line).unwrap();
        }
        assert_eq!(client.get(&format!("/some_prefix/A/B/none?{query}")).status, 404);
        assert_eq!(client.get(&format!("/elsewhere?{query}")).status, 404);
        client.send(multipart(
            "/some_prefix/A/B/multi.mp3",
            r#"{"caller_id_name":"Anna","caller_id_number":"+4930123456"}"#,
            "media",
        ));
        assert_eq!(client.receive().status, 201);
        client.send(multipart("/some_prefix/A/B/bad.mp3", r#""Anna +4930123456""#, "media"));
        assert_eq!(client.receive().status, 400);
        drop(client);
        let mut client = server.connect();
        client.send(format!("GET {FILE}?{query} HTTP/9.9\r\nhost: storage\r\n\r\n"));
        assert_eq!(client.receive().status, 400);
        drop(client);
        server.stop();

        let log = server.log();
        assert!(!log.contains("Anna") && !log.contains("4930123456"), "{log}");
        for path in [file.as_str(), "/some_prefix/…/…/…", "/…", "/some_prefix/…/…/….mp3"] {
            assert!(log.lines().any(|line| line.contains(path)), "{path}: {log}");
        }
        assert!(log.contains("not HTTP"), "{log}");
        if format == "json" {
            let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let of_file = |message| {
                lines
                    .iter()
                    .find(|line| line["path"] == *file && line["message"] == message)
            };
            let (begun, put) = (of_file("request started").unwrap(), of_file("request").unwrap());
            assert_eq!(begun["level"], "DEBUG");
            assert_eq!(begun["request_id"], put["request_id"]);
            assert_eq!(put["request_id"].as_str().unwrap().len(), 16);
            assert_eq!(put["method"], "PUT");
            assert_eq!(put["status"], 201);
            assert_eq!(put["outcome"], "stored");
            assert_eq!(put["account"], ID);
            assert_eq!(put["key"], format!("{ID}/202401-{ID}/{ID}.mp3"));
            assert_eq!(
                (&put["len"], &put["bytes_in"], &put["bytes_out"]),
                (&7.into(), &7.into(), &0.into())
            );
            assert!(lines.iter().any(|line| line["request_id"] == "proxys-1"), "{log}");
            assert!(put["elapsed_ms"].is_number());
            assert_eq!((&put["completed"], put.get("aborted_by")), (&true.into(), None));
        }
    }
}

/// Reloading drops no request in progress.
#[test]
fn reloads_the_access_rules_on_sighup() {
    let root = TempDir::new().unwrap();
    let rules = root.path().join("access.json");
    let tokens = |tokens: &[&str]| {
        let credentials: Vec<String> = tokens.iter().map(|token| format!(r#"{{"token":"{token}"}}"#)).collect();
        fs::write(&rules, format!(r#"{{"credentials":[{}]}}"#, credentials.join(","))).unwrap();
    };
    tokens(&["first"]);
    let server = Server::start(&root.path().join("data"), &["--access", rules.to_str().unwrap()]);
    let mut client = server.connect();
    let path = |token: &str| format!("/some_prefix/{token}/ACC/DOC/message.mp3");
    assert_eq!(client.put(&path("first"), b"content").status, 201);
    assert_eq!(client.put(&path("second"), b"content").status, 401);
    assert_eq!(client.put("/some_prefix/ACC/DOC/message.mp3", b"content").status, 401);

    // An authorized upload continues: the server asks for its body.
    let mut slow = server.connect();
    let first = path("first");
    slow.send(format!(
        "PUT {first} HTTP/1.1\r\nhost: storage\r\nexpect: 100-continue\r\ncontent-length: 7\r\n\r\n"
    ));
    assert_eq!(slow.receive().status, 100);
    tokens(&["second"]);
    server.signal("HUP");
    eventually("the rules are reloaded", || {
        (client.get(&path("second")).status == 200).then_some(())
    });
    assert_eq!(client.get(&first).status, 401);
    slow.send("content");
    assert_eq!(slow.receive().status, 201);

    // An invalid file changes nothing.
    fs::write(&rules, "{}").unwrap();
    server.signal("HUP");
    eventually("the error is logged", || {
        server.log().contains("the previous version stays in use").then_some(())
    });
    assert_eq!(client.get(&path("second")).status, 200);

    let log = server.log();
    assert!(log.contains("/some_prefix/***/…/…/….mp3"), "{log}");
    for secret in ["first", "second"] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

/// Neither a reload nor a closed terminal ends the server.
#[test]
fn logs_a_sighup_with_nothing_to_reload() {
    let root = TempDir::new().unwrap();
    let mut server = Server::start(root.path(), &[]);
    server.signal("HUP");
    eventually("it is logged", || {
        server.log().contains("nothing to reload").then_some(())
    });
    assert_eq!(server.connect().put(FILE, b"content").status, 201);
    server.stop();
}

/// A certificate for `localhost` that is its own authority, written to `directory` with its key.
pub(crate) fn certificate(directory: &Path) -> Tls {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(directory.join("cert.pem"), made.cert.pem()).unwrap();
    fs::write(directory.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    Tls::with_authorities(made.cert.pem().as_bytes()).unwrap()
}

#[test]
fn serves_tls_and_reloads_the_certificate_on_sighup() {
    let root = TempDir::new().unwrap();
    let first = certificate(root.path());
    let server = Server::spawn(&mut by_tls(root.path()));
    let kazoo = |tls: &Tls| Kazoo::new(&format!("https://localhost:{}/some_prefix", server.address.port())).tls(tls);
    kazoo(&first).round_trip(&Dialect::KAZOO_4_3_106, b"content");

    let second = certificate(root.path());
    assert_eq!(kazoo(&second).failure(), FailureKind::Tls, "it is another certificate");
    server.signal("HUP");
    eventually("the certificate is reloaded", || {
        kazoo(&second).store(&Dialect::KAZOO_4_3_106, b"content").ok()
    });
    assert_eq!(kazoo(&first).failure(), FailureKind::Tls, "the old certificate is gone");

    // Plain HTTP gets no answer.
    let mut plain = TcpStream::connect(server.address).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/"), "{answer:?}");
    eventually("it is logged", || {
        server.log().contains("TLS handshake failed").then_some(())
    });
}

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
fn works_when_stderr_is_closed() {
    let root = TempDir::new().unwrap();
    let mut command = program();
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--store"])
        .arg(root.path())
        .stderr(Stdio::piped());
    let mut server = Server::spawn_logging(&mut command, TempDir::new().unwrap());
    drop(server.child.stderr.take());
    let mut client = server.connect();
    assert_eq!(client.put(FILE, b"content").status, 201);
    assert_eq!(client.get(FILE).body, b"content");
    drop(client);
    server.signal("TERM");
    assert!(server.wait().success());
}

#[test]
fn recovers_when_file_descriptors_are_available_again() {
    let root = TempDir::new().unwrap();
    let mut command = clean(Command::new("sh"));
    command
        .args([
            "-c",
            "ulimit -n 40 && exec \"$0\" serve --listen 127.0.0.1:0 --store \"$1\"",
        ])
        .arg(env!("CARGO_BIN_EXE_kazoo-storage"))
        .arg(root.path());
    let server = Server::spawn(&mut command);
    let clients: Vec<_> = (0..60).map(|_| server.connect()).collect();
    eventually("the log names the failure", || {
        server.log().contains("cannot accept").then_some(())
    });
    drop(clients);
    assert_eq!(server.connect().put(FILE, b"content").status, 201);
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
    let line = complaint(&["serve", "--listen", "127.0.0.1:0", "--store", path]);
    assert!(line.contains(path) && line.contains("has this root open"), "{line}");
    assert_eq!(in_stage(), 4, "it removed nothing");
    client.send(vec![7; 100_000]);
    assert_eq!(client.receive().status, 201);
    assert_eq!(client.get(FILE).body, vec![7; 300_000]);
}

fn run(options: &[&str]) -> Output {
    program().args(options).output().unwrap()
}

/// Returns the one line on stderr of a server that does not start.
pub(crate) fn complaint(options: &[&str]) -> String {
    let output = run(options);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), stderr.lines().count()),
        (Some(1), 1),
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
    let line = complaint(&["serve", "--store", unborn.to_str().unwrap(), "--listen", &address]);
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
        let line = complaint(&["serve", "--listen", "127.0.0.1:0", "--store", bad]);
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
    let version = run(&["--version"]);
    let expected = format!("kazoo-storage {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8(version.stdout).unwrap(), expected);
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

/// KAZOO keeps an idle connection for 120 seconds. To run this test: `cargo test --test server -- --ignored`.
#[test]
#[ignore = "takes more than two minutes"]
fn keeps_an_idle_connection_longer_than_kazoo() {
    let root = TempDir::new().unwrap();
    let server = Server::start(root.path(), &[]);
    let mut used = server.connect();
    assert_eq!(used.put(FILE, b"before").status, 201);
    let begun = Instant::now();
    let long = format!("GET {FILE} HTTP/1.1\r\nx: {}", "x".repeat(600));
    assert_eq!(drip(&mut server.connect(), long.as_bytes()).status, 408);
    assert!((10..13).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    thread::sleep(Duration::from_secs(126).saturating_sub(begun.elapsed()));
    assert_eq!(used.put(FILE, b"after").status, 201);
    assert_eq!(used.get(FILE).body, b"after");
}
