//! [`Readiness`]: reports whether the server can serve requests.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use kazoo_storage::{BlobStore as _, Error, store::DynBlobStore};
use tokio::{
    sync::{Mutex, watch},
    task::JoinHandle,
    time::timeout,
};

use crate::shutdown::Phase;

/// Validity of a check of the store. A check writes and syncs, and many probes may ask.
const FRESH: Duration = Duration::from_secs(2);

/// Time limit for a check of the store.
const DEADLINE: Duration = Duration::from_secs(3);

/// The readiness of the server.
pub(crate) struct Readiness {
    store: OnceLock<DynBlobStore>,
    phase: watch::Receiver<Phase>,
    checks: Mutex<Checks>,
}

/// The last checks of the store.
#[derive(Default)]
struct Checks {
    last: Option<(Instant, Result<(), NotReady>)>,
    /// The check in progress, which may be past its deadline. No other is started meanwhile: each hanging one holds a thread.
    running: Option<JoinHandle<Result<(), Error>>>,
}

/// The reason why the server is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotReady {
    /// `starting`, `draining` or `store`.
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    /// The store has not answered within its time limit.
    pub(crate) hangs: bool,
}

impl NotReady {
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            hangs: false,
        }
    }
}

impl Readiness {
    pub(crate) fn new(phase: watch::Receiver<Phase>) -> Self {
        Self {
            store: OnceLock::new(),
            phase,
            checks: Mutex::default(),
        }
    }

    /// Sets the store once it is open.
    pub(crate) fn opened(&self, store: DynBlobStore) {
        let _ = self.store.set(store);
    }

    /// Fails if the server is not ready.
    pub(crate) async fn check(&self) -> Result<(), NotReady> {
        if *self.phase.borrow() != Phase::Serving {
            return Err(NotReady::new(
                "draining",
                "the server is stopping and finishes the requests in progress",
            ));
        }
        let Some(store) = self.store.get() else {
            return Err(NotReady::new("starting", "the store is being opened"));
        };
        let mut checks = self.checks.lock().await;
        if let Some((when, answer)) = &checks.last
            && when.elapsed() < FRESH
        {
            return answer.clone();
        }
        let running = checks.running.get_or_insert_with(|| {
            let store = store.clone();
            tokio::spawn(async move { store.check().await })
        });
        let answer = match timeout(DEADLINE, running).await {
            Err(_) => Err(NotReady {
                reason: "store",
                message: format!("the store did not answer within {} s", DEADLINE.as_secs()),
                hangs: true,
            }),
            Ok(checked) => {
                checks.running = None;
                match checked {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(error)) => Err(NotReady::new("store", error.message())),
                    Err(_) => Err(NotReady::new("store", "the check of the store was aborted")),
                }
            }
        };
        checks.last = Some((Instant::now(), answer.clone()));
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use kazoo_storage::{BlobKey, BlobStore, ByteRange, ErrorKind, GetResult, Metadata, PutResult, Upload};

    use super::*;

    /// A store that answers checks as configured, and counts them.
    #[derive(Clone)]
    struct Checked(Arc<AtomicUsize>, Option<Result<(), ErrorKind>>);

    impl BlobStore for Checked {
        async fn put(&self, _: Upload) -> Result<PutResult, Error> {
            pending().await
        }

        async fn get(&self, _: &BlobKey, _: Option<ByteRange>) -> Result<GetResult, Error> {
            pending().await
        }

        async fn metadata(&self, _: &BlobKey) -> Result<Option<Metadata>, Error> {
            pending().await
        }

        async fn check(&self) -> Result<(), Error> {
            self.0.fetch_add(1, Ordering::SeqCst);
            match self.1 {
                Some(answer) => answer.map_err(|kind| Error::new(kind, "it is down")),
                None => pending().await,
            }
        }
    }

    fn readiness(answer: Option<Result<(), ErrorKind>>) -> (Readiness, watch::Sender<Phase>, Arc<AtomicUsize>) {
        let (phases, phase) = watch::channel(Phase::Serving);
        let count = Arc::<AtomicUsize>::default();
        let readiness = Readiness::new(phase);
        readiness.opened(DynBlobStore::new(Checked(Arc::clone(&count), answer)));
        (readiness, phases, count)
    }

    fn reason(verdict: &Result<(), NotReady>) -> &'static str {
        verdict.as_ref().map_or_else(|because| because.reason, |()| "ready")
    }

    #[tokio::test]
    async fn checks_the_store_once_for_many_probes() {
        for (answer, expected) in [(Ok(()), "ready"), (Err(ErrorKind::Unavailable), "store")] {
            let (readiness, _phases, count) = readiness(Some(answer));
            let readiness = Arc::new(readiness);
            let probes: Vec<_> = (0..50)
                .map(|_| {
                    let readiness = Arc::clone(&readiness);
                    tokio::spawn(async move { readiness.check().await })
                })
                .collect();
            for probe in probes {
                assert_eq!(reason(&probe.await.unwrap()), expected);
            }
            assert_eq!(count.load(Ordering::SeqCst), 1);
        }
    }

    /// With the clock paused, the deadline expires at once.
    #[tokio::test(start_paused = true)]
    async fn a_hanging_store_is_not_ready_and_not_checked_twice() {
        let (readiness, _phases, count) = readiness(None);
        for _ in 0..3 {
            let verdict = readiness.check().await;
            assert_eq!(reason(&verdict), "store");
            let because = verdict.unwrap_err();
            assert!(because.hangs && because.message.contains("3 s"));
            readiness.checks.lock().await.last = None;
        }
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn is_not_ready_before_the_store_is_open_and_while_stopping() {
        let (phases, phase) = watch::channel(Phase::Serving);
        let starting = Readiness::new(phase);
        assert_eq!(reason(&starting.check().await), "starting");
        starting.opened(DynBlobStore::new(Checked(Arc::default(), Some(Ok(())))));
        assert_eq!(reason(&starting.check().await), "ready");
        for stopping in [Phase::Draining, Phase::Ending] {
            phases.send_replace(stopping);
            assert_eq!(reason(&starting.check().await), "draining");
        }
    }
}
