//! `check --load`: stores and fetches over many connections, verifies that every file is kept, and measures latency.

mod tally;

use std::{
    collections::HashMap,
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use kazoo_storage_client::{Attachment, Client, Failure, FailureKind, FetchedFile, StorageUrl};
use tokio::{
    task::JoinSet,
    time::{interval, sleep},
};

pub(crate) use self::tally::Tally;
use super::{
    Outcome,
    cause::Cause,
    diagnose::{self, Context, StoredUrlFetch},
    runner::token,
    sample::{content, document},
    scenario::Scenario,
};

/// Number of names that each connection reuses, so that a load leaves no more files behind.
const NAMES: usize = 64;

/// The number of the first document, after those of the samples.
const FIRST: usize = 0x1_0000;

/// Delay of a connection after an error, so that it does not count the same error thousands of times.
const PAUSE: Duration = Duration::from_millis(100);

/// The work of each connection.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) account: String,
    /// Length of each file, in bytes.
    pub(crate) size: usize,
    pub(crate) span: Duration,
}

/// Runs the load with one connection per client.
pub(crate) async fn run(load: Load, clients: Vec<Client>) -> Outcome<Tally> {
    let (load, files) = (Arc::new(load), Arc::new(AtomicU64::new(0)));
    let began = Instant::now();
    let mut connections = JoinSet::new();
    for (number, client) in clients.into_iter().enumerate() {
        let connection = Connection {
            client,
            number,
            load: Arc::clone(&load),
            files: Arc::clone(&files),
            kept: HashMap::new(),
            tally: Tally::new()?,
        };
        connections.spawn(connection.run(began));
    }
    let bar = progress(load.span);
    let mut ticks = interval(Duration::from_millis(200));
    let mut all = Tally::new()?;
    loop {
        tokio::select! {
            done = connections.join_next() => match done {
                Some(done) => all.add(&done??)?,
                None => break,
            },
            _ = ticks.tick() => {
                bar.set_position(began.elapsed().as_secs().min(load.span.as_secs()));
                bar.set_message(format!("{} files", files.load(Ordering::Relaxed)));
            }
        }
    }
    bar.finish_and_clear();
    Ok(all)
}

/// Creates the progress bar, which is visible on a terminal only.
fn progress(span: Duration) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} s, {msg}");
    let bar = ProgressBar::new(span.as_secs());
    style.map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style))
}

struct Connection {
    client: Client,
    number: usize,
    load: Arc<Load>,
    files: Arc<AtomicU64>,
    /// The last acknowledged file under each name, with the index of its scenario.
    kept: HashMap<usize, (usize, StorageUrl, Bytes)>,
    tally: Tally,
}

impl Connection {
    async fn run(mut self, began: Instant) -> Outcome<Tally> {
        let load = Arc::clone(&self.load);
        let mut token = token()?;
        let mut round = 0;
        while began.elapsed() < load.span {
            token = token.wrapping_add(2);
            let content: Bytes = content(load.size, token).into();
            // Connections start with different scenarios, and each stores every name in every scenario.
            let number = (self.number + round + round / NAMES) % load.scenarios.len();
            self.round(number, round % NAMES, content).await?;
            round += 1;
        }
        self.tally.span = began.elapsed();
        // Files stored earlier must still be there.
        for (name, (number, url, content)) in mem::take(&mut self.kept) {
            let file = self.file(name, content)?;
            if let Some(scenario) = load.scenarios.get(number) {
                let fetched = scenario.fetch(&mut self.client, &url, &file).await;
                self.compare(scenario, &file, &fetched);
                // A server that does not answer this fetch would not answer the many others.
                if fetched.is_err_and(|failure| failure.kind() == FailureKind::TimedOut) {
                    break;
                }
            }
        }
        Ok(self.tally)
    }

    /// Stores and fetches a file.
    async fn round(&mut self, number: usize, name: usize, content: Bytes) -> Outcome<()> {
        let load = Arc::clone(&self.load);
        let Some(scenario) = load.scenarios.get(number) else {
            return Ok(());
        };
        let file = self.file(name, content)?;
        let began = Instant::now();
        let stored = match scenario.store(&mut self.client, &file).await {
            Ok(stored) if !stored.is_lost() => stored,
            stored => {
                // Either of the two files may be there now.
                self.kept.remove(&name);
                let cause = stored.map_or_else(
                    |failure| diagnose::store(&failure, Context::of(scenario)),
                    |_| Cause::RedirectedPost,
                );
                self.tally.failed(cause);
                sleep(PAUSE).await;
                return Ok(());
            }
        };
        self.tally.stored(began.elapsed(), file.content().len())?;
        self.tally.names.insert(self.number * NAMES + name);
        self.kept
            .insert(name, (number, stored.url.clone(), file.content().clone()));
        self.files.fetch_add(1, Ordering::Relaxed);

        let began = Instant::now();
        let fetched = scenario.fetch(&mut self.client, &stored.url, &file).await;
        if self.compare(scenario, &file, &fetched) {
            self.tally.fetched(began.elapsed(), file.content().len())?;
        } else {
            sleep(PAUSE).await;
        }
        Ok(())
    }

    fn file(&self, name: usize, content: Bytes) -> Outcome<Attachment> {
        file(&self.load.account, self.number * NAMES + name, content)
    }

    /// Returns `true` if the fetched file is the acknowledged `file`.
    fn compare(&mut self, scenario: &Scenario, file: &Attachment, fetched: &Result<FetchedFile, Failure>) -> bool {
        let cause = match fetched {
            Ok(fetched) if fetched.content == file.content() => return true,
            Ok(fetched) => diagnose::content(
                file.content(),
                fetched,
                false,
                Context::of(scenario),
                StoredUrlFetch::Failed,
            ),
            Err(failure) => diagnose::fetch(failure, Context::of(scenario), StoredUrlFetch::Failed),
        };
        self.tally.failed(cause);
        // Without a response, the file may still be there.
        let is_answer = fetched
            .as_ref()
            .map_or_else(|failure| failure.answer(), |fetched| Some(&fetched.answer));
        self.tally.lost += u64::from(is_answer.is_some_and(|answer| !answer.status().is_server_error()));
        false
    }
}

/// Creates the file with this name, for any connection.
pub(crate) fn file(account: &str, name: usize, content: Bytes) -> Outcome<Attachment> {
    let document = document(FIRST + name, "")?;
    Ok(Attachment::new(account, document, "load.mp3", content))
}
