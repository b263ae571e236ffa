//! Request framing: an ambiguous request is refused, and the bytes after it are never interpreted as a request.
//!
//! The table lists the answers to each input from the service in axum, on bare hyper and in the program; whole, in
//! pieces and byte by byte. A proxy may parse an ambiguous request differently, so such a request closes the
//! connection, and the request that is hidden behind it stores nothing.

mod bodies;
mod heads;
mod program;
mod several;

use std::net::SocketAddr;

use Reply::{BareRefusal, Interim, OutsideMount, Refusal, Success};
use Then::{Closed, Either, Ended};
use kazoo_storage::{BlobKey, KazooStorage};
use kazoo_storage_test_support::{
    client::{Connection, Pace, request},
    fixture::kazoo_fetch,
    server::{Front, Server},
    stores::Spy,
};

use self::{
    bodies::{chunked_bodies, encodings, lengths},
    heads::{heads, targets},
    several::several,
};

const MOUNT: &str = "/some_prefix";

/// A file that is stored beforehand, and fetched to test whether a connection works.
const OLD: (&str, &str) = ("/some_prefix/ACC/OLD/old.mp3", "the older file");

/// The request that is hidden behind others.
const HIDDEN: &str = "PUT /some_prefix/ACC/DOC/hidden.mp3 HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nBAD";

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reply {
    /// An interim answer.
    Interim(u16),
    /// An answer of the service other than a refusal.
    Success(u16),
    /// A refusal with JSON.
    Refusal(u16),
    /// A refusal by hyper, without JSON.
    BareRefusal(u16),
    /// The 404 of the service beside the mount.
    OutsideMount,
}

/// The state of the connection after the last answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// The next request is answered, and nothing precedes its answer.
    Open,
    /// The server closes the connection without sending more.
    Closed,
    /// Either, depending on whether the rest of an unread body has arrived.
    Either,
    /// The client ends the connection after these bytes. Then as `Closed`.
    Ended,
}

struct Case {
    what: &'static str,
    bytes: Vec<u8>,
    replies: &'static [Reply],
    then: Then,
    /// The files that are stored below `ACC/DOC` afterwards, with their content.
    stored: &'static [(&'static str, &'static str)],
}

type Row = (
    &'static str,
    Vec<u8>,
    &'static [Reply],
    Then,
    &'static [(&'static str, &'static str)],
);

fn cases(rows: Vec<Row>) -> Vec<Case> {
    let case = |(what, bytes, replies, then, stored)| Case {
        what,
        bytes,
        replies,
        then,
        stored,
    };
    rows.into_iter().map(case).collect()
}

/// An upload with these lines in its head.
fn put(lines: &[&str], body: impl AsRef<[u8]>) -> Vec<u8> {
    from("PUT /some_prefix/ACC/DOC/a.mp3 HTTP/1.1", lines, body)
}

/// A request that starts with `line`.
fn from(line: &str, lines: &[&str], body: impl AsRef<[u8]>) -> Vec<u8> {
    let host = if lines.iter().any(|line| line.starts_with("host")) {
        ""
    } else {
        "host: h\r\n"
    };
    let lines: String = lines.iter().flat_map(|line| [*line, "\r\n"]).collect();
    [format!("{line}\r\n{host}{lines}\r\n").as_bytes(), body.as_ref()].concat()
}

/// An upload of `ID3` to this target.
fn to(target: &str) -> Vec<u8> {
    from(&format!("PUT {target} HTTP/1.1"), &["content-length: 3"], "ID3")
}

/// An upload of these chunks.
fn chunks(chunks: &str) -> Vec<u8> {
    put(&["transfer-encoding: chunked"], chunks)
}

/// `bytes` followed by the hidden request.
fn hiding(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    [bytes.as_ref(), HIDDEN.as_bytes()].concat()
}

fn raw(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    bytes.as_ref().to_vec()
}

const NOTHING: &[(&str, &str)] = &[];

const ID3: &[(&str, &str)] = &[("a.mp3", "ID3")];

const HELLO: &[(&str, &str)] = &[("a.mp3", "hello")];

const REFUSED: &[Reply] = &[BareRefusal(400)];

const BROKEN: &[Reply] = &[Refusal(400)];

fn table() -> Vec<Case> {
    [lengths(), encodings(), chunked_bodies(), heads(), targets(), several()]
        .into_iter()
        .flatten()
        .collect()
}

