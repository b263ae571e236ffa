//! Requests that KAZOO's own code put on a socket, replayed byte for byte. Uploads are stored, and fetches return
//! them.

mod captures;
mod encodings;
mod one_url;
mod sequences;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kazoo_storage::{
    Base64, BlobKey, BlobStore, KazooStorage,
    extract_key::{MetadataKey, QueryKey},
    settings::KazooSettings,
};
use kazoo_storage_test_support::{
    client::{Answer, Connection, Framing, Pace, find},
    fixture::{Encoding, FIXTURES, Fixture, KeyPlace, body, kazoo_fetch, target},
    server::{Front, Server},
    stores::{Kind, Spy},
};
use tokio::task::JoinSet;

const FIELDS: [&str; 3] = ["media_id", "id", "call_id"];

/// Maximum length of a file that is sent with a `content-length`. A longer file is chunked, because KAZOO's older
/// clients accept a body shorter than its `content-length` as complete.
const ANNOUNCED: usize = 64 * 1024;

/// The parameters of a replay.
#[derive(Clone, Copy)]
struct Replay {
    front: Front,
    pace: Pace,
    /// `None` to configure the service with KAZOO's own settings.
    base64: Option<Base64>,
    /// Maximum length of a request that is replayed.
    up_to: usize,
    store: Kind,
}

impl Default for Replay {
    fn default() -> Self {
        Self {
            front: Front::Hyper,
            pace: Pace::Whole,
            base64: Some(Base64::Detect),
            up_to: usize::MAX,
            store: Kind::Memory,
        }
    }
}

/// The expected result of an upload.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    /// Stored, or a probe. A fetch returns these bytes.
    Content(Vec<u8>),
    /// Refused with a message that contains this text.
    Refused(&'static str),
    /// Not HTTP: the server refuses it before the service.
    NotHttp,
}

/// The expected result of `fixture` with `base64`.
fn expected(fixture: &Fixture, base64: Base64) -> Expected {
    match fixture.what() {
        "name-dotdot" => return Expected::Refused("`..`"),
        "folder-both-space" => return Expected::NotHttp,
        _ if fixture.key_place() == KeyPlace::Metadata => return Expected::Refused("send_multipart"),
        _ => {}
    }
    let raw = if fixture.multipart {
        fixture.media_bytes()
    } else {
        body(&fixture.request)
    };
    let decoded = STANDARD.decode(raw).ok();
    Expected::Content(match base64 {
        Base64::Off => raw.to_vec(),
        // KAZOO encodes only the media part of a multipart body.
        _ if !fixture.multipart => raw.to_vec(),
        // Short text: nothing indicates an encoding.
        Base64::Detect if is_base64_text(fixture) => raw.to_vec(),
        Base64::Detect => decoded.unwrap_or_else(|| raw.to_vec()),
        Base64::Declared => match decoded {
            Some(content) => content,
            None => return Expected::Refused("base64_encode_data"),
        },
    })
}

/// Base64 text that is the attachment itself.
fn is_base64_text(fixture: &Fixture) -> bool {
    fixture.encoding != Encoding::Base64 && !fixture.content.is_empty() && STANDARD.decode(&fixture.content).is_ok()
}

fn settings(fixture: &Fixture) -> KazooSettings {
    KazooSettings::from_json(&fixture.settings).unwrap_or_else(|error| panic!("{}: {error}", fixture.case))
}

fn storage(fixture: &Fixture, store: impl BlobStore, base64: Option<Base64>) -> KazooStorage {
    let Some(base64) = base64 else {
        return KazooStorage::from_settings(store, &settings(fixture));
    };
    let storage = KazooStorage::new(store).base64(base64);
    match fixture.key_place() {
        KeyPlace::Path => storage,
        KeyPlace::Query(name) => storage.key(QueryKey::new(name)),
        KeyPlace::Metadata => storage.key(MetadataKey::new(FIELDS)),
    }
}

/// Replays every fixture that `of` accepts, a few at a time, and returns their number.
async fn replay(replay: Replay, of: fn(&Fixture) -> bool) -> usize {
    const AT_A_TIME: usize = 8;
    let mut running = JoinSet::new();
    let mut count = 0;
    for fixture in FIXTURES
        .iter()
        .filter(|fixture| fixture.request.len() <= replay.up_to && of(fixture))
    {
        if running.len() == AT_A_TIME {
            running.join_next().await.unwrap().unwrap();
        }
        running.spawn(replay_one(fixture, replay));
        count += 1;
    }
    while let Some(joined) = running.join_next().await {
        joined.unwrap();
    }
    count
}

