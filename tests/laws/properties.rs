//! Properties of the parsers over random input, compared with the oracle of the fuzz targets.

use std::{
    cmp::Ordering,
    convert::Infallible,
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    vec,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{FutureExt as _, future, stream};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt as _;
use kazoo_storage::{
    Base64, BlobKey, BlobStore as _, Body, DecodeBase64, Error, MemoryStore, Metadata, ServeBlobs, SplitMultipart,
    Upload,
    extract_key::{KeyExtractor as _, QueryKey},
    key::Candidates,
    metadata::MediaPart,
};
use proptest::{collection::vec, option, prelude::*, sample::select, test_runner::RngSeed};
use tower::{Layer as _, Service, ServiceExt as _, service_fn, util::BoxCloneSyncService};

use crate::oracle;

/// A body that is split at `cuts`.
struct Pieces(vec::IntoIter<Bytes>);

impl Pieces {
    fn new(body: &[u8], cuts: &[usize]) -> Self {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (body.len() + 1)).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        let pieces: Vec<Bytes> = cuts
            .windows(2)
            .map(|pair| Bytes::copy_from_slice(&body[pair[0]..pair[1]]))
            .collect();
        Self(pieces.into_iter())
    }
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(self.0.next().map(|piece| Ok(Frame::data(piece))))
    }
}

/// The request that reached the inner service: JSON, media type and media. `None` if it was refused.
type Came = Option<(Option<Bytes>, Option<String>, Bytes)>;

fn through<L, S>(layer: L, request: Request<Pieces>) -> (StatusCode, Came)
where
    L: FnOnce(Inner) -> S,
    S: Service<Request<Pieces>, Response = Response<Body>, Error = Infallible>,
{
    let came = Arc::default();
    let kept = Arc::clone(&came);
    let inner = Inner::new(service_fn(move |request| receive(request, Arc::clone(&kept))));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let answer = runtime.block_on(layer(inner).oneshot(request)).unwrap();
    let came = came.lock().unwrap().take();
    (answer.status(), came)
}

type Inner = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// Keeps the request if its body ends cleanly.
async fn receive(request: Request<Body>, came: Arc<Mutex<Came>>) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let json = head
        .extensions
        .get()
        .map(|metadata: &Metadata| metadata.as_json().clone());
    let content_type = head
        .headers
        .get("content-type")
        .map(|value| value.as_bytes().iter().copied().map(char::from).collect());
    Ok(match body.collect().await {
        Ok(media) => {
            *came.lock().unwrap() = Some((json, content_type, media.to_bytes()));
            Response::new(Body::empty())
        }
        Err(error) => Error::from_body(error).into_response(),
    })
}

/// The parts of a complete multipart body, read by `multer`.
fn multer(body: &[u8], boundary: &str) -> Option<Vec<Bytes>> {
    let body = stream::once(future::ready(Ok::<_, Infallible>(Bytes::copy_from_slice(body))));
    let mut multipart = multer::Multipart::new(body, boundary);
    let read = async {
        let mut parts = Vec::new();
        while let Some(field) = multipart.next_field().await? {
            parts.push(field.bytes().await?);
        }
        Ok::<_, multer::Error>(parts)
    };
    // The body is complete, so the future is ready at once.
    read.now_or_never()?.ok()
}

/// The request that must reach the service behind `SplitMultipart`.
fn upload_of(body: &[u8], boundary: &str) -> Came {
    let upload = oracle::split(body, boundary, SplitMultipart::DEFAULT_MAX_METADATA).ok()?;
    let latin = |value: HeaderValue| value.as_bytes().iter().copied().map(char::from).collect();
    Some((upload.json, upload.content_type.map(latin), upload.content))
}

/// Boundaries of KAZOO's old and new alphabets, some short enough to occur by chance.
fn boundary() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z0-9_-]{1,4}",
        "[A-Za-z0-9_-]{64}",
        "[A-Za-z0-9+/]{3,70}",
        "-{1,6}"
    ]
}

