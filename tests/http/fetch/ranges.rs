//! HEAD and ranges.

use std::time::{Duration, SystemTime};

use kazoo_storage_test_support::client::{Framing, request};

use super::{ANNOUNCED, Dated, FILE, Site, long_ago, media};

#[tokio::test]
async fn answers_head_like_get_without_a_body() {
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
async fn answers_a_single_range_with_206() {
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
async fn answers_416_for_a_range_after_the_end() {
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
async fn sends_a_part_only_of_the_file_in_if_range() {
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
async fn sends_a_part_only_of_the_file_with_the_date_in_if_range() {
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
