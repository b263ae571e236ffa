//! [`Report`]: what was found, one cause once.

use std::{collections::BTreeSet, time::Duration};

use kazoo_storage_client::{Dialect, Shown};
use serde_json::{Value, json};

use super::{
    cause::{Cause, Severity},
    leftovers::Leftovers,
    secrets::Secrets,
    trial::{PROBE, Problem, Trial},
    way::{Sends, Ways},
};

/// Everything that there is to say.
#[derive(Debug)]
pub(crate) struct Report {
    /// Scheme, host and port.
    pub(crate) target: String,
    pub(crate) account: String,
    pub(crate) trials: Vec<Trial>,
    pub(crate) ways: Ways,
    pub(crate) findings: Vec<Finding>,
    pub(crate) leftovers: Leftovers,
    pub(crate) took: Duration,
}

/// One cause, wherever it was seen.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) cause: Cause,
    /// What is to be said besides.
    pub(crate) text: Option<String>,
    pub(crate) answered: Option<String>,
    pub(crate) shown: Option<Shown>,
    /// Which of the trials it was seen in.
    pub(crate) trials: Vec<usize>,
    /// What was tried there.
    pub(crate) what: BTreeSet<&'static str>,
    /// The settings that it does not matter without, where it is not known whether there are any.
    pub(crate) only_with: Option<&'static str>,
}

impl Finding {
    /// What was read out of the settings alone.
    pub(crate) fn of_settings(cause: Cause, text: impl Into<String>) -> Self {
        Self {
            cause,
            text: Some(text.into()),
            answered: None,
            shown: None,
            trials: Vec::new(),
            what: BTreeSet::new(),
            only_with: None,
        }
    }

    pub(crate) fn severity(&self) -> Severity {
        match self.only_with {
            Some(_) => Severity::Warning,
            None => self.cause.severity(),
        }
    }
}

/// One finding for each cause.
pub(crate) fn findings(trials: &[Trial], ways: &Ways) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for (number, trial) in trials.iter().enumerate() {
        for problem in &trial.problems {
            let Problem {
                cause,
                what,
                answered,
                shown,
            } = problem.clone();
            match findings.iter_mut().find(|finding| finding.cause == cause) {
                Some(finding) => {
                    if finding.trials.last() != Some(&number) {
                        finding.trials.push(number);
                    }
                    finding.what.insert(what);
                    // What an administrator is told is more than that he is told nothing.
                    let tells = |shown: &Option<Shown>| matches!(shown, Some(Shown::Refused { .. }));
                    if finding.shown.is_none() || (tells(&shown) && !tells(&finding.shown)) {
                        finding.shown = shown;
                    }
                }
                None => findings.push(Finding {
                    cause,
                    text: None,
                    answered,
                    shown,
                    trials: vec![number],
                    what: [what].into(),
                    only_with: None,
                }),
            }
        }
    }
    // What was not tried might have failed in the same way, whatever the settings.
    if ways.by_url && trials.len() == ways.tried.len() {
        for finding in &mut findings {
            finding.only_with = only_with(finding, trials);
        }
    }
    findings.sort_by_key(|finding| (finding.severity(), finding.cause));
    findings
}

/// The settings without which `finding` would not be there: of what is about the form of a body, if none of that form works.
fn only_with(finding: &Finding, trials: &[Trial]) -> Option<&'static str> {
    if !finding.cause.is_of_form() {
        return None;
    }
    let fails = |sends: Sends| {
        let of_form = || trials.iter().enumerate().filter(|(_, trial)| trial.way.sends == sends);
        of_form().any(|(number, _)| finding.trials.contains(&number)) && !of_form().any(|(_, trial)| trial.works())
    };
    match (fails(Sends::Multipart), fails(Sends::Base64)) {
        (true, true) => Some("`send_multipart`"),
        (true, false) => Some("`send_multipart` without `base64_encode_data`"),
        (false, true) => Some("`base64_encode_data`"),
        (false, false) => None,
    }
}

impl Report {
    /// The worst that was found.
    pub(crate) fn severity(&self) -> Option<Severity> {
        self.findings.iter().map(Finding::severity).min()
    }

    /// What the command exits with.
    pub(crate) fn exit(&self) -> u8 {
        match self.severity() {
            Some(Severity::Unreachable) => 2,
            Some(Severity::Failure) => 1,
            Some(Severity::Warning) | None => 0,
        }
    }

    /// Whether everything was tried that could be.
    pub(crate) fn is_whole(&self) -> bool {
        self.trials.len() == self.ways.tried.len()
    }

