//! [`Report`]: the findings of a check, one for each cause.

use std::{collections::BTreeSet, time::Duration};

use kazoo_storage_client::{Dialect, SaveResult};
use serde_json::{Value, json};

use super::{
    cause::{Cause, Severity},
    leftovers::Leftovers,
    runner::{PROBE, Problem, ScenarioReport},
    scenario::{BodyForm, Scenarios},
    secrets::Secrets,
};

/// The results of a check.
#[derive(Debug)]
pub(crate) struct Report {
    /// Scheme, host and port.
    pub(crate) target: String,
    pub(crate) account: String,
    /// The results of the scenarios that ran.
    pub(crate) results: Vec<ScenarioReport>,
    pub(crate) scenarios: Scenarios,
    pub(crate) findings: Vec<Finding>,
    pub(crate) leftovers: Leftovers,
    pub(crate) took: Duration,
}

/// A cause and all places where it was found.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) cause: Cause,
    /// The problem of the settings, in words.
    pub(crate) detail: Option<String>,
    pub(crate) response: Option<String>,
    pub(crate) save_result: Option<SaveResult>,
    /// Indexes of the results with this cause.
    pub(crate) results: Vec<usize>,
    /// The steps that failed.
    pub(crate) steps: BTreeSet<&'static str>,
    /// The settings without which the finding does not matter, if only the URL of the settings is known.
    pub(crate) only_with: Option<&'static str>,
}

impl Finding {
    /// Creates a finding about the settings themselves.
    pub(crate) fn of_settings(cause: Cause, detail: impl Into<String>) -> Self {
        Self {
            cause,
            detail: Some(detail.into()),
            response: None,
            save_result: None,
            results: Vec::new(),
            steps: BTreeSet::new(),
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

/// Groups the problems of all results by cause.
pub(crate) fn findings(results: &[ScenarioReport], scenarios: &Scenarios) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for (number, result) in results.iter().enumerate() {
        for problem in &result.problems {
            let Problem {
                cause,
                step,
                response,
                save_result,
            } = problem.clone();
            match findings.iter_mut().find(|finding| finding.cause == cause) {
                Some(finding) => {
                    if finding.results.last() != Some(&number) {
                        finding.results.push(number);
                    }
                    finding.steps.insert(step);
                    // A refusal with a reason is more useful than one without.
                    let has_reason = |result: &Option<SaveResult>| matches!(result, Some(SaveResult::Refused { .. }));
                    if finding.save_result.is_none() || (has_reason(&save_result) && !has_reason(&finding.save_result))
                    {
                        finding.save_result = save_result;
                    }
                }
                None => findings.push(Finding {
                    cause,
                    detail: None,
                    response,
                    save_result,
                    results: vec![number],
                    steps: [step].into(),
                    only_with: None,
                }),
            }
        }
    }
    // Scenarios that did not run might have failed too, whatever the settings.
    if scenarios.url_only && results.len() == scenarios.all.len() {
        for finding in &mut findings {
            finding.only_with = only_with(finding, results);
        }
    }
    findings.sort_by_key(|finding| (finding.severity(), finding.cause));
    findings
}

/// Returns the settings without which `finding` would not occur: those of a body form that fails in every scenario.
fn only_with(finding: &Finding, results: &[ScenarioReport]) -> Option<&'static str> {
    if !finding.cause.depends_on_body_form() {
        return None;
    }
    let fails = |form: BodyForm| {
        let of_form = || {
            results
                .iter()
                .enumerate()
                .filter(|(_, result)| result.scenario.body_form == form)
        };
        of_form().any(|(number, _)| finding.results.contains(&number)) && !of_form().any(|(_, result)| result.works())
    };
    match (fails(BodyForm::Multipart), fails(BodyForm::Base64)) {
        (true, true) => Some("`send_multipart`"),
        (true, false) => Some("`send_multipart` without `base64_encode_data`"),
        (false, true) => Some("`base64_encode_data`"),
        (false, false) => None,
    }
}

impl Report {
    /// Returns the worst severity.
    pub(crate) fn severity(&self) -> Option<Severity> {
        self.findings.iter().map(Finding::severity).min()
    }

    /// Returns the exit status of the command.
    pub(crate) fn exit(&self) -> u8 {
        match self.severity() {
            Some(Severity::Unreachable) => 2,
            Some(Severity::Failure) => 1,
            Some(Severity::Warning) | None => 0,
        }
    }

    /// Returns `true` if every scenario ran.
    pub(crate) fn is_complete(&self) -> bool {
        self.results.len() == self.scenarios.all.len()
    }

