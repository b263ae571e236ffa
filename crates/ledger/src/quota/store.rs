//! [`Limited`]: a store that enforces quotas.

use std::{
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_core::Stream;
use kazoo_storage::{
    BlobCatalog, BlobInfo, BlobKey, BlobStore, ByteRange, Error, ErrorKind, GetResult, Metadata, PutResult, Result,
    Upload, store::BlobEntry,
};
use tokio::time::sleep;

use super::{
    Quota, Quotas,
    totals::{Admission, Reservation, Totals},
};
use crate::{file::FileRecord, ledger::Ledger, measure};

/// Interval in which the totals are read again, because other servers store files too.
const INTERVAL: Duration = Duration::from_secs(60);

/// A store that refuses uploads of an account that has used its [`Quota`] with [`ErrorKind::StorageFull`], before the body is read.
///
/// The totals come from the ledger, which must record the files of `S`. An upload that replaces a file by one that is not longer, or whose
/// length is unknown, is always permitted, so KAZOO may repeat an upload. Files whose keys have no account have no quota. An upload of unknown
/// length may exceed the quota by its own length, and several servers may exceed it by what they store within a minute.
///
/// Clones share the totals.
#[derive(Clone)]
pub struct Limited<S> {
    inner: S,
    ledger: Ledger,
    quotas: Arc<RwLock<Arc<Quotas>>>,
    totals: Totals,
}

impl<S> Limited<S> {
    /// Enforces `quotas` on the uploads to `store`, whose files `ledger` has.
    pub fn new(store: S, ledger: Ledger, quotas: Quotas) -> Self {
        Self {
            inner: store,
            ledger,
            quotas: Arc::new(RwLock::new(Arc::new(quotas))),
            totals: Totals::default(),
        }
    }

    /// Replaces the quotas for all later uploads.
    pub fn set_quotas(&self, quotas: Quotas) {
        *self.quotas.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(quotas);
    }

    fn quotas(&self) -> Arc<Quotas> {
        Arc::clone(&self.quotas.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the totals of the accounts that have stored a file since the start again. Returns the number of those that use at least
    /// 80 % of their quota, which is also a metric.
    pub async fn refresh(&self) -> Result<usize> {
        let quotas = self.quotas();
        let mut near = 0;
        for account in self.totals.accounts() {
            let Some(quota) = quotas.of(&account) else {
                self.totals.forget(&account);
                continue;
            };
            let (bytes, files) = self.recorded(&account).await?;
            self.totals.set(&account, bytes, files);
            near += usize::from(self.totals.is_near(&account, quota));
        }
        measure::near_quota(near);
        Ok(near)
    }

    /// [Refreshes](Self::refresh) the totals every minute. It does not return.
    pub async fn keep_current(&self) {
        loop {
            sleep(INTERVAL).await;
            if let Err(error) = self.refresh().await {
                tracing::warn!(%error, "the totals of the accounts cannot be read from the ledger");
            }
        }
    }

    /// Returns the length and the number of the files of `account`.
    async fn recorded(&self, account: &str) -> Result<(u64, u64)> {
        let usage = self.ledger.usage(Some(account)).await?;
        Ok(usage.first().map_or((0, 0), |usage| (usage.bytes, usage.files)))
    }

    /// Reserves space for an upload of `len` bytes, if that is known. Returns `None` if none is needed.
    async fn reserve(&self, key: &BlobKey, len: Option<u64>) -> Result<Option<Reservation>> {
        let quotas = self.quotas();
        let Some((account, quota)) = key
            .account_id()
            .and_then(|account| Some((account, quotas.of(account)?)))
        else {
            return Ok(None);
        };
        let mut recorded = None;
        let admission = loop {
            match self.totals.admit(account, quota, len, recorded) {
                Some(admission) => break admission,
                None => recorded = Some(self.recorded(account).await?),
            }
        };
        if let Admission::Admitted(reservation) = admission {
            return Ok(Some(reservation));
        }
        // The number of files stays the same.
        let replaces = |file: FileRecord| quota.bytes.is_none() || len.is_none_or(|len| len <= file.size);
        if self.ledger.file(key).await?.is_some_and(replaces) {
            return Ok(None);
        }
        measure::over_quota(1);
        Err(full(account, quota))
    }
}

fn full(account: &str, quota: &Quota) -> Error {
    let mut limits = Vec::new();
    limits.extend(quota.bytes.map(|bytes| format!("{bytes} bytes")));
    limits.extend(quota.files.map(|files| format!("{files} files")));
    let message = format!(
        "the file does not fit into the quota of the account `{account}`, {}; the operator has to raise it, or to remove files",
        limits.join(" and ")
    );
    Error::new(ErrorKind::StorageFull, message)
}

impl<S: BlobStore> BlobStore for Limited<S> {
    async fn put(&self, mut upload: Upload) -> Result<PutResult> {
        let Some(reservation) = self.reserve(&upload.key, upload.len).await? else {
            return self.inner.put(upload).await;
        };
        let stored = Arc::new(AtomicU64::new(0));
        upload.body = upload.body.at_end({
            let stored = Arc::clone(&stored);
            async move |size, _| {
                stored.store(size, Ordering::SeqCst);
                Ok(())
            }
        });
        let result = self.inner.put(upload).await?;
        if result == PutResult::Created {
            reservation.stored(stored.load(Ordering::SeqCst));
        }
        Ok(result)
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<GetResult> {
        self.inner.get(key, range).await
    }

    async fn head(&self, key: &BlobKey) -> Result<BlobInfo> {
        self.inner.head(key).await
    }

    async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>> {
        self.inner.metadata(key).await
    }

    async fn describe(&self, key: &BlobKey) -> Result<(BlobInfo, Option<Metadata>)> {
        self.inner.describe(key).await
    }

    async fn check(&self) -> Result<()> {
        self.inner.check().await
    }
}

impl<S: BlobCatalog> BlobCatalog for Limited<S> {
    fn list(&self, prefix: Option<&BlobKey>) -> impl Stream<Item = Result<BlobEntry>> + Send + 'static {
        self.inner.list(prefix)
    }

    async fn delete(&self, key: &BlobKey) -> Result<()> {
        self.inner.delete(key).await?;
        if let Some(account) = key.account_id() {
            self.totals.forget(account);
        }
        Ok(())
    }
}

impl<S: fmt::Debug> fmt::Debug for Limited<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limited")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
