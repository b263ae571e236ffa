//! Requests that KAZOO's own code put on a socket, replayed byte for byte. Uploads are stored, and fetches return
//! them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kazoo_storage::{
    Base64, BlobKey, BlobStore, KazooStorage, MemoryStore, Metadata,
    extract_key::{KeyExtractor as _, MetadataKey, QueryKey},
    settings::KazooSettings,
};
use kazoo_storage_test_support::{
    client::{Answer, Connection, Framing, Pace, find},
    fixture::{Encoding, FIXTURES, Fixture, KeyPlace, body, kazoo_fetch, manifest, rebuild, target},
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

// ---- the fixtures themselves ----

#[test]
fn lists_every_capture() {
    let manifest = manifest();
    let constructed = manifest.iter().filter(|entry| entry["constructed"] == true);
    // A constructed request is marked as such.
    assert!(
        constructed
            .clone()
            .all(|entry| entry["file"].as_str().unwrap().contains("-constructed__"))
    );
    let constructed = constructed.count();
    assert_eq!(constructed, 19);
    assert_eq!(manifest.len() - constructed, 179);
    assert_eq!(FIXTURES.len() - constructed, 167);
    assert_eq!(FIXTURES.iter().filter(|fixture| fixture.captured).count(), 155);
    let fetches = |fixture: &&Fixture| fixture.fetch.is_some() && !fixture.case.contains("-constructed__");
    assert_eq!(FIXTURES.iter().filter(fetches).count(), 157);
    // The others have no request: KAZOO refused its own settings.
    let silent = manifest.iter().filter(|entry| entry["sent"] != true);
    assert!(
        silent
            .clone()
            .all(|entry| entry.get("file").is_none() && entry.get("get_file").is_none())
    );
    assert_eq!(silent.count(), 12);
}

#[test]
fn rebuilds_the_captured_requests() {
    let mut rebuilt = 0;
    for entry in manifest().iter().filter(|entry| entry["file"].is_string()) {
        let fixture = FIXTURES.iter().find(|fixture| fixture.case == entry["case"]).unwrap();
        // Only ASCII targets and common headers are described byte for byte.
        let plain = entry["put_target"].as_str().unwrap().is_ascii();
        let anonymous = find(&fixture.request, b"\r\nauthorization:").is_none();
        if plain && anonymous && fixture.what() != "folder-both-space" {
            let again = rebuild(entry, &fixture.content);
            assert!(again == fixture.request, "{}", fixture.case);
            rebuilt += 1;
        }
    }
    assert!(rebuilt > 100, "{rebuilt}");
}

#[test]
fn the_captures_contain_their_content() {
    for fixture in FIXTURES.iter() {
        let carried = match (fixture.multipart, fixture.encoding) {
            (false, _) => body(&fixture.request).to_vec(),
            (true, Encoding::Off | Encoding::Ignored) => fixture.media_bytes().to_vec(),
            (true, Encoding::Base64) => STANDARD.decode(fixture.media_bytes()).expect(&fixture.case),
        };
        assert!(carried == *fixture.content, "{}", fixture.case);
        if let Some(metadata) = &fixture.metadata {
            assert_eq!(fixture.metadata_bytes(), metadata.as_bytes(), "{}", fixture.case);
        }
    }
}

// ---- every capture, through both fronts ----

async fn whole(front: Front, store: Kind) {
    let whole = Replay {
        front,
        store,
        ..Replay::default()
    };
    assert_eq!(replay(whole, |_| true).await, 186);
}

#[tokio::test]
async fn replays_captures_on_hyper() {
    whole(Front::Hyper, Kind::Memory).await;
}

#[tokio::test]
async fn replays_captures_in_axum() {
    whole(Front::Axum, Kind::Memory).await;
}

#[tokio::test]
async fn replays_captures_onto_files() {
    whole(Front::Hyper, Kind::Files).await;
}

#[tokio::test]
async fn replays_captures_onto_objects() {
    whole(Front::Hyper, Kind::Objects).await;
}

#[tokio::test]
#[ignore = "needs an object store: see tests/system/cluster"]
async fn replays_captures_onto_an_engine() {
    whole(Front::Hyper, Kind::Engine).await;
    whole(Front::Axum, Kind::Engine).await;
}

/// KAZOO and the service have the same settings.
#[tokio::test]
async fn replays_captures_with_their_settings() {
    let by_settings = Replay {
        base64: None,
        ..Replay::default()
    };
    let served = |fixture: &Fixture| refusal_of_settings(fixture.what()).is_none();
    assert_eq!(replay(by_settings, served).await, 182);
    // Except for the releases that ignore `base64_encode_data`.
    let differs = |fixture: &&Fixture| match expected(fixture, settings(fixture).base64()) {
        Expected::Content(content) => content != *fixture.content,
        Expected::Refused(why) => why == "base64_encode_data",
        Expected::NotHttp => false,
    };
    let differing = FIXTURES.iter().filter(|fixture| served(fixture)).filter(differs);
    let cases: Vec<&str> = differing.map(|fixture| &*fixture.case).collect();
    assert_eq!(
        cases,
        [
            "D1-6af2b20117__post-mp-b64-mp3",
            "D1-6af2b20117__put-mp-b64-b64txt",
            "D1b-7ee4bfd647__post-mp-b64-mp3",
        ]
    );
}

/// The expected refusal of the settings of a case: KAZOO crashed before it sent a request,
/// sent invalid HTTP, or sent every file to one URL without metadata to distinguish them.
fn refusal_of_settings(what: &str) -> Option<&'static str> {
    match what {
        "userinfo-useronly-noport" => Some("write the port too"),
        "userinfo-kazoo-otp21" | "userinfo-kazoo-otp23" => Some("`user:password@host:port`"),
        "verb-Put-mixed" => Some("`verb` is neither"),
        "folder-both-space" => Some("`folder_base_path`"),
        "fieldlist-empty" | "url-fragment" => Some("send_multipart"),
        _ => None,
    }
}

