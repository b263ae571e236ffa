//! Settings by which every file has the same target: the metadata distinguishes them.

use kazoo_storage::{
    Base64, KazooStorage, MemoryStore, Metadata,
    extract_key::{KeyExtractor as _, MetadataKey},
};
use kazoo_storage_test_support::{
    client::{Connection, Pace, find},
    fixture::{FIXTURES, body, target},
    server::{Front, Server},
    stores::Spy,
};

use super::{FIELDS, assert_fetched, by_case, replaced, with_body, with_target};

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
fn extracts_the_same_key_from_upload_and_fetch() {
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
async fn refuses_one_url_without_a_metadata_key() {
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
