//! Uploads to the key of a protected file: they are stored beside it.

use kazoo_storage::{
    BlobKey, BlobStore, Error, ErrorKind, Metadata, Result, Upload, digest::Digest, store::Precondition,
};

use super::{
    Protection,
    discover::Discovered,
    found::{Found, find, protecting},
    sibling::Siblings,
};
use crate::{
    database::{Row, statement},
    holds::Committing,
    ledger::Ledger,
    record::unrecorded,
    rows::{decode, encode},
};

/// The key under which an upload is stored, and what is known of the file that it would replace.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The key of the upload.
    requested: BlobKey,
    /// The key beside it, if it has a protected file, and the protection.
    sibling: Option<(BlobKey, Protection)>,
    /// The store had no file under the key, or the ledger has it.
    is_known: bool,
}

/// The description of an upload that has ended.
pub(crate) struct Ended<'a> {
    pub(crate) size: u64,
    pub(crate) digest: Digest,
    pub(crate) content_type: Option<&'a str>,
    pub(crate) metadata: Option<&'a Metadata>,
}

/// The protection of a file.
enum Status {
    /// The ledger does not have the file.
    Unknown,
    Unprotected,
    Protected(Protection),
}

/// The decision about an upload that has ended.
pub(crate) enum Verdict {
    /// Commit it.
    Commit(Committing),
    /// The protected file, or one beside it, is the same file.
    AlreadyStored,
}

impl Target {
    /// Chooses the key for `upload`. An upload to the key of a protected file gets another one, and loses its precondition, which
    /// is checked here.
    ///
    /// The content is not known yet, so that key is random. [`judge`](Self::judge) prevents a second copy of the same upload.
    pub(crate) async fn choose<S: BlobStore>(ledger: &Ledger, store: &S, upload: &mut Upload) -> Result<Self> {
        let requested = upload.key.detached();
        let mut target = Self {
            requested,
            sibling: None,
            is_known: false,
        };
        let (rules, _) = ledger.rules().await.map_err(unrecorded)?;
        if !rules.may_protect(&target.requested) {
            return Ok(target);
        }
        target.is_known = true;
        let Some(protection) = ledger.protection_in(store, &target.requested).await? else {
            return Ok(target);
        };
        if !upload.precondition.is_unconditional() {
            upload.precondition.check(Some(&store.head(&target.requested).await?))?;
            upload.precondition = Precondition::default();
        }
        let sibling = Siblings::of(&target.requested).unique()?;
        upload.key = sibling.clone();
        target.sibling = Some((sibling, protection));
        Ok(target)
    }

    /// Returns the key under which the upload is stored.
    pub(crate) fn key(&self) -> &BlobKey {
        self.sibling().unwrap_or(&self.requested)
    }

    /// Returns the key beside that of the upload, if the upload is stored there.
    pub(crate) fn sibling(&self) -> Option<&BlobKey> {
        self.sibling.as_ref().map(|(key, _)| key)
    }

    /// Returns the key of the upload.
    pub(crate) fn requested(&self) -> &BlobKey {
        &self.requested
    }

    /// Decides on an upload that has ended, before the store commits it. The key is locked.
    pub(crate) async fn judge<S: BlobStore>(&self, ledger: &Ledger, store: &S, ended: Ended<'_>) -> Result<Verdict> {
        let (rules, committing) = ledger.rules().await.map_err(unrecorded)?;
        if self.sibling.is_none() {
            if !rules.may_protect(&self.requested) {
                return Ok(Verdict::Commit(committing));
            }
            // Otherwise the store had no file when the upload began.
            let may_have_file = !self.is_known || !matches!(ledger.protection(&self.requested).await?, Status::Unknown);
            if !may_have_file || ledger.protection_in(store, &self.requested).await?.is_none() {
                return Ok(Verdict::Commit(committing));
            }
        }
        for same in ledger.same(&self.requested, &ended).await.map_err(unrecorded)? {
            // The store may have lost what the ledger has.
            match store.head(&same).await {
                Ok(info) if info.len == ended.size && info.digest.is_none_or(|digest| digest == ended.digest) => {
                    return Ok(Verdict::AlreadyStored);
                }
                Err(error) if !is_lost(&error) => return Err(error),
                _ => {}
            }
        }
        let Some((sibling, protection)) = &self.sibling else {
            let message = "the file under this name became protected during the upload; send the upload again, and it is \
                           stored beside the file";
            return Err(Error::new(ErrorKind::Unavailable, message));
        };
        // The name may contain the id of a call.
        let (account, document) = (sibling.account_id(), sibling.document_id());
        let siblings = Siblings::of(&self.requested);
        let suffix = siblings.suffix(sibling);
        tracing::warn!(account, document, suffix, %protection, "an upload would replace a protected file, and is stored beside it");
        Ok(Verdict::Commit(committing))
    }
}

