//! [`Trail`]: records in the audit trail what the operator does.

use std::net::IpAddr;

use kazoo_storage::{BlobKey, Error, ErrorKind};
use kazoo_storage_ledger::{
    Ledger,
    audit::{Action, Entry},
};
use tokio::{runtime::Handle, task::JoinError};

use super::asked::Asked;

/// The outcome of an action before it has one.
pub(super) const BEGUN: &str = "begun";

/// The outcome of an action whose client was gone before its end.
const INTERRUPTED: &str = "interrupted";

/// The outcome of an action that has succeeded.
pub(super) const DONE: &str = "done";

/// The name of the one who has the token of the API.
const OPERATOR: &str = "operator";

/// Records what the operator does, if there is a ledger.
#[derive(Clone)]
pub(super) struct Trail {
    ledger: Option<Ledger>,
    address: Option<IpAddr>,
}

impl Trail {
    pub(super) fn new(ledger: Option<&Ledger>, asked: &Asked<'_>) -> Self {
        Self {
            ledger: ledger.cloned(),
            address: asked.call.peer,
        }
    }

    /// Records an action before it begins. If that fails, it must not begin.
    pub(super) async fn record(&self, action: Action, key: Option<&BlobKey>, outcome: &str) -> Result<(), Error> {
        let entry = self.entry(action, outcome);
        let entry = match key {
            Some(key) => entry.key(key),
            None => entry,
        };
        self.append(&[entry]).await
    }

    /// Records `action` for all `keys` with one append, before it begins. If that fails, it must not begin.
    pub(super) async fn record_all(&self, action: Action, keys: &[BlobKey], outcome: &str) -> Result<(), Error> {
        let entries: Vec<_> = keys.iter().map(|key| self.entry(action, outcome).key(key)).collect();
        self.append(&entries).await
    }

    fn entry(&self, action: Action, outcome: &str) -> Entry {
        Entry::new(action, outcome).name(Some(OPERATOR)).address(self.address)
    }

    async fn append(&self, entries: &[Entry]) -> Result<(), Error> {
        let Some(ledger) = &self.ledger else { return Ok(()) };
        ledger.append_audit_all(entries).await.map_err(|error| {
            let message = format!("the action cannot be recorded in the audit trail: {}", error.message());
            Error::new(ErrorKind::Unavailable, message).with_source(error)
        })
    }

    /// Does `work` between an entry about its beginning and one about its result. `about` is what it changes, if the first entry names
    /// it.
    pub(super) async fn run<T>(
        &self,
        action: Action,
        about: Option<&str>,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let done = |_: &T| Some(DONE.to_owned());
        self.run_with(action, None, about, work, done).await
    }

    /// Does `work` as [`run`](Self::run) does. `done` returns the outcome of its success, or `None` if that has an entry already.
    pub(super) async fn run_with<T>(
        &self,
        action: Action,
        key: Option<&BlobKey>,
        about: Option<&str>,
        work: impl Future<Output = Result<T, Error>>,
        done: impl FnOnce(&T) -> Option<String>,
    ) -> Result<T, Error> {
        let begun = about.map_or_else(|| BEGUN.to_owned(), |about| format!("{BEGUN}: {about}"));
        let (trail, key) = (self.clone(), key.cloned());
        // Tasks of their own record the beginning and the result, so that both exist even if the client disconnects meanwhile.
        let opening = tokio::spawn(async move {
            trail.record(action, key.as_ref(), &begun).await?;
            Ok::<_, Error>(Open(Some((trail, action, key))))
        });
        let mut open = opening.await.map_err(aborted)??;
        let result = work.await;
        let outcome = match &result {
            Ok(value) => done(value),
            Err(error) => Some(error.kind().as_str().to_owned()),
        };
        if let Some((trail, action, key)) = open.0.take()
            && let Some(outcome) = outcome
        {
            let ending = tokio::spawn(async move { trail.end(action, key.as_ref(), &outcome).await });
            // It logs its failure.
            let _ = ending.await;
        }
        result
    }

    /// Records the outcome of an action that was recorded when it began.
    async fn end(&self, action: Action, key: Option<&BlobKey>, outcome: &str) {
        if let Err(error) = self.record(action, key, outcome).await {
            tracing::error!(
                %action,
                outcome,
                %error,
                "the result of an action cannot be recorded: the audit trail has only its beginning"
            );
        }
    }
}

fn aborted(error: JoinError) -> Error {
    Error::new(ErrorKind::Internal, "the entry in the audit trail was aborted").with_source(error)
}

/// An action that has begun. Records that it was interrupted if it is dropped before its end, because its client is gone.
struct Open(Option<(Trail, Action, Option<BlobKey>)>);

impl Drop for Open {
    fn drop(&mut self) {
        if let Some((trail, action, key)) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move { trail.end(action, key.as_ref(), INTERRUPTED).await });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        pin::pin,
        sync::atomic::{AtomicBool, Ordering},
        time::Duration,
    };

    use futures_util::poll;
    use kazoo_storage_ledger::audit::AuditSearch;
    use tokio::{task::yield_now, time::timeout};

    use super::*;

    #[tokio::test]
    async fn an_action_whose_client_is_gone_is_recorded_as_interrupted() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::sqlite(directory.path().join("ledger.sqlite")).await.unwrap();
        let trail = Trail {
            ledger: Some(ledger.clone()),
            address: None,
        };
        let outcomes = async || {
            let entries = ledger.audit(AuditSearch::new(), 9).await.unwrap();
            entries.into_iter().rev().map(|entry| entry.outcome).collect::<Vec<_>>()
        };
        let begun = AtomicBool::new(false);
        {
            let work = async {
                begun.store(true, Ordering::SeqCst);
                pending::<Result<(), Error>>().await
            };
            let mut running = pin!(trail.run(Action::Replay, None, work));
            while !begun.load(Ordering::SeqCst) {
                assert!(poll!(&mut running).is_pending());
                yield_now().await;
            }
        }
        timeout(Duration::from_secs(20), async { while outcomes().await.len() < 2 {} })
            .await
            .unwrap();
        assert_eq!(outcomes().await, [BEGUN, INTERRUPTED]);
        let done = trail.run(Action::Retry, Some("7"), async { Ok::<_, Error>(()) });
        done.await.unwrap();
        assert_eq!(outcomes().await, [BEGUN, INTERRUPTED, "begun: 7", DONE]);
    }
}
