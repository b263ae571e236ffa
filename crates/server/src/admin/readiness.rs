//! Whether requests should be sent here.

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

/// For how long the store is not asked again: a check writes and syncs, and many may want to know.
const FRESH: Duration = Duration::from_secs(2);

/// How long the store has for its answer.
const DEADLINE: Duration = Duration::from_secs(3);

/// Says whether the server is ready.
pub(crate) struct Readiness {
    store: OnceLock<DynBlobStore>,
    phase: watch::Receiver<Phase>,
    asked: Mutex<Asked>,
}

/// What the store was asked last.
#[derive(Default)]
struct Asked {
    answered: Option<(Instant, Result<(), NotReady>)>,
    /// A check that has missed its deadline: as long as it hangs, no other is begun, or each would keep a thread.
    checking: Option<JoinHandle<Result<(), Error>>>,
}

/// Why it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotReady {
    /// `starting`, `draining` or `store`.
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl NotReady {
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}

impl Readiness {
    pub(crate) fn new(phase: watch::Receiver<Phase>) -> Self {
        Self {
            store: OnceLock::new(),
            phase,
            asked: Mutex::default(),
        }
    }

    /// The store is open.
    pub(crate) fn opened(&self, store: DynBlobStore) {
        let _ = self.store.set(store);
    }

    /// Whether requests should be sent here, and why not.
    pub(crate) async fn verdict(&self) -> Result<(), NotReady> {
        if *self.phase.borrow() != Phase::Serving {
            return Err(NotReady::new(
                "draining",
                "the server stops, and finishes what it has begun",
            ));
        }
        let Some(store) = self.store.get() else {
            return Err(NotReady::new("starting", "the store is being opened"));
        };
        let mut asked = self.asked.lock().await;
        if let Some((when, answer)) = &asked.answered
            && when.elapsed() < FRESH
        {
            return answer.clone();
        }
        let checking = asked.checking.get_or_insert_with(|| {
            let store = store.clone();
            tokio::spawn(async move { store.check().await })
        });
        let answer = match timeout(DEADLINE, checking).await {
            Err(_) => Err(NotReady::new(
                "store",
                format!("the store has not answered within {} s", DEADLINE.as_secs()),
            )),
            Ok(checked) => {
                asked.checking = None;
                match checked {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(error)) => Err(NotReady::new("store", error.message())),
                    Err(_) => Err(NotReady::new("store", "the check of the store was cut off")),
                }
            }
        };
        asked.answered = Some((Instant::now(), answer.clone()));
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

    use kazoo_storage::{BlobKey, BlobStore, ByteRange, ErrorKind, Fetched, Metadata, Stored, Upload};

    use super::*;

    /// Answers a check as it is told to, and counts them.
    #[derive(Clone)]
    struct Checked(Arc<AtomicUsize>, Option<Result<(), ErrorKind>>);

    impl BlobStore for Checked {
        async fn put(&self, _: Upload) -> Result<Stored, Error> {
            pending().await
        }

        async fn get(&self, _: &BlobKey, _: Option<ByteRange>) -> Result<Fetched, Error> {
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
    async fn a_storm_of_probes_asks_the_store_once() {
        for (answer, expected) in [(Ok(()), "ready"), (Err(ErrorKind::Unavailable), "store")] {
            let (readiness, _phases, count) = readiness(Some(answer));
            let readiness = Arc::new(readiness);
            let probes: Vec<_> = (0..50)
                .map(|_| {
                    let readiness = Arc::clone(&readiness);
                    tokio::spawn(async move { readiness.verdict().await })
                })
                .collect();
            for probe in probes {
                assert_eq!(reason(&probe.await.unwrap()), expected);
            }
            assert_eq!(count.load(Ordering::SeqCst), 1);
        }
    }

    /// With the clock paused, the deadline is over at once.
    #[tokio::test(start_paused = true)]
    async fn a_store_that_hangs_is_not_ready_and_is_not_asked_twice() {
        let (readiness, _phases, count) = readiness(None);
        for _ in 0..3 {
            let verdict = readiness.verdict().await;
            assert_eq!(reason(&verdict), "store");
            assert!(verdict.unwrap_err().message.contains("3 s"));
            readiness.asked.lock().await.answered = None;
        }
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn before_the_store_is_open_and_once_the_server_stops_it_is_not_ready() {
        let (phases, phase) = watch::channel(Phase::Serving);
        let starting = Readiness::new(phase);
        assert_eq!(reason(&starting.verdict().await), "starting");
        starting.opened(DynBlobStore::new(Checked(Arc::default(), Some(Ok(())))));
        assert_eq!(reason(&starting.verdict().await), "ready");
        for stopping in [Phase::Draining, Phase::Ending] {
            phases.send_replace(stopping);
            assert_eq!(reason(&starting.verdict().await), "draining");
        }
    }
}