/// Media made of pieces of delimiters.
fn media(boundary: String) -> impl Strategy<Value = (String, Vec<u8>)> {
    let almost: Vec<Vec<u8>> = (1..=boundary.len())
        .map(|len| format!("\r\n--{}", &boundary[..len - 1]).into_bytes())
        .chain([
            b"\r\n".to_vec(),
            b"\r".to_vec(),
            b"\n".to_vec(),
            b"-".to_vec(),
            b"--".to_vec(),
            b"\r\n--".to_vec(),
            b"\r\n\r\n".to_vec(),
            boundary.clone().into_bytes(),
            format!("--{boundary}").into_bytes(),
            format!("\n--{boundary}\r\n").into_bytes(),
            format!("--{boundary}--").into_bytes(),
            format!("\r\n--{boundary}--ad luck").into_bytes(),
            format!("\r\n--{boundary}ness\r\n").into_bytes(),
            format!("\r\n--{boundary} \r").into_bytes(),
            b"content-type: audio/mpeg\r\n\r\n".to_vec(),
            b"\x00\xff".to_vec(),
        ])
        .collect();
    let pieces = prop_oneof![3 => select(almost), 1 => vec(any::<u8>(), 0..40)];
    let media = vec(pieces, 0..12).prop_map(|pieces| pieces.concat());
    // KAZOO chooses a boundary that does not occur in its content.
    let of = boundary.clone();
    let without = media.prop_filter("has a delimiter", move |media: &Vec<u8>| {
        oracle::delimiters(&[b"\r\n", &media[..], b"\r\n"].concat(), &of).is_empty()
    });
    (Just(boundary), without)
}

fn multipart(boundary: &str, json: &str, media: &[u8]) -> Vec<u8> {
    let head = format!(
        "\r\n--{boundary}\r\ncontent-type: application/json\r\n\r\n{json}\r\n--{boundary}\r\n\
         content-disposition: form-data; name=a;b=c\r\ncontent-type: audio/mpeg\r\n\r\n"
    );
    [head.as_bytes(), media, format!("\r\n--{boundary}--").as_bytes()].concat()
}

fn split(boundary: Option<&str>, body: &[u8], cuts: &[usize]) -> (StatusCode, Came) {
    let content_type = match boundary {
        Some(boundary) => format!("multipart/form-data; boundary={boundary}"),
        None => "multipart/mixed".to_owned(),
    };
    let request = Request::put("/")
        .header("content-type", content_type)
        .body(Pieces::new(body, cuts))
        .unwrap();
    through(|inner| SplitMultipart::new().layer(inner), request)
}

