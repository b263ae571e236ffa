//! Metrics of deliveries, as exported to Prometheus.

use std::time::Duration;

use kazoo_storage_ledger::{delivery, metrics as ledger};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::time::{sleep, timeout};

use super::{
    Site,
    receiver::{Receiver, status},
};

/// A webhook whose receiver answers with `code`.
async fn webhook(name: &str, code: u16) -> (Receiver, delivery::Receiver) {
    let receiver = Receiver::start().await;
    receiver.answers(move |_| status(code));
    let webhook = receiver.webhook().named(name).unwrap();
    (receiver, webhook)
}

// The test, and its deliveries, run on one thread, which has a recorder of its own.
#[tokio::test]
async fn counts_attempts_by_receiver_and_outcome() {
    let builder = PrometheusBuilder::new().with_recommended_naming(true);
    let recorder = Box::leak(Box::new(builder.set_buckets(&[1.0]).unwrap().build_recorder()));
    let handle = recorder.handle();
    let _guard = metrics::set_default_local_recorder(recorder);
    ledger::describe();
    let value = |series: &str| -> f64 {
        let text = handle.render();
        let mut lines = text.lines();
        let number = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        number
            .unwrap_or_else(|| panic!("{series} is not in {text}"))
            .parse()
            .unwrap()
    };
    let attempts = |receiver: &str, outcome: &str| {
        value(&format!(
            "kazoo_storage_delivery_attempts_total{{receiver=\"webhook:{receiver}\",outcome=\"{outcome}\"}}"
        ))
    };
    let site = Site::new().await;
    let (_accepting, accepting) = webhook("accepting", 200).await;
    let (_failing, failing) = webhook("failing", 500).await;
    let (_late, late) = webhook("late", 500).await;
    let (_gone, gone) = webhook("gone", 410).await;
    let running = site
        .deliver([accepting, failing, late.max_age(Duration::ZERO), gone])
        .await;
    let expected = [
        ("accepting", "delivered"),
        ("failing", "failed"),
        ("late", "dead"),
        ("gone", "gone"),
    ];
    for (receiver, outcome) in expected {
        assert!(attempts(receiver, outcome) < 1.0, "{receiver}");
    }
    site.put("a", "1").await;
    let counted = timeout(Duration::from_secs(20), async {
        while expected
            .iter()
            .any(|(receiver, outcome)| attempts(receiver, outcome) < 1.0)
        {
            sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(counted.await.is_ok(), "{}", handle.render());
    running.stop().await;
    for (receiver, outcome) in expected {
        for other in ["delivered", "failed", "dead", "gone"] {
            let is_expected = other == outcome;
            assert_eq!(attempts(receiver, other) > 0.0, is_expected, "{receiver}: {other}");
        }
        let durations = format!("kazoo_storage_delivery_duration_seconds_count{{receiver=\"webhook:{receiver}\"}}");
        assert!(
            (value(&durations) - attempts(receiver, outcome)).abs() < 0.5,
            "{receiver}"
        );
    }
}
