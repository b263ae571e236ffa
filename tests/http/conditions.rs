//! Conditional uploads. The test sends their bodies only after the server has read every head.

use kazoo_storage::{Base64, KazooStorage};
use kazoo_storage_test_support::{
    client::{Connection, Pace, request},
    server::{Front, Server},
    stores::{Kind, Spy},
};

const FILE: &str = "/prefix/ACC/DOC/message.mp3";
const KEY: &str = "ACC/DOC/message.mp3";

/// Number of overlapping uploads.
const UPLOADS: usize = 5;

/// The content of an upload, short enough for one part of an object.
fn content(number: usize) -> String {
    format!("upload {number}")
}

/// Starts uploads with `condition`. The server has accepted every head before the first body is sent.
async fn overlap(server: &Server, condition: (&str, &str)) -> Vec<u16> {
    let mut connections = Vec::new();
    for number in 0..UPLOADS {
        let mut connection = Connection::open(server.address).await;
        let len = content(number).len().to_string();
        let headers = [condition, ("content-length", &len), ("expect", "100-continue")];
        connection.send(&request("PUT", FILE, &headers, ""), Pace::Whole).await;
        // The server sends it when the store asks for the body.
        assert_eq!(connection.receive_interim().await, 100);
        connections.push(connection);
    }
    for (number, connection) in connections.iter_mut().enumerate() {
        connection.send(content(number).as_bytes(), Pace::Whole).await;
    }
    let mut statuses = Vec::new();
    for connection in &mut connections {
        let answer = connection.receive().await;
        if answer.status != 201 {
            answer.refusal(412);
        }
        statuses.push(answer.status);
    }
    statuses
}

/// The only upload that was stored.
fn winner(statuses: &[u16]) -> usize {
    let stored: Vec<_> = (0..statuses.len()).filter(|number| statuses[*number] == 201).collect();
    assert_eq!(stored.len(), 1, "exactly one is stored: {statuses:?}");
    stored[0]
}

#[tokio::test]
async fn one_of_several_overlapping_uploads_is_stored() {
    for kind in Kind::ALL {
        let store = Spy::open(*kind);
        let storage = KazooStorage::new(store.clone()).base64(Base64::Off);
        let server = Server::start(Front::Hyper, "/prefix", storage).await;
        let first = winner(&overlap(&server, ("if-none-match", "*")).await);
        assert_eq!(store.content(KEY).await, Some(content(first).into_bytes()), "{kind:?}");

        // No update stores this content, so a second one cannot match its tag.
        let mut connection = Connection::open(server.address).await;
        let put = request("PUT", FILE, &[], "the old file");
        assert_eq!(connection.exchange(&put, Pace::Whole).await.status, 201, "{kind:?}");
        let head = connection.exchange(&request("HEAD", FILE, &[], ""), Pace::Whole).await;
        let etag = head.header("etag").unwrap();
        let second = winner(&overlap(&server, ("if-match", etag)).await);
        assert_eq!(store.content(KEY).await, Some(content(second).into_bytes()), "{kind:?}");
        assert_eq!(store.stored().len(), 3, "{kind:?}");
    }
}

/// A client that waits for `100 Continue` does not have to send a body that is refused anyway.
#[tokio::test]
async fn refuses_an_upload_before_its_body_if_the_condition_fails_already() {
    for kind in Kind::ALL {
        let store = Spy::open(*kind);
        let server = Server::start(Front::Hyper, "/prefix", KazooStorage::new(store.clone())).await;
        let mut connection = Connection::open(server.address).await;
        assert_eq!(
            connection
                .exchange(&request("PUT", FILE, &[], "old"), Pace::Whole)
                .await
                .status,
            201
        );
        for (condition, status) in [
            (("if-none-match", "*"), 412),
            (("if-match", "\"other\""), 412),
            (("if-unmodified-since", "Thu, 01 Jan 1970 00:00:00 GMT"), 412),
            // Parsed as an empty list, these would allow the upload to replace the file.
            (("if-none-match", "*, \"other\""), 400),
            (("if-none-match", "other"), 400),
            (("if-match", "other"), 400),
        ] {
            let mut connection = Connection::open(server.address).await;
            let headers = [condition, ("content-length", "3"), ("expect", "100-continue")];
            connection.send(&request("PUT", FILE, &headers, ""), Pace::Whole).await;
            let answer = connection.receive().await;
            answer.refusal(status);
            assert_eq!(answer.interim, [0; 0], "{condition:?}");
        }
        assert_eq!(store.content(KEY).await, Some(b"old".to_vec()), "{kind:?}");
    }
}
