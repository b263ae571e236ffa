//! Responses to a fetch: the plain form for KAZOO, and ranges, conditions and headers for players and browsers.

use std::time::{Duration, SystemTime};

use kazoo_storage::{
    AccessRules, BlobInfo, BlobKey, BlobStore, ByteRange, Fetched, KazooStorage, MemoryStore, Metadata, PeerAddr,
    Result, Stored, Upload, authorize::Credential,
};
use kazoo_storage_test_support::{
    client::{Answer, Connection, Framing, Pace, request},
    fixture::kazoo_fetch,
    server::{Front, Server},
    stores::{Elsewhere, Torn},
};

const FILE: &str = "/prefix/ACC/DOC/message.mp3";
/// Maximum length of a file that is sent to KAZOO with a `content-length`, in bytes.
const ANNOUNCED: usize = 64 * 1024;

/// A server and one connection to it.
struct Site {
    _server: Server,
    connection: Connection,
}

impl Site {
    async fn empty() -> Self {
        let server = Server::start(Front::Hyper, "/prefix", KazooStorage::new(MemoryStore::new())).await;
        let connection = Connection::open(server.address).await;
        Self {
            _server: server,
            connection,
        }
    }

    /// Stores `content` at [`FILE`].
    async fn with(content: &[u8]) -> Self {
        let mut site = Self::empty().await;
        site.store(content).await;
        site
    }

    async fn store(&mut self, content: &[u8]) {
        let put = request("PUT", FILE, &[("content-type", "audio/mpeg")], content);
        assert_eq!(self.send(&put).await.status, 201);
    }

    async fn send(&mut self, bytes: &[u8]) -> Answer {
        self.connection.exchange(bytes, Pace::Whole).await
    }

    async fn get(&mut self, headers: &[(&str, &str)]) -> Answer {
        self.send(&request("GET", FILE, headers, "")).await
    }
}

/// A store in which all files have the same date.
struct Dated {
    inner: MemoryStore,
    modified: SystemTime,
}

impl Dated {
    async fn serve(modified: SystemTime) -> Site {
        let inner = MemoryStore::new();
        let storage = KazooStorage::new(Self { inner, modified });
        let server = Server::start(Front::Hyper, "/prefix", storage).await;
        let connection = Connection::open(server.address).await;
        Site {
            _server: server,
            connection,
        }
    }
}

impl BlobStore for Dated {
    async fn put(&self, upload: Upload) -> Result<Stored> {
        self.inner.put(upload).await
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<Fetched> {
        let mut fetched = self.inner.get(key, range).await?;
        if let Fetched::Blob(blob) = &mut fetched {
            blob.info.modified = Some(self.modified);
        }
        Ok(fetched)
    }

    async fn head(&self, key: &BlobKey) -> Result<BlobInfo> {
        let mut info = self.inner.head(key).await?;
        info.modified = Some(self.modified);
        Ok(info)
    }

    async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>> {
        self.inner.metadata(key).await
    }
}

/// The date of a file that is older than a second.
const STORED: &str = "Tue, 14 Nov 2023 22:13:20 GMT";

fn long_ago() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_500)
}

fn media(len: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from(i * 31 % 251).unwrap()).collect()
}

// ---- to KAZOO ----

/// KAZOO sends neither `user-agent` nor `accept`. Its older clients accept a body shorter than its
/// `content-length` as complete, so only content that is read before the response starts has a length.
#[tokio::test]
async fn a_large_file_goes_to_kazoo_in_chunks() {
    for len in [0, 1, ANNOUNCED - 1, ANNOUNCED, ANNOUNCED + 1, 5 * ANNOUNCED + 7] {
        let content = media(len);
        let mut site = Site::with(&content).await;
        let to_kazoo = site.send(&kazoo_fetch(FILE.as_bytes())).await;
        assert_eq!(to_kazoo.status, 200);
        assert!(to_kazoo.body == content, "{len} bytes");
        let announced = len <= ANNOUNCED;
        let framing = if announced { Framing::Length } else { Framing::Chunked };
        assert_eq!(to_kazoo.framing, framing, "{len} bytes");

        let to_a_player = site.get(&[("user-agent", "player/1.0")]).await;
        assert_eq!(to_a_player.status, 200);
        assert!(to_a_player.body == content, "{len} bytes");
        assert_eq!(to_a_player.framing, Framing::Length, "{len} bytes");
        for answer in [to_kazoo, to_a_player] {
            assert_eq!(answer.header("content-type"), Some("audio/mpeg"));
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        }
    }
}

