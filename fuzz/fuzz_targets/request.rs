//! Whole connections: the bytes of a client, through hyper to the assembled service, whole and in pieces.

#![no_main]

use std::{
    collections::BTreeMap,
    convert::Infallible,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, future::join};
use http::{Method, Request, Response, StatusCode, request::Parts};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use kazoo_storage::{
    AccessRules, Base64, BlobCatalog as _, BlobKey, BlobStore as _, Body, KazooStorage, MemoryStore,
    builder::StorageService,
    extract_key::{MetadataKey, QueryKey},
    key::Candidates,
    probe::Probe,
};
use kazoo_storage_fuzz::{
    oracle::{self, Upload},
    pieces::Cuts,
    run::run,
    service::assert_refusal,
};
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tower::ServiceExt as _;

const FIELDS: [&str; 3] = ["media_id", "id", "call_id"];
/// Maximum length of a body if the flags set one.
const TIGHT: u64 = 256;

/// The access rules if the flags require them.
const RULES: &str = r#"{"credentials":[
    {"user":"kazoo","password":"p@ss"},{"token":"T0k","accounts":["ACC"]},{"token":"R","may":"read"}]}"#;

type Files = BTreeMap<BlobKey, Upload>;

fuzz_target!(|input: &[u8]| {
    let Some((cuts, [flags, sent @ ..])) = Cuts::take(input) else {
        return;
    };
    let options = Options::of(*flags);
    let whole = connection(options, sent, Cuts::NONE);
    let pieces = connection(options, sent, cuts);
    assert_eq!(pieces, whole, "the result depends on the pieces");
});

#[derive(Clone, Copy)]
struct Options {
    base64: Base64,
    key: Place,
    max_body: u64,
    guarded: bool,
}

#[derive(Clone, Copy)]
enum Place {
    Path,
    Query,
    Metadata,
}

impl Options {
    fn of(flags: u8) -> Self {
        Self {
            base64: [Base64::Detect, Base64::Declared, Base64::Off][usize::from(flags & 3) % 3],
            key: [Place::Path, Place::Query, Place::Metadata][usize::from(flags >> 2 & 3) % 3],
            max_body: if flags & 16 == 0 { 1 << 20 } else { TIGHT },
            guarded: flags & 32 != 0,
        }
    }

    fn service(self, store: MemoryStore) -> StorageService {
        let mut storage = KazooStorage::new(store).base64(self.base64).max_body(self.max_body);
        if self.guarded {
            storage = storage.authorize(AccessRules::from_json(RULES).unwrap());
        }
        match self.key {
            Place::Path => storage,
            Place::Query => storage.key(QueryKey::new("recording")),
            Place::Metadata => storage.key(MetadataKey::new(FIELDS)),
        }
        .into_service()
    }

    /// The expected key and file of an upload, or `None` if it must be refused.
    fn upload(self, head: &Parts, body: &Bytes) -> Option<(BlobKey, Upload)> {
        if oracle::is_ambiguous(head) {
            return None;
        }
        let upload = oracle::upload(&head.headers, body, self.base64, 1 << 20)?;
        let named = |path: &str| BlobKey::from_path(path).ok().filter(|_| !path.ends_with('/'));
        let key = match self.key {
            Place::Path => named(head.uri.path())?,
            Place::Query => {
                let pairs = head.uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
                let (_, value) = { pairs }.find(|(name, _)| *name == "recording")?;
                named(value)?
            }
            Place::Metadata => BlobKey::from_segments([oracle::field(upload.json.as_ref()?, &FIELDS)?]).ok()?,
        };
        Some((key, upload))
    }
}

