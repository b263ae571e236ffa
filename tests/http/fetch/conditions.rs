//! Conditions, entity tags and dates.

use std::time::{Duration, SystemTime};

use kazoo_storage_test_support::client::request;

use super::{Dated, FILE, STORED, Site, long_ago, media};

#[tokio::test]
async fn answers_304_for_a_valid_copy() {
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
async fn answers_412_for_a_failed_condition() {
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
async fn changes_the_tag_of_a_replaced_file() {
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
