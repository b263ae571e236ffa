//! Bad input is refused with a message that names the fault, and nothing of it is stored.

mod incomplete;
mod limits;
mod multipart;
mod names;
mod stores;
mod targets;

use kazoo_storage::{BlobKey, KazooStorage};
use kazoo_storage_test_support::{
    client::{Answer, Connection, Pace, Shown, request},
    fixture::kazoo_fetch,
    server::{Front, Server},
    stores::{Kind, Spy},
};

const FRONTS: [Front; 2] = [Front::Hyper, Front::Axum];

/// The target of a file that is stored beforehand.
const OLD: &str = "/prefix/ACC/DOC/message.mp3";

const OLD_CONTENT: &[u8] = b"the older file";

/// A target without a file.
const NEW: &str = "/prefix/ACC/DOC/other.mp3";

/// A server with an older file in its store.
struct Site {
    server: Server,
    store: Spy,
    /// Number of connections opened.
    opened: usize,
}

impl Site {
    async fn new(front: Front) -> Self {
        Self::with(front, |storage| storage).await
    }

    async fn with(front: Front, configure: impl FnOnce(KazooStorage) -> KazooStorage) -> Self {
        Self::on(Kind::Memory, front, configure).await
    }

    async fn on(kind: Kind, front: Front, configure: impl FnOnce(KazooStorage) -> KazooStorage) -> Self {
        let store = Spy::open(kind);
        let server = Server::start(front, "/prefix", configure(KazooStorage::new(store.clone()))).await;
        let mut site = Self {
            server,
            store,
            opened: 0,
        };
        let put = request("PUT", OLD, &[("content-type", "audio/mpeg")], OLD_CONTENT);
        let answer = site.open().await.exchange(&put, Pace::Whole).await;
        assert_eq!(answer.status, 201);
        site
    }

    async fn open(&mut self) -> Connection {
        self.opened += 1;
        Connection::open(self.server.address).await
    }

    /// Asserts that only the older file is stored, unchanged, and that the server works.
    async fn assert_untouched(&mut self) {
        let stored = self.store.stored();
        assert_eq!(stored, [BlobKey::from_path("ACC/DOC/message.mp3").unwrap()]);
        let mut connection = self.open().await;
        let old = connection.exchange(&kazoo_fetch(OLD.as_bytes()), Pace::Whole).await;
        assert_eq!((old.status, &old.body[..]), (200, OLD_CONTENT));
        connection
            .exchange(&kazoo_fetch(NEW.as_bytes()), Pace::Whole)
            .await
            .refusal(404);
    }

    /// Sends a bad request whole, before reading anything. Asserts that it is refused with `status` and that
    /// its connection, or else a new one, still works. Returns the message.
    async fn refused(&mut self, bad: &[u8], status: u16) -> String {
        let mut connection = self.open().await;
        let answer = connection.exchange(bad, Pace::Whole).await;
        assert_eq!(answer.status, status, "{answer:?} to {}", Shown(bad));
        let message = answer.refusal(status);
        if !is_closing(&answer) {
            let old = connection.exchange(&kazoo_fetch(OLD.as_bytes()), Pace::Whole).await;
            assert_eq!((old.status, &old.body[..]), (200, OLD_CONTENT), "after {answer:?}");
        }
        self.assert_untouched().await;
        message
    }
}

fn is_closing(answer: &Answer) -> bool {
    answer.header("connection") == Some("close")
}

/// An upload with a raw body.
fn put(target: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    request("PUT", target, &[("content-type", "audio/mpeg")], body)
}

/// An upload with a multipart body whose boundary is `B`.
fn put_multipart(target: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    request(
        "PUT",
        target,
        &[("content-type", "multipart/form-data; boundary=B")],
        body,
    )
}

/// A multipart body in KAZOO's layout, with the media type of each part.
fn multipart(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (content_type, content) in parts {
        body.extend_from_slice(
            format!("\r\n--B\r\ncontent-disposition: form-data; name=x y\r\ncontent-type: {content_type}\r\n\r\n")
                .as_bytes(),
        );
        body.extend_from_slice(content);
    }
    body.extend_from_slice(b"\r\n--B--");
    body
}

const JSON: (&str, &[u8]) = ("application/json", br#"{"id":"DOC","name":"message"}"#);
