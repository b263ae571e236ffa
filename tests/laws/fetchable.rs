//! *Fetchable*: what any release of KAZOO stores, it can fetch, with every extractor that the crate offers.

use http::{Request, StatusCode, header, request::Parts, uri::Authority};
use http_body_util::BodyExt as _;
use kazoo_storage::{
    BlobKey, Body, Error, ErrorKind, KazooStorage, MemoryStore, PathKey,
    builder::StorageService,
    extract_key::{KeyExtractor, MetadataKey, QueryKey},
};
use kazoo_storage_client::{Attachment, Boundary, Dialect, Document, FetchTarget, Handler, Multipart};
use tower::ServiceExt as _;

const FIELDS: [&str; 3] = ["media_id", "id", "call_id"];

const ACCOUNT: &str = "0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7";

/// An extractor, and the settings of a KAZOO that it is for.
struct Case {
    name: &'static str,
    settings: &'static str,
    service: StorageService,
    is_by_metadata: bool,
}

impl Case {
    fn new(name: &'static str, settings: &'static str, extractor: impl KeyExtractor) -> Self {
        Self {
            name,
            settings,
            is_by_metadata: extractor.reads_metadata(),
            service: KazooStorage::new(MemoryStore::new()).key(extractor).into_service(),
        }
    }

    /// Returns `true` if the requests of `dialect` contain the key: an upload has metadata, and so has its fetch.
    fn has_key(&self, dialect: &Dialect) -> bool {
        !self.is_by_metadata || (dialect.multipart != Multipart::Never && dialect.fetch != FetchTarget::Stored)
    }

    /// Stores `message` and fetches it. Returns the key of the stored file.
    async fn store_and_fetch(&self, dialect: &Dialect, message: &Attachment) {
        let case = format!("{}, {}, {}", self.name, dialect.name, message.name());
        let handler = Handler::from_json(self.settings).unwrap();
        let stored = handler.store(dialect, message, &Boundary::random().unwrap()).unwrap();
        let response = self.answer(stored.request.map(Body::from)).await;
        assert!(response.0.is_success(), "{case}: {response:?}");
        let fetch = handler.fetch(dialect, &stored.url, message).unwrap();
        let (status, content) = self.answer(fetch.request.map(Body::from)).await;
        assert_eq!(
            (status, &content[..]),
            (StatusCode::OK, &message.content()[..]),
            "{case}"
        );
    }

    async fn answer(&self, request: Request<Body>) -> (StatusCode, Vec<u8>) {
        let response = self.service.clone().oneshot(request).await.unwrap();
        let status = response.status();
        (status, response.into_body().collect().await.unwrap().to_bytes().into())
    }
}

fn by_host(request: &Parts) -> kazoo_storage::Result<BlobKey> {
    let header = || Authority::try_from(request.headers.get(header::HOST)?.as_bytes()).ok();
    let host = request.uri.authority().cloned().or_else(header);
    let host = host.ok_or_else(|| Error::new(ErrorKind::InvalidRequest, "the request has no host"))?;
    BlobKey::from_segments(["hosts", &host.host().to_ascii_lowercase()])
}

fn cases() -> Vec<Case> {
    const PATH: &str = r#"{"url":"http://acme.example.com:8080","verb":"put"}"#;
    const FOLDER: &str = r#"{"url":"http://h:80","verb":"put","folder_base_path":"archive/new"}"#;
    const QUERY: &str = r#"{"url":"http://h:80/i.php?key=abc&recording=","verb":"post","send_multipart":true}"#;
    const ONE_URL: &str = r#"{"url":"http://h:80/p","verb":"put","field_list":[],"send_multipart":true}"#;
    let query = || QueryKey::new("recording");
    let metadata = || MetadataKey::new(FIELDS);
    vec![
        Case::new("PathKey", PATH, PathKey),
        Case::new("PathKey, folder", FOLDER, PathKey),
        Case::new("PathKey, prefixed", PATH, PathKey.prefixed(by_host)),
        Case::new(
            "PathKey, prefixed twice",
            FOLDER,
            PathKey.prefixed(by_host).prefixed(by_host),
        ),
        Case::new("QueryKey", QUERY, query()),
        Case::new("QueryKey, prefixed", QUERY, query().prefixed(by_host)),
        Case::new("MetadataKey", ONE_URL, metadata()),
        Case::new("MetadataKey, prefixed", ONE_URL, metadata().prefixed(by_host)),
    ]
}

#[tokio::test]
async fn what_a_release_stores_it_can_fetch_with_every_extractor() {
    let mut compared = 0;
    for case in cases() {
        for (number, name) in (1..).zip(["message.mp3", "my voice mail.mp3", "sub/dir.mp3", "noext"]) {
            for dialect in Dialect::ALL
                .iter()
                .chain(Dialect::UNRELEASED)
                .filter(|dialect| case.has_key(dialect))
            {
                let json =
                    format!(r#"{{"_id":"202401-{number:032}","call_id":"c{number}","metadata":{{"folder":"new"}}}}"#);
                let json = json.replace(
                    r#"{"folder""#,
                    &format!(r#"{{"media_id":"202401-{number:032}","folder""#),
                );
                let document = Document::from_json(&json).unwrap();
                let content = format!("ID3 {number} {}", dialect.name);
                case.store_and_fetch(dialect, &Attachment::new(ACCOUNT, document, name, content))
                    .await;
                compared += 1;
            }
        }
    }
    assert!(compared > 150, "{compared}");
}
