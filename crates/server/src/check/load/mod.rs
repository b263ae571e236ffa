//! `check --load`: many connections that store and fetch, whether all is kept, and how long it takes.

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
use kazoo_storage_client::{Attachment, Client, Failure, FailureKind, Fetched, StorageUrl};
use tokio::{
    task::JoinSet,
    time::{interval, sleep},
};

pub(crate) use self::tally::Tally;
use super::{
    Outcome,
    cause::Cause,
    diagnose::{self, Context, Plain},
    sample::{Odd, content, document},
    trial::token,
    way::Way,
};

/// How many names a connection stores under, again and again: a load leaves no more behind.
const NAMES: usize = 64;

/// The number of the first document, behind those of the samples.
const FIRST: usize = 0x1_0000;

/// How long a connection waits after an error, so that it does not count the same one thousands of times.
const PAUSE: Duration = Duration::from_millis(100);

/// What each connection does.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) ways: Vec<Way>,
    pub(crate) account: String,
    /// Bytes of each file.
    pub(crate) size: usize,
    pub(crate) span: Duration,
}

/// Loads with as many connections as there are `clients`.
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

/// On a terminal alone.
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
    /// What was acknowledged last under each name, and in which way.
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
            // The connections begin in different ways, and each comes to store every name in every way.
            let number = (self.number + round + round / NAMES) % load.ways.len();
            self.round(number, round % NAMES, content).await?;
            round += 1;
        }
        self.tally.span = began.elapsed();
        // What stood a while is to be there too.
        for (name, (number, url, content)) in mem::take(&mut self.kept) {
            let file = self.file(name, content)?;
            if let Some(way) = load.ways.get(number) {
                let fetched = self.client.fetch(way.dialect, &way.handler, &url, &file).await;
                self.compare(way, &file, &fetched);
                // Who does not answer this one answers none, and there are many.
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
        let Some(way) = load.ways.get(number) else {
            return Ok(());
        };
        let file = self.file(name, content)?;
        let began = Instant::now();
        let stored = match self.client.store(way.dialect, &way.handler, &file).await {
            Ok(stored) if !stored.is_lost() => stored,
            stored => {
                // Which of the two is there now is open.
                self.kept.remove(&name);
                let cause = stored.map_or_else(|failure| diagnose::store(&failure, context(way)), |_| Cause::LostPost);
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
        let fetched = self.client.fetch(way.dialect, &way.handler, &stored.url, &file).await;
        if self.compare(way, &file, &fetched) {
            self.tally.fetched(began.elapsed(), file.content().len())?;
        } else {
            sleep(PAUSE).await;
        }
        Ok(())
    }

    fn file(&self, name: usize, content: Bytes) -> Outcome<Attachment> {
        file(&self.load.account, self.number * NAMES + name, content)
    }

    /// Whether `file`, which was acknowledged, is what was fetched.
    fn compare(&mut self, way: &Way, file: &Attachment, fetched: &Result<Fetched, Failure>) -> bool {
        let cause = match fetched {
            Ok(fetched) if fetched.content == file.content() => return true,
            Ok(fetched) => diagnose::content(file.content(), fetched, false, context(way), Plain::Nothing),
            Err(failure) => diagnose::fetch(failure, context(way), Plain::Nothing),
        };
        self.tally.failed(cause);
        // What could not be asked for may well be there.
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

fn context(way: &Way) -> Context {
    Context {
        sends: way.sends,
        odd: Odd::Nothing,
        by_query: false,
        mangles: way.mangles(),
        rewritten: false,
        host: way.host(),
        again: false,
    }
}
