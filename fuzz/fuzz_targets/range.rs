//! Fetches and uploads with conditions and ranges: one header per line, for a file whose length and age are in the
//! first byte of the input.

#![no_main]

use std::{
    ops::Range,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use kazoo_storage::{
    Blob, BlobInfo, BlobKey, BlobStore, Body, ByteRange, GetResult, MemoryStore, Metadata, Result, ServeBlobs, PutResult,
    Upload,
};
use kazoo_storage_fuzz::{run::run, service::assert_refusal};
use libfuzzer_sys::fuzz_target;
use tower::ServiceExt as _;

const ETAG: &str = "\"v2\"";
/// Lengths at which the behaviour changes. Files over 64 KiB are streamed.
const LENGTHS: [usize; 5] = [10, 0, 1, 300, (64 << 10) + 7];
/// Dates in seconds since 1970: recent, before the first valid date, and after the last one.
const DATES: [i64; 3] = [1_700_000_000, -1, 253_402_300_800];

/// A file in a store.
struct File {
    content: Bytes,
    stored: SystemTime,
}

fuzz_target!(|input: &[u8]| {
    let Some((meant, input)) = input.split_first() else {
        return;
    };
    let meant = usize::from(*meant);
    let Some(headers) = headers(input) else { return };
    let date = DATES[meant / LENGTHS.len() % DATES.len()];
    let since = Duration::from_secs(date.unsigned_abs());
    let file = File {
        content: (0..=u8::MAX).cycle().take(LENGTHS[meant % LENGTHS.len()]).collect(),
        stored: if date < 0 {
            UNIX_EPOCH - since
        } else {
            UNIX_EPOCH + since
        },
    };

    let (head, _, none) = ask(&Method::HEAD, &file, &headers);
    assert!(matches!(head.as_u16(), 200 | 304 | 412), "{head}");
    assert!(none.is_empty() || head == StatusCode::PRECONDITION_FAILED);
    if !headers.keys().any(is_condition) {
        assert_eq!(head, StatusCode::OK);
    }
    if let Some(expected) = plain_condition(&headers) {
        assert_eq!(head, expected);
    }
    fetch(&headers, &file, head);
    store(&headers, &file);
});

fn headers(lines: &[u8]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        headers.append(name, value);
    }
    Some(headers)
}

fn is_condition(name: &HeaderName) -> bool {
    let name = name.as_str();
    ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"].contains(&name)
}

/// The expected answer if there is only one condition and it is unambiguous.
fn plain_condition(headers: &HeaderMap) -> Option<StatusCode> {
    let mut conditions = headers.iter().filter(|(name, _)| is_condition(name));
    let (Some((name, value)), None) = (conditions.next(), conditions.next()) else {
        return None;
    };
    match (name.as_str(), value.to_str().ok()?) {
        ("if-match", ETAG | "*") => Some(StatusCode::OK),
        ("if-match", "\"v1\"" | "W/\"v2\"") => Some(StatusCode::PRECONDITION_FAILED),
        ("if-none-match", ETAG | "W/\"v2\"" | "*") => Some(StatusCode::NOT_MODIFIED),
        ("if-none-match", "\"v1\"") => Some(StatusCode::OK),
        _ => None,
    }
}

