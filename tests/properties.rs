//! Properties of splitting, decoding and naming, over random input: each against a naive way to do the same.

// A test fails by panicking, and says where.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    vec,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt as _;
use kazoo_storage::{
    Base64, BlobKey, Body, Candidates, DecodeBase64, Error, KeyExtractor as _, MediaPart, Metadata, QueryKey,
    SplitMultipart,
};
use proptest::{collection::vec, option, prelude::*, sample::select, test_runner::RngSeed};
use tower::{Layer as _, Service, ServiceExt as _};

/// A body in the pieces that `cuts` make of it.
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

/// What reached the inner service: the JSON, the media type and the media; none if it was refused.
type Came = Option<(Option<Bytes>, Option<String>, Bytes)>;

fn through<L, S>(layer: L, request: Request<Pieces>) -> (StatusCode, Came)
where
    L: FnOnce(Inner) -> S,
    S: Service<Request<Pieces>, Response = Response<Body>, Error = Infallible>,
{
    let inner = Inner::default();
    let came = Arc::clone(&inner.0);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let answer = runtime.block_on(layer(inner).oneshot(request)).unwrap();
    let came = came.lock().unwrap().take();
    (answer.status(), came)
}

#[derive(Clone, Default)]
struct Inner(Arc<Mutex<Came>>);

impl Service<Request<Body>> for Inner {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let came = Arc::clone(&self.0);
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let json = head
                .extensions
                .get()
                .map(|metadata: &Metadata| metadata.as_json().clone());
            let content_type = head
                .headers
                .get("content-type")
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
            Ok(match body.collect().await {
                Ok(media) => {
                    *came.lock().unwrap() = Some((json, content_type, media.to_bytes()));
                    Response::new(Body::empty())
                }
                Err(error) => Error::from_body(error).into_response(),
            })
        })
    }
}

/// A whole multipart body, read in the plainest way: everything is there, and each delimiter is searched for from the start.
fn naive(body: &[u8], boundary: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    fn find(text: &[u8], what: &[u8]) -> Option<usize> {
        (0..=text.len().checked_sub(what.len())?).find(|at| text[*at..].starts_with(what))
    }
    let delimiter = format!("\r\n--{boundary}").into_bytes();
    let mut rest = body.strip_prefix(&delimiter[..])?.to_vec();
    let mut parts = Vec::new();
    while let Some(part) = rest.strip_prefix(b"\r\n") {
        let content = &part[find(part, b"\r\n\r\n")? + 4..];
        let end = find(content, &delimiter)?;
        parts.push(content[..end].to_vec());
        rest = content[end + delimiter.len()..].to_vec();
    }
    let closed = rest.starts_with(b"--");
    match <[Vec<u8>; 2]>::try_from(parts) {
        Ok([json, media]) if closed => Some((json, media)),
        _ => None,
    }
}

/// Boundaries of KAZOO's alphabets, old and new, short enough to be met by chance.
fn boundary() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z0-9_-]{1,4}",
        "[A-Za-z0-9_-]{64}",
        "[A-Za-z0-9+/]{3,70}",
        "-{1,6}"
    ]
}

