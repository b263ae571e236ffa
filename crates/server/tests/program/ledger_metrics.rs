//! The metrics of the ledger and of its deliveries.

use std::path::Path;

use tempfile::TempDir;

use crate::{
    admin::{Scrape, scrape, start},
    deliveries::{Receiver, entry, write},
    process::{FILE, eventually},
};

const RECORDED: &str = "kazoo_storage_events_recorded_total{event=\"file.stored\"}";
const COMMITS: &str = "kazoo_storage_ledger_commit_duration_seconds_count";

fn attempts(outcome: &str) -> String {
    format!("kazoo_storage_delivery_attempts_total{{receiver=\"webhook:crm\",outcome=\"{outcome}\"}}")
}

fn waiting(name: &str) -> String {
    format!("kazoo_storage_events_{name}{{receiver=\"webhook:crm\"}}")
}

/// Writes a file with one webhook, which sends to `receiver`.
fn configure(file: &Path, receiver: &str) {
    write(file, &[receiver.replacen('{', r#"{"name": "crm", "#, 1)]);
}

// All values are small integers.
#[allow(clippy::float_cmp)]
#[test]
fn measures_what_waits_and_what_is_delivered() {
    let root = TempDir::new().unwrap();
    let (file, data) = (root.path().join("deliveries.json"), root.path().join("data"));
    let options = ["--deliveries", file.to_str().unwrap()];
    let receiver = Receiver::start();
    let entry = entry(&receiver);
    configure(&file, &entry.replace(receiver.url(), "http://127.0.0.1:1"));
    let (mut server, admin) = start(&data, &options);
    let before = scrape(admin);
    for series in [attempts("failed"), attempts("delivered"), RECORDED.to_owned()] {
        assert_eq!(before.value(&series), 0.0, "{series}");
    }
    assert_eq!(server.connect().put(FILE, b"content").status, 201);
    let failed = eventually("the first attempt has failed", || {
        let scrape = scrape(admin);
        (scrape.value(&attempts("failed")) >= 1.0).then_some(scrape)
    });
    assert_eq!((failed.value(RECORDED), failed.value(COMMITS)), (1.0, 1.0));
    assert!(failed.value("kazoo_storage_ledger_commit_writes_sum") >= 2.0);
    server.stop();

    // Counted at the start, and then every 15 seconds.
    let (mut server, admin) = start(&data, &options);
    let has_counted = |scrape: &Scrape| scrape.has(&waiting("waiting"));
    let counted = eventually("the events are counted", || Some(scrape(admin)).filter(has_counted));
    assert_eq!(counted.value(&waiting("waiting")), 1.0);
    assert_eq!(counted.value(&waiting("dead")), 0.0);
    assert!(counted.value(&waiting("oldest_age_seconds")) > 0.0);
    assert!(counted.value("kazoo_storage_ledger_size_bytes") > 10_000.0);
    server.stop();

    configure(&file, &entry);
    let (_server, admin) = start(&data, &options);
    receiver.next();
    eventually("the delivery is counted", || {
        (scrape(admin).value(&attempts("delivered")) == 1.0).then_some(())
    });
}

#[allow(clippy::float_cmp)]
#[test]
fn counts_failures_of_the_ledger() {
    let root = TempDir::new().unwrap();
    let (server, admin) = start(root.path(), &[]);
    let connection = rusqlite::Connection::open(root.path().join(".ledger/files.sqlite")).unwrap();
    connection
        .execute_batch("CREATE TRIGGER full BEFORE INSERT ON files BEGIN SELECT RAISE(FAIL, 'full'); END;")
        .unwrap();
    assert_eq!(server.connect().put(FILE, b"content").status, 503);
    let scrape = scrape(admin);
    assert_eq!(scrape.value("kazoo_storage_ledger_errors_total{cause=\"other\"}"), 1.0);
    assert_eq!(scrape.value("kazoo_storage_ledger_errors_total{cause=\"full\"}"), 0.0);
    assert_eq!(scrape.value(RECORDED), 0.0);
}
