//! Runs `kazoo-storage plan`, and the server with its document.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Stdio,
};

use kazoo_storage_client::{Attachment, Client, Dialect, Document, Handler};
use serde_json::Value;

use crate::process::{Server, program};

/// Returns `true` on success, and stdout and stderr.
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

/// Sends a PUT and returns head and body of the response.
fn put(server: &Server, target: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(server.address).unwrap();
    let head = format!(
        "PUT {target} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-type: audio/mpeg\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).unwrap();
    let mut received = String::new();
    stream.read_to_string(&mut received).unwrap();
    received
}

#[test]
fn prints_a_document_for_kazoo_and_for_the_server() {
    let url = "http://storage.example.com:8080/by/plan";
    let (planned, document, stderr) = plan(&[
        "--url",
        url,
        "--types",
        "voicemail,fax",
        "--multipart",
        "--base64-encode-data",
    ]);
    assert!(planned, "{stderr}");
    assert_eq!(stderr.matches("warning").count(), 1, "{stderr}");
    assert!(stderr.contains("warning: KAZOO 4.3.17 to 4.3.20"), "{stderr}");
    assert!(stderr.contains("/v2/accounts/$ACCOUNT_ID/storage"), "{stderr}");

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
    let (_, another, stderr) = plan(&["--url", url]);
    assert!(!another.contains(uuid));
    assert!(!stderr.contains("warning"), "{stderr}");

    let scratch = tempfile::tempdir().unwrap();
    let settings = scratch.path().join("storage.json");
    fs::write(&settings, &document).unwrap();
    let mut server = Server::start(
        &scratch.path().join("data"),
        &["--settings", settings.to_str().unwrap()],
    );
    let handler =
        Handler::from_json(&document.replace("storage.example.com:8080", &server.address.to_string())).unwrap();
    let message = Attachment::new("ACC", Document::from_json(r#"{"_id":"DOC"}"#).unwrap(), "a.mp3", "ID3!");
    let mut client = Client::new();
    let kazoo = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    kazoo.block_on(async {
        for dialect in [Dialect::KAZOO_4_3_21, Dialect::KAZOO_4_3_106] {
            let stored = client.store(&dialect, &handler, &message).await.unwrap();
            assert_eq!(
                stored.url.as_str(),
                format!("http://{}/by/plan/ACC/DOC/a.mp3", server.address)
            );
            let fetched = client.fetch(&dialect, &handler, &stored.url, &message).await.unwrap();
            assert_eq!(fetched.content, "ID3!");
        }
        // As the warning says.
        let refused = client
            .store(&Dialect::KAZOO_4_3_17, &handler, &message)
            .await
            .unwrap_err();
        assert_eq!(refused.answer().unwrap().status(), 400);
    });
    // Closes the connection, which the server would wait for.
    drop(kazoo);
    server.stop();
    assert_eq!(fs::read(scratch.path().join("data/ACC/DOC/a.mp3")).unwrap(), b"ID3!");
}

/// The printed command starts a server for the document.
#[test]
fn prints_a_command_that_serves_kazoo() {
    const TOKEN: &str = "1f0e6b9c7d2a4835b6c1d0e9f8a7b6c5";
    let url = format!("http://storage.example.com:8080/some_prefix/{TOKEN}");
    let (_, document, stderr) = plan(&["--url", &url]);
    // stdout is not a terminal.
    assert!(!stderr.contains("above") && !stderr.contains(TOKEN), "{stderr}");
    let lines: Vec<&str> = stderr.lines().map(str::trim).collect();
    let at = |begin: &str| lines.iter().position(|line| line.starts_with(begin)).unwrap();
    let (serve, check, curl) = (
        at("kazoo-storage serve "),
        at("kazoo-storage check --settings"),
        at("curl -X PUT"),
    );
    assert!(serve < check && check < curl, "{stderr}");

    let scratch = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = scratch.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let settings = file("storage.json", &document);
    let access = file("access.json", &format!(r#"{{"credentials":[{{"token":"{TOKEN}"}}]}}"#));
    let command = lines[serve].replace(" --listen 0.0.0.0:8080", "");
    let command = command
        .replace("storage.json", &settings)
        .replace("access.json", &access);
    let options: Vec<&str> = command.split(' ').skip(2).collect();
    let server = Server::start(&scratch.path().join("data"), &options);
    let stored = put(&server, &format!("/some_prefix/{TOKEN}/ACC/DOC/a.mp3"), "ID3");
    assert!(stored.starts_with("HTTP/1.1 201 "), "{stored}");
    let refused = put(&server, "/some_prefix/ACC/DOC/b.mp3", "ID3");
    assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
}

/// A token in the URL of the settings follows the mount, and is in no log.
#[test]
fn checks_a_token_in_the_settings_against_the_access_rules() {
    const TOKEN: &str = "fI6n-3Qc";
    let scratch = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        let path = scratch.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let url = format!("http://user:{TOKEN}@storage.example.com:8080/some_prefix/{TOKEN}");
    let settings = file("storage.json", format!(r#"{{"url":"{url}","verb":"put"}}"#));
    let access = file("access.json", format!(r#"{{"credentials":[{{"token":"{TOKEN}"}}]}}"#));
    let options = ["--settings", &settings, "--access", &access];
    for (mount, says) in [
        (&[][..], "set --mount"),
        (&["--mount", "/some_pre"], "does not begin with --mount"),
        (&["--mount", "/other"], "does not begin with --mount"),
    ] {
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--store"];
        let output = program()
            .args(arguments)
            .arg(scratch.path().join("data"))
            .args(options)
            .args(mount)
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && stderr.contains(says), "{stderr}");
        assert!(!stderr.contains(TOKEN), "{stderr}");
    }

    let mut server = Server::start(
        &scratch.path().join("data"),
        &[&options[..], &["--mount", "/some_prefix"]].concat(),
    );
    let stored = put(&server, &format!("/some_prefix/{TOKEN}/ACC/DOC/a.mp3"), "ID3");
    assert!(stored.starts_with("HTTP/1.1 201 "), "{stored}");
    let unknown = put(&server, "/some_prefix/ACC/DOC/b.mp3", "ID3");
    assert!(unknown.starts_with("HTTP/1.1 401 "), "{unknown}");
    let elsewhere = put(&server, "/ACC/DOC/b.mp3", "ID3");
    assert!(elsewhere.starts_with("HTTP/1.1 404 "), "{elsewhere}");
    server.stop();
    let log = server.log();
    assert!(
        log.contains("started") && log.matches("/some_prefix/***").count() == 2,
        "{log}"
    );
    for text in [log, stored, unknown, elsewhere] {
        assert!(!text.contains(TOKEN), "{text}");
    }
    assert_eq!(fs::read(scratch.path().join("data/ACC/DOC/a.mp3")).unwrap(), b"ID3");
}

#[test]
fn reports_what_kazoo_would_refuse() {
    for (url, says, planned) in [
        (
            "http://localhost:8080/p",
            "warning: KAZOO refuses the host `localhost`",
            true,
        ),
        ("http://token@storage.example.com/p", "write the port too", false),
        (
            "http://[2001:db8::1]/p",
            "warning: the host in `url` is an IPv6 address",
            true,
        ),
        ("http://user:secret@storage.example.com/p", "serve --settings", true),
        ("http://storage.example.com/p?key=abc", "last parameter", false),
        ("http://storage.example.com/p#frag", "send_multipart", false),
        ("storage.example.com/p", "begins with `http://` or `https://`", false),
        ("http://user:pa@ss@storage.example.com:8080/p", "`@` as `%40`", false),
        ("http://user:pa/ss@storage.example.com:8080/p", "`/` as `%2F`", false),
    ] {
        let (done, document, stderr) = plan(&["--url", url]);
        assert!(stderr.contains(says), "{url}: {stderr}");
        assert_eq!((done, document.is_empty()), (planned, !planned), "{url}: {stderr}");
    }
    // The document contains the normalized URL.
    let (done, document, stderr) = plan(&["--url", "http://storage.example.com/pre%2Dfix/./x"]);
    assert!(
        done && document.contains("\"http://storage.example.com/pre-fix/x\""),
        "{document}"
    );
    assert!(
        stderr.contains("note: the URL in the document is normalized") && !stderr.contains("warning"),
        "{stderr}"
    );
    let (done, document, stderr) = plan(&["--url", "http://storage.example.com/p", "--types", "fax,recordings"]);
    assert!(done && document.contains("\"recordings\""), "{stderr}");
    assert!(stderr.contains("write `call_recording`"), "{stderr}");
    let (done, _, stderr) = plan(&["--url", "http://storage.example.com/p", "--types", "Fax"]);
    assert!(!done && stderr.contains("`a` to `z`"), "{stderr}");
    let (done, _, stderr) = plan(&[]);
    assert!(!done && stderr.contains("--url is missing"), "{stderr}");
}

/// The server accepts such a document and logs a warning.
#[test]
fn warns_of_a_document_without_a_plan() {
    let (_, document, _) = plan(&["--url", "http://storage.example.com:8080/p"]);
    let scratch = tempfile::tempdir().unwrap();
    let settings = scratch.path().join("storage.json");
    fs::write(&settings, document.replace("\"plan\"", "\"plna\"")).unwrap();
    let mut server = Server::start(
        &scratch.path().join("data"),
        &["--settings", settings.to_str().unwrap()],
    );
    server.stop();
    let log = server.log();
    assert!(log.contains("WARN") && log.contains("stores nothing here"), "{log}");
}
