//! SIGHUP: access rules and certificates are read again.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
};

use kazoo_storage_client::{Dialect, FailureKind, Tls};
use tempfile::TempDir;

use crate::{
    kazoo::{Kazoo, by_tls},
    process::{FILE, Server, eventually},
};

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
