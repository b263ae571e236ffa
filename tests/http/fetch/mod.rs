//! Responses to a fetch: the plain form for KAZOO, and ranges, conditions and headers for players and browsers.

mod browser;
mod conditions;
mod kazoo;
mod ranges;

use std::time::{Duration, SystemTime};

use kazoo_storage::{
    BlobInfo, BlobKey, BlobStore, ByteRange, GetResult, KazooStorage, MemoryStore, Metadata, PutResult, Result, Upload,
};
use kazoo_storage_test_support::{
    client::{Answer, Connection, Pace, request},
    server::{Front, Server},
};

const FILE: &str = "/prefix/ACC/DOC/message.mp3";

/// Maximum length of a file that is sent to KAZOO with a `content-length`, in bytes.
const ANNOUNCED: usize = 64 * 1024;

/// A server and one connection to it.
struct Site {
    _server: Server,
    connection: Connection,
}

impl Site {
    async fn empty() -> Self {
        let server = Server::start(Front::Hyper, "/prefix", KazooStorage::new(MemoryStore::new())).await;
        let connection = Connection::open(server.address).await;
        Self {
            _server: server,
            connection,
        }
    }

    /// Stores `content` at [`FILE`].
    async fn with(content: &[u8]) -> Self {
        let mut site = Self::empty().await;
        site.store(content).await;
        site
    }

    async fn store(&mut self, content: &[u8]) {
        let put = request("PUT", FILE, &[("content-type", "audio/mpeg")], content);
        assert_eq!(self.send(&put).await.status, 201);
    }

    async fn send(&mut self, bytes: &[u8]) -> Answer {
        self.connection.exchange(bytes, Pace::Whole).await
    }

    async fn get(&mut self, headers: &[(&str, &str)]) -> Answer {
        self.send(&request("GET", FILE, headers, "")).await
    }
}

/// A store in which all files have the same date.
struct Dated {
    inner: MemoryStore,
    modified: SystemTime,
}

impl Dated {
    async fn serve(modified: SystemTime) -> Site {
        let inner = MemoryStore::new();
        let storage = KazooStorage::new(Self { inner, modified });
        let server = Server::start(Front::Hyper, "/prefix", storage).await;
        let connection = Connection::open(server.address).await;
        Site {
            _server: server,
            connection,
        }
    }
}

impl BlobStore for Dated {
    async fn put(&self, upload: Upload) -> Result<PutResult> {
        self.inner.put(upload).await
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<GetResult> {
        let mut fetched = self.inner.get(key, range).await?;
        if let GetResult::Blob(blob) = &mut fetched {
            blob.info.modified = Some(self.modified);
        }
        Ok(fetched)
    }

    async fn head(&self, key: &BlobKey) -> Result<BlobInfo> {
        let mut info = self.inner.head(key).await?;
        info.modified = Some(self.modified);
        Ok(info)
    }

    async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>> {
        self.inner.metadata(key).await
    }
}

/// The date of a file that is older than a second.
const STORED: &str = "Tue, 14 Nov 2023 22:13:20 GMT";

fn long_ago() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_500)
}

fn media(len: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from(i * 31 % 251).unwrap()).collect()
}