/// The answers on a connection, and the stored files.
fn connection(options: Options, sent: &[u8], cuts: Cuts) -> (Vec<StatusCode>, Files) {
    let store = MemoryStore::new();
    let storage = options.service(store.clone());
    let statuses = Mutex::new(Vec::new());
    let files = Mutex::new(Files::new());
    let service = service_fn(async |request: Request<Incoming>| {
        let (head, body) = request.into_parts();
        let (seen, body) = Seen::over(body);
        let answer = storage
            .clone()
            .oneshot(Request::from_parts(head.clone(), body))
            .await
            .unwrap();
        let body = seen.lock().unwrap().whole();
        let found = stored(&store).await;
        let mut files = files.lock().unwrap();
        judge(options, &head, body.as_ref(), &answer, &mut files);
        assert_eq!(found, *files);
        statuses.lock().unwrap().push(answer.status());
        Ok::<_, Infallible>(answer)
    });
    let (client, server) = tokio::io::duplex(1 << 20);
    let serve = async {
        // The client stays connected until it has read its answers.
        let mut http = http1::Builder::new();
        // An error is caused by the client's input.
        let _ = http
            .half_close(true)
            .serve_connection(TokioIo::new(server), service)
            .await;
    };
    let talk = async {
        let (mut answers, mut requests) = tokio::io::split(client);
        for piece in cuts.of(sent) {
            if requests.write_all(&piece).await.is_err() {
                break;
            }
            pause().await;
        }
        let _ = requests.shutdown().await;
        let mut answered = Vec::new();
        let _ = answers.read_to_end(&mut answered).await;
    };
    run(join(serve, talk));
    let (statuses, files) = (statuses.into_inner().unwrap(), files.into_inner().unwrap());
    fetch_all(options, &storage, &files);
    (statuses, files)
}