/// Describes how the server deviated from `case`. Empty if it did not.
async fn departure(case: &Case, pace: Pace, address: SocketAddr) -> String {
    let mut connection = Connection::open(address).await;
    // A server that refuses a request does not have to read the rest.
    let _ = connection.try_send(&case.bytes, pace).await;
    if case.then == Ended {
        connection.finish().await;
    }
    let mut received = Vec::new();
    while received.len() < case.replies.len() {
        let Ok(answer) = connection.try_receive(false).await else {
            break;
        };
        received.extend(answer.interim.iter().map(|status| Interim(*status)));
        received.push(match answer.status {
            200..300 => Success(answer.status),
            404 if case.replies.get(received.len()) == Some(&OutsideMount) => OutsideMount,
            status if answer.header("content-type") == Some("application/json") => {
                answer.refusal(status);
                Refusal(status)
            }
            status => BareRefusal(status),
        });
    }
    if received != case.replies {
        return format!("received {received:?}, expected {:?}", case.replies);
    }
    if matches!(case.then, Closed | Ended) {
        return if connection.is_closed().await {
            String::new()
        } else {
            "is not closed".to_owned()
        };
    }
    let fetch = kazoo_fetch(OLD.0.as_bytes());
    let _ = connection.try_send(&fetch, Pace::Whole).await;
    match connection.try_receive(false).await {
        Ok(answer) if answer.status == 200 && answer.body == OLD.1.as_bytes() => String::new(),
        Err(_) if case.then == Either => String::new(),
        answer => format!("does not go on: {answer:?}"),
    }
}

/// The paces for a request of this length.
fn paces(len: usize) -> &'static [Pace] {
    match len {
        0..1000 => &[Pace::Whole, Pace::Pieces(7), Pace::Pieces(1)],
        1000..10_000 => &[Pace::Whole, Pace::Pieces(7)],
        _ => &[Pace::Whole, Pace::Pieces(4096)],
    }
}

async fn every_case(front: Front) {
    let mut wrong = Vec::new();
    for case in table() {
        for pace in paces(case.bytes.len()) {
            let store = Spy::memory();
            let server = Server::start(front, MOUNT, KazooStorage::new(store.clone())).await;
            let old = Connection::open(server.address)
                .await
                .exchange(&request("PUT", OLD.0, &[], OLD.1), Pace::Whole)
                .await;
            assert_eq!(old.status, 201);
            let mut departure = departure(&case, *pace, server.address).await;
            let mut expected = vec![key("OLD", "old.mp3")];
            for (name, content) in case.stored {
                expected.push(key("DOC", name));
                if store.content_of(&key("DOC", name)).await.as_deref() != Some(content.as_bytes()) {
                    departure.push_str("; the content is another");
                }
            }
            if store.stored() != expected {
                departure = format!("{departure}; stored {:?}", store.stored());
            }
            if !departure.is_empty() {
                wrong.push(format!("{}, {pace:?}: {departure}", case.what));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn key(document: &str, name: &str) -> BlobKey {
    BlobKey::from_segments(["ACC", document, name]).unwrap()
}

#[tokio::test]
async fn answers_every_case_on_hyper() {
    every_case(Front::Hyper).await;
}

#[tokio::test]
async fn answers_every_case_in_axum() {
    every_case(Front::Axum).await;
}

/// A client that disconnects at any byte stores nothing more. Its completed requests are unaffected.
#[tokio::test]
async fn stores_nothing_of_a_request_that_ends_early() {
    let before = put(&["content-length: 3"], "ID3");
    for front in [Front::Hyper, Front::Axum] {
        for whole in [
            to("/some_prefix/ACC/DOC/b.mp3"),
            from(
                "PUT /some_prefix/ACC/DOC/b.mp3 HTTP/1.1",
                &["expect: 100-continue", "transfer-encoding: chunked"],
                "2;a=b\r\nID\r\n1\r\n3\r\n0\r\nx: y\r\n\r\n",
            ),
        ] {
            let store = Spy::memory();
            let server = Server::start(front, MOUNT, KazooStorage::new(store.clone())).await;
            for cut in 0..whole.len() {
                let mut connection = Connection::open(server.address).await;
                connection
                    .send(&[&before[..], &whole[..cut]].concat(), Pace::Whole)
                    .await;
                connection.finish().await;
                assert_eq!(connection.receive().await.status, 201);
                if let Ok(answer) = connection.try_receive(false).await {
                    answer.refusal(400);
                }
                assert!(connection.is_closed().await, "{front:?}, {cut}");
                assert_eq!(store.stored(), vec![key("DOC", "a.mp3"); cut + 1], "{front:?}, {cut}");
            }
        }
    }
}

/// The answer depends on the features of the server's crates. The bytes that follow are never a request.
#[tokio::test]
async fn refuses_the_preface_of_http_2() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for front in [Front::Hyper, Front::Axum] {
        for pace in [Pace::Whole, Pace::Pieces(1)] {
            let store = Spy::memory();
            let server = Server::start(front, MOUNT, KazooStorage::new(store.clone())).await;
            let mut connection = Connection::open(server.address).await;
            let _ = connection.try_send(&hiding(preface), pace).await;
            connection.finish().await;
            connection.drain().await;
            assert_eq!(store.stored(), []);
        }
    }
}
