//! Keys: from a path, from a query, and from a fetch that repeats the key.

#![no_main]

use http::{Request, request::Parts};
use kazoo_storage::{
    BlobKey, PathKey,
    extract_key::{KeyExtractor as _, MetadataKey, QueryKey},
    key::Candidates,
};
use kazoo_storage_fuzz::oracle::{assert_safe, segments};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (stored, appended) = text.split_once('\n').unwrap_or((text, ""));
    let key = of_path(stored);
    of_fetch(stored, appended, key.as_ref());
    check_target(stored);
    of_query(stored, appended, key.as_ref());
});

fn of_path(path: &str) -> Option<BlobKey> {
    let expected = segments(path, 1);
    let key = BlobKey::from_path(path).ok();
    let found: Option<Vec<String>> = key.as_ref().map(|key| key.segments().map(str::to_owned).collect());
    assert_eq!(found, expected, "{path:?}");
    let key = key?;
    assert_safe(&key);
    assert_eq!(BlobKey::from_path(&key.to_string()).unwrap(), key);
    assert_eq!(BlobKey::from_segments(key.segments()).unwrap(), key);
    let segments: Vec<&str> = key.segments().collect();
    let layout = (key.account_id(), key.owner_id(), key.document_id(), key.attachment());
    match segments[..] {
        [account, document, name] => assert_eq!(layout, (Some(account), None, Some(document), name)),
        [account, owner, document, name] => assert_eq!(layout, (Some(account), Some(owner), Some(document), name)),
        [.., name] => assert_eq!(layout, (None, None, None, name)),
        [] => unreachable!("a key has a segment"),
    }
    Some(key)
}

/// The candidates of a fetch with appended segments include the stored key.
fn of_fetch(stored: &str, appended: &str, key: Option<&BlobKey>) {
    let path = format!("{stored}/{appended}");
    let whole = segments(&path, 2);
    let candidates = Candidates::from_path(&path).ok();
    assert_eq!(candidates.is_some(), whole.is_some(), "{path:?}");
    if let (Some(candidates), Some(whole)) = (candidates, whole) {
        let keys: Vec<&BlobKey> = candidates.iter().collect();
        assert!(keys.len() <= Candidates::MAX);
        for (at, key) in keys.iter().enumerate() {
            assert_safe(key);
            assert!(!keys[..at].contains(key), "{key} twice");
            assert!(key.segments().eq(whole.iter().take(key.segments().len())), "{key}");
        }
        assert!(key.is_none_or(|key| keys.contains(&key)), "{path:?}");
    }
    if let Some(key) = key {
        let doubled = Candidates::from_path(&format!("{stored}/{stored}")).unwrap();
        assert_eq!(doubled.first(), key);
    }
}

fn head(target: &str) -> Option<Parts> {
    Some(Request::get(target).body(()).ok()?.into_parts().0)
}

/// Checks the keys of any target.
fn check_target(target: &str) {
    let Some(head) = head(target) else { return };
    let path = head.uri.path();
    let named = BlobKey::from_path(path).ok().filter(|_| !path.ends_with('/'));
    assert_eq!(PathKey.key(&head).ok(), named);
    assert_eq!(PathKey.candidates(&head).ok(), Candidates::from_path(path).ok());
    for candidates in [
        QueryKey::new("recording").candidates(&head),
        MetadataKey::new(["media_id", "id", "call_id"]).candidates(&head),
    ] {
        for key in candidates.iter().flat_map(Candidates::iter) {
            assert_safe(key);
        }
    }
}

fn of_query(stored: &str, appended: &str, key: Option<&BlobKey>) {
    let extractor = QueryKey::new("recording");
    if stored.contains(['&', '#']) || appended.contains(['&', '#']) {
        return;
    }
    let Some(head) = head(&format!("/i?key=a&recording={stored}{appended}&id=b")) else {
        return;
    };
    let value = format!("{stored}{appended}");
    let whole = BlobKey::from_path(&value).ok();
    let named = whole.clone().filter(|_| !value.ends_with('/'));
    assert_eq!(extractor.key(&head).ok(), named, "{value:?}");
    if let Ok(candidates) = extractor.candidates(&head) {
        let keys: Vec<&BlobKey> = candidates.iter().collect();
        assert!(keys.len() <= Candidates::MAX);
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key), "{key} twice");
        }
        assert!(whole.is_none_or(|whole| keys.contains(&&whole)));
    } else {
        assert_eq!(whole, None, "{value:?}");
    }
    if let Some(key) = key {
        let head = self::head(&format!("/i?recording={stored}{stored}")).unwrap();
        assert_eq!(extractor.candidates(&head).unwrap().first(), key);
    }
}