async fn replay_one(fixture: &'static Fixture, replay: Replay) {
    let case = &fixture.case;
    let store = Spy::open(replay.store);
    let storage = storage(fixture, store.clone(), replay.base64);
    let server = Server::start(replay.front, fixture.mount(), storage).await;
    let mut connection = Connection::open(server.address).await;

    let base64 = replay.base64.unwrap_or_else(|| settings(fixture).base64());
    let content = match expected(fixture, base64) {
        Expected::Content(content) => content,
        Expected::Refused(why) => {
            let message = connection.exchange(&fixture.request, replay.pace).await.refusal(400);
            assert!(message.contains(why), "{case}: {message}");
            assert_eq!(store.stored(), [], "{case}");
            if let Some(captured) = &fixture.fetch {
                let answer = connection.exchange(captured, replay.pace).await;
                assert!(matches!(answer.status, 400 | 404), "{case}: {answer:?}");
                answer.refusal(answer.status);
            }
            return;
        }
        Expected::NotHttp => {
            // The server closes as soon as it detects this, possibly before everything is sent.
            let _ = connection.try_send(&fixture.request, replay.pace).await;
            if let Ok(answer) = connection.try_receive(false).await {
                assert_eq!(answer.status, 400, "{case}");
            }
            assert_eq!(store.stored(), [], "{case}");
            return;
        }
    };
    let answer = connection.exchange(&fixture.request, replay.pace).await;
    assert_eq!(answer.status, 201, "{case}: {answer:?}");

    if fixture.is_probe() {
        assert_eq!(store.stored(), [], "{case}: a probe leaves nothing behind");
    } else {
        let stored = store.stored();
        assert_eq!(stored.len(), 1, "{case}: {stored:?}");
        assert_eq!(stored[0], key_of(fixture), "{case}");
        assert_eq!(store.metadata_of(&stored[0]).await, fixture.metadata, "{case}");
    }

    if let Some(captured) = &fixture.fetch {
        let answer = connection.exchange(captured, replay.pace).await;
        assert_fetched(&answer, &content, &fixture.content_type, case);
    }
    let as_stored = kazoo_fetch(target(&fixture.request));
    let answer = connection.exchange(&as_stored, Pace::Whole).await;
    assert_fetched(&answer, &content, &fixture.content_type, case);
}

/// The key in the target of `fixture`, according to its settings.
fn key_of(fixture: &Fixture) -> BlobKey {
    let target = std::str::from_utf8(target(&fixture.request)).expect("UTF-8");
    let path = match fixture.key_place() {
        KeyPlace::Path => target[fixture.mount().len()..].split('?').next().unwrap(),
        KeyPlace::Query(name) => {
            let (_, value) = target.split_once(&format!("&{name}=")).expect(name);
            value.split('&').next().unwrap()
        }
        KeyPlace::Metadata => panic!("{}: no key in the target", fixture.case),
    };
    BlobKey::from_path(path).unwrap()
}

/// Asserts that `answer` is the whole file, in the form that KAZOO needs.
#[track_caller]
fn assert_fetched(answer: &Answer, content: &[u8], content_type: &str, case: &str) {
    assert_eq!(answer.status, 200, "{case}: {answer:?}");
    assert!(answer.body == content, "{case}: {answer:?}");
    assert_eq!(answer.header("content-type"), Some(content_type), "{case}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{case}");
    assert_eq!(answer.header("content-encoding"), None, "{case}");
    let framing = if content.len() <= ANNOUNCED {
        Framing::Length
    } else {
        Framing::Chunked
    };
    assert_eq!(answer.framing, framing, "{case}");
}

fn by_case(case: &str) -> &'static Fixture {
    FIXTURES.iter().find(|fixture| fixture.case == case).expect(case)
}

/// `request` with another target.
fn with_target(request: &[u8], to: &[u8]) -> Vec<u8> {
    let from = target(request);
    let start = find(request, from).unwrap();
    [&request[..start], to, &request[start + from.len()..]].concat()
}

/// `request` with another body and its `content-length`.
fn with_body(request: &[u8], body: &[u8]) -> Vec<u8> {
    let head = &request[..find(request, b"\r\n\r\n").unwrap()];
    let head: Vec<String> = String::from_utf8_lossy(head)
        .split("\r\n")
        .map(|line| match line.strip_prefix("content-length: ") {
            Some(_) => format!("content-length: {}", body.len()),
            None => line.to_owned(),
        })
        .collect();
    [head.join("\r\n").as_bytes(), b"\r\n\r\n", body].concat()
}

fn replaced(haystack: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let start = find(haystack, from).expect("what is to be replaced");
    [&haystack[..start], to, &haystack[start + from.len()..]].concat()
}