/// Lets the server continue.
async fn pause() {
    let mut paused = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut paused, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Compares the answer with the expected one. `body` is present if it was complete.
fn judge(options: Options, head: &Parts, body: Option<&Bytes>, answer: &Response<Body>, files: &mut Files) {
    let status = answer.status();
    if status.is_client_error() || status.is_server_error() {
        assert_refusal(answer);
    }
    if !matches!(head.method, Method::PUT | Method::POST) {
        let fetched = matches!(head.method, Method::GET | Method::HEAD);
        assert!(
            fetched || status.is_client_error(),
            "{} is answered with {status}",
            head.method
        );
        return;
    }
    let shown = options.guarded.then(|| Shown::by(head));
    let head = shown.as_ref().map_or(head, |shown| &shown.rest);
    let expected = body.and_then(|body| options.upload(head, body));
    if let (Some(shown), Some((key, _))) = (&shown, &expected) {
        let may = shown.all || shown.of_account && key.account_id() == Some("ACC");
        if !may {
            assert!(
                status.is_client_error(),
                "{status} without a credential that permits it"
            );
            return;
        }
    }
    if status == StatusCode::CREATED {
        let (key, upload) = expected.expect("an acknowledged upload is whole, and can be stored");
        assert!(body.is_some_and(|body| body.len() as u64 <= options.max_body));
        match Probe::of(&key) {
            Some(probe) => assert_eq!(upload.content, probe.content()),
            None => drop(files.insert(key, upload)),
        }
        return;
    }
    assert!(status.is_client_error(), "an upload is answered with {status}");
    if let Some((key, upload)) = expected {
        let too_long = body.is_some_and(|body| body.len() as u64 > options.max_body || !oracle::is_small(body));
        let conditional = head.headers.keys().any(|name| name.as_str().starts_with("if-"));
        let part = head.headers.contains_key("content-range");
        let unclear = shown.is_some_and(|shown| shown.several) && matches!(status.as_u16(), 401 | 403);
        let probe = Probe::of(&key).is_some_and(|probe| upload.content != probe.content());
        assert!(
            too_long || conditional || part || unclear || probe,
            "{status} for {key}, which can be stored"
        );
    }
}

/// The credentials of [`RULES`] in an upload that permit it, and the request without them.
struct Shown {
    all: bool,
    of_account: bool,
    /// `true` if there may be several, only one of which counts.
    several: bool,
    rest: Parts,
}

impl Shown {
    fn by(head: &Parts) -> Self {
        let mut rest = head.clone();
        let decoded = |text: &str| oracle::unescape(text.as_bytes());
        let path = head.uri.path();
        let bare = path.trim_start_matches('/');
        let (segment, behind) = bare.split_at(bare.find('/').unwrap_or(bare.len()));
        let query = head.uri.query().unwrap_or_default();
        let mut pairs: Vec<&str> = query.split('&').collect();
        let token = pairs.iter().copied().find(|pair| pair.starts_with("token="));

        let mut shown = vec![];
        for value in head.headers.get_all("authorization") {
            let Some((scheme, text)) = value.as_bytes().split_at_checked(6) else {
                continue;
            };
            let text = STANDARD
                .decode(text)
                .ok()
                .filter(|_| scheme.eq_ignore_ascii_case(b"basic "));
            shown.extend(text.map(|text| (oracle::unescape(&text), true)));
        }
        let known = |secret: &[u8]| secret == b"T0k" || secret == b"R";
        let mut path = path;
        if known(&decoded(segment)) {
            shown.push((decoded(segment), false));
            path = if behind.is_empty() { "/" } else { behind };
        }
        if let Some(pair) = token.filter(|pair| known(&decoded(&pair["token=".len()..]))) {
            shown.push((decoded(&pair["token=".len()..]), false));
            pairs.retain(|other| *other != pair);
        }
        let target = match pairs.join("&") {
            query if query.is_empty() => path.to_owned(),
            query => format!("{path}?{query}"),
        };
        if let Ok(uri) = target.parse() {
            rest.uri = uri;
        }
        Self {
            all: shown.iter().any(|(text, userinfo)| *userinfo && text == b"kazoo:p@ss"),
            of_account: shown
                .iter()
                .any(|(text, userinfo)| text == if *userinfo { &b"T0k:"[..] } else { b"T0k" }),
            several: shown.len() > 1 || head.headers.get_all("authorization").iter().nth(1).is_some(),
            rest,
        }
    }
}

async fn stored(store: &MemoryStore) -> Files {
    let mut files = Files::new();
    let mut entries = pin!(store.list(None));
    while let Some(entry) = entries.next().await {
        let key = entry.unwrap().key;
        let blob = store.get(&key, None).await.unwrap().into_blob().unwrap();
        let upload = Upload {
            base64: None,
            content_type: blob.info.content_type,
            json: store.metadata(&key).await.unwrap().map(|json| json.as_json().clone()),
            content: blob.body.collect().await.unwrap().to_bytes(),
        };
        files.insert(key, upload);
    }
    files
}

/// Every file is fetched by its path and by its doubled path.
fn fetch_all(options: Options, storage: &StorageService, files: &Files) {
    if options.guarded || !matches!(options.key, Place::Path) {
        return;
    }
    for key in files.keys() {
        for path in [format!("/{key}"), format!("/{key}/{key}")] {
            let Ok(request) = Request::get(&path).body(Body::empty()) else {
                continue;
            };
            let candidates = Candidates::from_path(&path).unwrap();
            if Probe::of(candidates.first()).is_some() {
                continue;
            }
            let meant = candidates.iter().find_map(|key| files.get(key)).unwrap();
            let answer = run(storage.clone().oneshot(request)).unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
            if let Some(content_type) = &meant.content_type {
                assert_eq!(answer.headers()["content-type"], content_type);
            }
            assert_eq!(run(answer.into_body().collect()).unwrap().to_bytes(), meant.content);
        }
    }
}

/// The part of a body that has been read.
#[derive(Default)]
struct Seen {
    bytes: BytesMut,
    ended: bool,
}

impl Seen {
    fn over(body: Incoming) -> (Arc<Mutex<Self>>, Watched) {
        let seen = Arc::new(Mutex::new(Self {
            bytes: BytesMut::new(),
            ended: body.is_end_stream(),
        }));
        (Arc::clone(&seen), Watched { body, seen })
    }

    fn whole(&self) -> Option<Bytes> {
        self.ended.then(|| self.bytes.clone().freeze())
    }
}

struct Watched {
    body: Incoming,
    seen: Arc<Mutex<Seen>>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let mut seen = self.seen.lock().unwrap();
        match &frame {
            Some(Ok(frame)) => {
                seen.bytes
                    .extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                seen.ended = self.body.is_end_stream();
            }
            Some(Err(_)) => {}
            None => seen.ended = true,
        }
        drop(seen);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