proptest! {
    #![proptest_config(ProptestConfig {
        // The same cases in every run.
        rng_seed: RngSeed::Fixed(20_240_101),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn keeps_the_media(
        (boundary, media) in boundary().prop_flat_map(media),
        named in any::<bool>(),
        cuts in vec(any::<usize>(), 0..8),
    ) {
        let json = r#"{"id":"DOC"}"#;
        let body = multipart(&boundary, json, &media);
        let expected = upload_of(&body, &boundary);
        prop_assert_eq!(&expected, &Some((Some(json.into()), Some("audio/mpeg".into()), media.clone().into())));
        // `multer` accepts delimiters within a line too, where KAZOO's boundaries never occur.
        if !media.windows(boundary.len()).any(|window| window == boundary.as_bytes()) {
            prop_assert_eq!(multer(&body, &boundary), Some(vec![json.into(), media.into()]));
        }
        let (status, came) = split(named.then_some(&*boundary), &body, &cuts);
        prop_assert_eq!(status, StatusCode::OK);
        prop_assert_eq!(came, expected);
    }

    /// Every layout that RFC 2046 allows keeps every byte of the media.
    #[test]
    fn keeps_the_media_in_every_layout(
        (boundary, media) in boundary().prop_flat_map(media),
        preamble in select(vec!["", "\r\n", "a preamble\r\n", "\r\n\r\n", "--\r\n"]),
        json in option::of(select(vec!["", "x: y\r\n", "x:\r\n folded\r\n"])),
        headers in select(vec![
            "", "content-type: a/b\r\n", "content-disposition: form-data;\r\n\tname=\"a\"\r\ncontent-type: a/b\r\n",
            "Content-Type:a/b \r\nx:\r\n", "content-type:\r\n a/b\r\n", "x: \u{e9}\r\n",
        ]),
        padding in vec(select(vec!["", " ", "\t ", "        "]), 3),
        epilogue in select(vec!["", "\r\n", "\r\nan epilogue\r\n", "\r\n--\r\n"]),
        cuts in vec(any::<usize>(), 0..8),
    ) {
        let delimiter = |at: usize, closes: &str| format!("--{boundary}{closes}{}", padding[at]);
        let json_part = json.map_or_else(String::new, |more| {
            format!("{}\r\n{more}content-type: application/json\r\n\r\n{{}}\r\n", delimiter(0, ""))
        });
        let head = format!("{preamble}{json_part}{}\r\n{headers}\r\n", delimiter(1, ""));
        let tail = format!("\r\n{}{epilogue}", delimiter(2, "--"));
        let body = [head.as_bytes(), &media, tail.as_bytes()].concat();
        let content_type = headers.to_ascii_lowercase().contains("content-type").then(|| "a/b".to_owned());
        let expected = Some((json.map(|_| "{}".into()), content_type, Bytes::from(media)));
        prop_assert_eq!(&upload_of(&body, &boundary), &expected);
        let (status, came) = split(Some(&boundary), &body, &cuts);
        prop_assert_eq!(status, StatusCode::OK);
        prop_assert_eq!(came, expected);
    }

    /// A damaged body results in what the oracle finds in it, or is refused.
    #[test]
    fn splits_a_damaged_body_like_the_oracle(
        (boundary, media) in boundary().prop_flat_map(media),
        damage in vec((any::<usize>(), option::of(any::<u8>())), 1..3),
        cuts in vec(any::<usize>(), 0..4),
    ) {
        let mut body = multipart(&boundary, "{}", &media);
        for (at, byte) in damage {
            let at = at % body.len();
            match byte {
                Some(byte) => body[at] = byte,
                None => body.truncate(at.max(1)),
            }
        }
        let (status, came) = split(Some(&boundary), &body, &cuts);
        prop_assert_eq!(status.is_success(), came.is_some());
        prop_assert_eq!(came, upload_of(&body, &boundary));
    }

    /// Any sequence of pieces is split as the oracle splits it, or refused.
    #[test]
    fn splits_any_body_like_the_oracle(
        pieces in vec(
            select(vec![
                "--B", "\r\n--B", "--", "\r\n", "\r\n\r\n", "{}", "content-type: audio/mpeg", "x", "B", " ", "\r", "\n", "-",
                "content-type: application/json", "\r\n--B\r\ncontent-type: application/json\r\n\r\n{\"id\":1}",
                "\r\n--B\r\ncontent-type: audio/mpeg\r\n\r\nID3", "\r\n--B\r\nx: y\r\n\r\n", "\r\n--B--", "\r\n--B \t\r\n",
                "\r\n--B\r\n\r\n", "\r\n--B\r\nx: y\n\n", "\n--B\n", "\r\n--B--ad luck", "\r\n--B--\r\n", "\r\n folded",
            ]),
            0..10,
        ),
        cuts in vec(any::<usize>(), 0..8),
    ) {
        let body = pieces.concat().into_bytes();
        let expected = upload_of(&body, "B");
        let (status, came) = split(Some("B"), &body, &cuts);
        prop_assert_eq!(&came, &expected, "{:?}", String::from_utf8_lossy(&body));
        prop_assert_eq!(status.is_success(), expected.is_some());
    }

    #[test]
    fn decodes_base64_in_pieces(media in vec(any::<u8>(), 1..4000), cuts in vec(any::<usize>(), 0..8)) {
        let text = STANDARD.encode(&media);
        let (status, came) = decode(Base64::Declared, true, "audio/mpeg", text.as_bytes(), &cuts);
        prop_assert_eq!(status, StatusCode::OK);
        prop_assert_eq!(came.map(|(_, _, media)| media), Some(media.into()));
    }

    /// Text close to base64 is decoded if it is valid as a whole, and refused otherwise.
    #[test]
    fn refuses_invalid_base64(
        text in vec(select(&b"ABCDabcd0123+/="[..]), 0..3000),
        damage in option::of((any::<usize>(), any::<u8>())),
        cuts in vec(any::<usize>(), 0..8),
    ) {
        let mut text = text;
        if let Some((at, byte)) = damage
            && !text.is_empty()
        {
            let at = at % text.len();
            text[at] = byte;
        }
        let (status, came) = decode(Base64::Declared, true, "audio/mpeg", &text, &cuts);
        if let Ok(media) = STANDARD.decode(&text) {
            prop_assert_eq!(came.map(|(_, _, media)| media), Some(media.into()));
        } else {
            prop_assert_eq!(status, StatusCode::BAD_REQUEST);
            prop_assert_eq!(came, None);
        }
    }

    /// The first 1024 bytes decide whether a body is base64, however it is split.
    #[test]
    fn detects_base64_by_its_start(
        mode in select(vec![Base64::Detect, Base64::Declared, Base64::Off]),
        media_part in any::<bool>(),
        content_type in select(vec!["audio/mpeg", "TEXT/plain; charset=x", "a/b+json"]),
        // 767 bytes are 1024 letters, the last of them padding.
        media in prop_oneof![0..8_usize, 185..200_usize, 760..776_usize, Just(767), 1000..1100_usize],
        // A known format, many different letters, and silence.
        content in select(vec!["%PDF-", "noise", "silence"]),
        stray in option::weighted(0.3, (0..1500_usize, select(&b"=\n-AB"[..]))),
        more in select(vec!["", "A", "==", "Zm9v"]),
        cuts in vec(any::<usize>(), 0..8),
    ) {
        let media: Vec<u8> = match content {
            "noise" => (0..=u8::MAX).cycle().take(media).collect(),
            "silence" => vec![0x61; media],
            format => format.bytes().chain((0..=u8::MAX).cycle()).take(media).collect(),
        };
        let mut text = STANDARD.encode(media).into_bytes();
        text.extend_from_slice(more.as_bytes());
        if let Some((at, byte)) = stray
            && let Some(replaced) = text.get_mut(at)
        {
            *replaced = byte;
        }
        let value = HeaderValue::from_static(content_type);
        let expected = oracle::decode(mode, media_part, None, Some(&value), &text.clone().into());
        let (status, came) = decode(mode, media_part, content_type, &text, &cuts);
        prop_assert_eq!(status.is_success(), expected.is_some());
        prop_assert_eq!(came.map(|(_, _, media)| media), expected);
    }

    /// A range is a slice of the whole.
    #[test]
    fn a_range_is_a_slice_of_the_file(
        len in prop_oneof![0..20_usize, Just(70_000)],
        (first, last) in (option::of(0..25_u64), option::of(0..25_u64)),
        suffix in prop_oneof![4 => Just(""), 1 => Just(",3-4"), 1 => Just("x"), 1 => Just("99999999999999999999")],
    ) {
        let content: Vec<u8> = (0..=u8::MAX).cycle().take(len).collect();
        let show = |end: Option<u64>| end.map_or_else(String::new, |end| end.to_string());
        let range = format!("bytes={}-{}{suffix}", show(first), show(last));
        let (status, content_range, body) = fetch(&content, &range);

        let last = match suffix {
            "" => last.map(u128::from),
            // Far after the end of any file.
            "99999999999999999999" => Some(u128::MAX),
            _ => {
                prop_assert_eq!((status, body), (StatusCode::OK, content));
                return Ok(());
            }
        };
        let first = first.map(u128::from);
        let meant: Option<Vec<usize>> = match (first, last) {
            (None, None) => None,
            (Some(first), Some(last)) if first > last => None,
            (Some(first), last) => Some((0..len).filter(|at| (first..=last.unwrap_or(u128::MAX)).contains(&(*at as u128))).collect()),
            (None, Some(count)) => Some((0..len).filter(|at| (len - at) as u128 <= count).collect()),
        };
        match meant.as_deref() {
            None => prop_assert_eq!((status, body), (StatusCode::OK, content)),
            Some([]) => {
                prop_assert_eq!(status, StatusCode::RANGE_NOT_SATISFIABLE);
                prop_assert_eq!(content_range, Some(format!("bytes */{len}")));
            }
            Some(meant @ [start, ..]) => {
                prop_assert_eq!(status, StatusCode::PARTIAL_CONTENT);
                prop_assert_eq!(content_range, Some(format!("bytes {start}-{}/{len}", start + meant.len() - 1)));
                prop_assert_eq!(body, meant.iter().map(|at| content[*at]).collect::<Vec<u8>>());
            }
        }
    }

    #[test]
    fn a_key_has_the_segments_of_its_path(segments in vec("[^\\p{Cc}]{1,12}|\\.{1,4}|[/%?#&+ é]{1,6}", 1..6)) {
        let allowed = segments.iter().all(|segment| segment != "." && segment != "..");
        match BlobKey::from_segments(&segments) {
            Ok(key) => {
                prop_assert!(allowed);
                prop_assert!(key.segments().eq(segments.iter().map(String::as_str)));
                let path = key.to_string();
                prop_assert_eq!(&BlobKey::from_path(&path).unwrap(), &key);
                prop_assert_eq!(&BlobKey::from_path(&format!("//{}//", path.replace('/', "//"))).unwrap(), &key);
                prop_assert!(format!("/{path}").parse::<http::uri::PathAndQuery>().is_ok(), "{} can be a target", path);
                let doubled = Candidates::from_path(&format!("{path}/{path}")).unwrap();
                prop_assert_eq!(doubled.first(), &key);
            }
            Err(_) => prop_assert!(!allowed),
        }
    }

    /// No accepted key has a segment that could lead to another directory.
    #[test]
    fn no_key_leaves_its_directory(path in "([a-z.]|/|%2[eEfF]|%00|%0a|%5c|%[0-9a-f]{2}|%|\\.\\.|\\PC|\u{1}){0,30}") {
        if let Ok(key) = BlobKey::from_path(&path) {
            oracle::assert_safe(&key);
            prop_assert_eq!(BlobKey::from_path(&key.to_string()).unwrap(), key);
        }
        if let Ok(candidates) = Candidates::from_path(&path) {
            prop_assert!(candidates.iter().count() <= Candidates::MAX);
            for key in candidates.iter() {
                oracle::assert_safe(key);
            }
        }
    }

    /// The stored key is among the candidates of a fetch with appended segments.
    #[test]
    fn a_fetch_finds_the_stored_key(
        stored in vec("[a-zA-Z0-9%.]{1,8}", 1..5).prop_map(|segments| segments.join("/").replace('%', "%25")),
        appended in vec("[a-zA-Z0-9.]{1,8}", 0..5).prop_map(|segments| segments.join("/")),
    ) {
        prop_assume!(BlobKey::from_path(&stored).is_ok() && BlobKey::from_path(&format!("{stored}/{appended}")).is_ok());
        let key = BlobKey::from_path(&stored).unwrap();
        let candidates = Candidates::from_path(&format!("/{stored}/{appended}")).unwrap();
        prop_assert!(candidates.iter().any(|candidate| *candidate == key));
        let doubled = Candidates::from_path(&format!("/{stored}/{stored}")).unwrap();
        prop_assert_eq!(doubled.first(), &key);
        let (head, ()) = Request::get(format!("/i?recording={stored}{stored}&x=y")).body(()).unwrap().into_parts();
        let polluted = QueryKey::new("recording").candidates(&head).unwrap();
        prop_assert_eq!(polluted.first(), &key);
    }
}

