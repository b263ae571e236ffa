//! [`Trials`]: what is stored and fetched, and the [`Problem`]s with it.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, StatusCode, header};
use kazoo_storage::Result;
use kazoo_storage_client::{Attachment, Client, Dialect, Failure, FailureKind, Fetched, Shown, Stored};
use tokio::time::sleep;

use super::{
    answer::{describe, describe_failure},
    cause::{Cause, Severity},
    diagnose::{self, Context, Plain},
    leftovers::Leftovers,
    sample::{Odd, SAMPLES, Sample, attachment, document},
    secrets::Secrets,
    way::{Way, Ways},
};

/// What stands for the id of the handler, which only KAZOO knows.
const HANDLER: &str = "HANDLER_ID";

/// The name of what comes first in each way.
pub(crate) const PROBE: &str = "the test of the credentials";

/// Something that is not as KAZOO needs it.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) cause: Cause,
    /// What was tried, in words.
    pub(crate) what: &'static str,
    /// What was answered, in words.
    pub(crate) answered: Option<String>,
    /// What KAZOO shows whoever saves the settings.
    pub(crate) shown: Option<Shown>,
}

/// How one way went.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) way: Way,
    pub(crate) problems: Vec<Problem>,
}

impl Trial {
    pub(crate) fn works(&self) -> bool {
        let warns = |problem: &Problem| problem.cause.severity() == Severity::Warning;
        self.problems.iter().all(warns)
    }
}

/// How much of a way is tried.
#[derive(Clone, Copy)]
enum Extent {
    Everything,
    Probe,
}

/// Tries one way after the other.
pub(crate) struct Trials<'a> {
    pub(crate) client: Client,
    pub(crate) account: &'a str,
    pub(crate) large: usize,
    pub(crate) secrets: &'a Secrets,
    pub(crate) by_query: bool,
    /// Digests of what was stored under each name.
    pub(crate) sent: HashSet<u64>,
    /// The files that the server stored.
    pub(crate) leftovers: Leftovers,
    /// `true` if the server is kazoo-storage.
    pub(crate) is_ours: bool,
    /// `true` if the URL works as written.
    pub(crate) works_as_written: bool,
    /// Of which the next content is made.
    pub(crate) token: u64,
}

