//! The dashboard, the alerts and the monitoring page name exactly the exported metrics.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use kazoo_storage::metrics::{self as storage, Kind, Metric};
use kazoo_storage_ledger::metrics as ledger;
use serde_json::Value;

/// The labels that Prometheus adds to every series.
const SCRAPED: [&str; 2] = ["job", "instance"];

/// The functions of the query language in use.
const FUNCTIONS: [&str; 7] = [
    "absent",
    "histogram_quantile",
    "increase",
    "max",
    "rate",
    "sum",
    "vector",
];
const WORDS: [&str; 2] = ["by", "or"];

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The metrics that the server exports.
fn exported() -> impl Iterator<Item = &'static Metric> {
    storage::ALL.iter().chain(ledger::ALL)
}

/// Every series by its name in Prometheus, with its labels.
fn series() -> BTreeMap<String, BTreeSet<String>> {
    let mut series = BTreeMap::new();
    series.insert("up".to_owned(), labels(&[]));
    for metric in exported() {
        let name = metric.prometheus_name();
        if metric.kind == Kind::Histogram {
            series.insert(format!("{name}_sum"), labels(metric.labels));
            series.insert(format!("{name}_count"), labels(metric.labels));
            series.insert(format!("{name}_bucket"), labels(&[metric.labels, &["le"]].concat()));
        } else {
            series.insert(name, labels(metric.labels));
        }
    }
    series
}

fn labels(own: &[&str]) -> BTreeSet<String> {
    let names = own.iter().chain(&SCRAPED);
    names.map(|name| name.replace('.', "_")).collect()
}

/// The metrics in the query `expression`. Panics at a word that is neither a metric, nor a label of one in the
/// query, nor part of the language.
#[track_caller]
fn metrics_of(expression: &str) -> BTreeSet<String> {
    let all = series();
    let mut metrics = BTreeSet::new();
    let mut grouped = BTreeSet::new();
    let mut rest = expression;
    let mut last = String::new();
    while let Some(first) = rest.chars().next() {
        if first.is_ascii_alphabetic() || first == '_' {
            let end = rest
                .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
                .unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            rest = behind.trim_start();
            word.clone_into(&mut last);
            if word == "by" {
                let (names, behind) = rest.strip_prefix('(').unwrap().split_once(')').unwrap();
                grouped.extend(names.split(',').map(|name| name.trim().to_owned()));
                rest = behind;
            } else if ![&WORDS[..], &FUNCTIONS].concat().contains(&word) {
                assert!(all.contains_key(word), "`{word}` is not measured: {expression}");
                metrics.insert(word.to_owned());
            }
        } else if let Some(matchers) = rest.strip_prefix('{') {
            let (matchers, behind) = matchers.split_once('}').unwrap();
            for matcher in matchers.split("\",").flat_map(|matcher| matcher.split(", ")) {
                let label = matcher.split(['=', '!']).next().unwrap().trim();
                assert!(all[&last].contains(label), "`{last}` has no `{label}`: {expression}");
            }
            rest = behind;
        } else if let Some(range) = rest.strip_prefix('[') {
            rest = range.split_once(']').unwrap().1;
        } else {
            rest = &rest[first.len_utf8()..];
        }
    }
    for label in grouped {
        let known = metrics.iter().any(|metric| all[metric].contains(&label));
        assert!(known, "nothing has `{label}`: {expression}");
    }
    assert!(!metrics.is_empty(), "{expression}");
    metrics
}

/// Each rule: name and lines.
fn rules(text: &str) -> Vec<(String, Vec<String>)> {
    let rules = text.split("\n      - alert: ").skip(1);
    rules
        .map(|rule| {
            let mut lines = rule.lines().map(|line| line.trim().to_owned());
            (lines.next().unwrap(), lines.collect())
        })
        .collect()
}

#[test]
fn the_alerts_name_only_exported_metrics() {
    let text = read("docs/monitoring/alerts.yml");
    let rules = rules(&text);
    assert!(rules.len() >= 12, "{}", rules.len());
    let mut watched = BTreeSet::new();
    for (name, lines) in &rules {
        let field = |field: &str| {
            let found = lines
                .iter()
                .find_map(|line| line.strip_prefix(field)?.strip_prefix(": "));
            found.unwrap_or_else(|| panic!("{name} has no {field}"))
        };
        let expression = field("expr")
            .strip_prefix('\'')
            .and_then(|rest| rest.strip_suffix('\''))
            .unwrap();
        watched.extend(metrics_of(expression));
        assert!(["critical", "warning", "info"].contains(&field("severity")), "{name}");
        assert!(!field("summary").is_empty() && !field("description").is_empty());
    }
    let names: BTreeSet<_> = rules.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), rules.len());
    for needed in [
        "up",
        "kazoo_storage_ready",
        "kazoo_storage_store_errors_total",
        "kazoo_storage_fsync_errors_total",
        "kazoo_storage_rejections_total",
        "kazoo_storage_probes_total",
        "kazoo_storage_ledger_errors_total",
        "kazoo_storage_events_oldest_age_seconds",
        "kazoo_storage_events_dead",
    ] {
        assert!(watched.contains(needed), "{needed}");
    }
}

