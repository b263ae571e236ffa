//! The report for whoever reads it.

use std::{
    env,
    ffi::OsStr,
    fmt::Write as _,
    io::{self, IsTerminal as _},
};

use kazoo_storage_client::{Dialect, Shown};

use super::{
    answer::OURS,
    cause::{Cause, Severity},
    report::{Finding, Report, without},
    secrets::Secrets,
    trial::{PROBE, Trial},
};

/// Escape sequences, where there is a terminal that wants them.
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

/// The report as text.
pub(crate) fn text(report: &Report, secrets: &Secrets) -> String {
    let paint = Paint::new();
    let mut text = String::new();
    let dialects: Vec<_> = report.dialects().collect();
    let releases = Dialect::ALL.iter().map(|dialect| dialect.releases.len());
    let width = releases.max().unwrap_or_default();
    for (dialect, trials) in dialects
        .iter()
        .filter(|_| report.severity() != Some(Severity::Unreachable))
    {
        let works = trials.iter().all(|trial| report.is_content(trial));
        let ways = ways(trials, &paint);
        let _ = writeln!(text, "{} {:width$}  {ways}", paint.mark(works), dialect.releases);
    }
    for (dialect, why) in &report.ways.left_out {
        let _ = writeln!(text, "- {:width$}  {why}", dialect.releases);
    }
    for finding in &report.findings {
        text.push('\n');
        finding_text(&mut text, report, finding, secrets, &paint);
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&last(report));
    text
}

/// What may fail by the settings themselves.
pub(crate) fn warnings(report: &Report, secrets: &Secrets) -> String {
    let mut text = String::new();
    for finding in report.findings.iter().filter(|finding| finding.trials.is_empty()) {
        finding_text(&mut text, report, finding, secrets, &Paint::new());
        text.push('\n');
    }
    text
}

/// `PUT raw ✓ multipart ✓, POST raw ✗`
fn ways(trials: &[&Trial], paint: &Paint) -> String {
    let verbs = ["PUT", "POST"].into_iter().filter_map(|verb| {
        let of_verb = trials.iter().filter(|trial| trial.way.verb == verb);
        let bodies: Vec<String> = of_verb
            .map(|trial| format!("{} {}", trial.way.sends, paint.mark(trial.works())))
            .collect();
        (!bodies.is_empty()).then(|| format!("{verb} {}", bodies.join(" ")))
    });
    verbs.collect::<Vec<_>>().join("  ")
}

fn finding_text(text: &mut String, report: &Report, finding: &Finding, secrets: &Secrets, paint: &Paint) {
    let entry = finding.cause.entry();
    let severity = finding.severity();
    let (label, code) = match severity {
        Severity::Unreachable => ("cannot be tried", "1;31"),
        Severity::Failure => ("does not work", "1;31"),
        Severity::Warning => ("warning", "1;33"),
    };
    let is = match (&finding.text, finding.only_with) {
        // These say it all.
        (Some(said), _) if finding.cause == Cause::Warning => said.clone(),
        (Some(said), _) if finding.cause == Cause::NoPlan => format!("{said} [{}]", entry.id),
        (Some(said), _) => format!("{}: {said} [{}]", entry.is, entry.id),
        (None, Some(settings)) => {
            format!("fails only with {settings}: {} [{}]", entry.is, entry.id)
        }
        (None, None) => format!("{} [{}]", entry.is, entry.id),
    };
    let _ = writeln!(text, "{}: {is}", paint.with(code, label));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:9}{value}");
    };
    match finding.cause {
        Cause::Settings | Cause::Warning => (),
        _ if finding.only_with.is_some() => {
            line(
                "change",
                &format!("{}; `check --settings FILE` tries what yours have", entry.change),
            );
        }
        _ => line("change", entry.change),
    }
    if let Some(places) = report.places(finding) {
        line("where", &places);
    }
    if let Some(answered) = &finding.answered {
        line("answer", answered);
    }
    if severity != Severity::Warning && !finding.trials.is_empty() {
        line("KAZOO", &shown(finding, secrets));
    }
}

/// What KAZOO shows the administrator.
fn shown(finding: &Finding, secrets: &Secrets) -> String {
    match &finding.shown {
        Some(Shown::Refused { status, body }) => {
            let mut body = without(body, secrets).to_string();
            // What stands in the line above already.
            let answered = finding.answered.as_deref().unwrap_or_default();
            if let Some((_, message)) = answered.split_once(OURS).filter(|(_, message)| !message.is_empty()) {
                body = body.replace(message, "…");
            }
            format!("shows on saving the settings: {status} {body}")
        }
        Some(Shown::Crashed) => "crashes on saving the settings, and shows an error 500 that says nothing".to_owned(),
        Some(Shown::Waiting) => "waits on saving the settings, and shows nothing".to_owned(),
        Some(_) => "saves the settings without a word, and files are lost".to_owned(),
        None => "saves the settings, and fails on such files later".to_owned(),
    }
}

fn last(report: &Report) -> String {
    let verdict = match report.severity() {
        Some(Severity::Unreachable) => "could not be tried",
        Some(Severity::Failure) => "does not do what KAZOO needs",
        Some(Severity::Warning) | None => "does what KAZOO needs",
    };
    let mut last = format!("{} {verdict} ({:.1} s", report.target, report.took.as_secs_f64());
    if report.trials.len() > 1 {
        let _ = write!(last, ", {} ways to send a file", report.trials.len());
    }
    if report.severity() != Some(Severity::Unreachable) && report.ended_at_probe() {
        let _ = write!(last, ", tried up to {PROBE}");
    }
    last.push_str(")\n");
    if report.severity() == Some(Severity::Failure) && !report.is_whole() {
        last.push_str("The rest was not tried: it would have gone the same way\n");
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_terminal_that_wants_them_gets_escape_sequences() {
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