#[test]
fn refuses_unusable_settings_with_the_reason() {
    let mut refused = 0;
    for entry in manifest() {
        let case = entry["case"].as_str().unwrap();
        let (_, what) = case.split_once("__").unwrap();
        match (
            KazooSettings::from_json(&entry["settings"].to_string()),
            refusal_of_settings(what),
        ) {
            (Ok(_), None) => {}
            (Err(error), Some(says)) => {
                assert!(error.message().contains(says), "{case}: {error}");
                refused += 1;
            }
            (read, _) => panic!("{case}: {read:?}"),
        }
    }
    assert!(refused >= 10, "{refused}");
}

async fn in_pieces_through(front: Front, pieces: usize) {
    let in_pieces = Replay {
        front,
        pace: Pace::Pieces(pieces),
        up_to: 8 * 1024,
        ..Replay::default()
    };
    assert_eq!(replay(in_pieces, |_| true).await, 174);
}

#[tokio::test]
async fn replays_captures_in_seven_byte_pieces_on_hyper() {
    in_pieces_through(Front::Hyper, 7).await;
}

#[tokio::test]
async fn replays_captures_in_seven_byte_pieces_in_axum() {
    in_pieces_through(Front::Axum, 7).await;
}

#[tokio::test]
async fn replays_captures_byte_by_byte_on_hyper() {
    in_pieces_through(Front::Hyper, 1).await;
}

#[tokio::test]
async fn replays_captures_byte_by_byte_in_axum() {
    in_pieces_through(Front::Axum, 1).await;
}

#[tokio::test]
async fn replays_large_captures_in_pieces() {
    let large = |fixture: &Fixture| fixture.request.len() > 8 * 1024;
    for front in [Front::Hyper, Front::Axum] {
        let in_pieces = Replay {
            front,
            pace: Pace::Pieces(1021),
            ..Replay::default()
        };
        assert_eq!(replay(in_pieces, large).await, 12);
    }
}

// ---- base64 ----

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

// ---- one URL for everything ----

