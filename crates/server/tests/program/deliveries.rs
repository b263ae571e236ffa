//! `--deliveries`: an upload arrives at the webhooks of the file.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::mpsc,
    thread,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tempfile::TempDir;

use crate::{
    process::{FILE, Server, TIMEOUT, eventually},
    startup::complaint,
};

pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Receives webhooks, and answers 200.
pub(crate) struct Receiver {
    pub(crate) url: String,
    pub(crate) deliveries: mpsc::Receiver<(String, String)>,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        Self::start_on("http://127.0.0.1", |stream| stream)
    }

    /// Starts a receiver that is reached by the scheme and the host `origin`, on connections that `accept` returns.
    pub(crate) fn start_on<S: Read + Write>(origin: &str, accept: impl Fn(TcpStream) -> S + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("{origin}:{}/hush", listener.local_addr().unwrap().port());
        let (sender, deliveries) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                // The server may refuse the certificate.
                if let Ok(delivery) = receive(accept(stream.unwrap()))
                    && sender.send(delivery).is_err()
                {
                    return;
                }
            }
        });
        Self { url, deliveries }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Waits for the next event, verifies its signature, and returns its JSON.
    pub(crate) fn next(&self) -> serde_json::Value {
        let (head, body) = self.deliveries.recv_timeout(TIMEOUT).unwrap();
        let key = STANDARD.decode(SECRET.trim_start_matches("whsec_")).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        let (id, timestamp) = (field(&head, "webhook-id"), field(&head, "webhook-timestamp"));
        mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
        let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        assert_eq!(field(&head, "webhook-signature"), signature);
        serde_json::from_str(&body).unwrap()
    }
}

fn receive<S: Read + Write>(stream: S) -> io::Result<(String, String)> {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let mut body = vec![0; field(&head, "content-length").parse().unwrap()];
    stream.read_exact(&mut body)?;
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    stream.get_mut().write_all(answer.as_bytes())?;
    Ok((head, String::from_utf8(body).unwrap()))
}

/// Returns the value of a header.
fn field<'a>(head: &'a str, name: &str) -> &'a str {
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    let mut values = fields.filter(|(found, _)| found.eq_ignore_ascii_case(name));
    values.next().unwrap().1
}

