//! [`Exporter`]: the metrics of the process in Prometheus's text format.

use std::time::Duration;

use kazoo_storage::metrics::{
    self as storage, CONNECTIONS, Kind, PROCESS_CPU, PROCESS_MAX_FDS, PROCESS_MEMORY, PROCESS_OPEN_FDS, READY, Unit,
};
use kazoo_storage_ledger::metrics as ledger;
use metrics::{counter, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::{MissedTickBehavior, interval};

/// Histogram buckets in seconds: from a cached file to an upload that takes minutes.
const DURATIONS: [f64; 16] = [
    0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];

/// Histogram buckets in bytes: from a probe to a recording of a day.
const SIZES: [f64; 11] = [
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
];

/// Histogram buckets in items: from one upload to the longest commit of the ledger.
const COUNTS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Interval at which recorded values are put into buckets. They wait in memory until then, or until a scrape.
const UPKEEP: Duration = Duration::from_secs(5);

/// Records and renders metrics.
pub(crate) struct Exporter(PrometheusHandle);

impl Exporter {
    /// Starts recording the metrics of the process. Succeeds only once in a process.
    pub(crate) fn install() -> Result<Self, BuildError> {
        let mut builder = PrometheusBuilder::new().with_recommended_naming(true);
        let all = storage::ALL.iter().chain(ledger::ALL);
        for metric in all.filter(|metric| metric.kind == Kind::Histogram) {
            let buckets: &[f64] = match metric.unit {
                Unit::Bytes => &SIZES,
                Unit::Count => &COUNTS,
                _ => &DURATIONS,
            };
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)?;
        }
        let handle = builder.install_recorder()?;
        storage::describe();
        ledger::describe();
        gauge!(CONNECTIONS).set(0);
        let upkeep = handle.clone();
        tokio::spawn(async move {
            let mut ticks = interval(UPKEEP);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                upkeep.run_upkeep();
            }
        });
        Ok(Self(handle))
    }

    /// Returns all metrics, including the state of the server, `ready`.
    pub(crate) fn render(&self, ready: bool) -> String {
        gauge!(READY).set(u8::from(ready));
        record_process();
        self.0.render()
    }
}

/// Records the metrics of the process. A metric that the system does not provide keeps its value.
// Neither memory nor a number of files exceeds 2^53.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]
fn record_process() {
    let process = metrics_process::collector::collect();
    if let Some(seconds) = process.cpu_seconds_total {
        counter!(PROCESS_CPU).absolute(seconds as u64);
    }
    for (name, value) in [
        (PROCESS_MEMORY, process.resident_memory_bytes),
        (PROCESS_OPEN_FDS, process.open_fds),
        (PROCESS_MAX_FDS, process.max_fds.filter(|limit| *limit > 0)),
    ] {
        if let Some(value) = value {
            gauge!(name).set(value as f64);
        }
    }
}