/// With `field_list: []` or a `#fragment`, every file has the same target. The metadata distinguishes them.
#[tokio::test]
async fn distinguishes_files_at_one_url_by_their_metadata() {
    let static_url = by_case("D3-master__fieldlist-empty");
    let to = target(&static_url.request);
    for front in [Front::Hyper, Front::Axum] {
        let store = Spy::memory();
        let storage = KazooStorage::new(store.clone()).key(MetadataKey::new(FIELDS));
        let server = Server::start(front, static_url.mount(), storage).await;
        let mut connection = Connection::open(server.address).await;
        let files = [
            by_case("D3-master__put-mp-mini"),
            by_case("D3-master__call-recording-storage-plan"),
            by_case("D3-master__fax-tiff-mp-b64"),
        ];
        for file in files {
            let stored = connection.exchange(&with_target(&file.request, to), Pace::Whole).await;
            assert_eq!(stored.status, 201, "{}: {stored:?}", file.case);
        }
        assert_eq!(store.stored().len(), files.len(), "{:?}", store.stored());
        for file in files {
            // The query of the captured fetch, at the common URL.
            let fetch = file.fetch.as_ref().unwrap();
            let query = find(target(fetch), b"?").expect("a query");
            let fetch = with_target(fetch, &[to, &target(fetch)[query..]].concat());
            let fetched = connection.exchange(&fetch, Pace::Pieces(7)).await;
            assert_fetched(&fetched, &file.content, &file.content_type, &file.case);
        }
        // The captured fetch names the first of them.
        let fetched = connection
            .exchange(static_url.fetch.as_ref().unwrap(), Pace::Whole)
            .await;
        assert_fetched(&fetched, &files[0].content, "audio/mpeg", &static_url.case);
    }
}

/// The upload and the fetch of every captured document have the same key.
#[test]
fn a_document_at_one_url_has_one_key() {
    let extractor = MetadataKey::new(FIELDS);
    let mut compared = 0;
    // Before D3, a fetch has no query.
    for fixture in FIXTURES.iter().filter(|fixture| fixture.dialect() == "D3") {
        let fetch = std::str::from_utf8(fixture.fetch.as_deref().map(target).unwrap_or_default()).unwrap();
        if let (Some(json), Some((_, query))) = (&fixture.metadata, fetch.split_once('?')) {
            let mut head = http::Request::get(format!("/?{query}"))
                .body(())
                .unwrap()
                .into_parts()
                .0;
            head.extensions.insert(Metadata::from_json(json.clone()).unwrap());
            let key = extractor.key(&head).unwrap();
            assert_eq!(extractor.candidates(&head).unwrap().first(), &key, "{}", fixture.case);
            compared += 1;
        }
    }
    assert_eq!(compared, 23);
}

/// The probe is answered there too, although the target does not name it.
#[tokio::test]
async fn answers_the_probe_at_one_url() {
    let to = target(&by_case("D3-master__fieldlist-empty").request);
    let encoded = by_case("D3-master__put-mp-b64-probe");
    let plain = with_body(
        &encoded.request,
        &replaced(body(&encoded.request), encoded.media_bytes(), &encoded.content),
    );
    let fetch = encoded.fetch.as_ref().unwrap();
    let query = find(target(fetch), b"?").expect("a query");
    let fetch = with_target(fetch, &[to, &target(fetch)[query..]].concat());
    for (base64, probe) in [
        (Base64::Off, &plain),
        (Base64::Detect, &plain),
        (Base64::Declared, &encoded.request),
        (Base64::Detect, &encoded.request),
    ] {
        let storage = KazooStorage::new(MemoryStore::new())
            .key(MetadataKey::new(FIELDS))
            .base64(base64);
        let server = Server::start(Front::Hyper, "/pqc_cb_storage", storage).await;
        let mut connection = Connection::open(server.address).await;
        let stored = connection.exchange(&with_target(probe, to), Pace::Whole).await;
        assert_eq!(stored.status, 201, "{base64:?}: {stored:?}");
        let fetched = connection.exchange(&fetch, Pace::Whole).await;
        assert_fetched(&fetched, &encoded.content, "text/plain", &format!("{base64:?}"));
    }
}