fn decode(mode: Base64, media_part: bool, content_type: &str, text: &[u8], cuts: &[usize]) -> (StatusCode, Came) {
    let mut request = Request::put("/")
        .header("content-type", content_type)
        .body(Pieces::new(text, cuts))
        .unwrap();
    if media_part {
        request.extensions_mut().insert(MediaPart::default());
    }
    through(|inner| DecodeBase64::new(mode).layer(inner), request)
}

/// Fetches `range` of a file. Returns the status, the `content-range` and the bytes.
fn fetch(content: &[u8], range: &str) -> (StatusCode, Option<String>, Vec<u8>) {
    let key = BlobKey::from_segments(["file"]).unwrap();
    let request = Request::get("/")
        .header("range", range)
        .extension(key.clone())
        .body(Body::empty())
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = MemoryStore::new();
        let upload = Upload::new(key, Bytes::copy_from_slice(content));
        store.put(upload).await.unwrap();
        let (head, body) = ServeBlobs::new(store).oneshot(request).await.unwrap().into_parts();
        let content_range = head.headers.get("content-range");
        let content_range = content_range.map(|value| value.to_str().unwrap().to_owned());
        (
            head.status,
            content_range,
            body.collect().await.unwrap().to_bytes().to_vec(),
        )
    })
}