    /// Whether nothing of `trial` is in the way of a storage that does what KAZOO needs.
    pub(crate) fn is_content(&self, trial: &Trial) -> bool {
        let fails = |cause: Cause| {
            let finding = self.findings.iter().find(|finding| finding.cause == cause);
            finding.is_none_or(|finding| finding.severity() != Severity::Warning)
        };
        !trial.problems.iter().any(|problem| fails(problem.cause))
    }

    /// Whether no way got further than the test of the credentials.
    pub(crate) fn ended_at_probe(&self) -> bool {
        let ended = |trial: &Trial| !trial.works() && trial.problems.iter().all(|problem| problem.what == PROBE);
        !self.trials.is_empty() && self.trials.iter().all(ended)
    }

    /// The releases, oldest first, each with how it went.
    pub(crate) fn dialects(&self) -> impl Iterator<Item = (&'static Dialect, Vec<&Trial>)> {
        Dialect::ALL.iter().filter_map(|dialect| {
            let of_it = |trial: &&Trial| trial.way.dialect == dialect;
            let trials: Vec<&Trial> = self.trials.iter().filter(of_it).collect();
            (!trials.is_empty()).then_some((dialect, trials))
        })
    }

    /// Where `finding` was seen, in words.
    pub(crate) fn places(&self, finding: &Finding) -> Option<String> {
        if finding.trials.is_empty() {
            return None;
        }
        let seen = || finding.trials.iter().filter_map(|number| self.trials.get(*number));
        let releases: Vec<&str> = Dialect::ALL
            .iter()
            .filter(|dialect| seen().any(|trial| trial.way.dialect == *dialect))
            .map(|dialect| dialect.releases)
            .collect();
        let mut places = if finding.trials.len() == self.trials.len() {
            vec!["everywhere".to_owned()]
        } else {
            let mut places = vec![releases.join("; ")];
            for of in [
                |trial: &Trial| trial.way.verb.to_owned(),
                |trial: &Trial| trial.way.sends.to_string(),
            ] {
                let all: BTreeSet<String> = self.trials.iter().map(of).collect();
                let here: BTreeSet<String> = seen().map(of).collect();
                if here != all {
                    places.push(here.into_iter().collect::<Vec<_>>().join(", "));
                }
            }
            places
        };
        places.push(finding.what.iter().copied().collect::<Vec<_>>().join(", "));
        Some(places.join(" | "))
    }

    /// The report as one object.
    pub(crate) fn json(&self, secrets: &Secrets) -> Value {
        let dialects: Vec<Value> = self
            .dialects()
            .map(|(dialect, trials)| {
                let ways = trials.iter().map(|trial| {
                    json!({"verb": trial.way.verb, "body": trial.way.sends.to_string(), "works": trial.works()})
                });
                json!({"name": dialect.name, "releases": dialect.releases, "ways": ways.collect::<Vec<_>>()})
            })
            .collect();
        let left_out = self.ways.left_out.iter();
        let left_out = left_out.map(|(dialect, why)| json!({"name": dialect.name, "why": why}));
        let findings = self.findings.iter().map(|finding| {
            let entry = finding.cause.entry();
            json!({
                "cause": entry.id,
                "severity": severity(finding.severity()),
                "only_with": finding.only_with,
                "is": entry.is,
                "text": finding.text,
                "where": self.places(finding),
                "answered": finding.answered,
                "shown": finding.shown.as_ref().map(|shown| shown_json(shown, secrets)),
                "change": entry.change,
            })
        });
        json!({
            "target": self.target,
            "exit": self.exit(),
            "whole": self.is_whole(),
            "account": self.account,
            "seconds": self.took.as_secs_f64(),
            "dialects": dialects,
            "left_out": left_out.collect::<Vec<_>>(),
            "findings": findings.collect::<Vec<_>>(),
            "left_behind": self.leftovers.keys().collect::<Vec<_>>(),
            "removed": self.leftovers.removed(),
        })
    }
}

/// A word for it.
pub(crate) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Unreachable => "unreachable",
        Severity::Failure => "failure",
        Severity::Warning => "warning",
    }
}

fn shown_json(shown: &Shown, secrets: &Secrets) -> Value {
    match shown {
        Shown::Refused { status, body } => json!({"status": status, "body": without(body, secrets)}),
        Shown::Crashed => json!({"status": 500}),
        _ => Value::Null,
    }
}

/// `body`, whose texts may be the server's, without `secrets`.
pub(crate) fn without(body: &Value, secrets: &Secrets) -> Value {
    match body {
        Value::String(text) => secrets.hide(text).into(),
        Value::Array(list) => list.iter().map(|value| without(value, secrets)).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| {
                // The names at the top are KAZOO's own, and those of an answer are shown with their texts.
                (name.clone(), without(value, secrets))
            })
            .collect(),
        other => other.clone(),
    }
}
