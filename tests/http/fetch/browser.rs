//! Headers that protect browsers and caches.

use kazoo_storage::{AccessRules, KazooStorage, MemoryStore, PeerAddr, authorize::Credential};
use kazoo_storage_test_support::{
    client::{Connection, Pace, request},
    server::Server,
};

use super::{FILE, Site};

/// An uploaded script must not run with the rights of the person who views the file.
#[tokio::test]
async fn prevents_a_file_from_running_in_a_browser() {
    let mut site = Site::empty().await;
    for (content_type, saved) in [
        ("audio/mpeg", false),
        ("image/tiff", false),
        ("application/pdf", false),
        ("text/plain; charset=utf-8", false),
        ("text/html", true),
        ("Text/HTML; charset=utf-8", true),
        ("image/svg+xml", true),
        ("application/xhtml+xml", true),
        ("application/xml", true),
        ("text/javascript", true),
        ("text/x-\u{e9}", true),
        ("text/xsl", true),
        ("text/rdf", true),
        ("application/xslt+xml", true),
        ("multipart/x-mixed-replace; boundary=B", true),
        ("audio/x+xml", true),
        ("audio/mpeg, text/html", true),
        ("Audio/MPEG", true),
        ("image/png; x=y", true),
        ("application/octet-stream", true),
    ] {
        let put = request(
            "PUT",
            FILE,
            &[("content-type", content_type)],
            "<script>alert(1)</script>",
        );
        assert_eq!(site.send(&put).await.status, 201, "{content_type}");
        let browser = ("user-agent", "Mozilla/5.0");
        for (method, headers) in [
            ("GET", &[browser][..]),
            ("GET", &[browser, ("range", "bytes=0-3")]),
            ("HEAD", &[browser]),
        ] {
            let answer = site.send(&request(method, FILE, headers, "")).await;
            assert!(answer.status < 300, "{content_type}: {answer:?}");
            assert_eq!(
                answer.header("x-content-type-options"),
                Some("nosniff"),
                "{content_type}"
            );
            assert_eq!(
                answer.header("content-security-policy"),
                Some("sandbox"),
                "{content_type}"
            );
            let expected = saved.then_some("attachment");
            assert_eq!(answer.header("content-disposition"), expected, "{content_type}");
        }
    }
}

/// A credential in the path does not stop a shared cache from storing the response, and a cache does not check
/// the address of a client that is authorized by its address alone.
#[tokio::test]
async fn forbids_shared_caches_to_store_a_file() {
    let fetches = |etag: &str| {
        [
            (request("GET", FILE, &[], ""), 200),
            (request("HEAD", FILE, &[], ""), 200),
            (request("GET", FILE, &[("range", "bytes=0-1")], ""), 206),
            (request("GET", FILE, &[("if-none-match", etag)], ""), 304),
            (request("HEAD", FILE, &[("if-none-match", etag)], ""), 304),
        ]
    };
    let errors = [
        (request("GET", FILE, &[("range", "bytes=9999-")], ""), 416),
        (request("GET", FILE, &[("if-match", "\"other\"")], ""), 412),
        (request("GET", "/prefix/ACC/DOC/missing.mp3", &[], ""), 404),
        (request("HEAD", "/prefix/ACC/DOC/missing.mp3", &[], ""), 404),
        (request("DELETE", FILE, &[], ""), 405),
    ];
    let networks = || AccessRules::new().networks(["127.0.0.1"]).unwrap();
    for (rules, policy) in [
        (None, "private, no-cache"),
        (Some(networks().credential(Credential::token("T"))), "private, no-cache"),
        (Some(networks()), "no-store"),
    ] {
        let with_token = rules.as_ref().is_some_and(AccessRules::has_tokens);
        let mut storage = KazooStorage::new(MemoryStore::new());
        if let Some(rules) = rules {
            storage = storage.authorize(rules);
        }
        let mount = storage.mount("/prefix");
        let service = tower::ServiceBuilder::new()
            .map_request(|mut request: http::Request<_>| {
                request.extensions_mut().insert(PeerAddr(([127, 0, 0, 1], 4711).into()));
                request
            })
            .layer(mount)
            .service(tower::service_fn(async |_: http::Request<_>| {
                Ok::<_, std::convert::Infallible>(http::Response::new(kazoo_storage::Body::empty()))
            }));
        let server = Server::hyper(service).await;
        let mut connection = Connection::open(server.address).await;
        let mut exchange = async |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap();
            let to = if with_token { "/prefix/T/" } else { "/prefix/" };
            connection
                .exchange(text.replacen("/prefix/", to, 1).as_bytes(), Pace::Whole)
                .await
        };
        assert_eq!(exchange(request("PUT", FILE, &[], "x".repeat(1000))).await.status, 201);
        let etag = exchange(request("GET", FILE, &[], ""))
            .await
            .header("etag")
            .unwrap()
            .to_owned();
        for (fetch, status) in fetches(&etag) {
            let answer = exchange(fetch).await;
            assert_eq!(answer.status, status, "{answer:?}");
            assert_eq!(answer.header("cache-control"), Some(policy), "{answer:?}");
        }
        for (refused, status) in errors.clone() {
            let answer = exchange(refused).await;
            assert_eq!(answer.status, status, "{answer:?}");
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
        }
    }
}
