//! [`Tally`]: latencies and errors of stores and fetches.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    time::Duration,
};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::check::{Outcome, cause::Cause};

/// The quantiles of the report.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)];

const MIB: f64 = 1_048_576.0;

/// The results of one connection or of all.
#[derive(Debug)]
pub(crate) struct Tally {
    /// In microseconds.
    store: Histogram<u64>,
    fetch: Histogram<u64>,
    /// Without protocol overhead.
    bytes_stored: u64,
    bytes_fetched: u64,
    errors: BTreeMap<Cause, u64>,
    /// The names of the stored files.
    pub(crate) names: BTreeSet<usize>,
    /// Number of acknowledged files that a fetch did not return.
    pub(crate) lost: u64,
    /// Duration of the load.
    pub(crate) span: Duration,
}

impl Tally {
    pub(crate) fn new() -> Outcome<Self> {
        Ok(Self {
            store: Histogram::new(3)?,
            fetch: Histogram::new(3)?,
            bytes_stored: 0,
            bytes_fetched: 0,
            errors: BTreeMap::new(),
            names: BTreeSet::new(),
            lost: 0,
            span: Duration::ZERO,
        })
    }

    pub(crate) fn stored(&mut self, took: Duration, bytes: usize) -> Outcome<()> {
        self.bytes_stored += u64::try_from(bytes)?;
        Ok(self.store.record(micros(took))?)
    }

    pub(crate) fn fetched(&mut self, took: Duration, bytes: usize) -> Outcome<()> {
        self.bytes_fetched += u64::try_from(bytes)?;
        Ok(self.fetch.record(micros(took))?)
    }

    pub(crate) fn failed(&mut self, cause: Cause) {
        *self.errors.entry(cause).or_default() += 1;
    }

    /// Adds the results of a concurrent connection.
    pub(crate) fn add(&mut self, other: &Self) -> Outcome<()> {
        self.store.add(&other.store)?;
        self.fetch.add(&other.fetch)?;
        self.bytes_stored += other.bytes_stored;
        self.bytes_fetched += other.bytes_fetched;
        for (cause, count) in &other.errors {
            *self.errors.entry(*cause).or_default() += count;
        }
        self.names.extend(&other.names);
        self.lost += other.lost;
        self.span = self.span.max(other.span);
        Ok(())
    }

    /// Returns `true` if files were stored, none was lost and nothing failed.
    pub(crate) fn succeeded(&self) -> bool {
        self.lost == 0 && self.errors.is_empty() && !self.store.is_empty()
    }

    #[expect(clippy::cast_precision_loss, reason = "for display")]
    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.span.as_secs_f64().max(1e-9)
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("{:8}{:>9}", "", "count");
        for (name, _) in QUANTILES {
            let _ = write!(text, "{name:>12}");
        }
        text.push('\n');
        for (name, histogram) in [("store", &self.store), ("fetch", &self.fetch)] {
            let _ = write!(text, "{name:8}{:>9}", histogram.len());
            for (_, quantile) in QUANTILES {
                let _ = write!(text, "{:>9.2} ms", millis(histogram, quantile));
            }
            text.push('\n');
        }
        let _ = writeln!(
            text,
            "{:.0} requests/s, {:.1} MiB/s stored, {:.1} MiB/s fetched, in {:.1} s",
            self.per_second(self.store.len() + self.fetch.len()),
            self.per_second(self.bytes_stored) / MIB,
            self.per_second(self.bytes_fetched) / MIB,
            self.span.as_secs_f64(),
        );
        for (cause, count) in &self.errors {
            let entry = cause.entry();
            let _ = writeln!(
                text,
                "failed {count} times: {} [{}]; to fix it, {}",
                entry.problem, entry.id, entry.fix
            );
        }
        let acknowledged = self.store.len();
        let _ = writeln!(text, "{} of {acknowledged} acknowledged files lost", self.lost);
        text
    }

    pub(crate) fn json(&self) -> Value {
        let times = |histogram: &Histogram<u64>| {
            let mut times = json!({"count": histogram.len()});
            if let Value::Object(times) = &mut times {
                let quantiles = QUANTILES.iter();
                times.extend(quantiles.map(|(name, at)| (format!("{name}_ms"), json!(millis(histogram, *at)))));
            }
            times
        };
        let errors = self.errors.iter();
        let errors = errors.map(|(cause, count)| (cause.entry().id.to_owned(), json!(count)));
        json!({
            "store": times(&self.store),
            "fetch": times(&self.fetch),
            "requests_per_second": self.per_second(self.store.len() + self.fetch.len()),
            "mib_stored_per_second": self.per_second(self.bytes_stored) / MIB,
            "mib_fetched_per_second": self.per_second(self.bytes_fetched) / MIB,
            "seconds": self.span.as_secs_f64(),
            "errors": Value::Object(errors.collect()),
            "lost": self.lost,
        })
    }
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "for display")]
fn millis(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_connections() {
        let mut all = Tally::new().unwrap();
        assert!(!all.succeeded(), "nothing was stored");
        for number in 1..=100_u16 {
            let mut one = Tally::new().unwrap();
            one.span = Duration::from_secs(2);
            one.stored(Duration::from_millis(number.into()), 1 << 20).unwrap();
            one.fetched(Duration::from_millis(1), 1 << 20).unwrap();
            all.add(&one).unwrap();
        }
        assert!(all.succeeded());
        let json = all.json();
        assert_eq!(json["store"]["count"], 100);
        assert!((json["store"]["p90_ms"].as_f64().unwrap() - 90.0).abs() < 0.1, "{json}");
        assert_eq!(json["requests_per_second"], 100.0);
        assert_eq!(json["mib_stored_per_second"], 50.0);
        all.failed(Cause::StorageFull);
        all.failed(Cause::StorageFull);
        assert!(!all.succeeded() && all.json()["errors"]["storage_full"] == 2);
        assert!(
            all.text().contains("failed 2 times: the server has no space left"),
            "{}",
            all.text()
        );
    }
}
