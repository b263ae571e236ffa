//! Bodies over the limit.

use kazoo_storage_test_support::{
    client::{Pace, chunked, request},
    server::Front,
};

use super::{FRONTS, NEW, OLD, Site, put};

/// The client writes its whole body slowly before it reads. It still receives the refusal.
#[tokio::test]
async fn sends_a_readable_413_for_a_body_over_the_limit() {
    const MAX: usize = 10_000;
    for front in FRONTS {
        let mut site = Site::with(front, |storage| storage.max_body(MAX as u64)).await;
        for (len, pace) in [
            (MAX + 1, Pace::Pieces(997)),
            (MAX * 30, Pace::Pieces(4096)),
            (5 << 20, Pace::Pieces(256 << 10)),
            (20 << 20, Pace::Whole),
        ] {
            let body = vec![b'x'; len];
            let declared = put(NEW, &body);
            let discovered = request("POST", OLD, &[("transfer-encoding", "chunked")], chunked(&body, 8192));
            for bad in [declared, discovered] {
                let mut connection = site.open().await;
                let answer = connection.exchange(&bad, pace).await;
                let message = answer.refusal(413);
                assert!(message.contains("10000"), "{message}");
                site.assert_untouched().await;
            }
        }
        // A body of exactly the limit is accepted, with a declared length and without.
        let body = vec![b'x'; MAX];
        for good in [
            put("/prefix/A/B/C", &body),
            request(
                "PUT",
                "/prefix/A/B/D",
                &[("transfer-encoding", "chunked")],
                chunked(&body, 777),
            ),
        ] {
            let answer = site.open().await.exchange(&good, Pace::Whole).await;
            assert_eq!(answer.status, 201, "{answer:?}");
        }
    }
}

/// A fault within the limit is reported instead of the excess, however the body is split.
#[tokio::test]
async fn reports_a_fault_before_the_limit() {
    let mut site = Site::with(Front::Hyper, |storage| storage.max_body(200)).await;
    let body = format!("--B\r\ncontent-type\0: x\r\n\r\n{}", "x".repeat(500));
    let headers = [
        ("content-type", "multipart/mixed; boundary=B"),
        ("transfer-encoding", "chunked"),
    ];
    for chunk in [1000, 100, 7] {
        let bad = request("PUT", NEW, &headers, chunked(body.as_bytes(), chunk));
        let answer = site.open().await.exchange(&bad, Pace::Whole).await;
        answer.refusal(400);
        site.assert_untouched().await;
    }
}

/// An absurd declared length is refused at once, without an allocation.
#[tokio::test]
async fn refuses_an_absurd_length() {
    let mut site = Site::new(Front::Hyper).await;
    let mut connection = site.open().await;
    let bad = request("PUT", NEW, &[("content-length", "9000000000000000000")], "ID3");
    connection.send(&bad, Pace::Whole).await;
    connection.finish().await;
    if let Ok(answer) = connection.try_receive(false).await {
        answer.refusal(413);
    }
    site.server.ended(site.opened).await;
    site.assert_untouched().await;
}