pub(crate) fn entry(receiver: &Receiver) -> String {
    format!(r#"{{"url": "{}", "secret": "{SECRET}"}}"#, receiver.url)
}

pub(crate) fn write(file: &Path, entries: &[String]) {
    fs::write(file, format!(r#"{{"webhooks": [{}]}}"#, entries.join(", "))).unwrap();
}

/// Starts a server that has not stored its files on disk before it answers, and delivers as `file` says.
pub(crate) fn start(root: &Path, file: &Path) -> Server {
    Server::start(
        &root.join("data"),
        &["--no-fsync", "--deliveries", file.to_str().unwrap()],
    )
}

#[test]
fn sends_each_upload_to_the_webhooks_that_sighup_reloads() {
    let root = TempDir::new().unwrap();
    let file = root.path().join("deliveries.json");
    let (first, second) = (Receiver::start(), Receiver::start());
    write(&file, &[entry(&first)]);
    let mut server = start(root.path(), &file);
    assert_eq!(server.connect().put(FILE, b"content").status, 201);
    let event = first.next();
    assert_eq!(event["type"], "kazoo_storage.file.stored");
    assert!(FILE.ends_with(event["data"]["key"].as_str().unwrap()), "{event}");

    write(&file, &[entry(&second)]);
    server.signal("HUP");
    eventually("the deliveries are reloaded", || {
        server.log().contains("subject=\"deliveries\"").then_some(())
    });
    assert_eq!(server.connect().put(FILE, b"other content").status, 201);
    assert_eq!(second.next()["type"], "kazoo_storage.file.replaced");

    // An invalid file changes nothing.
    fs::write(&file, r#"{"webhooks": [{"url": "https://x.example.com"}]}"#).unwrap();
    server.signal("HUP");
    eventually("the error is logged", || {
        server.log().contains("the previous version stays in use").then_some(())
    });
    assert_eq!(server.connect().put(FILE, b"a third content").status, 201);
    assert_eq!(second.next()["data"]["size"], 15);
    server.stop();
    assert!(first.deliveries.try_recv().is_err());
    for secret in [SECRET, "hush"] {
        assert!(!server.log().contains(secret), "{}", server.log());
    }
}

#[test]
fn sends_what_was_stored_before_a_restart() {
    let root = TempDir::new().unwrap();
    let file = root.path().join("deliveries.json");
    let receiver = Receiver::start();
    let dead = format!(r#"{{"name": "crm", "url": "http://127.0.0.1:1/hush", "secret": "{SECRET}", "in_flight": 1}}"#);
    write(&file, &[dead]);
    let mut server = start(root.path(), &file);
    assert_eq!(server.connect().put(FILE, b"content").status, 201);
    eventually("the failure is logged", || {
        server.log().contains("the receiver fails").then_some(())
    });
    server.stop();
    assert!(!server.log().contains("hush"), "{}", server.log());
    // The receiver is the same by its name.
    write(
        &file,
        &[entry(&receiver).replace(r#"{"url"#, r#"{"name": "crm", "url"#)],
    );
    let _server = start(root.path(), &file);
    assert_eq!(receiver.next()["data"]["size"], 7);
}

#[test]
fn refuses_an_invalid_file_before_it_serves() {
    let root = TempDir::new().unwrap();
    let file = root.path().join("deliveries.json");
    let options = |more: &[&str]| {
        let store = root.path().join("data");
        let fixed = ["serve", "--listen=127.0.0.1:0", "--store", store.to_str().unwrap()];
        let options = [&fixed[..], &["--deliveries", file.to_str().unwrap()], more].concat();
        complaint(&options)
    };
    let line = options(&[]);
    assert!(line.contains("cannot read --deliveries"), "{line}");
    for (text, reason) in [
        (r#"{"webhooks": [{"url": "https://"}]}"#, "webhook 1: "),
        (
            r#"{"webhooks": [{"url": "https://u:hush@x.example.com", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}]}"#,
            "webhook 1: `url`: ",
        ),
        (
            r#"{"webhooks": [{"url": "https://x.example.com", "secret": "whsec_aHVzaA=="}]}"#,
            "webhook 1: `secret`: ",
        ),
        (r#"{"webhook": []}"#, "unknown field `webhook`"),
        (
            r#"{"amqp": [{"url": "amqp://u:hush@x.example.com?heartbeat=never"}]}"#,
            "amqp 1: `url`: `heartbeat`",
        ),
    ] {
        fs::write(&file, text).unwrap();
        let line = options(&[]);
        assert!(line.contains("deliveries.json: ") && line.contains(reason), "{line}");
        assert!(!line.contains("hush") && !line.contains("aHVzaA"), "{line}");
    }
    write(&file, &[]);
    let line = options(&["--ledger=none"]);
    assert!(line.contains("--deliveries needs a ledger"), "{line}");
    assert!(!root.path().join("data").exists());
}

#[test]
fn a_webhook_that_fails_is_in_the_log() {
    let root = TempDir::new().unwrap();
    let file = root.path().join("deliveries.json");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{nobody}/hush");
    write(
        &file,
        &[format!(r#"{{"url": "{url}", "secret": "{SECRET}", "name": "crm"}}"#)],
    );
    let server = start(root.path(), &file);
    assert_eq!(server.connect().put(FILE, b"content").status, 201);
    let log = eventually("the failure is logged", || {
        let log = server.log();
        log.contains("an event was not delivered").then_some(log)
    });
    assert!(
        log.contains("kazoo_storage_ledger::") && log.contains("receiver=\"webhook:crm\""),
        "{log}"
    );
    assert!(!log.contains("hush"), "{log}");
}