/// The oracle itself is right about the simplest body.
#[test]
fn the_oracle_splits_a_simple_body() {
    let body = multipart("B", "{}", b"ID3\r\n--");
    let contents =
        oracle::parts(&body, "B").map(|parts| parts.into_iter().map(|(_, content)| content).collect::<Vec<_>>());
    assert_eq!(contents, Some(vec!["{}".into(), "ID3\r\n--".into()]));
    assert_eq!(oracle::parts(&body[..body.len() - 1], "B"), None);
}

/// The limit of the JSON part is exact to the byte, however the body is split.
#[test]
fn limits_metadata_to_the_byte() {
    let json = r#"{"id":"202401-DOC"}"#;
    let body = multipart("B", json, b"ID3");
    let at = body
        .windows(json.len())
        .position(|window| window == json.as_bytes())
        .unwrap();
    for cuts in [vec![], (at..at + json.len()).collect()] {
        for (limit, expected) in [
            (json.len(), StatusCode::OK),
            (json.len() - 1, StatusCode::PAYLOAD_TOO_LARGE),
        ] {
            let request = Request::put("/")
                .header("content-type", "multipart/form-data; boundary=B")
                .body(Pieces::new(&body, &cuts))
                .unwrap();
            let layer = SplitMultipart::new().max_metadata(limit);
            let (status, _) = through(|inner| layer.layer(inner), request);
            assert_eq!(status, expected, "{limit} {cuts:?}");
        }
    }
}

