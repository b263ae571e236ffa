//! The table of causes: fronts that break something on purpose, and the causes that `check` reports.

mod fetches;
mod uploads;
mod urls;

use std::{io, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use kazoo_storage::{
    AccessRules, KazooStorage, MemoryStore,
    authorize::Credential,
    store::{Fault, FaultyStore, Operation},
};

use super::{
    Report, check,
    front::{
        Front,
        Turn::{Answer, Pass},
        page, start,
    },
};

fn storage() -> KazooStorage {
    KazooStorage::new(MemoryStore::new())
}

/// Checks `front` in front of a working storage.
async fn checked(front: Front) -> Report {
    let running = start(front, storage(), "/some_prefix").await;
    check(&[&running.url()]).await
}

fn assert_causes(report: &Report, exit: i32, causes: &[&str]) {
    assert_eq!(
        (report.exit, report.causes()),
        (exit, causes.to_vec()),
        "{:#}",
        report.json
    );
}

fn status(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap()
}

/// A page that repeats the request, as some servers do.
fn echo(code: u16, request: &Request<Bytes>) -> Response<Bytes> {
    page(status(code), &format!("{} {:?}", request.uri(), request.headers()))
}

fn answers(code: u16) -> Front {
    Front::answering(move |request| echo(code, request))
}

#[tokio::test]
async fn reports_a_cause_for_each_status() {
    for (code, cause) in [
        (401, "proxy_credentials"),
        (403, "proxy_credentials"),
        (404, "other_server"),
        (405, "method_not_allowed"),
        (413, "proxy_body_limit"),
        (409, "no_overwrite"),
        (418, "refused"),
        (420, "unknown_status"),
        (500, "server_error"),
        (502, "bad_gateway"),
        (504, "bad_gateway"),
        (507, "storage_full"),
        (308, "unsupported_redirect"),
        (200, "html_page"),
    ] {
        let report = checked(answers(code)).await;
        // A server that refuses everything may refuse multipart bodies only because they are multipart.
        let causes: &[&str] = if code == 418 {
            &[cause, "multipart_refused"]
        } else {
            &[cause]
        };
        assert_causes(&report, 1, causes);
        let finding = report.finding(cause);
        let answered = finding["response"].as_str().unwrap();
        assert!(
            answered.starts_with(&code.to_string()) && answered.contains("nginx"),
            "{answered}"
        );
        match code {
            200 => assert_eq!(finding["kazoo"]["body"]["cause"], "invalid_data"),
            308 | 420 => assert_eq!(finding["kazoo"]["status"], 500),
            _ => {
                let invalid = &finding["kazoo"]["body"]["attachments"]["HANDLER_ID"]["invalid"];
                assert_eq!(invalid["error_code"], code);
            }
        }
    }
}

#[tokio::test]
async fn reports_refused_credentials() {
    let credential = Credential::password("kazoo", "another");
    let rules = AccessRules::new().credential(credential);
    let ours = start(Front::default(), storage().authorize(rules), "/some_prefix").await;
    assert_causes(&check(&[&ours.url()]).await, 1, &["wrong_credentials"]);

    // Another server compares the credentials literally.
    let plain = HeaderValue::from_static("Basic a2F6b286czNjcmV0");
    let asks = Front::before(move |request| {
        if request.headers().get(header::AUTHORIZATION) == Some(&plain) {
            return Pass(request);
        }
        Answer(echo(401, &request))
    });
    let report = checked(asks).await;
    assert_causes(&report, 1, &["mangled_credentials"]);
    let places = report.finding("mangled_credentials")["where"].as_str().unwrap();
    assert!(places.starts_with("4.3.106 and later; OpenKazoo | "), "{places}");
}

#[tokio::test]
async fn reports_a_full_disk() {
    let store = FaultyStore::new(MemoryStore::new());
    let full = io::Error::from(io::ErrorKind::StorageFull);
    store.inject([Operation::Put], Fault::Fail(full.into()));
    let running = start(Front::default(), KazooStorage::new(store), "/some_prefix").await;
    let report = check(&[&running.url()]).await;
    assert_causes(&report, 1, &["storage_full"]);
    let finding = report.finding("storage_full");
    assert!(finding["kazoo"].is_null(), "the credentials probe needs no disk");
    assert!(finding["response"].as_str().unwrap().starts_with("507 "), "{finding}");
}

#[tokio::test]
async fn reports_endless_retries_and_closed_idle_connections() {
    let retries = Front::answering(|_| {
        let answer = Response::builder().status(503).header(header::RETRY_AFTER, "9");
        answer.body(Bytes::new()).unwrap()
    });
    let running = start(retries, storage(), "/some_prefix").await;
    let report = check(&[&running.url(), "--timeout", "1"]).await;
    assert_causes(&report, 1, &["endless_retry"]);
    assert_eq!(report.json["complete"], false);

    // A `keep-alive` header does not announce that the connection closes now; `close` does, so no upload is lost.
    for (connection, causes) in [("keep-alive", &["idle_timeout_too_short"][..]), ("close", &[])] {
        let idle = Front {
            idle: Some(Duration::from_millis(600)),
            after: Box::new(move |_, _, mut answer| {
                let headers = answer.headers_mut();
                headers.insert(header::CONNECTION, HeaderValue::from_static(connection));
                headers.insert("keep-alive", HeaderValue::from_static("timeout=75"));
                answer
            }),
            ..Front::default()
        };
        let running = start(idle, storage(), "/some_prefix").await;
        let report = check(&[&running.url(), "--idle", "2"]).await;
        assert_causes(&report, i32::from(!causes.is_empty()), causes);
    }
    let silent = Front {
        idle: Some(Duration::from_millis(600)),
        ..Front::default()
    };
    let running = start(silent, storage(), "/some_prefix").await;
    assert_causes(
        &check(&[&running.url(), "--idle", "2"]).await,
        1,
        &["idle_timeout_too_short"],
    );
    let stays = start(Front::default(), storage(), "/some_prefix").await;
    assert_causes(&check(&[&stays.url(), "--idle", "2"]).await, 0, &[]);
}

#[tokio::test]
async fn shows_no_control_characters_of_a_response() {
    let hostile = Front::answering(|_| page(status(500), "a\u{202e}b\u{9b}31mc\u{1b}[2J"));
    let running = start(hostile, storage(), "/some_prefix").await;
    let mut command = super::program();
    command.args(["check", "--large", "96KiB", &running.url()]);
    let output = command.output().await.unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(text.contains("a\\u{202e}b"), "{text}");
    let is_shown = |letter: char| letter == '\n' || !(letter.is_control() || letter == '\u{202e}');
    assert!(text.chars().all(is_shown), "{text:?}");
    // JSON is exact.
    let report = check(&[&running.url()]).await;
    assert!(
        report.finding("server_error")["response"]
            .as_str()
            .unwrap()
            .contains("a\u{202e}b")
    );
}
