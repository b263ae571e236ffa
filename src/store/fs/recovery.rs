//! Recovery after a crash, and the state of the store until it is finished.

mod replay;

use std::{
    collections::HashSet,
    sync::{
        Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use self::replay::Unfinished;
use super::{Inner, error::failed, journal::Journal, sync};
use crate::{
    error::{Error, Result},
    key::BlobKey,
};

/// The minimum time between two attempts to finish the recovery.
const PAUSE: Duration = Duration::from_secs(1);

/// The state of the recovery.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    done: AtomicBool,
    unfinished: RwLock<Option<Unfinished>>,
    /// The time of the last attempt; locked during an attempt.
    tried: Mutex<Option<Instant>>,
}

impl Recovery {
    pub(super) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// Returns the reason why the recovery is unfinished, if it is.
    pub(super) fn error(&self) -> Option<Error> {
        let unfinished = self.unfinished.read().unwrap_or_else(PoisonError::into_inner);
        unfinished.as_ref().map(explained)
    }

    /// Returns an error if the recovery is unfinished and the content of `key` is not the acknowledged one.
    pub(super) fn settled(&self, key: &BlobKey) -> Result<()> {
        if self.is_done() {
            return Ok(());
        }
        let unfinished = self.unfinished.read().unwrap_or_else(PoisonError::into_inner);
        match &*unfinished {
            Some(unfinished) if unfinished.keys.contains(key) => Err(explained(unfinished)),
            _ => Ok(()),
        }
    }
}

fn explained(unfinished: &Unfinished) -> Error {
    let error = &unfinished.error;
    let message = format!(
        "the storage has not finished its recovery after a crash: {error}; it refuses uploads until then, and \
         nothing is lost"
    );
    Error::new(error.kind(), message).with_source(error.clone())
}

impl Inner {
    /// Applies the changes that a crash undid, and starts a new journal; keeps the old one if that is not possible.
    /// Does nothing if the last attempt was within the last second. Blocks.
    pub(super) fn recover(&self) -> Result<()> {
        let mut tried = self.recovery.tried.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = tried.is_some_and(|tried| tried.elapsed() < PAUSE);
        if is_recent || self.recovery.is_done() {
            return Ok(());
        }
        let unfinished = self.try_recovery();
        *tried = Some(Instant::now());
        let unfinished = unfinished?;
        self.recovery.done.store(unfinished.is_none(), Ordering::Release);
        *self.recovery.unfinished.write().unwrap_or_else(PoisonError::into_inner) = unfinished;
        Ok(())
    }

    fn try_recovery(&self) -> Result<Option<Unfinished>> {
        let replayed = replay::replay(&self.tree, &self.stage, &self.locks)?;
        if self.durable || replayed.any {
            sync::file_system(self.tree.root()).map_err(|error| failed("sync its file system", error))?;
        }
        if replayed.unfinished.is_some() {
            return Ok(replayed.unfinished);
        }
        // The replayed records are no longer needed and are discarded.
        let journal = (self.durable || replayed.any).then(|| Journal::create(self.tree.root(), self.stage.dir()));
        if let Some(journal) = journal.transpose()?.filter(|_| self.durable) {
            let _ = self.journal.set(journal);
        }
        self.stage.sweep(&HashSet::new())?;
        Ok(None)
    }

    /// Returns an error if the recovery is unfinished, so that no upload can be accepted. Retries the recovery from
    /// time to time. Blocks.
    pub(super) fn ready(&self) -> Result<()> {
        if self.recovery.is_done() {
            return Ok(());
        }
        self.recover()?;
        self.recovery.error().map_or(Ok(()), Err)
    }

    /// Returns the journal, or `None` if the store is not durable.
    pub(super) fn journal(&self) -> Option<&Journal> {
        self.journal.get()
    }
}

#[cfg(test)]
mod tests;
