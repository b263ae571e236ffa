//! What the process measures, as Prometheus reads it.

use std::time::Duration;

use kazoo_storage::metrics::{
    self as names, CONNECTIONS, Kind, PROCESS_CPU, PROCESS_MAX_FDS, PROCESS_MEMORY, PROCESS_OPEN_FDS, READY, Unit,
};
use metrics::{counter, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::{MissedTickBehavior, interval};

/// In seconds: from a file in memory to an upload that takes minutes.
const DURATIONS: [f64; 16] = [
    0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];

/// In bytes: from a probe to a recording of a day.
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

/// What is recorded waits in memory until it is put into buckets: for a scrape, and every so often.
const UPKEEP: Duration = Duration::from_secs(5);

/// Has what is recorded.
pub(crate) struct Exporter(PrometheusHandle);

impl Exporter {
    /// From here on, all that the process measures is recorded. Only once in a process.
    pub(crate) fn install() -> Result<Self, BuildError> {
        let mut builder = PrometheusBuilder::new().with_recommended_naming(true);
        for metric in names::ALL.iter().filter(|metric| metric.kind == Kind::Histogram) {
            let buckets: &[f64] = if metric.unit == Unit::Bytes { &SIZES } else { &DURATIONS };
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)?;
        }
        let handle = builder.install_recorder()?;
        names::describe();
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

    /// All of it, in Prometheus's text format, and whether the server is `ready`.
    pub(crate) fn render(&self, ready: bool) -> String {
        gauge!(READY).set(u8::from(ready));
        #[cfg(target_os = "linux")]
        process();
        self.0.render()
    }
}

/// What the kernel knows of the process; what it does not tell stays as it was.
#[cfg(target_os = "linux")]
// Neither memory nor a number of files is beyond 2^53.
#[allow(clippy::cast_precision_loss)]
fn process() {
    use rustix::{
        param::{clock_ticks_per_second, page_size},
        process::{Resource, getrlimit},
    };

    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program is in brackets, and may have any character.
    let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let field = |number: usize| -> Option<u64> { behind_name.split_whitespace().nth(number - 3)?.parse().ok() };
    if let (Some(user), Some(system), Some(resident)) = (field(14), field(15), field(24)) {
        counter!(PROCESS_CPU).absolute((user + system) / clock_ticks_per_second().max(1));
        gauge!(PROCESS_MEMORY).set((resident * page_size() as u64) as f64);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        // One of them is that of the directory.
        gauge!(PROCESS_OPEN_FDS).set(open.count().saturating_sub(1) as f64);
    }
    if let Some(limit) = getrlimit(Resource::Nofile).current {
        gauge!(PROCESS_MAX_FDS).set(limit as f64);
    }
}
