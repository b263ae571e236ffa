//! Only the operator reaches the API, and probes need nothing.

use std::{
    fs,
    io::{BufReader, Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::site::{Receiver, Site};
use crate::{
    process::{Client, Server, eventually, program},
    startup::{complaint, failure},
};

const PATH: &str = "/v1/receivers";

/// Sends a request with this head, and returns the status and the message.
fn head(site: &Site, head: &str) -> (u16, String) {
    let mut client = Client::connect(site.admin).unwrap();
    client.send(head);
    let response = client.receive();
    let message = response.json()["message"].as_str().unwrap_or_default().to_owned();
    (response.status, message)
}

#[test]
fn requires_the_token() {
    let site = Site::with(TempDir::new().unwrap(), &[]);
    let mode = fs::metadata(site.token_file()).unwrap().permissions().mode();
    assert_eq!((mode & 0o777, site.token.len()), (0o600, 43));
    let ask = |authorization: &str| {
        let admin = site.admin;
        head(
            &site,
            &format!("GET {PATH} HTTP/1.1\r\nhost: {admin}\r\n{authorization}\r\n"),
        )
    };
    let token = &site.token;
    assert_eq!(ask(&format!("authorization: Bearer {token}\r\n")).0, 200);
    assert_eq!(ask(&format!("authorization: bearer {token}\r\n")).0, 200);
    for (wrong, says) in [
        (String::new(), "no token"),
        (format!("authorization: Basic {token}\r\n"), "no token"),
        ("authorization: Bearer \r\n".to_owned(), "no token"),
        (format!("authorization: Bearer {}\r\n", &token[1..]), "is wrong"),
        (format!("authorization: Bearer {token}x\r\n"), "is wrong"),
        (format!("authorization: {token}\r\n"), "no token"),
    ] {
        let (status, message) = ask(&wrong);
        assert!(status == 401 && message.contains(says), "{wrong}: {message}");
    }
    // Every path, known or not.
    for path in ["/v1", "/v1/", "/v1/none", "/v1/events", "/v1/openapi.json"] {
        let (status, _) = head(&site, &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
        assert_eq!(status, 401, "{path}");
    }
    let refused = site.ask_with("GET", PATH, "", "");
    assert!(!refused.head.contains("www-authenticate"));
    assert!(!site.server.log().contains(token), "{}", site.server.log());
}

#[test]
fn refuses_other_hosts_and_websites() {
    let site = Site::with(
        TempDir::new().unwrap(),
        &["--admin-host", "storage-1.internal,storage-2"],
    );
    let ask = |host: &str, more: &str| {
        let token = &site.token;
        let lines = format!("host: {host}\r\nauthorization: Bearer {token}\r\n{more}");
        head(&site, &format!("GET {PATH} HTTP/1.1\r\n{lines}\r\n"))
    };
    let same = format!("origin: http://{}\r\nsec-fetch-site: same-origin\r\n", site.admin);
    for (host, more) in [
        ("localhost:9180", ""),
        ("127.0.0.1", ""),
        ("Storage-1.internal:9180", ""),
        ("storage-2", "sec-fetch-site: none\r\n"),
        (&*site.admin.to_string(), &*same),
    ] {
        assert_eq!(ask(host, more).0, 200, "{host} {more}");
    }
    for (host, more, says) in [
        ("rebound.example.com", "", "another host"),
        ("10.0.0.8", "", "another host"),
        ("localhost", "origin: http://example.com\r\n", "website"),
        ("localhost", "origin: null\r\n", "website"),
        ("localhost", "sec-fetch-site: cross-site\r\n", "website"),
        ("localhost", "sec-fetch-site: same-site\r\n", "website"),
    ] {
        let (status, message) = ask(host, more);
        assert!(status == 403 && message.contains(says), "{host} {more}: {message}");
    }
    // Probes may have any host.
    let probe = "GET /healthz HTTP/1.1\r\nhost: rebound.example.com\r\norigin: null\r\n\r\n";
    assert_eq!(head(&site, probe).0, 200);
}

#[test]
fn the_api_is_off_without_a_token_file() {
    let root = TempDir::new().unwrap();
    let server = Server::start(&root.path().join("data"), &["--admin=127.0.0.1:0"]);
    let log = server.log();
    let line = log
        .lines()
        .find(|line| line.contains("admin endpoint started"))
        .unwrap();
    let admin = line.split_once("address=").unwrap().1.trim().parse().unwrap();
    let mut client = Client::connect(admin).unwrap();
    client.send(format!(
        "GET {PATH} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer x\r\n\r\n"
    ));
    let response = client.receive();
    assert_eq!(response.status, 403);
    assert!(
        response.json()["message"]
            .as_str()
            .unwrap()
            .contains("--admin-token-file FILE")
    );
    let bad = root.path().join("bad");
    fs::write(&bad, "short").unwrap();
    let store = root.path().join("other");
    let options = [
        "serve",
        "--listen=127.0.0.1:0",
        "--admin=127.0.0.1:0",
        "--store",
        store.to_str().unwrap(),
        "--admin-token-file",
        bad.to_str().unwrap(),
    ];
    fs::set_permissions(&bad, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(complaint(&options).contains("at least 32"));
    fs::set_permissions(&bad, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(complaint(&options).contains("chmod 600"));
    assert!(!store.exists());
}

#[test]
fn explains_methods_paths_parameters_and_bodies() {
    let site = Site::with(TempDir::new().unwrap(), &[]);
    for (method, target, body, status, says) in [
        ("GET", "/v1/none", "", 404, "/v1/openapi.json"),
        ("DELETE", "/v1/events", "", 405, "GET"),
        ("PUT", "/v1/receivers/x", "", 405, "GET, DELETE"),
        ("GET", "/v1/events?limit=0", "", 400, "`limit`"),
        ("GET", "/v1/events?limit=1001", "", 400, "1000"),
        ("GET", "/v1/events?limit=1&limit=1", "", 400, "set twice"),
        ("GET", "/v1/events?stat=dead", "", 400, "`stat` is unknown"),
        ("GET", "/v1/events?state=x", "", 400, "`dead`"),
        ("GET", "/v1/events?since=2h", "", 400, "UTC"),
        ("GET", "/v1/events?cursor=x", "", 400, "`cursor`"),
        ("GET", "/v1/events/none", "", 404, "`none`"),
        ("POST", "/v1/events/none/retry", "", 404, "`none`"),
        ("POST", "/v1/events/none/discard", "", 404, "`none`"),
        ("POST", "/v1/events/retry", "", 400, "`all`"),
        (
            "POST",
            "/v1/events/discard",
            r#"{"receivers": "x"}"#,
            400,
            "unknown field",
        ),
        ("POST", "/v1/events/replay", "{}", 400, "`since`"),
        ("POST", "/v1/events/replay", "[", 400, "JSON"),
        (
            "POST",
            "/v1/events/replay",
            r#"["2026-01-01T00:00:00Z", null, null, null]"#,
            400,
            "does not begin with `{`",
        ),
        (
            "POST",
            "/v1/events/discard",
            r#" ["x", null, true, false]"#,
            400,
            "does not begin with `{`",
        ),
        ("POST", "/v1/events/retry", " \n{}", 400, "`all`"),
        (
            "POST",
            "/v1/events/replay",
            r#"{"since": "2026-01-01T00:00:00Z", "receiver": "none"}"#,
            404,
            "`none`",
        ),
        ("GET", "/v1/receivers/none", "", 404, "`none`"),
        ("DELETE", "/v1/receivers/none", "", 404, "`none`"),
        ("POST", "/v1/events/retry", &" ".repeat(70_000), 413, "65536"),
    ] {
        let (found, json) = site.ask(method, target, body);
        let message = json["message"].as_str().unwrap_or_default();
        assert!(found == status && message.contains(says), "{method} {target}: {json}");
    }
    let response = site.ask_with("DELETE", "/v1/events", "", "");
    assert!(response.head.contains("\r\nallow: get\r\n"), "{}", response.head);
    let (status, document) = site.ask("GET", "/v1/openapi.json", "");
    assert_eq!((status, &document["openapi"]), (200, &"3.1.0".into()));
}

#[test]
fn reloads_the_token() {
    let site = Site::with(TempDir::new().unwrap(), &[]);
    let other = "0123456789abcdef0123456789abcdef";
    fs::write(site.token_file(), other).unwrap();
    site.server.signal("HUP");
    eventually("the token is reloaded", || {
        (site.ask_with("GET", PATH, "", "").status == 401).then_some(())
    });
    let admin = site.admin;
    let lines = format!("host: {admin}\r\nauthorization: Bearer {other}\r\n");
    assert_eq!(head(&site, &format!("GET {PATH} HTTP/1.1\r\n{lines}\r\n")).0, 200);
}

#[test]
fn says_that_there_is_no_ledger() {
    let site = Site::with(TempDir::new().unwrap(), &["--ledger=none"]);
    let (status, json) = site.ask("GET", "/v1/events", "");
    assert!(
        status == 409 && json["message"].as_str().unwrap().contains("--ledger"),
        "{json}"
    );
    let output = site.events(&["list"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(1) && stderr.contains("--ledger"),
        "{stderr}"
    );
}

#[test]
fn answers_on_a_unix_socket() {
    let root = TempDir::new().unwrap();
    let (socket, token) = (root.path().join("admin.sock"), root.path().join("token"));
    let admin = format!("unix:{}", socket.display());
    let options = ["--admin", &admin, "--admin-token-file", token.to_str().unwrap()];
    let start = || Server::start(&root.path().join("data"), &options);
    let server = start();
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let ask = |path: &str| {
        let mut stream = BufReader::new(UnixStream::connect(&socket).unwrap());
        let request = format!("GET {path} HTTP/1.1\r\nhost: any\r\n\r\n");
        stream.get_mut().write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    assert!(ask("/healthz").starts_with("HTTP/1.1 200 "));
    assert!(ask(PATH).starts_with("HTTP/1.1 401 "));
    let events = || {
        let mut command = program();
        command.args(["events", "receivers", "--json", "--admin", &admin, "--admin-token-file"]);
        command.arg(&token).output().unwrap()
    };
    assert!(events().status.success());
    let other = root.path().join("other");
    let second = [
        "serve",
        "--listen=127.0.0.1:0",
        "--store",
        other.to_str().unwrap(),
        "--admin",
        &admin,
    ];
    assert!(failure(&second).contains("another server listens there"));
    // A killed server leaves its socket behind.
    drop(server);
    let unreachable = events();
    let stderr = String::from_utf8(unreachable.stderr).unwrap();
    assert!(
        unreachable.status.code() == Some(1) && stderr.contains("cannot reach the server"),
        "{stderr}"
    );
    let _server = start();
    assert!(events().status.success());
}

#[test]
fn calls_delay_no_probe() {
    let site = Site::start(&Receiver::start(200));
    // Calls whose bodies never arrive.
    let calls: Vec<_> = (0..40)
        .map(|_| {
            let mut client = Client::connect(site.admin).unwrap();
            let lines = format!("host: localhost\r\nauthorization: Bearer {}\r\n", site.token);
            client.send(format!(
                "POST /v1/events/replay HTTP/1.1\r\n{lines}content-length: 9\r\n\r\n"
            ));
            client
        })
        .collect();
    thread::sleep(Duration::from_millis(200));
    let begun = Instant::now();
    for _ in 0..100 {
        assert_eq!(Client::connect(site.admin).unwrap().get("/healthz").status, 200);
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let (status, json) = site.ask("GET", PATH, "");
    assert!(
        status == 503 && json["message"].as_str().unwrap().contains("too many calls"),
        "{json}"
    );
    drop(calls);
    eventually("a call ends", || (site.ask("GET", PATH, "").0 == 200).then_some(()));
}
