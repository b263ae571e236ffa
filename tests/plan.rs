//! `kazoo-storage plan`, run as its users run it, and the server that its document sets up.
#![cfg(all(feature = "server", unix))]
// A test that cannot go on has failed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
};

use serde_json::Value;

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_kazoo-storage"))
}

/// Whether it worked, and what is on stdout and on stderr.
fn plan(options: &[&str]) -> (bool, String, String) {
    let output = program()
        .arg("plan")
        .args(options)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_document_is_for_kazoo_and_for_the_server() {
    let url = "http://storage.example.com:8080/by/plan";
    let (planned, document, told) = plan(&[
        "--url",
        url,
        "--types",
        "voicemail,fax",
        "--multipart",
        "--base64-encode-data",
    ]);
    assert!(planned, "{told}");
    assert!(!told.contains("warning"), "{told}");
    assert!(told.contains("/v2/accounts/$ACCOUNT_ID/storage"), "{told}");

    let parsed: Value = serde_json::from_str(&document).unwrap();
    let (uuid, handler) = parsed["data"]["attachments"]
        .as_object()
        .unwrap()
        .iter()
        .next()
        .unwrap();
    assert!(
        uuid.len() == 32 && uuid.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{uuid}"
    );
    assert_eq!(handler["handler"], "http");
    assert_eq!(handler["settings"]["url"], url);
    let types = parsed["data"]["plan"]["modb"]["types"].as_object().unwrap();
    assert_eq!(types.keys().collect::<Vec<_>>(), ["fax", "mailbox_message"]);
    assert!(types.values().all(|kind| kind["attachments"]["handler"] == **uuid));
    let (_, another, _) = plan(&["--url", url]);
    assert!(!another.contains(uuid));

    let scratch = tempfile::tempdir().unwrap();
    let settings = scratch.path().join("storage.json");
    fs::write(&settings, document).unwrap();
    let mut server = program()
        .args(["serve", "--listen", "127.0.0.1:0", "--settings"])
        .arg(&settings)
        .arg("--store")
        .arg(scratch.path().join("data"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address = line.trim().rsplit('/').next().unwrap();
    // The mount is that of the plan, and multipart media has to be base64.
    for (media, answer) in [("SUQz", "HTTP/1.1 201 "), ("ID3!", "HTTP/1.1 400 ")] {
        let body = format!(
            "\r\n--B\r\ncontent-type: application/json\r\n\r\n{{}}\r\n--B\r\ncontent-type: audio/mpeg\r\n\r\n{media}\r\n--B--"
        );
        let mut stream = TcpStream::connect(address).unwrap();
        let head = format!(
            "PUT /by/plan/ACC/DOC/{media}.mp3 HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\
             content-type: multipart/form-data; boundary=B\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        let mut received = String::new();
        stream.read_to_string(&mut received).unwrap();
        assert!(received.starts_with(answer), "{received}");
    }
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(fs::read(scratch.path().join("data/ACC/DOC/SUQz.mp3")).unwrap(), b"ID3");
}

#[test]
fn what_kazoo_would_refuse_is_said_beforehand() {
    for (url, says, planned) in [
        (
            "http://localhost:8080/p",
            "warning: KAZOO refuses the host `localhost`",
            true,
        ),
        ("http://token@storage.example.com/p", "write the port too", false),
        ("http://[2001:db8::1]/p", "IPv6", false),
        ("http://storage.example.com/p?key=abc", "swallows it", false),
        ("http://storage.example.com/p#frag", "send_multipart", false),
        ("storage.example.com/p", "no URL", false),
    ] {
        let (done, document, told) = plan(&["--url", url]);
        assert!(told.contains(says), "{url}: {told}");
        assert_eq!((done, document.is_empty()), (planned, !planned), "{url}: {told}");
    }
    let (done, _, told) = plan(&[]);
    assert!(!done && told.contains("--url is missing"), "{told}");
}
