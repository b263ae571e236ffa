//! [`Keeper`]: what may protect a file, in memory, so that an upload without holds and floors costs nothing more.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kazoo_storage::{BlobKey, Error, ErrorKind, Result};
use tokio::{sync::mpsc, time::Instant};

use super::hold::{Hold, columns};
use crate::{
    database::{Database, statement},
    policy::Policy,
};

/// Time for which the holds that were read are valid, from the beginning of the read. A new hold counts after this time on every
/// server.
pub(crate) const LEASE: Duration = Duration::from_secs(2);

/// Age after which the holds are read again in the background.
const RENEWAL: Duration = Duration::from_secs(1);

/// Number of reads of a database that takes longer than the lease.
const ATTEMPTS: usize = 3;

/// The statement that returns all holds, the oldest first.
pub(crate) const HOLDS: &str = concat!("SELECT ", columns!(""), " FROM holds ORDER BY created_at, id");

/// The holds and the floors.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) holds: Vec<Hold>,
    pub(crate) policy: Arc<Policy>,
}

impl Rules {
    /// Returns `true` if the file under `key` may be protected, depending on its record.
    pub(crate) fn may_protect(&self, key: &BlobKey) -> bool {
        self.policy.has_floors() || self.holds.iter().any(|hold| hold.may_keep(key))
    }
}

/// The rules of a ledger, and the uploads that are being committed under them.
pub(crate) struct Keeper {
    state: Mutex<State>,
    /// Is held during a read.
    reading: tokio::sync::Mutex<()>,
}

struct State {
    /// The number of changes by this process. A read that began before a change is not used.
    changes: u64,
    policy: Arc<Policy>,
    read: Option<(Instant, Arc<Rules>)>,
    /// The uploads that were committed under these rules have a clone.
    committing: mpsc::Sender<()>,
    committed: mpsc::Receiver<()>,
}

/// Is held while an upload is being committed.
#[derive(Debug)]
pub(crate) struct Committing {
    _sender: mpsc::Sender<()>,
}

impl Default for Keeper {
    fn default() -> Self {
        let (committing, committed) = mpsc::channel(1);
        Self {
            state: Mutex::new(State {
                changes: 0,
                policy: Arc::default(),
                read: None,
                committing,
                committed,
            }),
            reading: tokio::sync::Mutex::default(),
        }
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").finish_non_exhaustive()
    }
}

impl Keeper {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the rules, and what an upload holds while it is committed under them.
    pub(crate) async fn rules(self: &Arc<Self>, database: &Database) -> Result<(Arc<Rules>, Committing)> {
        for _ in 0..ATTEMPTS {
            if let Some(current) = self.younger_than(LEASE) {
                if self.younger_than(RENEWAL).is_none() {
                    self.renew(database);
                }
                return Ok(current);
            }
            let reading = self.reading.lock().await;
            // Another upload may have read them meanwhile.
            if self.younger_than(RENEWAL).is_none() {
                self.read(database).await?;
            }
            drop(reading);
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            "the holds cannot be read: the ledger takes longer than 2 seconds to return them, or they or the policy have changed \
             each time; try again, and if it fails again, check the load of the ledger's database",
        ))
    }

    /// Reads the rules in the background, unless somebody is reading them.
    fn renew(self: &Arc<Self>, database: &Database) {
        let (keeper, database) = (Arc::clone(self), database.clone());
        tokio::spawn(async move {
            if let Ok(_reading) = keeper.reading.try_lock() {
                // The next upload reports a failure.
                let _ = keeper.read(&database).await;
            }
        });
    }

    async fn read(&self, database: &Database) -> Result<()> {
        let changes = self.state().changes;
        let begun = Instant::now();
        // Uploads wait for it.
        let rows = database.read_soon(statement!(HOLDS)).await?;
        let holds = rows.into_iter().map(Hold::read).collect::<Result<_>>()?;
        let mut state = self.state();
        if state.changes == changes {
            let policy = Arc::clone(&state.policy);
            state.read = Some((begun, Arc::new(Rules { holds, policy })));
        }
        Ok(())
    }

    /// Returns the rules if they are younger than `age`.
    fn younger_than(&self, age: Duration) -> Option<(Arc<Rules>, Committing)> {
        let state = self.state();
        let (read_at, rules) = state.read.as_ref()?;
        let committing = Committing {
            _sender: state.committing.clone(),
        };
        (read_at.elapsed() < age).then(|| (Arc::clone(rules), committing))
    }

    pub(crate) fn set_policy(&self, policy: Policy) {
        let mut state = self.state();
        state.policy = Arc::new(policy);
        state.changes += 1;
        state.read = None;
    }

    pub(crate) fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.state().policy)
    }

    /// Forgets the holds. The receiver ends when the uploads that were committed under them have ended.
    pub(crate) fn forget(&self) -> mpsc::Receiver<()> {
        let (committing, committed) = mpsc::channel(1);
        let mut state = self.state();
        state.changes += 1;
        state.read = None;
        state.committing = committing;
        std::mem::replace(&mut state.committed, committed)
    }
}

