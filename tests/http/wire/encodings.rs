//! Captures of encoded media, in each base64 mode.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kazoo_storage::{Base64, KazooStorage, MemoryStore};
use kazoo_storage_test_support::{
    client::{Connection, Pace},
    fixture::{Encoding, FIXTURES, Fixture, body},
    server::{Front, Server},
};

use super::{Expected, Replay, assert_fetched, by_case, expected, is_base64_text, replaced, replay, with_body};

async fn replay_by(base64: Base64, of: fn(&Fixture) -> bool) -> usize {
    let by = Replay {
        base64: Some(base64),
        ..Replay::default()
    };
    replay(by, of).await
}

/// Settings with `base64_encode_data` work with and without `Base64::Declared`.
#[tokio::test]
async fn decodes_declared_base64() {
    let asked = |fixture: &Fixture| fixture.encoding != Encoding::Off;
    assert_eq!(replay_by(Base64::Declared, asked).await, 23);
}

/// A raw body is never encoded, whatever the settings, so the declaration does not change it.
#[tokio::test]
async fn keeps_raw_bodies_despite_a_declaration() {
    let raw = |fixture: &Fixture| !fixture.multipart;
    assert_eq!(replay_by(Base64::Declared, raw).await, 117);
}

#[tokio::test]
async fn decodes_nothing_with_base64_off() {
    let plain = |fixture: &Fixture| !(fixture.encoding == Encoding::Base64 && fixture.is_probe());
    assert_eq!(replay_by(Base64::Off, plain).await, 184);
    // Base64 text that is the attachment itself must stay as it is, or be encoded once more.
    for fixture in FIXTURES.iter().filter(|fixture| is_base64_text(fixture)) {
        let Expected::Content(stored) = expected(fixture, Base64::Off) else {
            panic!("{}", fixture.case)
        };
        assert_eq!(*stored, *fixture.content);
    }
}

/// Base64 text that KAZOO did not encode is returned unchanged, whatever its type.
#[tokio::test]
async fn keeps_base64_text_that_was_not_encoded() {
    let text = |fixture: &Fixture| fixture.multipart && is_base64_text(fixture);
    assert_eq!(replay(Replay::default(), text).await, 4);
    for fixture in FIXTURES.iter().filter(|fixture| text(fixture)) {
        assert_eq!(
            expected(fixture, Base64::Detect),
            Expected::Content(fixture.content.to_vec())
        );
    }
}

/// With `base64_encode_data`, the same media is encoded again. `Declared` removes one encoding, `Detect`
/// none.
#[tokio::test]
async fn decodes_encoded_base64_text_if_that_is_declared() {
    let fixture = by_case("D3-master__put-mp-b64txt");
    let once_more = STANDARD.encode(&fixture.content);
    let encoded = with_body(
        &fixture.request,
        &replaced(body(&fixture.request), &fixture.content, once_more.as_bytes()),
    );
    for (base64, content) in [
        (Base64::Declared, &fixture.content[..]),
        (Base64::Detect, once_more.as_bytes()),
    ] {
        let storage = KazooStorage::new(MemoryStore::new()).base64(base64);
        let server = Server::start(Front::Hyper, "/prefix", storage).await;
        let mut connection = Connection::open(server.address).await;
        assert_eq!(connection.exchange(&encoded, Pace::Whole).await.status, 201);
        let answer = connection.exchange(fixture.fetch.as_ref().unwrap(), Pace::Whole).await;
        assert_fetched(&answer, content, "audio/mpeg", &fixture.case);
    }
}
