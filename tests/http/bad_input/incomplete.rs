//! Bodies that end early.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kazoo_storage::{ExtractKey, KazooStorage, PathKey, ServeBlobs};
use kazoo_storage_test_support::{
    client::{Connection, Pace, TIMEOUT, chunked, find, request},
    server::{Front, Server},
    stores::{AcceptsEverything, Kind, Spy},
};
use tokio::{task::yield_now, time::timeout};
use tower::Layer as _;

use super::{FRONTS, JSON, NEW, OLD, Site, multipart, put, put_multipart};

/// An unfinished upload leaves no file and does not change the older one, however the client disconnects.
#[tokio::test]
async fn stores_nothing_of_a_body_cut_at_any_byte() {
    let small = multipart(&[JSON, ("audio/mpeg", b"ID3 and some sound")]);
    let encoded = multipart(&[JSON, ("audio/mpeg", STANDARD.encode("ID3 and some sound").as_bytes())]);
    let chunks = [
        b"PUT /prefix/ACC/DOC/other.mp3 HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n",
        &chunked(b"ID3 and some sound", 5)[..],
    ]
    .concat();
    for kind in Kind::ALL {
        for (case, whole) in [
            ("multipart", put_multipart(NEW, &small)),
            ("multipart over an older file", put_multipart(OLD, &small)),
            ("base64", put_multipart(OLD, &encoded)),
            ("raw", put(OLD, "ID3 and some sound")),
            ("chunked", chunks.clone()),
        ] {
            let mut site = Site::on(*kind, Front::Hyper, |storage| storage).await;
            let files = site.store.files();
            let head = find(&whole, b"\r\n\r\n").unwrap() + 4;
            for cut in head..whole.len() {
                let mut connection = site.open().await;
                connection.send(&whole[..cut], Pace::Whole).await;
                if cut % 2 == 0 {
                    connection.finish().await;
                    if let Ok(answer) = connection.try_receive(false).await {
                        answer.refusal(400);
                    }
                } else {
                    connection.reset();
                }
            }
            // Every request has ended, and none was stored.
            site.server.ended(site.opened).await;
            site.assert_untouched().await;
            timeout(TIMEOUT, async {
                // Staged files are removed in the background.
                while site.store.files() != files {
                    yield_now().await;
                }
            })
            .await
            .expect("nothing is left behind");
            // The same bytes are accepted when complete.
            let answer = site.open().await.exchange(&whole, Pace::Whole).await;
            assert_eq!(answer.status, 201, "{case}: {answer:?}");
        }
    }
}

/// The body has its declared length, but the multipart content ends early.
#[tokio::test]
async fn refuses_multipart_without_its_closing_delimiter() {
    let whole = multipart(&[JSON, ("audio/mpeg", b"ID3 and some sound")]);
    for front in FRONTS {
        let mut site = Site::new(front).await;
        let mut connection = site.open().await;
        for target in [OLD, NEW] {
            for cut in 0..whole.len() {
                let answer = connection
                    .exchange(&put_multipart(target, &whole[..cut]), Pace::Whole)
                    .await;
                answer.refusal(400);
            }
        }
        site.assert_untouched().await;
    }
}

/// Even a store that reports success for everything cannot acknowledge an incomplete upload.
#[tokio::test]
async fn refuses_incomplete_uploads_even_if_the_store_reports_success() {
    let body = multipart(&[JSON, ("audio/mpeg", b"ID3 and some sound")]);
    let unclosed = &body[..body.len() - 2];
    for reads in [true, false] {
        let server = Server::start(Front::Hyper, "/prefix", KazooStorage::new(AcceptsEverything { reads })).await;
        for (bad, all_sent) in [
            (put_multipart(NEW, unclosed), true),
            (request("PUT", NEW, &[("content-length", "100")], "only this"), false),
            (
                request("PUT", NEW, &[("transfer-encoding", "chunked")], "5\r\nID3..\r\nzz\r\n"),
                true,
            ),
        ] {
            let mut connection = Connection::open(server.address).await;
            connection.send(&bad, Pace::Whole).await;
            if !all_sent {
                connection.finish().await;
            }
            if let Ok(answer) = connection.try_receive(false).await {
                assert!(!(200..300).contains(&answer.status), "{answer:?}");
            }
        }
    }
}

/// Such a body ends with the connection, which is indistinguishable from a broken connection.
#[tokio::test]
async fn refuses_an_http_1_0_upload_without_its_length() {
    for front in FRONTS {
        let mut site = Site::new(front).await;
        for target in [OLD, NEW] {
            let bad = format!("PUT {target} HTTP/1.0\r\nhost: h\r\ncontent-type: audio/mpeg\r\n\r\nID3");
            let answer = site.open().await.exchange(bad.as_bytes(), Pace::Whole).await;
            assert!(answer.refusal(400).contains("content-length"));
            site.assert_untouched().await;
        }
    }
}

/// `ServeBlobs` detects incomplete bodies without `LimitBody` in front of it.
#[tokio::test]
async fn refuses_an_ambiguous_or_unfinished_body_without_limit_body() {
    let store = Spy::memory();
    let service = ExtractKey::new(PathKey).layer(ServeBlobs::new(store.clone()));
    let router = axum::Router::new().fallback_service(service.clone());
    for server in [Server::hyper(service).await, Server::axum(router).await] {
        for bad in [
            "PUT /ACC/DOC/a HTTP/1.0\r\nhost: h\r\n\r\nID3",
            "PUT /ACC/DOC/a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: gzip, chunked\r\n\r\n3\r\nID3\r\n0\r\n\r\n",
            "PUT /ACC/DOC/a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nID3\r\n",
            "PUT /ACC/DOC/a HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\nID3",
        ] {
            let mut connection = Connection::open(server.address).await;
            connection.send(bad.as_bytes(), Pace::Whole).await;
            connection.finish().await;
            connection.receive().await.refusal(400);
            assert_eq!(store.stored(), [], "{bad}");
        }
    }
}

#[tokio::test]
async fn refuses_malformed_chunks() {
    for front in FRONTS {
        let mut site = Site::new(front).await;
        for target in [OLD, NEW] {
            for chunks in [
                "zz\r\nID3\r\n0\r\n\r\n",
                "3\r\nID3\r\n-1\r\n\r\n",
                "3\r\nID3XX0\r\n\r\n",
                "3\r\nID3\r\nfffffffffffffffff\r\n\r\n",
                "3\r\nID3\r\n\r\n\r\n",
            ] {
                let bad = request("PUT", target, &[("transfer-encoding", "chunked")], chunks);
                let answer = site.open().await.exchange(&bad, Pace::Whole).await;
                answer.refusal(400);
                site.assert_untouched().await;
            }
        }
    }
}
