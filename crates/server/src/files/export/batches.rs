//! [`Batches`]: fetches the files of a list, a few batches at once.

use std::{collections::VecDeque, iter::Peekable, path::PathBuf, sync::Arc};

use kazoo_storage::digest::Digest;
use tokio::sync::mpsc;

use super::{
    blocking, directory,
    download::{self, Download, Fetched, Temporary},
    list::Entry,
    scratch::Scratch,
};
use crate::admin_client::AdminClient;

/// Number of batches that are fetched at once, each on a connection of its own.
const CONCURRENT: usize = 4;

/// Maximum number of files in a batch. The server accepts no more.
const FILES: usize = 32;

/// Maximum length of the files in a batch, in bytes; a longer file is a batch of its own. A batch may be in memory.
const BYTES: u64 = 4 << 20;

/// Maximum length of the keys in a batch, in bytes. The server accepts twice as much.
const KEYS: usize = 32 << 10;

/// A file of the list, and the result for it; or the error that ends the export.
type Done = Result<(Entry, Outcome), String>;

/// The result for one file.
pub(super) enum Outcome {
    /// The directory has it from an earlier export.
    Kept(Digest),
    Fetched(Fetched),
    Failed(String),
}

/// Gets files.
pub(super) struct Source {
    pub(super) client: AdminClient,
    /// The directory that may have files of an earlier export.
    pub(super) root: Option<PathBuf>,
    pub(super) scratch: Arc<Scratch>,
}

/// The results for the files of a list, in its order.
pub(super) struct Batches<E: Iterator> {
    entries: Peekable<E>,
    source: Arc<Source>,
    running: VecDeque<Running>,
    /// The number of files in all batches so far.
    files: u64,
}

/// A batch that is being fetched.
struct Running {
    /// The number of files without a result.
    left: usize,
    /// Has room for all of them: a batch does not wait for those before it.
    done: mpsc::Receiver<Done>,
}

impl<E: Iterator<Item = Result<Entry, String>>> Batches<E> {
    pub(super) fn new(entries: E, source: Source) -> Self {
        Self {
            entries: entries.peekable(),
            source: Arc::new(source),
            running: VecDeque::new(),
            files: 0,
        }
    }

    /// Returns the next result, or `None` at the end. A result is not lost if the future is dropped.
    pub(super) async fn next(&mut self) -> Option<Done> {
        loop {
            while self.running.len() < CONCURRENT
                && let Some(batch) = self.batch()
            {
                match batch {
                    Ok(batch) => self.start(batch),
                    Err(error) => return Some(Err(error)),
                }
            }
            let batch = self.running.front_mut()?;
            if batch.left == 0 {
                self.running.pop_front();
                continue;
            }
            let done = batch.done.recv().await;
            batch.left -= 1;
            return Some(done.unwrap_or_else(|| {
                Err("the files could not be fetched because of a bug in this program; please report it".to_owned())
            }));
        }
    }

    /// Takes the files of the next batch; `None` if there are no more.
    fn batch(&mut self) -> Option<Result<Vec<Entry>, String>> {
        let mut batch = Vec::new();
        let (mut bytes, mut keys) = (0, 0);
        while let Some(entry) = self.entries.next_if(|entry| match entry {
            Ok(entry) => {
                bytes = entry.size.saturating_add(bytes);
                keys += entry.key.len();
                batch.is_empty() || batch.len() < FILES && bytes <= BYTES && keys <= KEYS
            }
            Err(_) => true,
        }) {
            match entry {
                Ok(entry) => batch.push(entry),
                Err(error) => return Some(Err(error)),
            }
        }
        (!batch.is_empty()).then_some(Ok(batch))
    }

    fn start(&mut self, batch: Vec<Entry>) {
        let (results, done) = mpsc::channel(batch.len());
        let left = batch.len();
        let (source, first) = (Arc::clone(&self.source), self.files);
        self.files += left as u64;
        tokio::spawn(async move {
            if let Err(error) = source.get(batch, first, &results).await {
                let _ = results.send(Err(error)).await;
            }
        });
        self.running.push_back(Running { left, done });
    }
}

impl Source {
    /// Gets the files of a batch, and sends their results. `first` is the number of the first.
    ///
    /// It hashes and writes each content on the thread of the task. A blocking thread would have to be woken for each, which takes as
    /// long.
    async fn get(&self, batch: Vec<Entry>, first: u64, results: &mpsc::Sender<Done>) -> Result<(), String> {
        let mut batch: VecDeque<_> = self.compared(batch).await?.into();
        let mut download = Download::new(&self.client);
        for number in first.. {
            let Some((entry, kept)) = batch.pop_front() else { break };
            let outcome = if let Some(digest) = kept {
                Outcome::Kept(digest)
            } else {
                let temporary = Temporary {
                    directory: Arc::clone(&self.scratch),
                    name: number.to_string(),
                    is_required: self.root.is_some(),
                };
                let others = batch.iter().filter(|(_, kept)| kept.is_none());
                let fetched = download.fetch(&entry, others.map(|(entry, _)| entry), temporary);
                match fetched.await? {
                    Ok(fetched) => Outcome::Fetched(fetched),
                    Err(why) => Outcome::Failed(why),
                }
            };
            if results.send(Ok((entry, outcome))).await.is_err() {
                return Ok(());
            }
        }
        download.end().await;
        Ok(())
    }

    /// Returns the files, each with its digest if the directory has it.
    async fn compared(&self, batch: Vec<Entry>) -> Result<Vec<(Entry, Option<Digest>)>, String> {
        let Some(root) = self.root.clone() else {
            return Ok(batch.into_iter().map(|entry| (entry, None)).collect());
        };
        blocking(move || {
            let compared = batch.into_iter().map(|entry| {
                let path = PathBuf::from(&entry.path);
                let kept = match entry.digest() {
                    Some(expected) if directory::has_parent(&root, &path)? => {
                        download::is_there(&root.join(path), entry.size, expected).then_some(expected)
                    }
                    _ => None,
                };
                Ok((entry, kept))
            });
            compared.collect()
        })
        .await
    }
}
