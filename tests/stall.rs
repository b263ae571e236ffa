//! Bodies that come slowly, with a clock that the tests move.

// A test fails by panicking, and says where.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, StatusCode, Version, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use kazoo_storage::{Body, ErrorKind, LimitBody};
use tokio::time::{Instant, sleep};
use tower::{Layer as _, ServiceExt as _, service_fn};

const STALL: Duration = Duration::from_secs(30);

/// Brings `chunk` after each of `waits`, in seconds.
fn slow(chunk: &'static [u8], waits: impl IntoIterator<Item = u64, IntoIter: Send + 'static>) -> Body {
    let frames = stream::unfold(waits.into_iter(), move |mut waits| async move {
        sleep(Duration::from_secs(waits.next()?)).await;
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(chunk))), waits))
    });
    Body::new(StreamBody::new(Box::pin(frames)))
}

/// Reads the whole body, and takes `pause` seconds between two of its chunks.
async fn read(body: Body, pause: u64) -> (Response<Body>, Duration) {
    let begun = Instant::now();
    let service =
        LimitBody::new(1 << 20)
            .stall_timeout(STALL)
            .layer(service_fn(move |request: Request<Body>| async move {
                let mut body = request.into_body();
                let mut len = 0;
                while let Some(frame) = body.frame().await {
                    match frame {
                        Ok(frame) => len += frame.into_data().unwrap().len(),
                        Err(error) => return Ok::<_, Infallible>(error.into_response()),
                    }
                    sleep(Duration::from_secs(pause)).await;
                }
                Ok(Response::new(Body::from(len.to_string())))
            }));
    let response = service.oneshot(Request::put("/").body(body).unwrap()).await.unwrap();
    (response, begun.elapsed())
}

async fn text(response: Response<Body>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_byte_a_second_is_refused() {
    let (response, took) = read(slow(b"x", std::iter::repeat(1)), 0).await;
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(response.headers()[header::CONNECTION], "close");
    assert_eq!(took.as_secs(), 30);
    let answer: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(answer["error"], ErrorKind::Timeout.as_str());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_is_refused() {
    let (response, took) = read(slow(&[0; 4096], [0, 29, 31]), 0).await;
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(took.as_secs(), 29 + 30);
}

#[tokio::test(start_paused = true)]
async fn a_slow_line_is_waited_for() {
    let (response, took) = read(slow(&[0; 1024], std::iter::repeat_n(29, 100)), 0).await;
    assert_eq!(text(response).await, "102400");
    assert_eq!(took.as_secs(), 2900);
    // The end counts as much as a kibibyte.
    let (response, _) = read(slow(b"x", [10, 10]), 0).await;
    assert_eq!(text(response).await, "2");
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_is_not_the_clients_fault() {
    let (response, took) = read(slow(b"x", std::iter::repeat_n(0, 100)), 100).await;
    assert_eq!(text(response).await, "100");
    assert_eq!(took.as_secs(), 10_000);
}

#[tokio::test(start_paused = true)]
async fn what_is_only_drained_is_bound_too() {
    let refuse = service_fn(async |_: Request<Body>| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::FORBIDDEN;
        Ok::<_, Infallible>(response)
    });
    let service = LimitBody::new(1 << 20).stall_timeout(STALL).layer(refuse);
    let begun = Instant::now();
    for (body, version, closes, took) in [
        (slow(b"x", std::iter::repeat(1)), Version::HTTP_11, true, 30),
        (slow(b"x", std::iter::repeat(1)), Version::HTTP_2, false, 30),
        (
            slow(&[0; 1024], std::iter::repeat_n(20, 3)),
            Version::HTTP_11,
            false,
            60,
        ),
    ] {
        let start = begun.elapsed().as_secs();
        let mut request = Request::put("/").body(body).unwrap();
        *request.version_mut() = version;
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert_eq!(response.headers().contains_key(header::CONNECTION), closes);
        assert_eq!(begun.elapsed().as_secs() - start, took);
    }
}
