//! Keys and ranges.

use std::{
    cmp::Ordering,
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use kazoo_storage::{
    BlobKey, BlobStore as _, Body, MemoryStore, ServeBlobs, Upload,
    extract_key::{KeyExtractor as _, QueryKey},
    key::Candidates,
};
use proptest::{collection::vec, option, prelude::*};
use tower::ServiceExt as _;

use super::config;
use crate::oracle;

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

proptest! {
    #![proptest_config(config())]

    /// A range is a slice of the whole.
    #[test]
    fn serves_a_range_as_a_slice_of_the_file(
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
    fn keeps_the_segments_of_a_path(segments in vec("[^\\p{Cc}]{1,12}|\\.{1,4}|[/%?#&+ é]{1,6}", 1..6)) {
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
    fn accepts_no_key_that_leaves_its_directory(path in "([a-z.]|/|%2[eEfF]|%00|%0a|%5c|%[0-9a-f]{2}|%|\\.\\.|\\PC|\u{1}){0,30}") {
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
    fn finds_the_stored_key(
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
