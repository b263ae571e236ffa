//! [`Transfer`]: copies one file, and compares its content.

use std::sync::{Arc, OnceLock};

use futures_util::stream;
use http_body_util::BodyExt as _;
use kazoo_storage::{
    Blob, BlobInfo, BlobKey, BlobStore as _, Body, Error, ErrorKind, Metadata, Upload,
    digest::{Digest, Digester},
    store::DynBlobCatalog,
};

/// Maximum number of reads of a file that is replaced meanwhile.
const READS: usize = 3;

/// A copy from a store to another one.
pub(super) struct Transfer {
    pub(super) from: DynBlobCatalog,
    pub(super) to: DynBlobCatalog,
    /// Read each file from the destination.
    pub(super) verify: bool,
    /// Replace different files.
    pub(super) replace: bool,
    /// Store nothing.
    pub(super) dry_run: bool,
}

/// The result for one file.
pub(super) enum Outcome {
    Copied {
        len: u64,
        is_replacement: bool,
    },
    /// The destination has it.
    Skipped,
    /// The source does not have it any more.
    Gone,
}

impl Transfer {
    pub(super) async fn file(&self, key: &BlobKey) -> Result<Outcome, Error> {
        let Some((blob, metadata)) = self.read(key).await? else {
            return Ok(Outcome::Gone);
        };
        let existing = found(self.to.head(key).await)?;
        if let Some(existing) = &existing {
            if self.is_same(key, &blob.info, existing).await? {
                return Ok(Outcome::Skipped);
            }
            if !self.replace {
                let message = "the destination has a different file; pass --replace to replace it";
                return Err(Error::new(ErrorKind::Conflict, message));
            }
        }
        let outcome = Outcome::Copied {
            len: blob.info.len,
            is_replacement: existing.is_some(),
        };
        if !self.dry_run {
            self.store(key, blob, metadata).await?;
        }
        Ok(outcome)
    }

    /// Opens the file with its metadata, both of the same upload.
    async fn read(&self, key: &BlobKey) -> Result<Option<(Blob, Option<Metadata>)>, Error> {
        for _ in 0..READS {
            let Some((info, metadata)) = found(self.from.describe(key).await)? else {
                return Ok(None);
            };
            let Some(blob) = found(self.from.get(key, None).await)? else {
                return Ok(None);
            };
            let blob = blob.into_blob();
            let blob = blob.ok_or_else(|| Error::new(ErrorKind::Internal, "the store redirects the fetch"))?;
            if blob.info.etag == info.etag && blob.info.modified == info.modified {
                return Ok(Some((blob, metadata)));
            }
        }
        let message = "the file was replaced each time it was read; run the command again";
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    /// Returns `true` if the destination has the same content.
    async fn is_same(&self, key: &BlobKey, info: &BlobInfo, existing: &BlobInfo) -> Result<bool, Error> {
        if info.len != existing.len {
            return Ok(false);
        }
        // An object store has no digests, so the contents are read.
        let expected = match info.digest {
            Some(digest) => digest,
            None => digest(&self.from, key).await?,
        };
        let found = match existing.digest {
            Some(digest) => digest,
            None => digest(&self.to, key).await?,
        };
        Ok(found == expected)
    }

    /// Stores the file, unless its content differs from its digest, and checks the content that the destination has then.
    async fn store(&self, key: &BlobKey, blob: Blob, metadata: Option<Metadata>) -> Result<(), Error> {
        let Blob { info, body, .. } = blob;
        let read = Arc::new(OnceLock::new());
        let upload = Upload::new(key.clone(), compared(body, info.digest, Arc::clone(&read)))
            .with_content_type(info.content_type)
            .with_metadata(metadata)
            .with_len(info.len);
        self.to.put(upload).await?;
        let expected = read.get().copied();
        let stored = self.to.head(key).await?;
        let is_other = stored.len != info.len || stored.digest.is_some() && stored.digest != expected;
        if is_other || self.verify && Some(digest(&self.to, key).await?) != expected {
            let message = "the destination has stored different content; copy the file again with --replace";
            return Err(Error::new(ErrorKind::Damaged, message));
        }
        Ok(())
    }
}

/// Returns `body`, which fails at its end if it does not have the digest `expected`. Puts its digest into `read`.
fn compared(body: Body, expected: Option<Digest>, read: Arc<OnceLock<Digest>>) -> Body {
    let chunks = stream::try_unfold((body, Digester::new()), move |(mut body, mut digester)| {
        let read = Arc::clone(&read);
        async move {
            if let Some(frame) = body.frame().await {
                let chunk = frame?.into_data().unwrap_or_default();
                digester.update(&chunk);
                return Ok(Some((chunk, (body, digester))));
            }
            let found = digester.finish();
            if expected.is_some_and(|expected| found != expected) {
                let message =
                    "the content differs from the SHA-256 of its upload: the file is damaged, and was not copied";
                return Err(Error::new(ErrorKind::Damaged, message));
            }
            let _ = read.set(found);
            Ok(None)
        }
    });
    Body::from_stream(chunks)
}

/// Reads the content of the file under `key`.
async fn digest(store: &DynBlobCatalog, key: &BlobKey) -> Result<Digest, Error> {
    let blob = store.get(key, None).await?.into_blob();
    let blob = blob.ok_or_else(|| Error::new(ErrorKind::Internal, "the store redirects the fetch"))?;
    let (mut body, mut digester) = (blob.body, Digester::new());
    while let Some(frame) = body.frame().await {
        digester.update(&frame?.into_data().unwrap_or_default());
    }
    Ok(digester.finish())
}

fn found<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Err(error) if error.is_not_found() => Ok(None),
        result => result.map(Some),
    }
}
