//! `--deliveries` over TLS: the server sends to a receiver only if the certificate is valid, and keeps the events otherwise.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tempfile::TempDir;

use crate::{
    deliveries::{Receiver, SECRET, start, write},
    process::{FILE, Server, eventually},
};

/// An authority, and the file with its certificate.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(directory: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = directory.join(name);
        fs::write(&file, issuer.pem()).unwrap();
        Self { issuer, file }
    }

    /// Returns a function that accepts TLS with a certificate for `host`, which is valid until `year`.
    fn accept(&self, host: &str, year: i32) -> impl Fn(TcpStream) -> StreamOwned<ServerConnection, TcpStream> + use<> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let config = Arc::new(config);
        move |stream| StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream)
    }
}

/// A connection on which every request is redirected to `location`.
struct Redirecting<S> {
    stream: S,
    location: String,
}

impl<S: Read> Read for Redirecting<S> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl<S: Write> Write for Redirecting<S> {
    fn write(&mut self, answer: &[u8]) -> std::io::Result<usize> {
        let redirect = format!(
            "HTTP/1.1 308 Permanent Redirect\r\nlocation: {}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            self.location
        );
        self.stream.write_all(redirect.as_bytes())?;
        Ok(answer.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}

/// The entry of a webhook that is logged as failing after its first failure.
fn entry(url: &str, authority: Option<&Authority>) -> String {
    let ca = authority.map(|authority| format!(r#", "ca_file": "{}""#, authority.file.display()));
    let ca = ca.unwrap_or_default();
    format!(r#"{{"name": "crm", "url": "{url}", "secret": "{SECRET}", "in_flight": 1{ca}}}"#)
}

fn logs(server: &Server, text: &str) {
    eventually("the failure is logged", || {
        let log = server.log();
        let line = log.lines().find(|line| line.contains("the receiver fails"))?.to_owned();
        assert!(line.contains(text) && line.contains("crm"), "{text}: {line}");
        Some(())
    });
    assert!(!server.log().contains("hush"), "{}", server.log());
}

#[test]
fn delivers_only_if_the_certificate_is_valid_and_keeps_the_events_otherwise() {
    let root = TempDir::new().unwrap();
    let (ca, other) = (
        Authority::new(root.path(), "ca.pem"),
        Authority::new(root.path(), "other.pem"),
    );
    let valid = Receiver::start_on("https://localhost", ca.accept("localhost", 4000));
    let elsewhere = Receiver::start_on("https://localhost", ca.accept("elsewhere", 4000));
    let expired = Receiver::start_on("https://localhost", ca.accept("localhost", 2021));
    for (number, (receiver, authority, reason)) in [
        (&valid, None, "UnknownIssuer"),
        (&valid, Some(&other), "UnknownIssuer"),
        (&elsewhere, Some(&ca), "certificate not valid for name"),
        (&expired, Some(&ca), "certificate expired"),
    ]
    .into_iter()
    .enumerate()
    {
        let directory = root.path().join(number.to_string());
        fs::create_dir(&directory).unwrap();
        let file = directory.join("deliveries.json");
        write(&file, &[entry(&receiver.url, authority)]);
        let server = start(&directory, &file);
        assert_eq!(server.connect().put(FILE, b"content").status, 201);
        logs(&server, reason);
        assert!(receiver.deliveries.try_recv().is_err(), "{reason}");

        // The same webhook, with the right certificate and authority.
        write(&file, &[entry(&valid.url, Some(&ca))]);
        server.signal("HUP");
        assert_eq!(valid.next()["data"]["size"], 7);
    }
}

#[test]
fn follows_no_redirect_from_tls() {
    let root = TempDir::new().unwrap();
    let ca = Authority::new(root.path(), "ca.pem");
    let target = Receiver::start_on("http://localhost", |stream| stream);
    let (location, accept) = (target.url.clone(), ca.accept("localhost", 4000));
    let receiver = Receiver::start_on("https://localhost", move |stream| Redirecting {
        stream: accept(stream),
        location: location.clone(),
    });
    let file = root.path().join("deliveries.json");
    write(&file, &[entry(&receiver.url, Some(&ca))]);
    let server = start(root.path(), &file);
    assert_eq!(server.connect().put(FILE, b"content").status, 201);
    let redirected = receiver.next();
    logs(&server, "redirects are not followed");
    assert_eq!(receiver.next()["id"], redirected["id"]);
    assert!(target.deliveries.try_recv().is_err());
}
