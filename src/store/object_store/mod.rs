//! [`ObjectStoreBlobs`]: objects in an S3-compatible cluster, Google Cloud Storage, Azure, or any other engine that the
//! `object_store` crate reaches.

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
use super::{BlobInfo, BlobStore, ByteRange, Fetched, Stored, Upload};
use crate::{error::Result, key::BlobKey, metadata::Metadata};

/// Keeps files as objects of any [`ObjectStore`]: this store adds what a [`BlobStore`] promises and an engine does not.
///
/// A clone is the same store. It holds nothing but its options, so any number of servers can share one bucket: each
/// finds what any of them has stored. Its methods need a Tokio runtime around them.
///
/// ```
/// use kazoo_storage::store::ObjectStoreBlobs;
/// use object_store::memory::InMemory;
///
/// let store = ObjectStoreBlobs::new(InMemory::new()).prefix("voicemail".into());
/// ```
///
/// With the feature `aws` of `object_store`, an S3-compatible cluster is `AmazonS3Builder::new()…build()?` in the place
/// of `InMemory`. Switch its total timeout off (`ClientOptions::with_timeout_disabled`): it would cut long reads, and
/// this store has [deadlines](Self::deadline) of its own.
///
/// # What is where
///
/// One upload is one object: content, media type and JSON document are written at once, so a pair is never of two
/// uploads, and nothing has to be swept up when one is replaced.
///
/// - Its **name** is the prefix and the key's segments, joined by `/`: `PREFIX/ACCOUNT_ID/DOCUMENT_ID/voice mail.mp3`.
///   What object stores advise against in names is percent-encoded in them, `%`, all that is not ASCII and a dot at a
///   segment's end too. A name over 1024 bytes is [`ErrorKind::InvalidKey`](crate::ErrorKind::InvalidKey).
/// - Its **content type** is the upload's.
/// - The **JSON document** is the user-defined attribute `kazoometadata` (on S3 the header `x-amz-meta-kazoometadata`),
///   percent-encoded where it holds anything but visible ASCII. One that takes more than 2000 bytes there (engines take
///   2 KiB) stands in the object, behind the content, and the attribute `kazootrailer` has its length in bytes.
///
/// The **entity tag** is the engine's tag together with the length of the content. The engine's tag identifies the
/// whole object, the end of which may be a document or content.
///
/// An object that another program has put into the bucket is a file like any other, if its name is that of a key. The
/// engine must keep attributes:
/// `object_store`'s `LocalFileSystem` does not, and is refused by [`check`](BlobStore::check); for files there is
/// `FsStore`.
///
/// # What a request costs
///
/// | request | what the engine is asked |
/// | --- | --- |
/// | an upload of at most one [part](Self::part_size) | one conditional PUT; one more PUT if it replaces a file |
/// | an upload with a [`Precondition`](crate::store::Precondition) | a HEAD, and one conditional PUT |
/// | a longer upload | a HEAD, and a multipart upload: begin, its parts, complete |
/// | a fetch | one GET, or one HEAD if it is [redirected](Self::redirect) |
/// | a fetch with `Range` or conditions | a HEAD, and a GET of those bytes |
/// | `head`, `metadata` | one HEAD; and a GET for a document behind the content |
/// | what is not there | the same, and a GET behind each HEAD, to tell a missing object from a missing bucket |
///
/// An upload holds at most two parts in memory, 10 MiB by default: one on its way to the engine, and one that is being
/// received. A fetch holds what the engine's client reads at a time.
///
/// # When the engine fails
///
/// The engine has a [deadline](Self::deadline), 30 seconds by default: for an upload of one part, for each step of a
/// longer one (to begin, each part, to complete), for a read until its body begins, and for each chunk of the body. An
/// engine that does not answer, or answers that it cannot, is [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable),
/// and so are credentials that it refuses and a bucket that is not there: an operator can put all of that right, and
/// KAZOO sends the same upload again meanwhile. An upload that was late may still become visible, whole, when the engine
/// recovers, even over what was stored meanwhile; KAZOO only ever sends the same file again.
///
/// # Uploads with a condition
///
/// An upload with a [`Precondition`](crate::store::Precondition) is stored by one conditional PUT (`PutMode`), on the version
/// for which the condition was evaluated, so the engine decides. It has at most one [part](Self::part_size): no engine
/// completes a longer upload conditionally. A longer one is
/// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest), and so is every conditional upload if the engine
/// does not support conditions. Some engines ignore conditions that they do not support, so the first conditional
/// upload stores an object of its own (`%check-…`) to find out. The attribute `kazooupload` identifies an upload whose
/// response was lost.
///
/// What an engine's client repeats by itself is configured there (`RetryConfig`); writing the same object again is always
/// safe. This store repeats a write once, without its condition, when the engine refuses the condition or the answer to
/// it got lost.
///
/// The parts of a long upload that breaks off are aborted in the background. A process that is killed, and an engine that
/// does not answer in time, leave them: have the bucket abort multipart uploads that are older than a day (a lifecycle
/// rule in S3, Ceph and Google's; Azure drops such blocks by itself after a week).
///
/// The credentials need the rights to read and write objects, to abort multipart uploads, and to list the bucket, without
/// which S3 does not say that an object is missing (`s3:GetObject`, `s3:PutObject`, `s3:AbortMultipartUpload`,
/// `s3:ListBucket`). [`check`](BlobStore::check) tells if they are missing; it deletes what it has stored
/// (`%check-…`) if it may (`s3:DeleteObject`).
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