    /// Returns `true` if `result` has no failure, but at most warnings.
    pub(crate) fn passes(&self, result: &ScenarioReport) -> bool {
        let fails = |cause: Cause| {
            let finding = self.findings.iter().find(|finding| finding.cause == cause);
            finding.is_none_or(|finding| finding.severity() != Severity::Warning)
        };
        !result.problems.iter().any(|problem| fails(problem.cause))
    }

    /// Returns `true` if no scenario got past the credentials probe.
    pub(crate) fn ended_at_probe(&self) -> bool {
        let ended =
            |result: &ScenarioReport| !result.works() && result.problems.iter().all(|problem| problem.step == PROBE);
        !self.results.is_empty() && self.results.iter().all(ended)
    }

    /// Returns the releases, oldest first, each with its results.
    pub(crate) fn dialects(&self) -> impl Iterator<Item = (&'static Dialect, Vec<&ScenarioReport>)> {
        Dialect::ALL.iter().filter_map(|dialect| {
            let of_dialect = |result: &&ScenarioReport| result.scenario.dialect == dialect;
            let results: Vec<&ScenarioReport> = self.results.iter().filter(of_dialect).collect();
            (!results.is_empty()).then_some((dialect, results))
        })
    }

    /// Describes where `finding` occurred: releases, verbs, body forms and steps.
    pub(crate) fn places(&self, finding: &Finding) -> Option<String> {
        if finding.results.is_empty() {
            return None;
        }
        let affected = || finding.results.iter().filter_map(|number| self.results.get(*number));
        let releases: Vec<&str> = Dialect::ALL
            .iter()
            .filter(|dialect| affected().any(|result| result.scenario.dialect == *dialect))
            .map(|dialect| dialect.releases)
            .collect();
        let mut places = if finding.results.len() == self.results.len() {
            vec!["everywhere".to_owned()]
        } else {
            let mut places = vec![releases.join("; ")];
            for property in [
                |result: &ScenarioReport| result.scenario.verb.to_owned(),
                |result: &ScenarioReport| result.scenario.body_form.to_string(),
            ] {
                let all: BTreeSet<String> = self.results.iter().map(property).collect();
                let here: BTreeSet<String> = affected().map(property).collect();
                if here != all {
                    places.push(here.into_iter().collect::<Vec<_>>().join(", "));
                }
            }
            places
        };
        places.push(finding.steps.iter().copied().collect::<Vec<_>>().join(", "));
        Some(places.join(" | "))
    }

    /// Returns the report as a JSON object.
    pub(crate) fn json(&self, secrets: &Secrets) -> Value {
        let dialects: Vec<Value> = self
            .dialects()
            .map(|(dialect, results)| {
                let scenarios = results.iter().map(|result| {
                    let (verb, body) = (result.scenario.verb, result.scenario.body_form.to_string());
                    json!({"verb": verb, "body": body, "works": result.works()})
                });
                json!({"name": dialect.name, "releases": dialect.releases, "scenarios": scenarios.collect::<Vec<_>>()})
            })
            .collect();
        let skipped = self.scenarios.skipped.iter();
        let skipped = skipped.map(|(dialect, reason)| json!({"name": dialect.name, "reason": reason}));
        let findings = self.findings.iter().map(|finding| {
            let entry = finding.cause.entry();
            json!({
                "cause": entry.id,
                "severity": finding.severity().as_str(),
                "only_with": finding.only_with,
                "problem": entry.problem,
                "detail": finding.detail,
                "where": self.places(finding),
                "response": finding.response,
                "kazoo": finding.save_result.as_ref().map(|result| save_result_json(result, secrets)),
                "fix": entry.fix,
            })
        });
        json!({
            "target": self.target,
            "exit": self.exit(),
            "complete": self.is_complete(),
            "account": self.account,
            "seconds": self.took.as_secs_f64(),
            "dialects": dialects,
            "skipped": skipped.collect::<Vec<_>>(),
            "findings": findings.collect::<Vec<_>>(),
            "leftovers": self.leftovers.keys().collect::<Vec<_>>(),
            "removed": self.leftovers.removed(),
        })
    }
}

fn save_result_json(result: &SaveResult, secrets: &Secrets) -> Value {
    match result {
        SaveResult::Refused { status, body } => json!({"status": status, "body": without_secrets(body, secrets)}),
        SaveResult::Crashed => json!({"status": 500}),
        _ => Value::Null,
    }
}

/// Returns `body`, which may repeat texts of the server, without `secrets`.
pub(crate) fn without_secrets(body: &Value, secrets: &Secrets) -> Value {
    match body {
        Value::String(text) => secrets.hide(text).into(),
        Value::Array(list) => list.iter().map(|value| without_secrets(value, secrets)).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), without_secrets(value, secrets)))
            .collect(),
        other => other.clone(),
    }
}