/// An uploaded script must not run with the rights of the person who views the file.
#[tokio::test]
async fn a_file_does_not_run_in_a_browser() {
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
async fn no_shared_cache_stores_a_file() {
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

#[tokio::test]
async fn a_file_without_a_type_is_an_octet_stream() {
    let mut site = Site::empty().await;
    assert_eq!(site.send(&request("PUT", FILE, &[], "x")).await.status, 201);
    let fetched = site.send(&kazoo_fetch(FILE.as_bytes())).await;
    assert_eq!(fetched.header("content-type"), Some("application/octet-stream"));
}

#[tokio::test]
async fn an_absent_file_is_404() {
    let mut site = Site::empty().await;
    assert!(!site.send(&kazoo_fetch(FILE.as_bytes())).await.refusal(404).is_empty());
    let head = site.send(&request("HEAD", FILE, &[], "")).await;
    assert_eq!((head.status, head.framing), (404, Framing::Bodiless));
    // The connection stays usable.
    site.store(b"now").await;
    assert_eq!(site.get(&[]).await.body, b"now");
}

/// The same request over HTTP/1.0.
fn http10(request: &[u8]) -> Vec<u8> {
    let request = String::from_utf8(request.to_vec()).unwrap();
    request.replacen(" HTTP/1.1\r\n", " HTTP/1.0\r\n", 1).into_bytes()
}

/// HTTP/1.0 has no chunks: only a length distinguishes a truncated body from a complete one.
#[tokio::test]
async fn an_answer_to_http_1_0_has_a_length() {
    let content = media(5 * ANNOUNCED + 7);
    for front in [Front::Hyper, Front::Axum] {
        let server = Server::start(front, "/prefix", KazooStorage::new(MemoryStore::new())).await;
        let put = request("PUT", FILE, &[], &content);
        let mut connection = Connection::open(server.address).await;
        assert_eq!(connection.exchange(&put, Pace::Whole).await.status, 201);
        let len = content.len().to_string();
        for (headers, end) in [
            (&[][..], content.len()),
            (&[("user-agent", "nginx")], content.len()),
            (&[("connection", "close")], content.len()),
            (&[("connection", "keep-alive")], content.len()),
            (&[("range", "bytes=0-299999")], 300_000),
        ] {
            let mut connection = Connection::open(server.address).await;
            let answer = connection
                .exchange(&http10(&request("GET", FILE, headers, "")), Pace::Whole)
                .await;
            assert_eq!(answer.framing, Framing::Length, "{front:?} {headers:?}");
            assert!(answer.body == content[..end], "{front:?} {headers:?}");
            let mut connection = Connection::open(server.address).await;
            let head = connection
                .exchange(&http10(&request("HEAD", FILE, headers, "")), Pace::Whole)
                .await;
            assert_eq!(head.header("content-length"), Some(&*len), "{front:?} {headers:?}");
        }
    }
}

/// A response whose read fails midway never looks complete.
#[tokio::test]
async fn a_truncated_response_never_looks_complete() {
    for (len, intact) in [
        (1 << 20, 200_000),
        (1 << 20, ANNOUNCED as u64),
        (1 << 20, (1 << 20) - 1),
    ] {
        for front in [Front::Hyper, Front::Axum] {
            let server = Server::start(front, "/prefix", KazooStorage::new(Torn { len, intact })).await;
            for fetch in [
                kazoo_fetch(FILE.as_bytes()),
                request("GET", FILE, &[], ""),
                request("GET", FILE, &[("connection", "close")], ""),
                request("GET", FILE, &[("user-agent", "player/1.0")], ""),
                request("GET", FILE, &[("range", "bytes=0-")], ""),
                request(
                    "GET",
                    FILE,
                    &[("range", "bytes=100-"), ("user-agent", "player/1.0")],
                    "",
                ),
            ] {
                for fetch in [http10(&fetch), fetch] {
                    let mut connection = Connection::open(server.address).await;
                    connection.send(&fetch, Pace::Whole).await;
                    let whole = connection.try_receive(false).await;
                    assert!(whole.is_err(), "{intact} of {len}: {whole:?}");
                }
            }
        }
    }
    // A small file is read before the response starts, so the response can still be an error.
    for intact in [0, 10, 999] {
        let server = Server::start(Front::Hyper, "/prefix", KazooStorage::new(Torn { len: 1000, intact })).await;
        let mut connection = Connection::open(server.address).await;
        let answer = connection.exchange(&kazoo_fetch(FILE.as_bytes()), Pace::Whole).await;
        answer.refusal(503);
    }
}

/// A store may redirect a fetch, but never an upload: KAZOO's client repeats a redirected POST as a GET
/// without a body, and takes its success for a stored file.
#[tokio::test]
async fn redirects_fetches_only() {
    let location = "https://cdn.example.net/ACC/DOC/message.mp3?signature=x";
    let store = Elsewhere {
        location: location.parse().unwrap(),
    };
    let server = Server::start(Front::Hyper, "/prefix", KazooStorage::new(store)).await;
    let mut connection = Connection::open(server.address).await;
    let fetched = connection.exchange(&kazoo_fetch(FILE.as_bytes()), Pace::Whole).await;
    assert_eq!(fetched.status, 302);
    assert_eq!(fetched.header("location"), Some(location));
    // The URL may be signed: it is a credential.
    assert_eq!(fetched.header("cache-control"), Some("no-store"));
    for method in ["PUT", "POST"] {
        for condition in [
            ("content-type", "audio/mpeg"),
            ("if-none-match", "*"),
            ("if-match", "\"other\""),
            ("if-modified-since", "Sat, 01 Jan 2050 00:00:00 GMT"),
            ("range", "bytes=0-1"),
        ] {
            let stored = connection
                .exchange(&request(method, FILE, &[condition], "x"), Pace::Whole)
                .await;
            assert!(
                !(300..400).contains(&stored.status),
                "{method} {condition:?}: {stored:?}"
            );
            assert_eq!(stored.header("location"), None);
        }
    }
}

// ---- to those who ask ----

#[tokio::test]
async fn head_answers_like_get_without_a_body() {
    for len in [0, 1000, 3 * ANNOUNCED] {
        let mut site = Site::with(&media(len)).await;
        let head = site.send(&request("HEAD", FILE, &[], "")).await;
        assert_eq!(head.status, 200);
        assert_eq!(head.header("content-length"), Some(&*len.to_string()));
        assert_eq!(head.header("content-type"), Some("audio/mpeg"));
        assert_eq!(head.header("accept-ranges"), Some("bytes"));
        let got = site.get(&[("user-agent", "player/1.0")]).await;
        for name in ["etag", "content-type", "content-length", "accept-ranges"] {
            assert!(got.header(name).is_some(), "{name}");
            assert_eq!(head.header(name), got.header(name), "{name}");
        }
    }
}

#[tokio::test]
async fn a_single_range_is_answered_with_206() {
    const LEN: usize = 200_000;
    let content = media(LEN);
    let mut site = Site::with(&content).await;
    for (range, start, end) in [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=100-", 100, LEN),
        ("bytes=-100", LEN - 100, LEN),
        ("bytes=-999999999", 0, LEN),
        ("bytes=199999-", LEN - 1, LEN),
        ("bytes=100-99999999999", 100, LEN),
        ("bytes=0-", 0, LEN),
    ] {
        let part = site.get(&[("range", range), ("user-agent", "player/1.0")]).await;
        assert_eq!(part.status, 206, "{range}: {part:?}");
        assert!(part.body == content[start..end], "{range}");
        let content_range = format!("bytes {start}-{}/{LEN}", end - 1);
        assert_eq!(part.header("content-range"), Some(&*content_range));
        assert_eq!(part.header("content-type"), Some("audio/mpeg"));
        assert_eq!(part.framing, Framing::Length, "{range}");
    }
}

#[tokio::test]
async fn ignores_an_invalid_range() {
    let content = media(1000);
    let mut site = Site::with(&content).await;
    for range in [
        "bytes=0-1,5-6",
        "bytes=0-0,-1",
        "seconds=1-2",
        "bytes=9-1",
        "bytes=x-y",
        "bytes=",
        "bytes=-",
        "bytes",
        "bytes=99999999999999999999999-",
    ] {
        let whole = site.get(&[("range", range)]).await;
        let unsatisfiable = range.contains("999999999999") && whole.status == 416;
        assert!(
            whole.status == 200 && whole.body == content || unsatisfiable,
            "{range}: {whole:?}"
        );
    }
    let put = request("PUT", FILE, &[("range", "bytes=0-1")], &content);
    assert_eq!(site.send(&put).await.status, 201, "a range says nothing about a store");
}

#[tokio::test]
async fn a_range_after_the_end_is_416() {
    let mut site = Site::with(&media(1000)).await;
    for range in ["bytes=1000-", "bytes=1000-1001", "bytes=-0"] {
        let answer = site.get(&[("range", range)]).await;
        answer.refusal(416);
        assert_eq!(answer.header("content-range"), Some("bytes */1000"), "{range}");
    }
    let mut site = Site::with(b"").await;
    let answer = site.get(&[("range", "bytes=0-")]).await;
    assert!(
        answer.status == 416 || (answer.status == 200 && answer.body.is_empty()),
        "{answer:?}"
    );
}

#[tokio::test]
async fn if_range_sends_a_part_only_of_the_same_file() {
    let content = media(1000);
    let mut site = Site::with(&content).await;
    let first = site.get(&[]).await;
    let etag = first.header("etag").unwrap().to_owned();
    let range = ("range", "bytes=1-2");
    assert_eq!(site.get(&[range, ("if-range", &etag)]).await.body, content[1..3]);
    assert_eq!(site.get(&[range, ("if-range", &etag)]).await.status, 206);
    for other in [
        "\"other\"",
        &format!("W/{etag}"),
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "rubbish",
    ] {
        let whole = site.get(&[range, ("if-range", other)]).await;
        assert_eq!((whole.status, whole.body.len()), (200, 1000), "{other}");
    }
}

/// A date identifies one content only after its second is over, and only if it equals that of the file.
#[tokio::test]
async fn if_range_by_date_sends_a_part_only_of_the_same_file() {
    let range = ("range", "bytes=1-2");
    let ahead = SystemTime::now() + Duration::from_secs(3600);
    for (modified, status) in [(long_ago(), 206), (ahead, 200)] {
        let mut site = Dated::serve(modified).await;
        site.store(&media(1000)).await;
        let date = httpdate::fmt_http_date(modified);
        assert_eq!(site.get(&[range, ("if-range", &date)]).await.status, status, "{date}");
        for other in [
            "Tue, 14 Nov 2023 22:13:19 GMT",
            "Tue, 14 Nov 2023 22:13:21 GMT",
            "Fri, 31 Dec 9999 23:59:59 GMT",
        ] {
            assert_eq!(site.get(&[range, ("if-range", other)]).await.status, 200, "{other}");
        }
    }
}

#[tokio::test]
async fn a_valid_copy_is_304() {
    let mut site = Dated::serve(long_ago()).await;
    site.store(&media(1000)).await;
    let first = site.get(&[]).await;
    let etag = first.header("etag").unwrap().to_owned();
    let modified = first.header("last-modified").unwrap().to_owned();
    assert_eq!(modified, STORED);
    let listed = format!("\"other\", W/{etag}");
    for condition in [
        ("if-none-match", &*etag),
        ("if-none-match", &*listed),
        ("if-none-match", "*"),
        ("if-modified-since", &*modified),
        ("if-modified-since", "Wed, 15 Nov 2023 00:00:00 GMT"),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = site.send(&request(method, FILE, &[condition], "")).await;
            assert_eq!(answer.status, 304, "{method} {condition:?}: {answer:?}");
            assert_eq!(answer.header("etag"), Some(&*etag));
        }
    }
    for conditions in [
        &[("if-none-match", "\"other\"")][..],
        &[("if-modified-since", "Thu, 01 Jan 1970 00:00:00 GMT")],
        &[("if-modified-since", "rubbish")],
        // A date in the future is ignored.
        &[("if-modified-since", "Fri, 31 Dec 9999 23:59:59 GMT")],
        // The entity tag takes precedence.
        &[("if-none-match", "\"other\""), ("if-modified-since", &modified)],
    ] {
        let answer = site.get(conditions).await;
        assert_eq!((answer.status, answer.body.len()), (200, 1000), "{conditions:?}");
    }
    // The condition is evaluated before the range.
    let answer = site.get(&[("range", "bytes=0-1"), ("if-none-match", &etag)]).await;
    assert_eq!(answer.status, 304);
}

#[tokio::test]
async fn a_failed_condition_is_412() {
    let mut site = Site::with(&media(1000)).await;
    let etag = site.get(&[]).await.header("etag").unwrap().to_owned();
    for condition in [
        ("if-match", "\"other\""),
        ("if-unmodified-since", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ] {
        site.get(&[condition]).await.refusal(412);
    }
    for condition in [
        ("if-match", &*etag),
        ("if-match", "*"),
        ("if-unmodified-since", "Sat, 01 Jan 2050 00:00:00 GMT"),
    ] {
        assert_eq!(site.get(&[condition]).await.status, 200, "{condition:?}");
    }
}

#[tokio::test]
async fn a_replaced_file_has_another_tag() {
    let mut site = Site::with(b"first").await;
    let first = site.get(&[]).await.header("etag").unwrap().to_owned();
    site.store(b"other").await;
    let second = site.get(&[("if-none-match", &first)]).await;
    assert_eq!((second.status, &second.body[..]), (200, &b"other"[..]));
    assert_ne!(second.header("etag"), Some(&*first));
}

/// Within one second, a file may be replaced by another with the same date. No date is later than the response.
#[tokio::test]
async fn sends_last_modified_after_the_second_is_over() {
    for (modified, expected) in [
        (long_ago(), Some(STORED)),
        (SystemTime::now() + Duration::from_secs(3600), None),
    ] {
        let mut site = Dated::serve(modified).await;
        site.store(b"x").await;
        for method in ["GET", "HEAD"] {
            let answer = site.send(&request(method, FILE, &[], "")).await;
            assert_eq!(answer.header("last-modified"), expected, "{method}");
        }
    }
    let mut site = Site::with(b"x").await;
    let answer = site.get(&[]).await;
    if let Some(date) = answer.header("last-modified") {
        assert_ne!(answer.header("date"), Some(date), "{answer:?}");
    }
}

/// RFC 9530: the digest of the whole file, even if the response carries a part of it or nothing.
#[tokio::test]
async fn sends_the_digest_of_the_file() {
    let mut site = Site::with(b"abc").await;
    let digest = Some("sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:");
    assert_eq!(site.get(&[]).await.header("repr-digest"), digest);
    assert_eq!(site.get(&[("range", "bytes=1-1")]).await.header("repr-digest"), digest);
    let head = site.send(&request("HEAD", FILE, &[], "")).await;
    assert_eq!(head.header("repr-digest"), digest);
}
