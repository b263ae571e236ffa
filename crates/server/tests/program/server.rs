//! The `kazoo-storage` program, run as its users run it: over sockets, with signals, on a directory.

use std::{
    io::BufRead as _,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    limits::drip,
    process::{FILE, Server, clean, eventually, multipart, program},
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

#[test]
fn sends_a_refusal_to_a_client_that_writes_the_whole_body_first() {
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
fn warns_of_too_few_file_descriptors() {
    let root = TempDir::new().unwrap();
    // A connection and a file for each of 10 connections and of 1024 over the limit, and 128 others.
    let own = 2 * (10 + 1024) + 128;
    // 64 connections, and 16 calls that send 32 files each.
    let of_admin = 64 + 16 * 33;
    for (allowed, admin, is_enough) in [
        (own, "", true),
        (own - 1, "", false),
        (own + of_admin, "--admin=127.0.0.1:0", true),
        (own + of_admin - 1, "--admin=127.0.0.1:0", false),
    ] {
        let mut command = clean(Command::new("sh"));
        let serve = "exec \"$0\" serve --listen 127.0.0.1:0 --max-connections 10 --store \"$1\"";
        command
            .args(["-c", &format!("ulimit -n {allowed} && {serve} {admin}")])
            .arg(env!("CARGO_BIN_EXE_kazoo-storage"))
            .arg(root.path());
        let server = Server::spawn(&mut command);
        let log = server.log();
        assert_eq!(
            !log.contains("limit of open files is too low"),
            is_enough,
            "{allowed}: {log}"
        );
    }
}

/// KAZOO keeps an idle connection for 120 seconds. To run this test: `cargo test --test program server -- --ignored`.
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