impl Trials<'_> {
    /// How all of them went, up to the first that says that nothing else makes sense.
    pub(crate) async fn all(&mut self, ways: &Ways, idle: Duration) -> Result<Vec<Trial>> {
        let mut trials = self.each(ways, Extent::Everything).await?;
        let hopeless = trials.last().is_some_and(|last| is_hopeless(&last.problems));
        let working = trials.iter_mut().rev().find(|trial| trial.works());
        if let Some(last) = working.filter(|_| !hopeless && !idle.is_zero()) {
            last.problems.extend(self.idle(&last.way, idle).await?);
        }
        Ok(trials)
    }

    /// How the test of the credentials goes in each of them.
    pub(crate) async fn probes(&mut self, ways: &Ways) -> Result<Vec<Trial>> {
        self.each(ways, Extent::Probe).await
    }

    async fn each(&mut self, ways: &Ways, extent: Extent) -> Result<Vec<Trial>> {
        let mut trials = Vec::new();
        for way in &ways.tried {
            let problems = match extent {
                Extent::Everything => self.way(way).await?,
                Extent::Probe => self.probe(way).await?,
            };
            let hopeless = is_hopeless(&problems);
            let trial = Trial {
                way: way.clone(),
                problems,
            };
            self.works_as_written |= trial.works() && !way.dialect.normalizes_url;
            trials.push(trial);
            if hopeless {
                break;
            }
        }
        Ok(trials)
    }

    async fn way(&mut self, way: &Way) -> Result<Vec<Problem>> {
        let mut problems = self.probe(way).await?;
        for (number, sample) in SAMPLES.iter().enumerate() {
            // What does not let the plainest file pass says nothing about the others.
            let is_plain = number <= 1;
            if is_plain
                && problems
                    .iter()
                    .any(|problem| problem.cause.severity() != Severity::Warning)
            {
                return Ok(problems);
            }
            problems.extend(self.sample(way, sample).await?);
        }
        problems.extend(self.missing(way).await?);
        Ok(problems)
    }

    /// The test of the credentials that KAZOO makes before it saves the settings.
    async fn probe(&mut self, way: &Way) -> Result<Vec<Problem>> {
        let trial = self
            .client
            .probe(way.dialect, &way.handler, self.account, HANDLER)
            .await?;
        let context = self.context(way, Odd::Nothing);
        if let Ok(stored) = &trial.stored {
            self.leftovers.probed(way, &stored.url, &trial.attachment);
        }
        let judged = self.judge(way, context, &trial.attachment, &trial.stored, trial.fetched.as_ref());
        let problem = judged.await.map(|(cause, answered)| Problem {
            cause,
            what: PROBE,
            answered,
            shown: (cause.severity() != Severity::Warning).then_some(trial.shown),
        });
        Ok(problem.into_iter().collect())
    }

    async fn sample(&mut self, way: &Way, sample: &'static Sample) -> Result<Vec<Problem>> {
        self.token = self.token.wrapping_add(2);
        let file = attachment(sample, self.account, self.large, self.token)?;
        let mut context = self.context(way, sample.odd);
        let mut stored = self.client.store(way.dialect, &way.handler, &file).await;
        if sample.twice && stored.is_ok() {
            context.again = true;
            stored = self.client.store(way.dialect, &way.handler, &file).await;
        }
        let fetched = match &stored {
            Ok(stored) if !stored.is_lost() => {
                Some(self.client.fetch(way.dialect, &way.handler, &stored.url, &file).await)
            }
            _ => None,
        };
        if let Ok(stored) = &stored {
            self.leftovers.stored(way, &stored.url, &file);
            self.sent.insert(digest(&file, file.content()));
        }
        let judged = self.judge(way, context, &file, &stored, fetched.as_ref()).await;
        let problem = judged.map(|(cause, answered)| Problem {
            cause,
            what: sample.what,
            answered,
            shown: None,
        });
        Ok(problem.into_iter().collect())
    }

    /// A fetch of what nobody has stored.
    async fn missing(&mut self, way: &Way) -> Result<Option<Problem>> {
        let number = usize::try_from(self.token >> 16).unwrap_or(usize::MAX);
        let file = Attachment::new(self.account, document(number, "")?, "never-stored.mp3", Bytes::new());
        let url = way.handler.url_of(way.dialect, &file);
        let (cause, answered) = match self.client.fetch(way.dialect, &way.handler, &url, &file).await {
            Ok(fetched) => (Cause::FoundAnything, Some(describe(&fetched.answer, self.secrets))),
            Err(failure) => {
                let status = failure.answer().map(http::Response::status);
                self.is_ours |= failure.answer().and_then(diagnose::our_error).is_some();
                let answered = describe_failure(&failure, self.secrets);
                match (failure.kind(), status) {
                    (FailureKind::Refused, Some(StatusCode::NOT_FOUND)) => return Ok(None),
                    (FailureKind::Refused, _) => (Cause::MissingNot404, answered),
                    _ => (
                        diagnose::fetch(&failure, self.context(way, Odd::Nothing), Plain::Nothing),
                        answered,
                    ),
                }
            }
        };
        Ok(Some(Problem {
            cause,
            what: "a file that was never stored",
            answered,
            shown: None,
        }))
    }

    /// Whether the connection stays as long as KAZOO wants to use it again.
    async fn idle(&mut self, way: &Way, idle: Duration) -> Result<Option<Problem>> {
        let Some(sample) = SAMPLES.first() else {
            return Ok(None);
        };
        let file = attachment(sample, self.account, 0, self.token)?;
        let url = way.handler.url_of(way.dialect, &file);
        let fetched = self.client.fetch(way.dialect, &way.handler, &url, &file).await;
        let answer = match &fetched {
            Ok(fetched) => Some(&fetched.answer),
            Err(failure) => failure.answer(),
        };
        // An answer that says so loses nothing.
        let is_close = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"close");
        let closes = answer.is_none_or(|answer| answer.headers().get(header::CONNECTION).is_some_and(is_close));
        sleep(idle).await;
        Ok((!closes && !self.client.is_connected(&url)).then_some(Problem {
            cause: Cause::IdleClosed,
            what: "a connection without a request",
            answered: None,
            shown: None,
        }))
    }

    fn context(&self, way: &Way, odd: Odd) -> Context {
        Context {
            sends: way.sends,
            odd,
            by_query: self.by_query,
            mangles: way.mangles(),
            rewritten: self.works_as_written && way.is_rewritten(),
            host: way.host(),
            again: false,
        }
    }

    /// What is wrong with how `file` was stored and fetched, and what was answered.
    async fn judge(
        &mut self,
        way: &Way,
        context: Context,
        file: &Attachment,
        stored: &Result<Stored, Failure>,
        fetched: Option<&Result<Fetched, Failure>>,
    ) -> Option<(Cause, Option<String>)> {
        let secrets = self.secrets;
        let stored = match stored {
            Ok(stored) => stored,
            Err(failure) => return Some((diagnose::store(failure, context), describe_failure(failure, secrets))),
        };
        if let Some(redirect) = stored.course.redirects.last().filter(|_| stored.is_lost()) {
            return Some((Cause::LostPost, Some(redirected(redirect))));
        }
        match fetched? {
            Ok(fetched) if fetched.content == file.content() => {
                let put = stored.course.redirects.last();
                let put = put.filter(|redirect| redirect.method == Method::PUT)?;
                Some((Cause::RedirectedPut, Some(redirected(put))))
            }
            Ok(fetched) => {
                let plain = self.plain(way, stored, file).await;
                let is_older = self.sent.contains(&digest(file, &fetched.content));
                let cause = diagnose::content(file.content(), fetched, is_older, context, plain);
                Some((cause, Some(describe(&fetched.answer, secrets))))
            }
            Err(failure) => {
                let plain = self.plain(way, stored, file).await;
                let cause = diagnose::fetch(failure, context, plain);
                Some((cause, describe_failure(failure, secrets)))
            }
        }
    }

    /// What comes if it is the file's own URL that is asked for.
    async fn plain(&mut self, way: &Way, stored: &Stored, file: &Attachment) -> Plain {
        if way.dialect.fetch == Dialect::D0.fetch {
            return Plain::Nothing;
        }
        match self.client.fetch(&Dialect::D0, &way.handler, &stored.url, file).await {
            Ok(fetched) if fetched.content == file.content() => Plain::File,
            Ok(_) => Plain::Something,
            Err(_) => Plain::Nothing,
        }
    }
}

/// Whether nothing else would come of whatever is tried next.
fn is_hopeless(problems: &[Problem]) -> bool {
    problems.iter().any(|problem| {
        problem.cause.severity() == Severity::Unreachable
            || matches!(problem.cause, Cause::TimedOut | Cause::ComesAgain)
    })
}

/// What stands for `content` under the name of `file`.
fn digest(file: &Attachment, content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (file.name(), content).hash(&mut hasher);
    hasher.finish()
}

/// Where to, without what may be a secret.
fn redirected(redirect: &kazoo_storage_client::Redirect) -> String {
    format!("{}, to {}", redirect.status, redirect.to.origin())
}

/// A number that no other check begins with.
pub(crate) fn token() -> Result<u64, getrandom::Error> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}
