//! [`Runner`]: stores and fetches files in each scenario, and collects the [`Problem`]s.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, StatusCode, header};
use kazoo_storage::Result;
use kazoo_storage_client::{Attachment, Client, Dialect, Failure, FailureKind, FetchedFile, SaveResult, StoredFile};
use tokio::time::sleep;

use super::{
    cause::{Cause, Severity},
    diagnose::{self, Context, StoredUrlFetch},
    leftovers::Leftovers,
    response::{describe, describe_failure},
    sample::{Quirk, SAMPLES, Sample, attachment, document},
    scenario::{Scenario, Scenarios},
    secrets::Secrets,
};

/// Placeholder for the id of the handler, which only KAZOO knows.
const HANDLER: &str = "HANDLER_ID";

/// The description of the first step of each scenario.
pub(crate) const PROBE: &str = "the credentials probe";

/// A deviation from what KAZOO needs.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) cause: Cause,
    /// The tested step, in words.
    pub(crate) step: &'static str,
    /// The response, in words.
    pub(crate) response: Option<String>,
    /// The response that KAZOO shows an administrator who saves the settings.
    pub(crate) save_result: Option<SaveResult>,
}

impl Problem {
    fn new(step: &'static str, (cause, response): (Cause, Option<String>)) -> Self {
        Self {
            cause,
            step,
            response,
            save_result: None,
        }
    }
}

/// The result of one scenario.
#[derive(Debug)]
pub(crate) struct ScenarioReport {
    pub(crate) scenario: Scenario,
    pub(crate) problems: Vec<Problem>,
}

impl ScenarioReport {
    pub(crate) fn works(&self) -> bool {
        let warns = |problem: &Problem| problem.cause.severity() == Severity::Warning;
        self.problems.iter().all(warns)
    }
}

/// The steps of a scenario to run.
#[derive(Clone, Copy)]
enum Extent {
    Everything,
    Probe,
}

/// Runs scenarios one after the other.
pub(crate) struct Runner<'a> {
    pub(crate) client: Client,
    pub(crate) account: &'a str,
    pub(crate) large: usize,
    pub(crate) secrets: &'a Secrets,
    pub(crate) by_query: bool,
    /// Digests of the contents stored under each name.
    pub(crate) sent: HashSet<u64>,
    /// The files that the server stored.
    pub(crate) leftovers: Leftovers,
    /// `true` if the server is kazoo-storage.
    pub(crate) is_ours: bool,
    /// `true` if the URL works as written.
    pub(crate) works_as_written: bool,
    /// The seed of the next content.
    pub(crate) token: u64,
}