/// `promtool` runs the tests.
#[test]
fn a_test_fires_each_alert() {
    let tests = read("tests/repository/alerts.yml");
    let rules = read("docs/monitoring/alerts.yml");
    let alerts = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let mut count = 0;
    for alert in alerts {
        let fired = tests.split("- alertname: ").any(|case| {
            let mut lines = case.lines().map(str::trim);
            lines.next() == Some(alert) && lines.nth(1) == Some("exp_alerts:")
        });
        assert!(fired, "no test fires {alert}");
        count += 1;
    }
    assert!(count > 10, "only {count} alerts");
}

#[test]
fn the_dashboard_shows_exactly_the_exported_metrics() {
    let dashboard: Value = serde_json::from_str(&read("docs/monitoring/grafana.json")).unwrap();
    let variables: Vec<&str> = dashboard["templating"]["list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| variable["name"].as_str().unwrap())
        .collect();
    assert_eq!(variables, ["datasource", "job", "instance"]);
    let mut shown = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        if panel["type"] == "row" {
            continue;
        }
        let targets = panel["targets"].as_array().unwrap();
        assert!(
            !targets.is_empty() && !panel["description"].as_str().unwrap().is_empty(),
            "{panel}"
        );
        for target in targets {
            assert_eq!(target["datasource"]["uid"], "${datasource}");
            shown.extend(metrics_of(target["expr"].as_str().unwrap()));
        }
    }
    for metric in exported() {
        let name = metric.prometheus_name();
        let is_shown = ["", "_bucket", "_sum", "_count"]
            .iter()
            .any(|suffix| shown.contains(&format!("{name}{suffix}")));
        assert!(is_shown, "{name} is on no panel");
    }
}

#[test]
fn the_page_lists_the_exported_metrics() {
    let row = |metric: &Metric| {
        let labels: Vec<String> = metric
            .labels
            .iter()
            .map(|label| format!("`{}`", label.replace('.', "_")))
            .collect();
        let kind = format!("{:?}", metric.kind).to_lowercase();
        let name = metric.prometheus_name();
        format!(
            "| `{name}` | {kind} | {} | {} |\n",
            labels.join(", "),
            metric.description
        )
    };
    let page = read("docs/monitoring.md");
    for metrics in [storage::ALL, ledger::ALL] {
        let table: String = metrics.iter().map(row).collect();
        let table = format!("| metric | kind | labels | description |\n| --- | --- | --- | --- |\n{table}\n");
        assert!(
            page.contains(&table),
            "docs/monitoring.md does not contain this table:\n{table}"
        );
    }
}

/// The table of the rules, and the instructions for those of the ledger.
#[test]
fn the_page_explains_each_alert() {
    let page = read("docs/monitoring.md");
    let (_, instructions) = page.split_once("### When an alert of the ledger fires\n").unwrap();
    let (instructions, _) = instructions.split_once("\n## ").unwrap();
    for (name, _) in rules(&read("docs/monitoring/alerts.yml")) {
        let in_table = page
            .lines()
            .any(|line| line.starts_with('|') && line.contains(&format!("`{name}`")));
        assert!(in_table, "{name} is not in the table");
        let of_ledger = ["Ledger", "Event", "Receiver"].iter().any(|part| name.contains(part));
        let is_explained = instructions.contains(&format!("- **`{name}`**"));
        assert_eq!(is_explained, of_ledger, "{name}");
    }
}

/// Proves that the tests above detect unknown names.
#[test]
fn detects_unknown_metrics() {
    let good = "sum by (instance, le) (rate(kazoo_storage_fsync_duration_seconds_bucket{target=\"journal\", job=~\"a,b\"}[5m])) > 0";
    assert_eq!(metrics_of(good).len(), 1);
    for bad in [
        "rate(kazoo_storage_stored_total[5m])",
        "kazoo_storage_ready{account=\"x\"}",
        "sum by (account) (kazoo_storage_ready)",
        "kazoo_storage_fsync_duration_seconds",
        "kazoo_storage_rejections_total{reason=\"x\", error_type=\"y\"}",
        "avg(kazoo_storage_ready)",
        "max by (receiver) (kazoo_storage_ledger_size_bytes)",
        "1 + 1",
    ] {
        assert!(std::panic::catch_unwind(|| metrics_of(bad)).is_err(), "{bad}");
    }
}
