//! [`ObjectStoreBlobs`]: objects in an S3-compatible cluster, Google Cloud Storage, Azure, or any other engine that the
//! `object_store` crate supports.
//!
//! [`put`] and [`parts`] store an upload, [`conditional`] one with a condition, [`get`] and [`body`] fetch; [`name`]
//! and [`object`] define the format, [`deadline`] and [`error`] wrap every call.

mod body;
mod catalog;
mod check;
mod conditional;
mod deadline;
mod error;
mod get;
mod name;
mod object;
mod parts;
mod put;

use std::{fmt, sync::Arc, time::Duration};

use object_store::{ObjectStore, path::Path, signer::Signer};

use self::{check::Checks, conditional::Conditions, deadline::Deadline, error::Task};
use super::{BlobInfo, BlobStore, ByteRange, GetResult, PutResult, Upload};
use crate::{error::Result, key::BlobKey, metadata::Metadata};

/// Stores files as objects of any [`ObjectStore`], with the guarantees of a [`BlobStore`].
///
/// Clones share one store. All state is in the engine, so any number of servers can share one bucket: each finds the
/// files of all others. The methods need a Tokio runtime.
///
/// ```
/// use kazoo_storage::store::ObjectStoreBlobs;
/// use object_store::memory::InMemory;
///
/// let store = ObjectStoreBlobs::new(InMemory::new()).prefix("voicemail".into());
/// ```
///
/// For an S3-compatible cluster, enable the feature `aws` of `object_store` and pass `AmazonS3Builder::new()…build()?`
/// instead of `InMemory`. Turn its total timeout off (`ClientOptions::with_timeout_disabled`): it would interrupt long
/// reads, and this store has its own [deadlines](Self::deadline).
///
/// # Layout
///
/// Each upload is one object. Content, media type and JSON document are written together, so they always belong to one
/// upload, and a replacement leaves nothing to clean up.
///
/// - The **name** is the prefix and the segments of the key, joined by `/`: `PREFIX/ACCOUNT_ID/DOCUMENT_ID/voice
///   mail.mp3`. Characters that object stores advise against are percent-encoded, and so are `%`, everything that is
///   not ASCII, and a dot at the end of a segment. A name over 1024 bytes is
///   [`ErrorKind::InvalidKey`](crate::ErrorKind::InvalidKey).
/// - The **content type** is that of the upload.
/// - The **JSON document** is the user-defined attribute `kazoometadata` (on S3, the header
///   `x-amz-meta-kazoometadata`). Everything but visible ASCII is percent-encoded. A document that exceeds 2000 bytes
///   encoded (engines accept 2 KiB) is stored in the object after the content, and the attribute `kazootrailer` is its
///   length in bytes.
///
/// The **entity tag** is the engine's tag together with the length of the content. The engine's tag identifies the
/// whole object, but not where its content ends.
///
/// An object of another program is served as a file if its name is that of a key. The engine must preserve attributes.
/// `LocalFileSystem` of `object_store` does not, so [`check`](BlobStore::check) refuses it; use `FsStore` for files.
///
/// # Requests
///
/// | operation | requests to the engine |
/// | --- | --- |
/// | an upload of at most one [part](Self::part_size) | one conditional PUT; one more PUT if it replaces a file |
/// | an upload with a [`Precondition`](crate::store::Precondition) | a HEAD, and one conditional PUT |
/// | a longer upload | a HEAD, and a multipart upload: create, parts, complete |
/// | a fetch | one GET, or one HEAD if it is [redirected](Self::redirect) |
/// | a fetch with `Range` or conditions | a HEAD, and a GET of those bytes |
/// | `head`, `metadata` | one HEAD; and a GET for a document after the content |
/// | a missing file | the same, and a GET after each HEAD, to distinguish a missing object from a missing bucket |
///
/// An upload holds at most two parts in memory, 10 MiB by default: one that the engine is storing and one that is being
/// received. A fetch holds one chunk, as the engine's client reads it.
///
/// # Errors of the engine
///
/// The engine has a [deadline](Self::deadline), 30 seconds by default, for an upload of one part, for each step of a
/// longer one (create, each part, complete), for a read until its body begins, and for each chunk of the body.
/// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) means that the engine did not respond, reported a failure,
/// refused the credentials, or has no such bucket: an operator can repair that, and KAZOO retries the upload meanwhile.
/// An upload that timed out may still become visible when the engine recovers, even over a newer file; KAZOO
/// only ever retries the same file.
///
/// The engine's client may retry requests (`RetryConfig`), which is always safe. This store repeats a write once,
/// without its condition, if the engine refuses the condition or its response was lost.
///
/// The parts of an interrupted upload are aborted in the background. If the process is killed or the engine does not
/// respond, they remain: configure the bucket to abort multipart uploads that are older than a day (a lifecycle rule in
/// S3, Ceph and Google's store; Azure drops such blocks after a week).
///
/// # Conditional uploads
///
/// An upload with a [`Precondition`](crate::store::Precondition) is stored by one conditional PUT (`PutMode`), on the
/// version for which the condition was evaluated, so the engine decides. It has at most one [part](Self::part_size): no
/// engine completes a longer upload conditionally. A longer one is
/// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest), and so is every conditional upload if the engine
/// does not support conditions. Some engines ignore conditions that they do not support, so the first conditional
/// upload stores a separate object (`%check-…`) to find out. The attribute `kazooupload` identifies an upload whose
/// response was lost.
///
/// # Permissions
///
/// The credentials must permit reading and writing objects, aborting multipart uploads, and listing the bucket; without
/// the last, S3 does not report a missing object as missing (`s3:GetObject`, `s3:PutObject`, `s3:AbortMultipartUpload`,
/// `s3:ListBucket`). [`check`](BlobStore::check) reports missing permissions. It deletes its object (`%check-…`) if
/// that is permitted (`s3:DeleteObject`).
#[derive(Clone)]
pub struct ObjectStoreBlobs {
    engine: Arc<dyn ObjectStore>,
    prefix: Path,
    deadline: Deadline,
    part_size: usize,
    redirect: Option<Redirect>,
    checks: Arc<Checks>,
    conditions: Arc<Conditions>,
}