/// The first part is the metadata if its type is JSON, as in KAZOO's uploads.
#[test]
fn the_metadata_part_is_optional() {
    for (content_type, alone) in [
        ("content-type: audio/mpeg\r\n", true),
        ("content-type: text/json\r\n", true),
        ("x-other: header\r\n", true),
        ("", true),
        ("content-type: Application/JSON; charset=utf-8\r\n", false),
    ] {
        let body = format!("--B\r\n{content_type}\r\n{{}}\r\n--B--");
        let (status, came) = split(Some("B"), body.as_bytes(), &[]);
        assert_eq!(status.is_success(), alone, "{content_type}");
        let media = came.map(|(json, _, media)| (json, media));
        assert_eq!(media, alone.then_some((None, "{}".into())), "{content_type}");
    }
}

/// Keys of the same target and keys of their own compare by their segments alone.
#[test]
fn keys_compare_and_hash_by_their_segments() {
    let hash = |key: &BlobKey| BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
    let target = Candidates::from_path("A/B/C").unwrap();
    let [long, short, _] = target.iter().collect::<Vec<_>>()[..] else {
        panic!("{target:?}")
    };
    let alone = BlobKey::from_path("A/B").unwrap();
    assert_eq!((short, hash(short)), (&alone, hash(&alone)));
    assert_eq!(short.partial_cmp(long), Some(Ordering::Less));
    assert_ne!(hash(short), hash(long));
    assert_eq!(format!("{short:?}"), "BlobKey(A/B)");
}
