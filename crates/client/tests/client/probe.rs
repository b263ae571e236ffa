//! What an administrator who saves the settings is shown.

use kazoo_storage::{KazooStorage, MemoryStore};
use kazoo_storage_client::{Client, Dialect, Handler, Shown, Trial, Verb};
use serde_json::{Value, json};

use crate::recorder::{Recorder, answer};
use kazoo_storage_test_support::server::{Front, Server};

async fn probe(dialect: &Dialect, handler: &Handler) -> Trial {
    let mut client = Client::new();
    client.probe(dialect, handler, "system_data", "ID").await.unwrap()
}

/// What is shown of a server that stores, and answers a fetch so.
async fn shown(dialect: &Dialect, fetched: Vec<u8>) -> Shown {
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
    trial.shown
}

fn invalid(code: u16, body: impl Into<Value>, message: &str) -> Shown {
    let invalid = json!({"error_code": code, "error_body": body.into(), "message": message});
    Shown::Refused {
        status: 400,
        body: json!({"attachments": {"ID": {"invalid": invalid}}}),
    }
}

#[tokio::test]
async fn our_own_server_lets_every_release_save() {
    for front in [Front::Axum, Front::Hyper] {
        let server = Server::start(front, "/some_prefix", KazooStorage::new(MemoryStore::new())).await;
        let url = format!("http://user:secret@{}/some_prefix", server.address);
        for dialect in Dialect::ALL.iter().chain([&Dialect::D1B_BASE64, &Dialect::D3_PATCHED]) {
            for verb in [Verb::Put, Verb::Post] {
                for (multipart, base64) in [(false, false), (true, false), (true, true)] {
                    let handler = Handler::new(&*url).unwrap().verb(verb);
                    let handler = handler.send_multipart(multipart).base64_encode_data(base64);
                    let trial = probe(dialect, &handler).await;
                    assert_eq!(trial.shown, Shown::Saved, "{dialect:?} {multipart} {base64}: {trial:?}");
                    assert_eq!(trial.fetched.unwrap().unwrap().content, trial.attachment.content());
                }
            }
        }
    }
}

#[tokio::test]
async fn an_error_is_shown_with_its_body_decoded_if_its_media_type_is_json_to_the_letter() {
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
            self::shown(&Dialect::D3, body).await,
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
            shown(&Dialect::D0, answer(status, "", b"")).await,
            invalid(status, "", message)
        );
    }
}

#[tokio::test]
async fn other_bytes_are_shown_as_a_fault_but_by_the_oldest_releases() {
    let other = || answer(200, "", b"not what was stored");
    for dialect in Dialect::ALL {
        let expected = if dialect.name == "D0" {
            Shown::Saved
        } else {
            Shown::Refused {
                status: 500,
                body: json!({"message": "datastore_fault", "cause": "invalid_data"}),
            }
        };
        assert_eq!(shown(dialect, other()).await, expected, "{}", dialect.name);
    }
}

#[tokio::test]
async fn what_says_nothing_is_shown_as_nothing() {
    assert_eq!(shown(&Dialect::D3, answer(206, "", b"")).await, Shown::Crashed);
    assert_eq!(shown(&Dialect::D3, Vec::new()).await, invalid(500, "", "request_error"));
    let waiting = answer(503, "retry-after: 99\r\n", b"");
    assert_eq!(shown(&Dialect::D3, waiting).await, Shown::Waiting);
    let trial = probe(&Dialect::D3, &Handler::new("http://token@127.0.0.1/p").unwrap()).await;
    assert_eq!(trial.shown, Shown::Crashed);
    assert!(trial.fetched.is_none());
}
