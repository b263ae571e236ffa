//! No log and no answer contains a token or a password, in any part of a request and in any encoding.

use std::{collections::BTreeSet, fs, io::Read as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use percent_encoding::percent_decode;
use tempfile::TempDir;

use crate::process::{Server, eventually, program};

/// An id, a word with punctuation, and one short enough to be part of another word.
const TOKENS: [&str; 3] = ["1f0e6b9c7d2a4835b6c1d0e9f8a7b6c5", "se\"same/7F+31\\x", "T7x"];
const READER: &str = "9f0e6b9c7d2a4835b6c1d0e9f8a7b6c5";
const PASSWORD: &str = "pass-W0rd 5";

fn rules() -> String {
    let mut credentials: Vec<_> = TOKENS
        .iter()
        .map(|token| serde_json::json!({ "token": token }))
        .collect();
    credentials.push(serde_json::json!({ "token": READER, "may": "read", "accounts": ["A"] }));
    credentials.push(serde_json::json!({ "user": "kazoo", "password": PASSWORD }));
    serde_json::json!({ "credentials": credentials }).to_string()
}

fn escaped(text: &str, escape: impl Fn(usize, u8) -> bool, lower: bool) -> String {
    let letters = text.bytes().enumerate().map(|(at, byte)| match byte {
        byte if !escape(at, byte) && byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte if lower => format!("%{byte:02x}"),
        byte => format!("%{byte:02X}"),
    });
    letters.collect()
}

/// Returns the spellings of a secret in a target: as it is, percent-encoded in part or whole, and encoded twice.
fn spellings(secret: &str) -> Vec<String> {
    let plain = escaped(secret, |_, _| false, false);
    let whole = escaped(secret, |_, _| true, true);
    let twice = whole.replace('%', "%25");
    vec![plain, escaped(secret, |at, _| at % 2 == 0, false), whole, twice]
}

fn request(line: &str, headers: &str, body: &str) -> String {
    let len = body.len();
    format!("{line} HTTP/1.1\r\nhost: storage\r\ncontent-length: {len}\r\nconnection: close\r\n{headers}\r\n{body}")
}

/// Returns requests with `shown` in every position, each with the allowed statuses.
fn requests(token: &str, shown: &str, plain: &str) -> Vec<(Vec<u16>, String)> {
    let put = |status: u16, target: &str, headers: &str, body: &str| {
        (vec![status], request(&format!("PUT {target}"), headers, body))
    };
    let get = |status: u16, target: &str, headers: &str| (vec![status], request(&format!("GET {target}"), headers, ""));
    let own = format!("/p/{token}");
    let multipart = |json: &str, name: &str| {
        format!(
            "\r\n--B\r\ncontent-disposition: form-data; name={name}\r\ncontent-type: application/json\r\n\r\n{json}\r\n--B\r\n\
             content-disposition: form-data; name={name}\r\ncontent-type: audio/mpeg\r\n\r\nID3\r\n--B--"
        )
    };
    let mixed = "content-type: multipart/form-data; boundary=B\r\n";
    let everywhere = format!(
        "referer: http://h/{shown}?{shown}\r\nuser-agent: {plain}\r\ncookie: {shown}\r\nx-forwarded-for: {shown}\r\n\
         x-request-id: {plain}\r\naccept: {shown}\r\n"
    );
    let long = format!(r#"{{"a":"{shown}{}"}}"#, "x".repeat(600));
    let mut all = vec![
        put(201, &format!("{own}/A/D/a{shown}b.mp3"), "", "ID3"),
        put(
            201,
            &format!("{own}/{shown}/{shown}/{shown}.mp3?x={shown}&token={shown}"),
            &everywhere,
            "ID3",
        ),
        put(
            201,
            &format!("{own}/A/D/m.mp3"),
            mixed,
            &multipart(&format!(r#"{{"id":"{shown}"}}"#), shown),
        ),
        // Files below each other, and an obstacle that the store did not create.
        put(201, &format!("{own}/A/f{shown}"), "", "ID3"),
        put(201, &format!("{own}/A/f{shown}/{shown}/x"), "", "ID3"),
        put(
            409,
            &format!("{own}/{BLOCKED}/{shown}.mp3?x={shown}"),
            &everywhere,
            "ID3",
        ),
        get(200, &format!("{own}/A/f{shown}"), &everywhere),
        get(404, &format!("{own}/A/{shown}/{shown}.mp3"), ""),
        get(404, &format!("/other/{shown}/{shown}.mp3"), ""),
        get(416, &format!("{own}/A/f{shown}"), "range: bytes=7-\r\n"),
        get(412, &format!("{own}/A/f{shown}"), &format!("if-match: \"{shown}\"\r\n")),
        put(400, &format!("{own}/A/%00{shown}"), "", "ID3"),
        put(400, &format!("{own}/A/%FF{shown}/x"), "", "ID3"),
        put(
            400,
            &format!("{own}/A/m"),
            &format!("content-type: multipart/mixed; boundary={}\r\n", "B".repeat(201)),
            shown,
        ),
        put(400, &format!("{own}/A/m"), mixed, shown),
        put(
            400,
            &format!("{own}/A/m"),
            mixed,
            &multipart(&format!(r#"{{"{shown}": {shown}}}"#), shown),
        ),
        put(
            400,
            &format!("{own}/A/m"),
            mixed,
            &multipart(&format!("\"{shown}\""), shown),
        ),
        put(413, &format!("{own}/A/m{shown}"), mixed, &multipart(&long, "x")),
        put(413, &format!("{own}/A/m{shown}"), "", &shown.repeat(2000)),
        put(401, &format!("/p/none/{shown}/x{shown}"), &everywhere, "ID3"),
        put(
            401,
            &format!("/p/x{shown}/A/D/a.mp3"),
            "authorization: Basic eDp5\r\n",
            "ID3",
        ),
        put(403, &format!("/p/{READER}/A/{shown}/{shown}.mp3"), "", "ID3"),
        get(403, &format!("/p/{READER}/{shown}/D/{shown}.mp3"), ""),
        (vec![405, 400], request(&format!("{plain} {own}/A/{shown}"), "", "")),
        (vec![405], request(&format!("DELETE {own}/A/{shown}"), "", "")),
        (
            vec![400],
            format!("GET {own}/A/{shown} HTTP/1.1\r\nhost: {plain}\r\nhost: {shown}\r\n\r\n"),
        ),
        (
            vec![400],
            format!("PUT {own}/A/{shown} HTTP/1.1\r\nhost: h\r\ntransfer-encoding: {plain}\r\n\r\n"),
        ),
    ];
    let basic = STANDARD.encode(format!("kazoo:{PASSWORD}"));
    let basic = format!(
        "authorization: Basic {basic}\r\nx-request-id: {}\r\n",
        basic.trim_end_matches('=')
    );
    all.push(put(201, &format!("/p/A/D/{}{shown}", basic.len()), &basic, "ID3"));
    all
}

/// Returns the text as it is, and in every decoding.
fn readings(text: &[u8]) -> Vec<String> {
    let mut readings = vec![String::from_utf8_lossy(text).into_owned()];
    for _ in 0..4 {
        let last = readings.last().unwrap();
        readings.push(percent_decode(last.as_bytes()).decode_utf8_lossy().into_owned());
    }
    let unescaped = |text: &String| text.replace("\\\"", "\"").replace("\\\\", "\\");
    let once: Vec<_> = readings.iter().map(unescaped).collect();
    let twice: Vec<_> = once.iter().map(unescaped).collect();
    readings.into_iter().chain(once).chain(twice).collect()
}

#[track_caller]
fn assert_clean(text: &[u8], about: &str) {
    let mut secrets: Vec<String> = TOKENS
        .iter()
        .chain([&READER, &PASSWORD])
        .map(|text| (*text).to_owned())
        .collect();
    for userinfo in [
        format!("kazoo:{PASSWORD}"),
        format!("kazoo{PASSWORD}:"),
        format!("{READER}:"),
    ] {
        secrets.push(STANDARD.encode(userinfo).trim_end_matches('=').to_owned());
    }
    for text in readings(text) {
        for secret in &secrets {
            let line = text.lines().find(|line| line.contains(&**secret));
            assert!(line.is_none(), "{secret} is in {line:?}, {about}");
        }
    }
}

/// A file in place of an account's directory.
const BLOCKED: &str = "blocked";

fn server(root: &TempDir, format: &str, options: &[&str]) -> Server {
    fs::create_dir_all(root.path().join("data")).unwrap();
    fs::write(root.path().join("data").join(BLOCKED), "by hand").unwrap();
    let rules_file = root.path().join("access.json");
    fs::write(&rules_file, rules()).unwrap();
    let mut command = program();
    command
        .env("RUST_LOG", "trace,kazoo_storage=trace")
        .args([
            "serve",
            "--listen=127.0.0.1:0",
            "--no-fsync",
            "--mount=/p",
            "--log-format",
            format,
        ])
        .args(["--max-metadata=512", "--max-body=4KiB", "--access"])
        .arg(rules_file)
        .args(options)
        .arg("--store")
        .arg(root.path().join("data"));
    Server::spawn(&mut command)
}

#[test]
fn keeps_secrets_out_of_logs_and_answers() {
    for format in ["text", "json"] {
        let mut met = BTreeSet::new();
        for secret in TOKENS.iter().chain([&READER, &PASSWORD]) {
            for shown in spellings(secret) {
                // The secret in a header or a method.
                let letters = secret
                    .chars()
                    .filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-');
                let is_plain = secret.bytes().all(|byte| byte.is_ascii_alphanumeric());
                let plain = if is_plain {
                    (*secret).to_owned()
                } else {
                    letters.collect()
                };
                let root = TempDir::new().unwrap();
                let mut server = server(&root, format, &[]);
                let mut sent = 0;
                for (expected, request) in requests(TOKENS[0], &shown, &plain) {
                    let mut client = server.connect();
                    client.send(&request);
                    let mut answer = Vec::new();
                    client.0.read_to_end(&mut answer).unwrap();
                    let status: u16 = String::from_utf8_lossy(&answer)
                        .split(' ')
                        .nth(1)
                        .unwrap()
                        .parse()
                        .unwrap();
                    assert!(expected.contains(&status), "{status} for {request}");
                    assert_clean(&answer, &request);
                    met.insert(status);
                    sent += 1;
                }
                eventually("they are logged", || {
                    (server.log().matches("request_id").count() >= sent).then_some(())
                });
                server.stop();
                assert_clean(server.log().as_bytes(), &shown);
            }
        }
        assert_eq!(
            met.into_iter().collect::<Vec<_>>(),
            [200, 201, 400, 401, 403, 404, 405, 409, 412, 413, 416]
        );
    }
}

/// A failing disk, and a server at its limit.
#[test]
fn keeps_secrets_out_of_server_errors() {
    for token in TOKENS {
        let shown = escaped(token, |_, _| false, false);
        let root = TempDir::new().unwrap();
        let full = server(&root, "json", &["--max-connections=1"]);
        let _held = full.connect();
        let target = format!("/p/{shown}/A/x{shown}/{shown}.mp3");
        let answer = eventually("the server is full", || {
            let answer = full.connect().put(&target, b"ID3");
            (answer.status == 503).then_some(answer)
        });
        assert_clean(answer.head.to_ascii_uppercase().as_bytes(), "503");
        assert_clean(&answer.body, "503");
        assert_clean(full.log().as_bytes(), "503");
    }
}