/// The configuration of redirects to the engine.
#[derive(Clone)]
struct Redirect {
    signer: Arc<dyn Signer>,
    valid: Duration,
}

impl ObjectStoreBlobs {
    /// The default deadline for one call of the engine.
    pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);

    /// The default length of a part, in bytes: 5 MiB, the minimum of S3.
    pub const DEFAULT_PART_SIZE: usize = 5 << 20;

    /// Creates a store in `engine`, with every option at its default.
    pub fn new(engine: impl ObjectStore) -> Self {
        Self {
            engine: Arc::new(engine),
            prefix: Path::default(),
            deadline: Deadline(Self::DEFAULT_DEADLINE),
            part_size: Self::DEFAULT_PART_SIZE,
            redirect: None,
            checks: Arc::new(Checks::new()),
            conditions: Arc::default(),
        }
    }

    /// Stores everything below `prefix`. By default, at the top of the bucket.
    #[must_use]
    pub fn prefix(mut self, prefix: Path) -> Self {
        self.prefix = prefix;
        self
    }

    /// Sets the maximum time for the engine to store an object of one part, for each step of a longer upload, for a
    /// read until its body begins, and for each chunk of the body. By default, 30 seconds.
    ///
    /// Time in which the client sends or receives does not count.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Deadline(deadline);
        self
    }

    /// Sets the length of a part, in bytes. Each upload holds two parts in memory. By default, 5 MiB.
    ///
    /// S3 accepts at most 10 000 parts, of at least 5 MiB except for the last.
    #[must_use]
    pub fn part_size(mut self, bytes: usize) -> Self {
        self.part_size = bytes.max(1);
        self
    }

    /// Answers a fetch with a redirect to the engine: a URL that `signer` signs and that is `valid` for this time.
    ///
    /// KAZOO follows the redirect, so the bytes do not pass through this service. The client must be able to reach the
    /// engine. Uploads are not redirected: KAZOO would store the URL, which expires. A file is not redirected if its
    /// JSON document is after its content, because the engine would return both, or if its name contains anything but
    /// ASCII letters, digits, `-`, `.`, `_` and `/`, because signed URLs of such names do not work with every engine.
    ///
    /// Redirects weaken two guarantees. The engine announces the length of a body, and KAZOO before OTP 23 accepts an
    /// interrupted one as complete. If a file is replaced by one with a document after its content while the URL is
    /// valid, the client receives both.
    #[must_use]
    pub fn redirect(mut self, signer: Arc<dyn Signer>, valid: Duration) -> Self {
        self.redirect = Some(Redirect { signer, valid });
        self
    }

    /// Waits for `call` until the deadline.
    async fn within<T>(&self, task: Task, call: impl Future<Output = object_store::Result<T>>) -> Result<T> {
        self.deadline.within(task, call).await
    }
}

impl fmt::Debug for ObjectStoreBlobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStoreBlobs")
            .field("engine", &format_args!("{}", self.engine))
            .field("prefix", &self.prefix)
            .field("deadline", &self.deadline.0)
            .field("part_size", &self.part_size)
            .field("redirect", &self.redirect.as_ref().map(|redirect| redirect.valid))
            .finish_non_exhaustive()
    }
}

impl BlobStore for ObjectStoreBlobs {
    async fn put(&self, upload: Upload) -> Result<PutResult> {
        put::put(self, upload).await
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<GetResult> {
        self.deadline.over(Task::Read, get::get(self, key, range)).await
    }

    async fn head(&self, key: &BlobKey) -> Result<BlobInfo> {
        self.deadline.over(Task::Read, get::head(self, key)).await
    }

    async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>> {
        self.deadline.over(Task::Read, get::metadata(self, key)).await
    }

    async fn describe(&self, key: &BlobKey) -> Result<(BlobInfo, Option<Metadata>)> {
        self.deadline.over(Task::Read, get::describe(self, key)).await
    }

    async fn check(&self) -> Result<()> {
        check::check(self).await
    }
}