impl Runner<'_> {
    /// Runs all scenarios, up to the first after which the others are pointless.
    pub(crate) async fn all(&mut self, scenarios: &Scenarios, idle: Duration) -> Result<Vec<ScenarioReport>> {
        let mut results = self.each(scenarios, Extent::Everything).await?;
        let hopeless = results.last().is_some_and(|last| is_hopeless(&last.problems));
        let working = results.iter_mut().rev().find(|result| result.works());
        if let Some(last) = working.filter(|_| !hopeless && !idle.is_zero()) {
            last.problems.extend(self.idle(&last.scenario, idle).await?);
        }
        Ok(results)
    }

    /// Runs the credentials probe of all scenarios.
    pub(crate) async fn probes(&mut self, scenarios: &Scenarios) -> Result<Vec<ScenarioReport>> {
        self.each(scenarios, Extent::Probe).await
    }

    async fn each(&mut self, scenarios: &Scenarios, extent: Extent) -> Result<Vec<ScenarioReport>> {
        let mut results = Vec::new();
        for scenario in &scenarios.all {
            let problems = match extent {
                Extent::Everything => self.scenario(scenario).await?,
                Extent::Probe => self.probe(scenario).await?,
            };
            let hopeless = is_hopeless(&problems);
            let result = ScenarioReport {
                scenario: scenario.clone(),
                problems,
            };
            self.works_as_written |= result.works() && !scenario.dialect.normalizes_url;
            results.push(result);
            if hopeless {
                break;
            }
        }
        Ok(results)
    }

    async fn scenario(&mut self, scenario: &Scenario) -> Result<Vec<Problem>> {
        let mut problems = self.probe(scenario).await?;
        for (number, sample) in SAMPLES.iter().enumerate() {
            // If the file without a quirk fails, the others would fail for the same reason.
            let is_plain = number <= 1;
            if is_plain
                && problems
                    .iter()
                    .any(|problem| problem.cause.severity() != Severity::Warning)
            {
                return Ok(problems);
            }
            problems.extend(self.sample(scenario, sample).await?);
        }
        problems.extend(self.missing(scenario).await?);
        Ok(problems)
    }

    /// Runs the credentials probe that KAZOO makes before it saves the settings.
    async fn probe(&mut self, scenario: &Scenario) -> Result<Vec<Problem>> {
        let probe = self
            .client
            .probe(scenario.dialect, &scenario.handler, self.account, HANDLER)
            .await?;
        let context = self.context(scenario, Quirk::None);
        if let Ok(stored) = &probe.stored {
            self.leftovers.probed(scenario, &stored.url, &probe.attachment);
        }
        let judged = self.judge(
            scenario,
            context,
            &probe.attachment,
            &probe.stored,
            probe.fetched.as_ref(),
        );
        let problem = judged.await.map(|found| Problem {
            save_result: (found.0.severity() != Severity::Warning).then_some(probe.result),
            ..Problem::new(PROBE, found)
        });
        Ok(problem.into_iter().collect())
    }

    async fn sample(&mut self, scenario: &Scenario, sample: &'static Sample) -> Result<Option<Problem>> {
        self.token = self.token.wrapping_add(2);
        let file = attachment(sample, self.account, self.large, self.token)?;
        let mut context = self.context(scenario, sample.quirk);
        let mut stored = scenario.store(&mut self.client, &file).await;
        if sample.stored_twice && stored.is_ok() {
            context.repeated = true;
            stored = scenario.store(&mut self.client, &file).await;
        }
        let fetched = match &stored {
            Ok(stored) if !stored.is_lost() => Some(scenario.fetch(&mut self.client, &stored.url, &file).await),
            _ => None,
        };
        if let Ok(stored) = &stored {
            self.leftovers.stored(scenario, &stored.url, &file);
            self.sent.insert(digest(&file, file.content()));
        }
        let judged = self.judge(scenario, context, &file, &stored, fetched.as_ref()).await;
        Ok(judged.map(|found| Problem::new(sample.description, found)))
    }

    /// Fetches a file that was never stored.
    async fn missing(&mut self, scenario: &Scenario) -> Result<Option<Problem>> {
        let number = usize::try_from(self.token >> 16).unwrap_or(usize::MAX);
        let file = Attachment::new(self.account, document(number, "")?, "never-stored.mp3", Bytes::new());
        let url = scenario.url_of(&file);
        let found = match scenario.fetch(&mut self.client, &url, &file).await {
            Ok(fetched) => (Cause::MissingFileFound, Some(describe(&fetched.answer, self.secrets))),
            Err(failure) => {
                let status = failure.answer().map(http::Response::status);
                self.is_ours |= failure.answer().and_then(diagnose::our_error).is_some();
                let response = describe_failure(&failure, self.secrets);
                match (failure.kind(), status) {
                    (FailureKind::Refused, Some(StatusCode::NOT_FOUND)) => return Ok(None),
                    (FailureKind::Refused, _) => (Cause::MissingNot404, response),
                    _ => (
                        diagnose::fetch(&failure, self.context(scenario, Quirk::None), StoredUrlFetch::Failed),
                        response,
                    ),
                }
            }
        };
        Ok(Some(Problem::new("a file that was never stored", found)))
    }

    /// Tests whether the connection stays open as long as KAZOO may reuse it.
    async fn idle(&mut self, scenario: &Scenario, idle: Duration) -> Result<Option<Problem>> {
        let Some(sample) = SAMPLES.first() else {
            return Ok(None);
        };
        let file = attachment(sample, self.account, 0, self.token)?;
        let url = scenario.url_of(&file);
        let fetched = scenario.fetch(&mut self.client, &url, &file).await;
        let answer = match &fetched {
            Ok(fetched) => Some(&fetched.answer),
            Err(failure) => failure.answer(),
        };
        // Closing is harmless if the response announces it.
        let is_close = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"close");
        let closes = answer.is_none_or(|answer| answer.headers().get(header::CONNECTION).is_some_and(is_close));
        sleep(idle).await;
        let is_cut = !closes && !self.client.is_connected(&url);
        Ok(is_cut.then(|| Problem::new("an idle connection", (Cause::IdleTimeoutTooShort, None))))
    }

    fn context(&self, scenario: &Scenario, quirk: Quirk) -> Context {
        Context {
            quirk,
            by_query: self.by_query,
            normalized: self.works_as_written && scenario.normalizes_url(),
            ..Context::of(scenario)
        }
    }

    /// Returns the cause and the response if storing or fetching `file` failed.
    async fn judge(
        &mut self,
        scenario: &Scenario,
        context: Context,
        file: &Attachment,
        stored: &Result<StoredFile, Failure>,
        fetched: Option<&Result<FetchedFile, Failure>>,
    ) -> Option<(Cause, Option<String>)> {
        let secrets = self.secrets;
        let stored = match stored {
            Ok(stored) => stored,
            Err(failure) => return Some((diagnose::store(failure, context), describe_failure(failure, secrets))),
        };
        if let Some(redirect) = stored.history.redirects.last().filter(|_| stored.is_lost()) {
            return Some((Cause::RedirectedPost, Some(redirected(redirect))));
        }
        match fetched? {
            Ok(fetched) if fetched.content == file.content() => {
                let put = stored.history.redirects.last();
                let put = put.filter(|redirect| redirect.method == Method::PUT)?;
                Some((Cause::RedirectedPut, Some(redirected(put))))
            }
            Ok(fetched) => {
                let at_stored_url = self.fetch_at_stored_url(scenario, stored, file).await;
                let is_older = self.sent.contains(&digest(file, &fetched.content));
                let cause = diagnose::content(file.content(), fetched, is_older, context, at_stored_url);
                Some((cause, Some(describe(&fetched.answer, secrets))))
            }
            Err(failure) => {
                let at_stored_url = self.fetch_at_stored_url(scenario, stored, file).await;
                let cause = diagnose::fetch(failure, context, at_stored_url);
                Some((cause, describe_failure(failure, secrets)))
            }
        }
    }

    /// Fetches `file` at the URL at which it was stored.
    async fn fetch_at_stored_url(
        &mut self,
        scenario: &Scenario,
        stored: &StoredFile,
        file: &Attachment,
    ) -> StoredUrlFetch {
        if scenario.dialect.fetch == Dialect::KAZOO_4_0.fetch {
            return StoredUrlFetch::Failed;
        }
        match self
            .client
            .fetch(&Dialect::KAZOO_4_0, &scenario.handler, &stored.url, file)
            .await
        {
            Ok(fetched) if fetched.content == file.content() => StoredUrlFetch::File,
            Ok(_) => StoredUrlFetch::OtherContent,
            Err(_) => StoredUrlFetch::Failed,
        }
    }
}

/// Returns `true` if further scenarios would fail in the same way.
fn is_hopeless(problems: &[Problem]) -> bool {
    problems.iter().any(|problem| {
        problem.cause.severity() == Severity::Unreachable
            || matches!(problem.cause, Cause::TimedOut | Cause::EndlessRetry)
    })
}

/// Returns a digest of `content` and the name of `file`.
fn digest(file: &Attachment, content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (file.name(), content).hash(&mut hasher);
    hasher.finish()
}

/// Describes a redirect without secrets.
fn redirected(redirect: &kazoo_storage_client::Redirect) -> String {
    format!("{}, to {}", redirect.status, redirect.to.origin())
}

/// Returns a random seed.
pub(crate) fn token() -> Result<u64, getrandom::Error> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}