impl Ledger {
    /// Returns the protection of the file under `key`, if the store has the file.
    async fn protection_in<S: BlobStore>(&self, store: &S, key: &BlobKey) -> Result<Option<Protection>> {
        let mut status = self.protection(key).await?;
        if matches!(status, Status::Unknown) {
            status = match self.discover(store, key).await? {
                Discovered::Nothing => Status::Unknown,
                Discovered::Protected(protection) => Status::Protected(protection),
                Discovered::File(_) => self.protection(key).await?,
            };
        }
        let Status::Protected(protection) = status else {
            return Ok(None);
        };
        match store.head(key).await {
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) if !is_lost(&error) => Err(error),
            _ => Ok(Some(protection)),
        }
    }

    /// Returns the protection that the ledger knows of the file under `key`.
    async fn protection(&self, key: &BlobKey) -> Result<Status> {
        let rows = self.read_all(vec![find(key), protecting(key)]).await;
        let mut rows = rows.map_err(unrecorded)?.into_iter();
        self.status(rows.next().unwrap_or_default(), rows.next().unwrap_or_default())
    }

    /// Returns the protection of the file under each of `keys`, if there is one.
    pub(crate) async fn protections(&self, keys: &[BlobKey]) -> Result<Vec<Option<Protection>>> {
        let statements = keys.iter().flat_map(|key| [find(key), protecting(key)]).collect();
        let mut rows = self.read_all(statements).await?.into_iter();
        let mut protections = Vec::with_capacity(keys.len());
        while let (Some(file), Some(hold)) = (rows.next(), rows.next()) {
            protections.push(match self.status(file, hold)? {
                Status::Protected(protection) => Some(protection),
                Status::Unknown | Status::Unprotected => None,
            });
        }
        Ok(protections)
    }

    fn status(&self, file: Vec<Row>, hold: Vec<Row>) -> Result<Status> {
        let Some(row) = file.into_iter().next() else {
            return Ok(Status::Unknown);
        };
        if let Some(hold) = Protection::read(hold)? {
            return Ok(Status::Protected(hold));
        }
        let end = self.keeper().policy().floor_end(&Found::read(row)?.file);
        let end = end.filter(|end| *end > self.now());
        Ok(end.map_or(Status::Unprotected, |end| Status::Protected(Protection::Floor(end))))
    }

    /// Returns the keys of the files under `key` and beside it that are the upload which has ended, and are not being removed.
    async fn same(&self, key: &BlobKey, ended: &Ended<'_>) -> Result<Vec<BlobKey>> {
        macro_rules! same {
            ($keys:literal) => {
                concat!(
                    "SELECT key FROM files WHERE ",
                    $keys,
                    " AND size = $3 AND sha256 = $4 AND content_type IS NOT DISTINCT FROM CAST($5 AS TEXT) \
                        AND metadata IS NOT DISTINCT FROM CAST($6 AS TEXT) \
                        AND NOT EXISTS (SELECT 1 FROM removals r WHERE r.key = files.key) LIMIT 64"
                )
            };
        }
        let siblings = Siblings::of(key);
        let (first, last) = siblings.range()?;
        let statement = |sql: &'static str, first: String, last: String| {
            statement!(
                sql,
                first,
                last,
                i64::try_from(ended.size).unwrap_or(i64::MAX),
                ended.digest.as_bytes().to_vec(),
                ended.content_type,
                ended.metadata.map(|metadata| metadata.as_json().clone()),
            )
        };
        let statements = vec![
            statement(same!("key BETWEEN $1 AND $2"), encode(key), encode(key)),
            statement(same!("key >= $1 AND key < $2"), first, last),
        ];
        let mut keys = Vec::new();
        for mut row in self.read_all(statements).await?.into_iter().flatten() {
            let found = decode(&row.text()?)?;
            if found == *key || siblings.contains(&found) {
                keys.push(found);
            }
        }
        Ok(keys)
    }
}

/// Returns `true` if the store has no file, or one that cannot be read.
fn is_lost(error: &Error) -> bool {
    error.is_not_found() || matches!(error.kind(), ErrorKind::Damaged | ErrorKind::Internal)
}