/// The path contains no key there. A service that expects one says what to configure.
#[tokio::test]
async fn one_url_without_a_metadata_key_is_refused() {
    for case in ["D3-master__fieldlist-empty", "D3-master__url-fragment"] {
        let fixture = by_case(case);
        let store = Spy::memory();
        for front in [Front::Hyper, Front::Axum] {
            let server = Server::start(front, fixture.mount(), KazooStorage::new(store.clone())).await;
            let mut connection = Connection::open(server.address).await;
            let answer = connection.exchange(&fixture.request, Pace::Whole).await;
            assert!(answer.refusal(400).contains("field_list"), "{answer:?}");
            let answer = connection.exchange(fixture.fetch.as_ref().unwrap(), Pace::Whole).await;
            assert!(answer.refusal(400).contains("field_list"), "{answer:?}");
        }
        assert_eq!(store.stored(), []);
    }
}

// ---- what is not HTTP ----

/// An unescaped space of `folder_base_path` in the request line. The server answers before the service.
#[tokio::test]
async fn a_raw_space_in_the_request_line_is_400() {
    let fixture = by_case("D3-master__folder-both-space");
    for front in [Front::Hyper, Front::Axum] {
        let store = Spy::memory();
        let server = Server::start(front, "/prefix", KazooStorage::new(store.clone())).await;
        for request in [&fixture.request, fixture.fetch.as_ref().unwrap()] {
            let mut connection = Connection::open(server.address).await;
            assert_eq!(connection.exchange(request, Pace::Whole).await.status, 400);
        }
        assert_eq!(store.stored(), []);
    }
}

// ---- fetches by other settings ----

/// Since 4.3.106, the second half of the path of a fetch follows the current settings, not those of the upload.
#[tokio::test]
async fn a_fetch_by_newer_settings_finds_the_file() {
    let fixture = by_case("D3-master__put-mp-mini");
    let server = Server::start(Front::Hyper, "/prefix", KazooStorage::new(MemoryStore::new())).await;
    let mut connection = Connection::open(server.address).await;
    assert_eq!(connection.exchange(&fixture.request, Pace::Whole).await.status, 201);
    let stored = target(&fixture.request);
    for suffix in [
        "",
        "/",
        "?",
        "?media_id=1",
        "/5d41402abc4b2a76b9719d911017c592.mp3?media_id=1",
        "/unknown_account/1a2b3c4d5e6f708192a3b4c5d6e7f809/DOC/5d41402abc4b2a76b9719d911017c592.mp3",
        "//abs/base/ACC/DOC/ATT?from=x&media_id=1",
        "/0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7%2F202401",
    ] {
        let fetch = kazoo_fetch(&[stored, suffix.as_bytes()].concat());
        let fetched = connection.exchange(&fetch, Pace::Whole).await;
        assert_fetched(&fetched, &fixture.content, "audio/mpeg", suffix);
    }
    // A name that only starts with the stored name is another name.
    for suffix in ["x", ".bak", "%2Fx"] {
        let fetch = kazoo_fetch(&[stored, suffix.as_bytes()].concat());
        connection.exchange(&fetch, Pace::Whole).await.refusal(404);
    }
}

/// A load balancer may send the fetch of a probe to another server than its upload.
#[tokio::test]
async fn every_server_answers_a_probe() {
    for front in [Front::Hyper, Front::Axum] {
        let server = Server::start(front, "/prefix", KazooStorage::new(MemoryStore::new())).await;
        let mut connection = Connection::open(server.address).await;
        let mut probes = 0;
        for fixture in FIXTURES.iter().filter(|fixture| fixture.is_probe()) {
            let fetched = connection.exchange(fixture.fetch.as_ref().unwrap(), Pace::Whole).await;
            assert_fetched(&fetched, &fixture.content, "text/plain", &fixture.case);
            probes += 1;
        }
        assert!(probes > 10, "{probes}");
    }
}

