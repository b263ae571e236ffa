//! The admin endpoint: metrics, liveness and readiness.

use std::{
    collections::BTreeMap,
    fs,
    net::{SocketAddr, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use kazoo_storage::metrics::{self as storage, Kind, Metric};
use kazoo_storage_ledger::metrics as ledger;
use tempfile::TempDir;

use crate::{
    deliveries::{self, Receiver},
    process::{Client, FILE, Response, Server, eventually, multipart, put_head},
};

/// Starts a server, and returns it with its admin address.
pub(crate) fn start(root: &Path, options: &[&str]) -> (Server, SocketAddr) {
    let server = Server::start(root, &[&["--admin", "127.0.0.1:0"], options].concat());
    let log = server.log();
    let line = log
        .lines()
        .find(|line| line.contains("admin endpoint started"))
        .unwrap();
    let address = line.split_once("address=").unwrap().1.trim();
    (server, address.parse().unwrap())
}

#[test]
fn idle_connections_do_not_delay_a_probe() {
    let root = TempDir::new().unwrap();
    let (_server, admin) = start(root.path(), &[]);
    let begun = Instant::now();
    let _idle: Vec<_> = (0..200).map(|_| TcpStream::connect(admin).unwrap()).collect();
    for _ in 0..3 {
        assert_eq!(ask(admin, "/healthz").status, 200);
    }
    // Waiting for them would take 5 seconds for each 64.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

pub(crate) fn ask(admin: SocketAddr, path: &str) -> Response {
    Client::connect(admin).unwrap().get(path)
}

pub(crate) fn scrape(admin: SocketAddr) -> Scrape {
    let response = ask(admin, "/metrics");
    assert_eq!(response.status, 200);
    assert!(
        response.head.contains("\r\ncontent-type: text/plain; version=0.0.4"),
        "{}",
        response.head
    );
    Scrape::parse(std::str::from_utf8(&response.body).unwrap())
}

/// A scrape, parsed strictly as Prometheus's text format.
pub(crate) struct Scrape {
    types: BTreeMap<String, String>,
    samples: BTreeMap<String, f64>,
}

impl Scrape {
    fn parse(text: &str) -> Self {
        let mut types = BTreeMap::new();
        let mut samples = BTreeMap::new();
        let mut family = String::new();
        assert!(text.ends_with('\n'), "the last line has an end");
        for line in text.lines() {
            if line.is_empty() {
                continue;
            }
            if let Some(rest) = line.strip_prefix("# HELP ") {
                assert!(is_name(rest.split(' ').next().unwrap()), "{line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(
                    is_name(name) && ["counter", "gauge", "histogram"].contains(&kind),
                    "{line}"
                );
                assert!(
                    types.insert(name.to_owned(), kind.to_owned()).is_none(),
                    "a second {line}"
                );
                name.clone_into(&mut family);
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let (name, labels) = match series.split_once('{') {
                    Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
                    None => (series, ""),
                };
                let suffixes: &[&str] = if types[&family] == "histogram" {
                    &["_bucket", "_sum", "_count"]
                } else {
                    &[""]
                };
                let belongs = suffixes.iter().any(|suffix| *name == format!("{family}{suffix}"));
                assert!(is_name(name) && belongs, "{line} is not of {family}");
                // No label value contains a comma, a quote or a backslash.
                for label in labels.split(',').filter(|label| !label.is_empty()) {
                    let (label, value) = label.split_once('=').unwrap();
                    assert!(is_name(label) && !label.contains(':'), "{line}");
                    let value = value
                        .strip_prefix('"')
                        .and_then(|value| value.strip_suffix('"'))
                        .unwrap();
                    assert!(!value.contains(['"', '\\']), "{line}");
                }
                let value: f64 = value.parse().unwrap();
                assert!(value.is_finite() && value >= 0.0, "{line}");
                assert!(samples.insert(series.to_owned(), value).is_none(), "a second {line}");
            }
        }
        Self { types, samples }
    }

    pub(crate) fn has(&self, series: &str) -> bool {
        self.samples.contains_key(series)
    }

    #[track_caller]
    pub(crate) fn value(&self, series: &str) -> f64 {
        let value = self.samples.get(series);
        *value.unwrap_or_else(|| panic!("{series} is not in {:#?}", self.samples))
    }
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let begins = bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b':'));
    begins && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'))
}

// All values are small integers.
#[allow(clippy::float_cmp)]
#[test]
fn measures_requests_and_connections() {
    let root = TempDir::new().unwrap();
    let (server, admin) = start(root.path(), &["--max-connections", "2"]);
    let token = "7f3c2a90b1d4e6f8a0c2e4f618293a4b";
    let voicemail = format!("/some_prefix/ACC/DOC/{token}.mp3");
    let probe = format!("/some_prefix/ACC/DOC/{token}_test_credentials_file.txt");
    let mut client = server.connect();
    assert_eq!(client.put(&voicemail, &[7; 1000]).status, 201);
    client.send(multipart(
        FILE,
        r#"{"source_type":"kzc_recording","from":"+4930123456"}"#,
        "media",
    ));
    assert_eq!(client.receive().status, 201);
    assert_eq!(client.put("/some_prefix/ACC/DOC/long", &vec![7; 100_000]).status, 201);
    assert_eq!(client.get(&format!("{voicemail}?from=%2B4930123456")).body.len(), 1000);
    assert_eq!(client.get("/some_prefix/ACC/DOC/none").status, 404);
    assert_eq!(client.get("/elsewhere").status, 404);
    assert_eq!(client.put(&probe, b"another").status, 400);
    assert_eq!(
        client
            .put(&probe, format!("some random content: {token}").as_bytes())
            .status,
        201
    );
    client.send(format!(
        "ANNA {FILE} HTTP/1.1\r\nhost: storage\r\ncontent-length: 0\r\n\r\n"
    ));
    assert_eq!(client.receive().status, 405);
    let mut second = server.connect();
    assert_eq!(second.get(&voicemail).status, 200);
    let mut over = server.connect();
    assert_eq!(over.get(&voicemail).status, 503);

    let scrape = eventually("the last answers are sent", || {
        let scrape = scrape(admin);
        (scrape.value("http_server_active_requests{http_request_method=\"GET\"}") == 0.0).then_some(scrape)
    });
    let count = "http_server_request_duration_seconds_count";
    let created = "http_request_method=\"PUT\",http_response_status_code=\"201\"";
    let errors = |kind: &str| format!("kazoo_storage_error_responses_total{{error_type=\"{kind}\"}}");
    for (series, expected) in [
        (format!("{count}{{{created}}}"), 3.0),
        (
            format!("http_server_request_body_size_bytes_sum{{{created}}}"),
            101_053.0,
        ),
        (
            "http_server_response_body_size_bytes_sum{http_request_method=\"GET\",http_response_status_code=\"200\"}"
                .into(),
            2000.0,
        ),
        (
            format!(
                "{count}{{http_request_method=\"GET\",http_response_status_code=\"404\",error_type=\"not_found\"}}"
            ),
            2.0,
        ),
        ("http_server_active_requests{http_request_method=\"PUT\"}".into(), 0.0),
        (
            "http_server_active_requests{http_request_method=\"_OTHER\"}".into(),
            0.0,
        ),
        ("kazoo_storage_stored_files_total{kind=\"voicemail\"}".into(), 1.0),
        ("kazoo_storage_stored_files_total{kind=\"call_recording\"}".into(), 1.0),
        ("kazoo_storage_stored_files_total{kind=\"other\"}".into(), 1.0),
        ("kazoo_storage_stored_files_total{kind=\"fax\"}".into(), 0.0),
        ("kazoo_storage_stored_bytes_total{kind=\"call_recording\"}".into(), 5.0),
        (errors("not_found"), 2.0),
        (errors("invalid_probe"), 1.0),
        (errors("unauthorized"), 0.0),
        ("kazoo_storage_probes_total{outcome=\"success\"}".into(), 1.0),
        ("kazoo_storage_probes_total{outcome=\"failure\"}".into(), 1.0),
        (
            "kazoo_storage_rejections_total{reason=\"connection_limit\"}".into(),
            1.0,
        ),
        ("kazoo_storage_rejections_total{reason=\"request_limit\"}".into(), 0.0),
        ("kazoo_storage_fsync_errors_total{target=\"journal\"}".into(), 0.0),
        ("kazoo_storage_ready".into(), 1.0),
    ] {
        assert_eq!(scrape.value(&series), expected, "{series}");
    }
    let syncs = |target: &str| {
        scrape.value(&format!(
            "kazoo_storage_fsync_duration_seconds_count{{target=\"{target}\"}}"
        ))
    };
    assert!(
        syncs("journal") >= 3.0 && syncs("upload") >= 2.0,
        "a long upload and the probe's check are upload's"
    );
    assert!(scrape.value("kazoo_storage_connections") >= 2.0);
    assert!(
        !scrape
            .samples
            .keys()
            .any(|series| ["ANNA", "4930123456", "ACC"].iter().any(|text| series.contains(text)))
    );
}

/// Each histogram has cumulative buckets, and the types are those of the table.
#[allow(clippy::float_cmp)]
#[cfg(target_os = "linux")]
#[test]
fn exports_exactly_the_documented_metrics() {
    let root = TempDir::new().unwrap();
    let (receiver, file) = (Receiver::start(), root.path().join("deliveries.json"));
    deliveries::write(&file, &[deliveries::entry(&receiver)]);
    let (server, admin) = start(&root.path().join("data"), &["--deliveries", file.to_str().unwrap()]);
    let mut client = server.connect();
    assert_eq!(client.put(FILE, b"content").status, 201);
    assert_eq!(client.get(FILE).status, 200);
    receiver.next();
    let all: Vec<&Metric> = storage::ALL.iter().chain(ledger::ALL).collect();
    let scrape = eventually("every metric has a value", || {
        let scrape = scrape(admin);
        (scrape.types.len() >= all.len()).then_some(scrape)
    });
    for metric in &all {
        let name = metric.prometheus_name();
        let kind = format!("{:?}", metric.kind).to_lowercase();
        assert_eq!(scrape.types.get(&name), Some(&kind), "{name}");
    }
    assert_eq!(scrape.types.len(), all.len());
    assert!(scrape.value("process_resident_memory_bytes") > 1e6);
    assert!(scrape.value("process_open_fds") > 5.0 && scrape.value("process_max_fds") > 5.0);
    for histogram in all.iter().filter(|metric| metric.kind == Kind::Histogram) {
        let name = histogram.prometheus_name();
        let prefix = format!("{name}_count");
        let counts = scrape
            .samples
            .iter()
            .filter_map(|(series, value)| Some((series.strip_prefix(&prefix)?, value)));
        for (labels, count) in counts {
            let mut inner = labels.trim_matches(['{', '}']).to_owned();
            if !inner.is_empty() {
                inner.push(',');
            }
            let bucket = |le: &str| scrape.value(&format!("{name}_bucket{{{inner}le=\"{le}\"}}"));
            assert_eq!(bucket("+Inf"), *count, "{name}");
            let (low, high) = if name.ends_with("_bytes") {
                ("1024", "1048576")
            } else if name.ends_with("_writes") {
                ("1", "256")
            } else {
                ("0.01", "60")
            };
            assert!(bucket(low) <= bucket(high) && bucket(high) <= bucket("+Inf"), "{name}");
        }
    }
}

#[test]
fn is_ready_until_it_drains_and_alive_until_it_exits() {
    let root = TempDir::new().unwrap();
    let (mut server, admin) = start(root.path(), &[]);
    let ready = ask(admin, "/readyz");
    assert_eq!((ready.status, ready.json()["status"].as_str()), (200, Some("ready")));
    let upload = put_head(FILE, 8) + "12345678";
    let mut client = server.connect();
    client.send(&upload[..upload.len() - 4]);
    server.stop_accepting("TERM");

    let draining = ask(admin, "/readyz");
    assert_eq!(
        (draining.status, draining.json()["reason"].as_str()),
        (503, Some("draining"))
    );
    let alive = ask(admin, "/healthz");
    assert_eq!((alive.status, alive.json()["status"].as_str()), (200, Some("alive")));
    assert!(scrape(admin).value("kazoo_storage_ready") < 1.0);

    client.send(&upload[upload.len() - 4..]);
    assert_eq!(client.receive().status, 201);
    drop(client);
    assert!(server.wait().success());
    assert!(Client::connect(admin).is_err());
}

#[test]
fn is_alive_but_not_ready_with_a_broken_store() {
    let root = TempDir::new().unwrap();
    let (_server, admin) = start(root.path(), &[]);
    assert_eq!(ask(admin, "/readyz").status, 200);
    fs::remove_dir_all(root.path().join(".stage")).unwrap();
    // The last check is valid for a short time.
    let broken = eventually("the store is asked again", || {
        let response = ask(admin, "/readyz");
        (response.status == 503).then_some(response)
    });
    assert_eq!(broken.json()["reason"], "store");
    assert!(!broken.json()["message"].as_str().unwrap().is_empty());
    assert_eq!(ask(admin, "/healthz").status, 200);
    let scrape = scrape(admin);
    assert!(scrape.value("kazoo_storage_ready") < 1.0);
    let failed = "kazoo_storage_store_errors_total{operation=\"check\",error_type=\"unavailable\"}";
    assert!(scrape.value(failed) >= 1.0);
}

#[test]
fn serves_and_stores_no_files_on_the_admin_address() {
    let root = TempDir::new().unwrap();
    let (server, admin) = start(root.path(), &[]);
    assert_eq!(server.connect().put(FILE, b"content").status, 201);
    assert_eq!(ask(admin, FILE).status, 404);
    let mut client = Client::connect(admin).unwrap();
    assert_eq!(client.put(FILE, b"content").status, 405);
    assert_eq!(server.connect().get("/metrics").status, 404);
    // A silent connection does not block others.
    let silent: Vec<_> = (0..8).map(|_| Client::connect(admin).unwrap()).collect();
    assert_eq!(ask(admin, "/healthz").status, 200);
    drop(silent);
}
