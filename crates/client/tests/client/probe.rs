//! The response that KAZOO shows an administrator who saves the settings.

use kazoo_storage::{KazooStorage, MemoryStore};
use kazoo_storage_client::{Client, Dialect, Handler, ProbeReport, SaveResult, Verb};
use serde_json::{Value, json};

use crate::recorder::{Recorder, answer};
use kazoo_storage_test_support::server::{Front, Server};

async fn probe(dialect: &Dialect, handler: &Handler) -> ProbeReport {
    let mut client = Client::new();
    client.probe(dialect, handler, "system_data", "ID").await.unwrap()
}

/// Returns KAZOO's response for a server that stores files and answers fetches with `fetched`.
async fn shown(dialect: &Dialect, fetched: Vec<u8>) -> SaveResult {
    let recorder = Recorder::start(move |request| {
        if request.starts_with(b"GET") {
            fetched.clone()
        } else {
            answer(201, "", b"")
        }
    })
    .await;
    let handler = Handler::new(format!("http://{}/p", recorder.address)).unwrap();
    let trial = probe(dialect, &handler).await;
    assert!(trial.stored.is_ok());
    trial.result
}

fn invalid(code: u16, body: impl Into<Value>, message: &str) -> SaveResult {
    let invalid = json!({"error_code": code, "error_body": body.into(), "message": message});
    SaveResult::Refused {
        status: 400,
        body: json!({"attachments": {"ID": {"invalid": invalid}}}),
    }
}

#[tokio::test]
async fn every_release_saves_with_our_server() {
    for front in [Front::Axum, Front::Hyper] {
        let server = Server::start(front, "/some_prefix", KazooStorage::new(MemoryStore::new())).await;
        let url = format!("http://user:secret@{}/some_prefix", server.address);
        for dialect in Dialect::ALL.iter().chain(Dialect::UNRELEASED) {
            for verb in [Verb::Put, Verb::Post] {
                for (multipart, base64) in [(false, false), (true, false), (true, true)] {
                    let handler = Handler::new(&*url).unwrap().verb(verb);
                    let handler = handler.send_multipart(multipart).base64_encode_data(base64);
                    let trial = probe(dialect, &handler).await;
                    assert_eq!(
                        trial.result,
                        SaveResult::Saved,
                        "{dialect:?} {multipart} {base64}: {trial:?}"
                    );
                    assert_eq!(trial.fetched.unwrap().unwrap().content, trial.attachment.content());
                }
            }
        }
    }
}

#[tokio::test]
async fn decodes_the_body_of_an_error_if_its_media_type_is_exactly_json() {
    let json = r#"{"error":"unauthorized"}"#;
    for (headers, body, shown) in [
        (
            "content-type: application/json\r\n",
            json,
            json!({"error": "unauthorized"}),
        ),
        (
            "content-type: application/json; charset=utf-8\r\n",
            json,
            json!({"error": "unauthorized"}),
        ),
        ("", json, json!({"error": "unauthorized"})),
        ("", "<html>", json!("<html>")),
        ("content-type: application/json\r\n", "<html>", json!("<html>")),
        ("content-type: Application/JSON\r\n", json, json!(json)),
        ("content-type: application/problem+json\r\n", json, json!(json)),
        ("content-type: text/html\r\n", "<html>", json!("<html>")),
    ] {
        let body = answer(401, headers, body.as_bytes());
        assert_eq!(
            self::shown(&Dialect::KAZOO_4_3_106, body).await,
            invalid(401, shown, "Unauthorized"),
            "{headers}"
        );
    }
    for (status, message) in [
        (404, "Not Found"),
        (413, "Payload Too Large"),
        (414, "Request-URI Too Long"),
        (416, "Requested Range Not Satisfiable"),
        (503, "Service Unavailable"),
        (507, "Insufficient Storage"),
    ] {
        assert_eq!(
            shown(&Dialect::KAZOO_4_0, answer(status, "", b"")).await,
            invalid(status, "", message)
        );
    }
}

#[tokio::test]
async fn altered_content_is_a_fault_except_for_the_oldest_releases() {
    let other = || answer(200, "", b"not what was stored");
    for dialect in Dialect::ALL.iter().chain(Dialect::UNRELEASED) {
        let expected = if *dialect == Dialect::KAZOO_4_0 {
            SaveResult::Saved
        } else {
            SaveResult::Refused {
                status: 500,
                body: json!({"message": "datastore_fault", "cause": "invalid_data"}),
            }
        };
        assert_eq!(shown(dialect, other()).await, expected, "{}", dialect.name);
    }
}

#[tokio::test]
async fn crashes_and_waiting_have_no_reason() {
    assert_eq!(
        shown(&Dialect::KAZOO_4_3_106, answer(206, "", b"")).await,
        SaveResult::Crashed
    );
    assert_eq!(
        shown(&Dialect::KAZOO_4_3_106, Vec::new()).await,
        invalid(500, "", "request_error")
    );
    let waiting = answer(503, "retry-after: 99\r\n", b"");
    assert_eq!(shown(&Dialect::KAZOO_4_3_106, waiting).await, SaveResult::Waiting);
    let trial = probe(
        &Dialect::KAZOO_4_3_106,
        &Handler::new("http://token@127.0.0.1/p").unwrap(),
    )
    .await;
    assert_eq!(trial.result, SaveResult::Crashed);
    assert!(trial.fetched.is_none());
}
