//! The report as text.

use std::{
    env,
    ffi::OsStr,
    fmt::Write as _,
    io::{self, IsTerminal as _},
};

use kazoo_storage_client::{Dialect, SaveResult};

use super::{
    cause::{Cause, Severity},
    report::{Finding, Report, without_secrets},
    response::OUR_MESSAGE,
    runner::{PROBE, ScenarioReport},
    secrets::Secrets,
};
use crate::printable::printable;

/// Colors text if stdout is a terminal that supports colors.
struct Paint(bool);

impl Paint {
    fn new() -> Self {
        Self::of(
            io::stdout().is_terminal(),
            env::var_os("NO_COLOR").as_deref(),
            env::var_os("TERM").as_deref(),
        )
    }

    fn of(terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> Self {
        let refused = no_color.is_some_and(|value| !value.is_empty()) || term == Some(OsStr::new("dumb"));
        Self(terminal && !refused)
    }

    fn with(&self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn mark(&self, works: bool) -> String {
        if works {
            self.with("32", "✓")
        } else {
            self.with("31", "✗")
        }
    }
}

/// Formats the report as text.
pub(crate) fn text(report: &Report, secrets: &Secrets) -> String {
    let paint = Paint::new();
    let mut text = String::new();
    let releases = Dialect::ALL.iter().map(|dialect| dialect.releases.len());
    let width = releases.max().unwrap_or_default();
    if report.severity() != Some(Severity::Unreachable) {
        for (dialect, results) in report.dialects() {
            let passes = results.iter().all(|result| report.passes(result));
            let scenarios = scenarios(&results, &paint);
            let _ = writeln!(text, "{} {:width$}  {scenarios}", paint.mark(passes), dialect.releases);
        }
    }
    for (dialect, reason) in &report.scenarios.skipped {
        let _ = writeln!(text, "- {:width$}  {}", dialect.releases, printable(reason));
    }
    for finding in &report.findings {
        text.push('\n');
        finding_text(&mut text, report, finding, secrets, &paint);
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&verdict(report));
    text
}

/// Formats the findings about the settings themselves.
pub(crate) fn warnings(report: &Report, secrets: &Secrets) -> String {
    let mut text = String::new();
    for finding in report.findings.iter().filter(|finding| finding.results.is_empty()) {
        finding_text(&mut text, report, finding, secrets, &Paint::new());
        text.push('\n');
    }
    text
}

/// `PUT raw ✓ multipart ✓  POST raw ✗`
fn scenarios(results: &[&ScenarioReport], paint: &Paint) -> String {
    let verbs = ["PUT", "POST"].into_iter().filter_map(|verb| {
        let of_verb = results.iter().filter(|result| result.scenario.verb == verb);
        let bodies: Vec<String> = of_verb
            .map(|result| format!("{} {}", result.scenario.body_form, paint.mark(result.works())))
            .collect();
        (!bodies.is_empty()).then(|| format!("{verb} {}", bodies.join(" ")))
    });
    verbs.collect::<Vec<_>>().join("  ")
}

fn finding_text(text: &mut String, report: &Report, finding: &Finding, secrets: &Secrets, paint: &Paint) {
    let entry = finding.cause.entry();
    let severity = finding.severity();
    let (label, code) = match severity {
        Severity::Unreachable => ("unreachable", "1;31"),
        Severity::Failure => ("failure", "1;31"),
        Severity::Warning => ("warning", "1;33"),
    };
    let problem = match (&finding.detail, finding.only_with) {
        // These details are complete sentences.
        (Some(detail), _) if finding.cause == Cause::SettingsWarning => detail.clone(),
        (Some(detail), _) if finding.cause == Cause::UnusedSettings => format!("{detail} [{}]", entry.id),
        (Some(detail), _) => format!("{}: {detail} [{}]", entry.problem, entry.id),
        (None, Some(settings)) => format!("fails only with {settings}: {} [{}]", entry.problem, entry.id),
        (None, None) => format!("{} [{}]", entry.problem, entry.id),
    };
    let _ = writeln!(text, "{}: {}", paint.with(code, label), printable(&problem));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:10}{}", printable(value));
    };
    match finding.cause {
        Cause::InvalidSettings | Cause::SettingsWarning => (),
        _ if finding.only_with.is_some() => {
            line(
                "fix",
                &format!("{}; `check --settings FILE` tests only your settings", entry.fix),
            );
        }
        _ => line("fix", entry.fix),
    }
    if let Some(places) = report.places(finding) {
        line("where", &places);
    }
    if let Some(response) = &finding.response {
        line("response", response);
    }
    if severity != Severity::Warning && !finding.results.is_empty() {
        line("KAZOO", &kazoo_text(finding, secrets));
    }
}

/// Describes what KAZOO shows the administrator.
fn kazoo_text(finding: &Finding, secrets: &Secrets) -> String {
    match &finding.save_result {
        Some(SaveResult::Refused { status, body }) => {
            let mut body = without_secrets(body, secrets).to_string();
            // The line above already contains the server's message.
            let response = finding.response.as_deref().unwrap_or_default();
            if let Some((_, message)) = response
                .split_once(OUR_MESSAGE)
                .filter(|(_, message)| !message.is_empty())
            {
                body = body.replace(message, "…");
            }
            format!("refuses to save the settings: {status} {body}")
        }
        Some(SaveResult::Crashed) => {
            "crashes when it saves the settings, and shows an error 500 without a reason".to_owned()
        }
        Some(SaveResult::Waiting) => "waits when it saves the settings, and shows nothing".to_owned(),
        Some(_) => "saves the settings without an error, and files are lost".to_owned(),
        None => "saves the settings, and fails on such files later".to_owned(),
    }
}

fn verdict(report: &Report) -> String {
    let verdict = match report.severity() {
        Some(Severity::Unreachable) => "could not be reached",
        Some(Severity::Failure) => "does not work with KAZOO",
        Some(Severity::Warning) | None => "works with KAZOO",
    };
    let mut text = format!("{} {verdict} ({:.1} s", report.target, report.took.as_secs_f64());
    if report.results.len() > 1 {
        let _ = write!(text, ", {} scenarios", report.results.len());
    }
    if report.severity() != Some(Severity::Unreachable) && report.ended_at_probe() {
        let _ = write!(text, ", stopped at {PROBE}");
    }
    text.push_str(")\n");
    if report.severity() == Some(Severity::Failure) && !report.is_complete() {
        text.push_str("The remaining scenarios were skipped, because they would fail in the same way\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_only_on_terminals_that_support_them() {
        let mark = |terminal, no_color: Option<&str>, term: &str| {
            Paint::of(terminal, no_color.map(OsStr::new), Some(OsStr::new(term))).mark(true)
        };
        assert_eq!(mark(true, None, "xterm"), "\x1b[32m✓\x1b[0m");
        assert_eq!(mark(true, Some(""), "xterm"), "\x1b[32m✓\x1b[0m");
        for (terminal, no_color, term) in [
            (false, None, "xterm"),
            (true, Some("1"), "xterm"),
            (true, Some("0"), "xterm"),
            (true, None, "dumb"),
        ] {
            assert_eq!(mark(terminal, no_color, term), "✓");
        }
    }
}
