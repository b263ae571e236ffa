//! Servers that cannot be reached, and settings that KAZOO cannot use.

use kazoo_storage_test_support::server::refusing_address;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::{
    SECRET, check,
    green::{serve, written},
    program,
};

#[tokio::test]
async fn reports_unreachable_hosts() {
    let (_socket, address) = refusing_address();
    let port = address.port();
    for (url, cause) in [
        (format!("http://127.0.0.1:{port}/{SECRET}"), "connection_refused"),
        (format!("https://127.0.0.1:{port}/{SECRET}"), "connection_refused"),
        // Not an address in canonical form, so it counts as a name; the C library resolves it to this machine, as
        // `/etc/hosts` may.
        (format!("http://127.1:{port}/{SECRET}"), "loopback_name"),
        (format!("http://localhost:{port}/{SECRET}"), "connection_refused"),
        // A label of more than 63 letters causes no DNS query.
        (
            format!("http://kazoo:{SECRET}@{}.invalid/p", "x".repeat(64)),
            "host_not_found",
        ),
    ] {
        let report = check(&[&url]).await;
        assert_eq!((report.exit, report.causes()), (2, vec![cause]), "{:#}", report.json);
        let invalid = &report.finding(cause)["kazoo"]["body"]["attachments"]["HANDLER_ID"]["invalid"];
        assert_eq!(invalid["error_code"], 500);
        let answered = report.finding(cause)["response"].as_str().unwrap();
        match cause {
            "host_not_found" => (),
            "loopback_name" => assert!(
                answered.contains(&format!("127.0.0.1:{port}, the addresses of `127.1` on this machine: ")),
                "{answered}"
            ),
            _ if url.contains("localhost") => assert!(answered.contains("the addresses of `localhost`"), "{answered}"),
            _ => assert!(answered.starts_with(&format!("none: 127.0.0.1:{port}: ")), "{answered}"),
        }
        assert_eq!(report.json["complete"], false);
    }
}

#[tokio::test]
async fn reports_connections_that_end_without_a_response() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/{SECRET}", listener.local_addr().unwrap());
    let closes = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 512]).await;
        }
    });
    let report = check(&[&url]).await;
    assert_eq!(
        (report.exit, report.causes()),
        (1, vec!["connection_closed"]),
        "{:#}",
        report.json
    );
    closes.abort();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/{SECRET}", listener.local_addr().unwrap());
    let report = check(&[&url, "--timeout", "1"]).await;
    assert_eq!(
        (report.exit, report.causes()),
        (1, vec!["timed_out"]),
        "{:#}",
        report.json
    );
    assert_eq!(report.json["complete"], false, "it waits once, not for each scenario");
    drop(listener);
}

/// An endless response is neither awaited nor held in memory.
#[tokio::test]
async fn reports_an_endless_response() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while sent.is_ok() {
                sent = stream.write_all(&[0; 16384]).await;
            }
        }
    });
    let report = check(&[&format!("http://{address}/{SECRET}")]).await;
    assert_eq!(
        (report.exit, report.causes()),
        (1, vec!["response_too_long"]),
        "{:#}",
        report.json
    );
}

#[tokio::test]
async fn reports_invalid_certificates() {
    let directory = TempDir::new().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let ca = written(&directory, "ca.pem", &authority.pem());
    let other = rcgen::generate_simple_self_signed(["other".to_owned()]).unwrap();
    let other = written(&directory, "other.pem", &other.cert.pem());
    for (name, years, trusted, cause) in [
        ("localhost", (2020, 4000), &other, "untrusted_certificate"),
        ("localhost", (2020, 2021), &ca, "expired_certificate"),
        ("localhost", (3000, 4000), &ca, "expired_certificate"),
        ("elsewhere", (2020, 4000), &ca, "certificate_name_mismatch"),
    ] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let cert = written(
            &directory,
            "cert.pem",
            &params.signed_by(&key, &authority).unwrap().pem(),
        );
        let key = written(&directory, "key.pem", &key.serialize_pem());
        let server = serve(directory.path(), &["--tls-cert", &cert, "--tls-key", &key]);
        let url = format!("https://localhost:{}/some_prefix/{SECRET}", server.address.port());
        let report = check(&[&url, "--ca", trusted]).await;
        assert_eq!((report.exit, report.causes()), (2, vec![cause]), "{:#}", report.json);

        // Without TLS, client and server expect different protocols.
        let plain = url.replace("https", "http");
        let report = check(&[&plain]).await;
        assert_eq!(
            (report.exit, report.causes()),
            (1, vec!["connection_closed"]),
            "{:#}",
            report.json
        );
    }
    let server = serve(directory.path(), &[]);
    let report = check(&[&format!(
        "https://localhost:{}/some_prefix/{SECRET}",
        server.address.port()
    )])
    .await;
    assert_eq!(
        (report.exit, report.causes()),
        (2, vec!["tls_handshake_failed"]),
        "{:#}",
        report.json
    );
}

#[tokio::test]
async fn reports_settings_that_kazoo_cannot_use() {
    for (url, says) in [
        (format!("http://{SECRET}@h/p"), "write the port too"),
        (format!("http://h/p?key={SECRET}"), "last parameter"),
        (format!("http://h//{SECRET}"), "begins with `//`"),
        (format!("http://h/{SECRET}/%2E%2e/p"), "a `..` segment"),
        (format!("http://user:{SECRET}:x@h/p"), "`:` as `%3A`"),
        (
            format!("http://h/{SECRET}#fragment"),
            "nothing distinguishes it from the others",
        ),
    ] {
        let report = check(&[&url]).await;
        assert_eq!(
            (report.exit, report.causes()),
            (1, vec!["invalid_settings"]),
            "{:#}",
            report.json
        );
        let text = report.finding("invalid_settings")["detail"].as_str().unwrap();
        assert!(text.contains(says), "{text}");
    }
}

#[tokio::test]
async fn explains_invalid_usage() {
    let directory = TempDir::new().unwrap();
    let nothing = written(&directory, "nothing.pem", "");
    let (_socket, address) = refusing_address();
    let output = program()
        .args(["check", &format!("http://{address}/p")])
        .output()
        .await
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(
        stdout.contains("could not be reached (") && !stdout.contains("stopped at"),
        "{stdout}"
    );
    for options in [
        vec![],
        vec!["no URL"],
        vec!["http://h/p", "--ca", "/none"],
        vec!["http://h/p", "--ca", &nothing],
        vec!["--settings", "/none"],
        vec!["--settings", &nothing],
        vec!["http://h/p", "--settings", &nothing],
        vec!["http://h/p", "--timeout", "0"],
    ] {
        let output = program().arg("check").args(&options).output().await.unwrap();
        assert_eq!(output.status.code(), Some(2), "{options:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{options:?}");
    }
    let typo = written(
        &directory,
        "typo.json",
        r#"{"url":"http://h/p","verb":"put","multipart":true}"#,
    );
    for (options, says) in [
        (vec![], "--settings FILE"),
        (vec!["no URL"], "http://"),
        (vec!["http://user:pa@ss@h:8080/p"], "`@` as `%40`"),
        (vec!["http://user:pa/ss@h:8080/p"], "`/` as `%2F`"),
        (vec!["--settings", &typo], "typo.json: KAZOO has no setting `multipart`"),
    ] {
        let output = program().arg("check").args(&options).output().await.unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(says), "{stderr}");
        let output = program()
            .args(["check", "--json"])
            .args(&options)
            .output()
            .await
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{options:?}");
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(
            json["error"].as_str().unwrap().contains(says) && json["exit"] == 2,
            "{json}"
        );
    }
}
