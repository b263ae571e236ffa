//! Metrics of the ledger, as exported to Prometheus.

use std::time::Duration;

use ::metrics::LocalRecorderGuard;
use kazoo_storage::{BlobCatalog as _, BlobStore as _, MemoryStore};
use kazoo_storage_ledger::{
    Recorded, metrics,
    quota::{Limited, Quota, Quotas},
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{Site, key, upload};

/// A recorder for this thread only. The tests run on one thread each.
struct Recorder {
    _guard: LocalRecorderGuard<'static>,
    handle: PrometheusHandle,
}

impl Recorder {
    fn install() -> Self {
        let builder = PrometheusBuilder::new().with_recommended_naming(true);
        let recorder = Box::leak(Box::new(builder.set_buckets(&[1.0]).unwrap().build_recorder()));
        let handle = recorder.handle();
        let guard = ::metrics::set_default_local_recorder(recorder);
        metrics::describe();
        Self { _guard: guard, handle }
    }

    /// The number on the line that begins with `series`, if there is one.
    fn value(&self, series: &str) -> Option<f64> {
        let text = self.handle.render();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map(|number| number.parse().unwrap())
    }

    /// Measures what waits in the ledger of `site` until `series` has the value `expected`.
    #[allow(clippy::float_cmp)]
    async fn measure(&self, site: &Site, series: &str, expected: f64) {
        let watch: JoinHandle<()> = tokio::spawn(metrics::watch(site.ledger.clone()));
        let measured = timeout(Duration::from_secs(20), async {
            while self.value(series) != Some(expected) {
                sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(
            measured.await.is_ok(),
            "{series} is not {expected}: {}",
            self.handle.render()
        );
        watch.abort();
    }
}

fn recorded(kind: &str) -> String {
    format!("kazoo_storage_events_recorded_total{{event=\"{kind}\"}}")
}

fn errors(cause: &str) -> String {
    format!("kazoo_storage_ledger_errors_total{{cause=\"{cause}\"}}")
}

#[tokio::test]
async fn counts_each_change_and_its_event() {
    let recorder = Recorder::install();
    assert_eq!(recorder.value(&recorded("file.stored")), Some(0.0));
    let site = Site::new().await;
    let store = site.store();
    for content in ["a", "a", "another"] {
        store.put(upload("ACC/DOC/a", content)).await.unwrap();
    }
    store.put(upload("ACC/DOC/b", "b")).await.unwrap();
    store.delete(&key("ACC/DOC/b")).await.unwrap();
    for (kind, count) in [("file.stored", 2.0), ("file.replaced", 1.0), ("file.deleted", 1.0)] {
        assert_eq!(recorder.value(&recorded(kind)), Some(count), "{kind}");
    }
    let count = recorder.value("kazoo_storage_ledger_commit_duration_seconds_count");
    assert_eq!(count, Some(5.0));
}

#[tokio::test]
async fn counts_failures_by_their_cause() {
    let recorder = Recorder::install();
    let site = Site::new().await;
    site.refuse("INSERT", "files", None);
    let store = Recorded::new(MemoryStore::new(), site.ledger.clone());
    store.put(upload("ACC/DOC/a", "a")).await.unwrap_err();
    assert_eq!(recorder.value(&errors("other")), Some(1.0));
    for cause in ["full", "locked", "damaged", "unavailable"] {
        assert_eq!(recorder.value(&errors(cause)), Some(0.0), "{cause}");
    }
    assert_eq!(recorder.value(&recorded("file.stored")), Some(0.0));
}

#[tokio::test]
async fn measures_what_waits_for_each_receiver() {
    let recorder = Recorder::install();
    let site = Site::new().await;
    let store = site.store();
    let slow = site.ledger.consumer("slow").await.unwrap();
    let fast = site.ledger.consumer("fast").await.unwrap();
    for path in ["ACC/DOC/a", "ACC/DOC/b", "ACC/DOC/c"] {
        store.put(upload(path, "content")).await.unwrap();
        fast.try_next().await.unwrap().unwrap().ack().await.unwrap();
    }
    slow.try_next().await.unwrap().unwrap().bury("broken").await.unwrap();
    let _claimed = slow.try_next().await.unwrap().unwrap();
    site.execute("UPDATE outbox SET recorded_at = recorded_at - 3600000 WHERE key LIKE '%b'");
    let gauge = |name: &str, receiver: &str| format!("kazoo_storage_events_{name}{{receiver=\"{receiver}\"}}");
    recorder.measure(&site, &gauge("waiting", "slow"), 2.0).await;
    assert_eq!(recorder.value(&gauge("dead", "slow")), Some(1.0));
    let age = recorder.value(&gauge("oldest_age_seconds", "slow")).unwrap();
    assert!((3600.0..3700.0).contains(&age), "{age}");
    assert!(recorder.value("kazoo_storage_ledger_size_bytes").unwrap() > 10_000.0);

    recorder.measure(&site, &gauge("waiting", "fast"), 0.0).await;
    assert_eq!(recorder.value(&gauge("dead", "fast")), Some(0.0));
    assert_eq!(recorder.value(&gauge("oldest_age_seconds", "fast")), Some(0.0));

    // Nobody expects the events of a receiver that is no longer configured.
    site.execute("UPDATE receivers SET active = 0");
    recorder.measure(&site, &gauge("oldest_age_seconds", "slow"), 0.0).await;
    assert_eq!(recorder.value(&gauge("waiting", "slow")), Some(2.0));
}

#[tokio::test]
async fn stops_measuring_when_the_ledger_is_closed() {
    let site = Site::new().await;
    let watch = tokio::spawn(metrics::watch(site.ledger.clone()));
    tokio::task::yield_now().await;
    site.ledger.close();
    timeout(Duration::from_secs(10), watch).await.unwrap().unwrap();
}

#[tokio::test]
async fn counts_accounts_near_their_quota_and_refused_uploads() {
    const NEAR: &str = "kazoo_storage_quota_near";
    const REFUSALS: &str = "kazoo_storage_quota_refusals_total";
    let recorder = Recorder::install();
    assert_eq!((recorder.value(NEAR), recorder.value(REFUSALS)), (Some(0.0), Some(0.0)));
    let site = Site::new().await;
    let quotas = Quotas::new().quota(Quota::of_each_account().bytes(10)).unwrap();
    let store = Limited::new(site.store(), site.ledger.clone(), quotas);
    for (account, content) in [("A", "12345678"), ("B", "1234567"), ("C", "1234567890")] {
        let path = format!("{account}/D/1");
        store.put(upload(&path, content)).await.unwrap();
    }
    store.refresh().await.unwrap();
    assert_eq!(recorder.value(NEAR), Some(2.0), "A and C");
    store.put(upload("C/D/2", "x")).await.unwrap_err();
    assert_eq!(recorder.value(REFUSALS), Some(1.0));
}
