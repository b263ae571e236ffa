//! Every capture, on every front and store, whole and in pieces.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kazoo_storage::{KazooStorage, settings::KazooSettings};
use kazoo_storage_test_support::{
    client::{Connection, Pace, find},
    fixture::{Encoding, FIXTURES, Fixture, body, manifest, rebuild},
    server::{Front, Server},
    stores::{Kind, Spy},
};

use super::{Expected, Replay, by_case, expected, replay, settings};

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

/// An unescaped space of `folder_base_path` in the request line. The server answers before the service.
#[tokio::test]
async fn refuses_a_raw_space_in_the_request_line() {
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
