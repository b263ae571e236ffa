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
    BlobKey, BlobStore, ByteRange, Fetched, KazooStorage, MemoryStore, Metadata, Result, Stored, Upload,
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
async fn what_is_kept_is_measured() {
    let report = loaded(Front::default()).await;
    let load = &report.json["load"];
    assert_eq!((report.exit, &load["lost"]), (0, &Value::from(0)), "{load:#}");
    assert!(count(&report, "store") > 0, "{load:#}");
    assert_eq!(count(&report, "store"), count(&report, "fetch"));
    let times = ["p50_ms", "p90_ms", "p99_ms", "max_ms"].map(|name| load["store"][name].as_f64().unwrap());
    assert!(times.is_sorted() && times[0] > 0.0, "{times:?}");
    assert!(load["requests_per_second"].as_f64().unwrap() > 1.0, "{load:#}");
    // All of it took what it took.
    assert!(
        report.json["seconds"].as_f64().unwrap() >= load["seconds"].as_f64().unwrap(),
        "{:#}",
        report.json
    );
}

#[tokio::test]
async fn what_is_acknowledged_and_not_kept_is_lost() {
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
async fn what_was_kept_at_first_is_asked_for_again() {
    // Each file is there once, and another after that.
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
    assert!(load["errors"]["not_kept"].as_u64().unwrap() > 0, "{load:#}");
    assert_eq!(load["errors"]["not_kept"], load["lost"]);
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
    assert!(load["errors"]["no_space"].as_u64().unwrap() > 0, "{load:#}");
}

#[tokio::test]
async fn what_does_not_work_is_not_loaded() {
    let report = loaded(Front::answering(|_| page(StatusCode::NOT_FOUND, "nothing"))).await;
    assert_eq!(
        (report.exit, report.causes()),
        (1, vec!["not_ours"]),
        "{:#}",
        report.json
    );
    assert!(report.json["load"].is_null());
}

/// A store that answers no fetch after so many.
struct Hangs(MemoryStore, AtomicU64);

impl BlobStore for Hangs {
    async fn put(&self, upload: Upload) -> Result<Stored> {
        self.0.put(upload).await
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<Fetched> {
        if self.1.fetch_add(1, Ordering::Relaxed) > 60 {
            return pending().await;
        }
        self.0.get(key, range).await
    }

    async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>> {
        self.0.metadata(key).await
    }
}

/// In the end everything is fetched again, but not for a minute from a server that hangs.
#[tokio::test]
async fn who_answers_no_more_is_not_waited_for_by_name() {
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
