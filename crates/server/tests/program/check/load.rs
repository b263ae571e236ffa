//! `kazoo-storage check --load`.

use std::{
    collections::HashSet,
    future::pending,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use http::{Method, StatusCode};
use kazoo_storage::{
    BlobKey, BlobStore, ByteRange, GetResult, KazooStorage, MemoryStore, Metadata, PutResult, Result, Upload,
};
use serde_json::Value;

use super::{
    Report, check,
    front::{
        Front,
        Turn::{Answer, Pass},
        page, start,
    },
};

async fn loaded(front: Front) -> Report {
    let running = start(front, KazooStorage::new(MemoryStore::new()), "/some_prefix").await;
    check(&[&running.url(), "--load", "4", "--for", "1s", "--size", "3KiB"]).await
}

fn count(report: &Report, side: &str) -> u64 {
    report.json["load"][side]["count"].as_u64().unwrap()
}

#[tokio::test]
async fn measures_stored_and_fetched_files() {
    let report = loaded(Front::default()).await;
    let load = &report.json["load"];
    assert_eq!((report.exit, &load["lost"]), (0, &Value::from(0)), "{load:#}");
    assert!(count(&report, "store") > 0, "{load:#}");
    assert_eq!(count(&report, "store"), count(&report, "fetch"));
    let times = ["p50_ms", "p90_ms", "p99_ms", "max_ms"].map(|name| load["store"][name].as_f64().unwrap());
    assert!(times.is_sorted() && times[0] > 0.0, "{times:?}");
    assert!(load["requests_per_second"].as_f64().unwrap() > 1.0, "{load:#}");
    // The whole check takes at least as long as the load.
    assert!(
        report.json["seconds"].as_f64().unwrap() >= load["seconds"].as_f64().unwrap(),
        "{:#}",
        report.json
    );
}

#[tokio::test]
async fn counts_acknowledged_files_that_are_missing() {
    let uploads = AtomicU64::new(0);
    let forgets = Front::before(move |request| {
        let is_load = request.uri().path().contains("load.mp3");
        if request.method() != Method::GET && is_load && uploads.fetch_add(1, Ordering::Relaxed) % 5 == 4 {
            return Answer(page(StatusCode::CREATED, "stored"));
        }
        Pass(request)
    });
    let report = loaded(forgets).await;
    let load = &report.json["load"];
    assert_eq!(report.exit, 1, "{load:#}");
    assert!(load["lost"].as_u64().unwrap() > 0, "{load:#}");
    assert!(count(&report, "fetch") < count(&report, "store"), "{load:#}");
}

#[tokio::test]
async fn fetches_files_again_at_the_end() {
    // Each file can be fetched only once.
    let seen = Mutex::new(HashSet::new());
    let forgets = Front::after(move |method, target, answer| {
        let is_load = target.contains("load.mp3");
        if method == Method::GET && is_load && answer.status() == StatusCode::OK {
            let content = answer.body().clone();
            if !seen.lock().unwrap().insert((target.to_owned(), content)) {
                return page(StatusCode::NOT_FOUND, "gone");
            }
        }
        answer
    });
    let report = loaded(forgets).await;
    let load = &report.json["load"];
    assert_eq!(
        (report.exit, count(&report, "fetch")),
        (1, count(&report, "store")),
        "{load:#}"
    );
    assert!(load["errors"]["not_stored"].as_u64().unwrap() > 0, "{load:#}");
    assert_eq!(load["errors"]["not_stored"], load["lost"]);
}

#[tokio::test]
async fn errors_are_counted_by_cause_and_lose_nothing() {
    let uploads = AtomicU64::new(0);
    let fails = Front::before(move |request| {
        let is_load = request.uri().path().contains("load.mp3");
        if request.method() != Method::GET && is_load && uploads.fetch_add(1, Ordering::Relaxed) % 5 == 4 {
            return Answer(page(StatusCode::INSUFFICIENT_STORAGE, "full"));
        }
        Pass(request)
    });
    let report = loaded(fails).await;
    let load = &report.json["load"];
    assert_eq!((report.exit, &load["lost"]), (1, &Value::from(0)), "{load:#}");
    assert!(load["errors"]["storage_full"].as_u64().unwrap() > 0, "{load:#}");
}

#[tokio::test]
async fn does_not_load_a_server_that_fails_the_probe() {
    let report = loaded(Front::answering(|_| page(StatusCode::NOT_FOUND, "nothing"))).await;
    assert_eq!(
        (report.exit, report.causes()),
        (1, vec!["other_server"]),
        "{:#}",
        report.json
    );
    assert!(report.json["load"].is_null());
}

/// A store that stops answering fetches after some.
struct Hangs(MemoryStore, AtomicU64);

impl BlobStore for Hangs {
    async fn put(&self, upload: Upload) -> Result<PutResult> {
        self.0.put(upload).await
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<GetResult> {
        if self.1.fetch_add(1, Ordering::Relaxed) > 60 {
            return pending().await;
        }
        self.0.get(key, range).await
    }

    async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>> {
        self.0.metadata(key).await
    }
}

/// A server that hangs does not delay the final fetches.
#[tokio::test]
async fn stops_the_final_fetches_after_a_timeout() {
    let store = Hangs(MemoryStore::new(), AtomicU64::new(0));
    let running = start(Front::default(), KazooStorage::new(store), "/some_prefix").await;
    let options = ["--load", "1", "--for", "1s", "--size", "1KiB", "--timeout", "1"];
    let report = check(&[&[&*running.url()][..], &options].concat()).await;
    let load = &report.json["load"];
    assert_eq!((report.exit, &load["lost"]), (1, &Value::from(0)), "{load:#}");
    assert!(count(&report, "fetch") > 20, "{load:#}");
    let waited = load["errors"]["timed_out"].as_u64().unwrap();
    assert!((1..5).contains(&waited), "{load:#}");
}