/// An attachment may be JSON. Only the first part is the metadata.
#[tokio::test]
async fn a_json_attachment_is_not_metadata() {
    let fixture = by_case("D3-master__put-mp-mini");
    let json = b"[1, 2, 3]";
    let body = replaced(body(&fixture.request), &fixture.content, json);
    let body = replaced(&body, b"content-type: audio/mpeg", b"content-type: application/json");
    let store = Spy::memory();
    let server = Server::start(Front::Hyper, "/prefix", KazooStorage::new(store.clone())).await;
    let mut connection = Connection::open(server.address).await;
    let stored = connection
        .exchange(&with_body(&fixture.request, &body), Pace::Whole)
        .await;
    assert_eq!(stored.status, 201, "{stored:?}");
    let fetched = connection.exchange(fixture.fetch.as_ref().unwrap(), Pace::Whole).await;
    assert_fetched(&fetched, json, "application/json", &fixture.case);
    assert_eq!(store.metadata_of(&key_of(fixture)).await, fixture.metadata);
}

// ---- one connection ----

/// KAZOO's client sends everything over one connection, even after a refusal.
#[tokio::test]
async fn one_connection_carries_everything() {
    for front in [Front::Hyper, Front::Axum] {
        let server = Server::start(front, "/prefix", KazooStorage::new(MemoryStore::new())).await;
        let mut connection = Connection::open(server.address).await;
        let at_prefix = |fixture: &&Fixture| {
            fixture.dialect() == "D3" && fixture.mount() == "/prefix" && fixture.what() != "folder-both-space"
        };
        for fixture in FIXTURES.iter().filter(at_prefix) {
            let stored = connection.exchange(&fixture.request, Pace::Whole).await;
            let Expected::Content(content) = expected(fixture, Base64::Detect) else {
                stored.refusal(400);
                continue;
            };
            assert_eq!(stored.status, 201, "{}: {stored:?}", fixture.case);
            for fetch in fixture.fetch.iter().chain([&kazoo_fetch(target(&fixture.request))]) {
                let fetched = connection.exchange(fetch, Pace::Whole).await;
                assert_fetched(&fetched, &content, &fixture.content_type, &fixture.case);
            }
            connection
                .exchange(&kazoo_fetch(b"/prefix/no/such/file"), Pace::Whole)
                .await
                .refusal(404);
        }
    }
}

/// An upload and its fetch, pipelined, are answered in order.
#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let fixture = by_case("D3-master__put-mp-mini");
    for front in [Front::Hyper, Front::Axum] {
        let server = Server::start(front, "/prefix", KazooStorage::new(MemoryStore::new())).await;
        for pace in [Pace::Whole, Pace::Pieces(7)] {
            let mut connection = Connection::open(server.address).await;
            let fetch = fixture.fetch.as_ref().unwrap();
            connection.send(&[&fixture.request[..], fetch].concat(), pace).await;
            assert_eq!(connection.receive().await.status, 201);
            let fetched = connection.receive().await;
            assert_fetched(&fetched, &fixture.content, "audio/mpeg", &fixture.case);
        }
    }
}

/// KAZOO repeats an upload without an answer, even while the first is still being sent.
#[tokio::test]
async fn accepts_a_repeated_upload() {
    let fixture = by_case("D3-master__put-mp-mp3");
    let store = Spy::memory();
    let server = Server::start(Front::Hyper, "/prefix", KazooStorage::new(store.clone())).await;
    let (half, rest) = fixture.request.split_at(fixture.request.len() - 100);
    let mut first = Connection::open(server.address).await;
    first.send(half, Pace::Whole).await;
    let mut second = Connection::open(server.address).await;
    for _ in 0..3 {
        assert_eq!(second.exchange(&fixture.request, Pace::Whole).await.status, 201);
    }
    first.send(rest, Pace::Whole).await;
    assert_eq!(first.receive().await.status, 201);
    assert_eq!(store.stored(), vec![key_of(fixture); 4]);
    let fetched = first.exchange(fixture.fetch.as_ref().unwrap(), Pace::Whole).await;
    assert_fetched(&fetched, &fixture.content, "audio/mpeg", &fixture.case);
}

// ---- building blocks ----

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