fn fetch(headers: &HeaderMap, file: &File, head: StatusCode) {
    let (status, answered, body) = ask(&Method::GET, file, headers);
    let content = &file.content;
    if head != StatusCode::OK {
        assert_eq!(status, head);
        return;
    }
    let wanted = range(headers).map(|wanted| wanted(content.len() as u64));
    let about = |status: StatusCode| match (&wanted, status) {
        (_, StatusCode::OK) => body == content,
        (Some(Some(range)), StatusCode::PARTIAL_CONTENT) => {
            let of = format!("bytes {}-{}/{}", range.start, range.end - 1, content.len());
            let part = &content[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
            answered["content-range"] == of && body == part
        }
        (Some(None), StatusCode::RANGE_NOT_SATISFIABLE) => {
            answered["content-range"] == format!("bytes */{}", content.len())
        }
        _ => false,
    };
    assert!(about(status), "{status} {answered:?} with {} bytes", body.len());
    let expected = match &wanted {
        None => StatusCode::OK,
        Some(Some(_)) => StatusCode::PARTIAL_CONTENT,
        Some(None) => StatusCode::RANGE_NOT_SATISFIABLE,
    };
    let mut if_range = headers.get_all("if-range").iter();
    match (if_range.next(), if_range.next()) {
        (None, _) => assert_eq!(status, expected),
        (Some(value), None) if value == ETAG => assert_eq!(status, expected),
        (Some(value), None) if value.as_bytes().starts_with(b"W/") => assert_eq!(status, StatusCode::OK),
        _ => {}
    }
}

/// The range of bytes in a `Range` header for a file of a given length. `None` if the header must be ignored.
fn range(headers: &HeaderMap) -> Option<impl Fn(u64) -> Option<Range<u64>>> {
    let mut values = headers.get_all("range").iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let value = value.to_str().ok()?.to_ascii_lowercase();
    let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    // A number larger than any length is still valid.
    let number = |text: &str| -> Option<Option<u128>> {
        let text = text.trim_matches([' ', '\t']);
        let digits = text.trim_start_matches('0');
        match (text.chars().all(|letter| letter.is_ascii_digit()), text.is_empty()) {
            (false, _) => None,
            (true, true) => Some(None),
            (true, false) => Some(Some(digits.get(..30).unwrap_or(digits).parse().unwrap_or(0))),
        }
    };
    let ends = (number(first)?, number(last)?);
    match ends {
        (None, None) => return None,
        (Some(first), Some(last)) if first.min(u64::MAX.into()) > last.min(u64::MAX.into()) => return None,
        _ => {}
    }
    Some(move |len: u64| {
        let bytes = (0..len).filter(|at| match ends {
            (Some(first), last) => (first..=last.unwrap_or(u128::MAX)).contains(&u128::from(*at)),
            (None, last) => u128::from(len - at) <= last.unwrap(),
        });
        let (first, last) = bytes.fold((None, None), |(first, _), at| (first.or(Some(at)), Some(at)));
        Some(first?..last? + 1)
    })
}

/// An upload with these headers replaces the whole file, or does not change it.
fn store(headers: &HeaderMap, file: &File) {
    let mut headers = headers.clone();
    headers.remove("content-length");
    let (store, served) = site(file);
    let answer = run(served.oneshot(request(&Method::PUT, &headers, "another".into()))).unwrap();
    let stored = run(async {
        let blob = store.0.get(&key(), None).await.unwrap().into_blob().unwrap();
        blob.body.collect().await.unwrap().to_bytes()
    });
    if let Some(fetched) = plain_condition(&headers).filter(|_| !headers.contains_key("content-range")) {
        assert_eq!(answer.status() == StatusCode::CREATED, fetched == StatusCode::OK);
    }
    if answer.status() == StatusCode::CREATED {
        assert_eq!(stored, "another");
    } else {
        assert_refusal(&answer);
        assert_eq!(stored, file.content);
        assert!(headers.keys().any(|name| is_condition(name) || name == "content-range"));
    }
}

fn ask(method: &Method, file: &File, headers: &HeaderMap) -> (StatusCode, HeaderMap, Bytes) {
    let (_, served) = site(file);
    let answer = run(served.oneshot(request(method, headers, Body::empty()))).unwrap();
    if answer.status().is_client_error() || answer.status().is_server_error() {
        assert_refusal(&answer);
    }
    let (head, body) = answer.into_parts();
    (head.status, head.headers, run(body.collect()).unwrap().to_bytes())
}

fn request(method: &Method, headers: &HeaderMap, body: Body) -> Request<Body> {
    let mut request = Request::new(body);
    *request.method_mut() = method.clone();
    *request.headers_mut() = headers.clone();
    request.extensions_mut().insert(key());
    request
}

fn key() -> BlobKey {
    BlobKey::from_segments(["file"]).unwrap()
}

fn site(file: &File) -> (Dated, ServeBlobs<Dated>) {
    let store = Dated(MemoryStore::new(), file.stored);
    run(store.0.put(Upload::new(key(), file.content.clone()))).unwrap();
    (store.clone(), ServeBlobs::new(store))
}

/// A store in which all files have the same date, so that answers are reproducible.
#[derive(Clone)]
struct Dated(MemoryStore, SystemTime);

impl Dated {
    fn info(&self, mut info: BlobInfo) -> BlobInfo {
        info.etag = Some(HeaderValue::from_static(ETAG));
        info.modified = Some(self.1);
        info
    }
}

impl BlobStore for Dated {
    async fn put(&self, mut upload: Upload) -> Result<PutResult> {
        // The inner store has a different tag and date.
        let current = self.head(&upload.key).await.ok();
        std::mem::take(&mut upload.precondition).check(current.as_ref())?;
        self.0.put(upload).await
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<GetResult> {
        let fetched = self.0.get(key, range).await?;
        Ok(match fetched {
            GetResult::Blob(blob) => GetResult::Blob(Blob::partial(self.info(blob.info), blob.range, blob.body)),
            other => other,
        })
    }

    async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>> {
        self.0.metadata(key).await
    }
}