#[cfg(test)]
mod tests {
    use kazoo_storage::{BlobCatalog as _, BlobStore as _, MemoryStore, Upload};

    use super::*;
    use crate::{Ledger, Recorded, Search, holds::NewHold, policy::Rule};

    async fn ledger() -> (tempfile::TempDir, Ledger) {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::sqlite(directory.path().join("ledger.sqlite")).await.unwrap();
        (directory, ledger)
    }

    fn key(path: &str) -> BlobKey {
        BlobKey::from_path(path).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_sends_nothing_but_its_record_if_no_rule_may_protect_its_key() {
        let (_directory, ledger) = ledger().await;
        let store = Recorded::new(MemoryStore::new(), ledger.clone());
        for hold in [None, Some(NewHold::new("case 7", "legal").account("other"))] {
            if let Some(hold) = hold {
                ledger.add_hold(hold).await.unwrap();
            }
            // The first one reads the holds.
            store.put(Upload::new(key("acc/doc/file"), "first")).await.unwrap();
            let before = ledger.sent();
            for content in ["1", "2", "3", "4", "5"] {
                store.put(Upload::new(key("acc/doc/file"), content)).await.unwrap();
            }
            assert_eq!(ledger.sent() - before, 5);
            // After a while, one upload of all reads them.
            tokio::time::advance(LEASE).await;
            for content in ["1", "2", "3"] {
                store.put(Upload::new(key("acc/doc/file"), content)).await.unwrap();
            }
            assert_eq!(ledger.sent() - before, 5 + 3 + 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn uploads_renew_the_holds_before_they_must_wait_for_them() {
        let (_directory, ledger) = ledger().await;
        let read_at = || ledger.keeper().state().read.as_ref().unwrap().0;
        drop(ledger.rules().await.unwrap());
        let first = read_at();
        tokio::time::advance(RENEWAL).await;
        drop(ledger.rules().await.unwrap());
        assert_eq!(read_at(), first);
        while read_at() == first {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_waits_for_the_uploads_that_are_being_committed() {
        let (_directory, ledger) = ledger().await;
        let (_, committing) = ledger.rules().await.unwrap();
        let begun = Instant::now();
        let hold = || NewHold::new("case 7", "legal").account("acc");
        // It ends without a wait for longer than the lease if nothing is being committed, and otherwise tells of it.
        let added = ledger.add_hold(hold()).await.unwrap();
        assert!(!added.is_settled && begun.elapsed() > LEASE * 2);
        drop(committing);
        let begun = Instant::now();
        let added = ledger.add_hold(hold()).await.unwrap();
        assert!(added.is_settled && begun.elapsed() >= LEASE && begun.elapsed() < LEASE * 2);
    }

    #[tokio::test]
    async fn rules_that_change_whenever_they_are_read_are_an_error_that_says_so() {
        let (_directory, ledger) = ledger().await;
        let change = async {
            loop {
                ledger.set_policy(Policy::new());
                tokio::task::yield_now().await;
            }
        };
        let read = async {
            loop {
                if let Err(error) = ledger.rules().await {
                    break error;
                }
                tokio::task::yield_now().await;
            }
        };
        let error = tokio::select! {
            error = read => error,
            () = change => unreachable!(),
        };
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains("have changed each time; try again"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_floor_protects_a_file_from_removal_and_replacement() {
        let (_directory, ledger) = ledger().await;
        let store = Recorded::new(MemoryStore::new(), ledger.clone());
        store.put(Upload::new(key("acc/doc/file"), "old")).await.unwrap();
        ledger.set_policy(Policy::new().rule(Rule::new().floor_days(1)).unwrap());
        let error = store.delete(&key("acc/doc/file")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.message().contains("policy until"), "{error}");
        assert!(error.message().contains("lower the `floor_days`"), "{error}");
        store.put(Upload::new(key("acc/doc/file"), "new")).await.unwrap();
        assert_eq!(store.head(&key("acc/doc/file")).await.unwrap().len, 3);
        assert_eq!(ledger.search(Search::new(), 9).await.unwrap().len(), 2);
        ledger.set_policy(Policy::new());
        store.delete(&key("acc/doc/file")).await.unwrap();
        assert_eq!(ledger.search(Search::new(), 9).await.unwrap().len(), 1);
    }
}