/// How fetches are sent to the engine itself.
#[derive(Clone)]
struct Redirect {
    signer: Arc<dyn Signer>,
    valid: Duration,
}

impl ObjectStoreBlobs {
    /// How long the engine may take for one call by default.
    pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);

    /// How many bytes a part has by default: 5 MiB, the least that S3 takes.
    pub const DEFAULT_PART_SIZE: usize = 5 << 20;

    /// Files in `engine`, with every option at its default.
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

    /// Keeps everything below `prefix`; by default at the top of the bucket.
    #[must_use]
    pub fn prefix(mut self, prefix: Path) -> Self {
        self.prefix = prefix;
        self
    }

    /// Waits for the engine at most so long: for a whole object to be stored, for each step of a longer upload, for a read
    /// until its body begins, and for each chunk of that. By default 30 seconds.
    ///
    /// Time in which the client sends or receives does not count.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Deadline(deadline);
        self
    }

    /// Uploads in parts of `bytes`, of which memory holds two for each upload under way; by default 5 MiB.
    ///
    /// S3 takes no smaller part than 5 MiB (but for the last), and at most 10 000 of them.
    #[must_use]
    pub fn part_size(mut self, bytes: usize) -> Self {
        self.part_size = bytes.max(1);
        self
    }

    /// Answers a fetch with a redirect to the engine, by a URL that `signer` signs and that is valid for so long.
    ///
    /// KAZOO follows it, so the bytes do not pass through this service; whoever fetches must reach the engine. Uploads
    /// are never redirected: KAZOO would keep the URL it was sent to, which expires. Nor is the fetch of a file whose JSON
    /// document stands behind its content, as the engine would give both, and of one whose name has anything but ASCII
    /// letters, digits, `-`, `.`, `_` and `/`, as not every engine's URLs lead to it.
    ///
    /// Two things are weaker then. The engine announces a body's length, so that KAZOO before OTP 23 takes one that breaks
    /// off for whole. And a file that is replaced within the URL's life by one with such a document is given with it.
    #[must_use]
    pub fn redirect(mut self, signer: Arc<dyn Signer>, valid: Duration) -> Self {
        self.redirect = Some(Redirect { signer, valid });
        self
    }

    /// Waits for `call`, not longer than the deadline.
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
    async fn put(&self, upload: Upload) -> Result<Stored> {
        put::put(self, upload).await
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<Fetched> {
        self.deadline.over(Task::Read, get::get(self, key, range)).await
    }

    async fn head(&self, key: &BlobKey) -> Result<BlobInfo> {
        self.deadline.over(Task::Read, get::head(self, key)).await
    }

    async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>> {
        self.deadline.over(Task::Read, get::metadata(self, key)).await
    }

    async fn check(&self) -> Result<()> {
        check::check(self).await
    }
}