/// Media made of what delimiters are made of.
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
            b"\x00\xff".to_vec(),
        ])
        .collect();
    let delimiter = format!("\r\n--{boundary}").into_bytes();
    let pieces = prop_oneof![3 => select(almost), 1 => vec(any::<u8>(), 0..40)];
    let media = vec(pieces, 0..12).prop_map(|pieces| pieces.concat());
    // KAZOO picks a boundary that its content does not have.
    let without = media.prop_filter("has the delimiter", move |media: &Vec<u8>| {
        let followed = [media, &delimiter[..2]].concat();
        !followed.windows(delimiter.len()).any(|window| window == delimiter)
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
        // The same cases every time: a test that fails now and then helps nobody.
        rng_seed: RngSeed::Fixed(20_240_101),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn media_come_out_as_they_went_in(
        (boundary, media) in boundary().prop_flat_map(media),
        named in any::<bool>(),
        cuts in vec(any::<usize>(), 0..8),
    ) {
        let json = r#"{"id":"DOC"}"#;
        let body = multipart(&boundary, json, &media);
        let expected = naive(&body, &boundary);
        prop_assert_eq!(&expected, &Some((json.as_bytes().to_vec(), media)));
        let (_, media) = expected.unwrap();
        let (status, came) = split(named.then_some(&*boundary), &body, &cuts);
        prop_assert_eq!(status, StatusCode::OK);
        prop_assert_eq!(came, Some((Some(json.into()), Some("audio/mpeg".into()), media.into())));
    }

    /// Of a body with its bytes mixed up, nothing comes out that a plain reading does not find.
    #[test]
    fn nothing_is_made_up_of_a_damaged_body(
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
        if let (Some((_, _, came)), Some((_, found))) = (came, naive(&body, &boundary)) {
            prop_assert_eq!(came, found);
        }
    }

    #[test]
    fn base64_is_what_it_is_in_one_go(media in vec(any::<u8>(), 1..4000), cuts in vec(any::<usize>(), 0..8)) {
        let text = STANDARD.encode(&media);
        let (status, came) = decode(text.as_bytes(), &cuts);
        prop_assert_eq!(status, StatusCode::OK);
        prop_assert_eq!(came.map(|(_, _, media)| media), Some(media.into()));
    }

    /// Near-base64 is decoded if it is base64 in one go, and otherwise refused.
    #[test]
    fn broken_base64_is_refused(
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
        let (status, came) = decode(&text, &cuts);
        if let Ok(media) = STANDARD.decode(&text) {
            prop_assert_eq!(came.map(|(_, _, media)| media), Some(media.into()));
        } else {
            prop_assert_eq!(status, StatusCode::BAD_REQUEST);
            prop_assert_eq!(came, None);
        }
    }

    #[test]
    fn a_key_is_what_its_path_says(segments in vec("[^\\p{Cc}]{1,12}|\\.{1,4}|[/%?#&+ é]{1,6}", 1..6)) {
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

    /// Whatever text comes as a path: a key that is accepted has no segment that could name another place.
    #[test]
    fn no_key_is_dangerous(path in "([a-z.]|/|%2[eEfF]|%00|%0a|%5c|%[0-9a-f]{2}|%|\\.\\.|\\PC|\u{1}){0,30}") {
        if let Ok(key) = BlobKey::from_path(&path) {
            safe(&key)?;
            prop_assert_eq!(BlobKey::from_path(&key.to_string()).unwrap(), key);
        }
        if let Ok(candidates) = Candidates::from_path(&path) {
            prop_assert!(candidates.iter().count() <= Candidates::MAX);
            for key in candidates.iter() {
                safe(key)?;
            }
        }
    }

    /// What was stored is among what a fetch may mean, whatever the fetch has behind it.
    #[test]
    fn a_fetch_finds_what_was_stored(
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

fn decode(text: &[u8], cuts: &[usize]) -> (StatusCode, Came) {
    let request = Request::put("/")
        .extension(MediaPart)
        .body(Pieces::new(text, cuts))
        .unwrap();
    through(|inner| DecodeBase64::new(Base64::Declared).layer(inner), request)
}

fn safe(key: &BlobKey) -> Result<(), TestCaseError> {
    let count = key.segments().count();
    prop_assert!((1..=BlobKey::MAX_SEGMENTS).contains(&count));
    for segment in key.segments() {
        prop_assert!(
            !segment.is_empty() && segment != "." && segment != "..",
            "{:?}",
            segment
        );
        prop_assert!(!segment.chars().any(char::is_control), "{:?}", segment);
        prop_assert!(segment.len() <= BlobKey::MAX_SEGMENT_LEN);
    }
    Ok(())
}

/// The naive reading is itself right about the plainest of bodies.
#[test]
fn the_naive_reading_reads() {
    let body = multipart("B", "{}", b"ID3\r\n--");
    assert_eq!(naive(&body, "B"), Some((b"{}".to_vec(), b"ID3\r\n--".to_vec())));
    assert_eq!(naive(&body[..body.len() - 1], "B"), None);
}
