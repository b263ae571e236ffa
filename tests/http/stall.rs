//! Slow bodies, with a simulated clock.

use std::{convert::Infallible, time::Duration};

use futures_util::stream;
use http::{Request, Response, StatusCode, Version, header};
use http_body_util::BodyExt as _;
use kazoo_storage::{
    BlobKey, Body, DrainBody, ErrorKind, LimitConcurrency, PeerAddr, RejectStalledBody, client_addr::ClientAddr,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tower::{Layer as _, ServiceExt as _, service_fn};

const STALL: Duration = Duration::from_secs(30);

/// The layers that limit the time of a body, read or drained.
fn timed() -> (RejectStalledBody, DrainBody) {
    (RejectStalledBody::new(STALL), DrainBody::new())
}

/// Yields `chunk` after each of `waits`, in seconds.
fn slow(chunk: &'static [u8], waits: impl IntoIterator<Item = u64, IntoIter: Send + 'static>) -> Body {
    let chunks = stream::unfold(waits.into_iter(), move |mut waits| async move {
        sleep(Duration::from_secs(waits.next()?)).await;
        Some((Ok::<_, Infallible>(chunk), waits))
    });
    Body::from_stream(chunks)
}

/// Reads the whole body, with a pause of `pause` seconds between two chunks.
async fn read(body: Body, pause: u64) -> (Response<Body>, Duration) {
    let begun = Instant::now();
    let service = timed().layer(service_fn(move |request: Request<Body>| async move {
        let mut body = request.into_body();
        let mut len = 0;
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => len += frame.into_data().unwrap().len(),
                Err(error) => return Ok::<_, Infallible>(error.to_response()),
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
async fn refuses_a_byte_a_second() {
    let (response, took) = read(slow(b"x", std::iter::repeat(1)), 0).await;
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(response.headers()[header::CONNECTION], "close");
    assert_eq!(took.as_secs(), 30);
    let answer: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(answer["error"], ErrorKind::Timeout.as_str());
}

#[tokio::test(start_paused = true)]
async fn refuses_a_body_that_stops() {
    let (response, took) = read(slow(&[0; 4096], [0, 29, 31]), 0).await;
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(took.as_secs(), 29 + 30);
}

#[tokio::test(start_paused = true)]
async fn waits_for_a_slow_line() {
    // A line of 40 kbit/s, for any duration; slower lines, for a short time.
    const LINE: &[u8] = &[0; 5_000];
    for (chunk, every, chunks) in [
        (LINE, 1, 10_000),
        (&[0; 1024], 29, 2),
        (&[0; 3_000], 10, 11),
        (&[0; 10_000], 10, 40),
    ] {
        let (response, took) = read(slow(chunk, std::iter::repeat_n(every, chunks)), 0).await;
        assert_eq!(text(response).await, (chunk.len() * chunks).to_string());
        assert_eq!(took.as_secs(), every * chunks as u64);
    }
    // The end counts as a kibibyte.
    let (response, _) = read(slow(b"x", [10, 10]), 0).await;
    assert_eq!(text(response).await, "2");
}

/// Each delivers its kibibyte in time, and would hold a permit for hours without a minimum rate.
#[tokio::test(start_paused = true)]
async fn refuses_a_body_that_is_too_slow_for_its_age() {
    for (chunk, every, after) in [
        (&[0; 1_100][..], 20, 60..90),
        (&[0; 1_024], 29, 60..90),
        (&[0; 2_000], 10, 70..90),
        (&[0; 10_000], 10, 420..450),
        (&[0; 4_000], 1, 1_700..1_900),
        (&[0; 4_300], 1, 1_800..2_000),
    ] {
        let (response, took) = read(slow(chunk, std::iter::repeat(every)), 0).await;
        assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
        assert_eq!(response.headers()[header::CONNECTION], "close");
        assert!(after.contains(&took.as_secs()), "{} bytes: {took:?}", chunk.len());
    }
}

/// Reads uploads to their end, with limits.
#[derive(Clone)]
struct Limited<S>(S);

fn limited(
    limit: &LimitConcurrency,
) -> Limited<
    impl tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + 'static,
> {
    let collect = service_fn(async |request: Request<Body>| {
        Ok::<_, Infallible>(match request.into_body().collect().await {
            Ok(body) => Response::new(Body::from(body.to_bytes())),
            Err(error) => error.to_response(),
        })
    });
    Limited(timed().layer(limit.layer(collect)))
}

impl<S> Limited<S>
where
    S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
{
    fn upload(&self, client: &str, key: &str, body: Body) -> JoinHandle<Response<Body>> {
        let mut request = Request::put("/").body(body).unwrap();
        request.extensions_mut().insert(ClientAddr(client.parse().unwrap()));
        request.extensions_mut().insert(BlobKey::from_path(key).unwrap());
        let service = self.0.clone();
        tokio::spawn(async move { service.oneshot(request).await.unwrap() })
    }

    async fn quick(&self, client: &str, key: &str) -> StatusCode {
        self.upload(client, key, Body::from("quick")).await.unwrap().status()
    }
}

const PROBE: &str = "A/7f3c2a90b1d4e6f8a0c2e4f618293a4b_test_credentials_file.txt";

#[tokio::test(start_paused = true)]
async fn takes_the_permit_of_the_slowest_upload() {
    let service = limited(&LimitConcurrency::new(4));
    let dripping = |n| service.upload(&format!("10.0.0.{n}"), "A", slow(b"x", std::iter::repeat_n(1, 50)));
    let mut drips = vec![dripping(1), dripping(2)];
    let slower = service.upload("10.0.0.3", "A", slow(b"x", std::iter::repeat_n(20, 2)));
    let steady = service.upload("10.0.0.4", "A", slow(&[0; 5_000], std::iter::repeat_n(1, 100)));
    sleep(Duration::from_millis(2_500)).await;
    assert_eq!(
        service.quick("10.0.0.9", "B").await,
        StatusCode::SERVICE_UNAVAILABLE,
        "too early to tell"
    );
    assert_eq!(service.quick("10.0.0.9", PROBE).await, StatusCode::OK);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(service.quick("10.0.0.9", "B").await, StatusCode::OK);
    let ended = slower.await.unwrap();
    assert_eq!(ended.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ended.headers()[header::RETRY_AFTER], "1");
    assert_eq!(ended.headers()[header::CONNECTION], "close");
    // One permit is freed for each waiting request, and no more.
    for (ended, client, key) in [(1, 5, "C"), (2, 6, "D")] {
        drips.push(dripping(client));
        assert_eq!(service.quick("10.0.0.9", key).await, StatusCode::OK);
        tokio::task::yield_now().await;
        assert_eq!(drips.iter().filter(|drip| drip.is_finished()).count(), ended);
    }
    assert_eq!(steady.await.unwrap().status(), StatusCode::OK, "is fast enough");
}

#[tokio::test(start_paused = true)]
async fn limits_the_requests_of_one_client() {
    let service = limited(&LimitConcurrency::new(3).per_client(2));
    let begin = |client: &str| service.upload(client, "A", slow(b"x", [20]));
    let held = [begin("10.0.0.1"), begin("::ffff:10.0.0.1")];
    tokio::task::yield_now().await;
    let refused = service.upload("10.0.0.1", "B", Body::from("quick")).await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()[header::RETRY_AFTER], "1");
    assert!(text(refused).await.contains("from this address"));
    assert_eq!(service.quick("10.0.0.1", PROBE).await, StatusCode::OK);
    assert_eq!(service.quick("10.0.0.2", "B").await, StatusCode::OK);
    // Only the client's own slow uploads yield to its next request.
    let other = begin("2001:db8::1");
    sleep(Duration::from_secs(5)).await;
    assert_eq!(service.quick("10.0.0.1", "B").await, StatusCode::OK);
    let finished = held.iter().filter(|upload| upload.is_finished()).count();
    assert_eq!((finished, other.is_finished()), (1, false));
}

#[tokio::test]
async fn identifies_a_client_by_its_forwarded_address() {
    let limit = LimitConcurrency::new(9).per_client(1);
    let answer = service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::from("a file"))));
    let service = limit.layer(answer);
    let ask = async |peer: [u8; 4], client: Option<[u8; 4]>| {
        let mut request = Request::get("/").body(Body::empty()).unwrap();
        request.extensions_mut().insert(PeerAddr((peer, 4711).into()));
        if let Some(client) = client {
            request.extensions_mut().insert(ClientAddr(client.into()));
        }
        service.clone().oneshot(request).await.unwrap()
    };
    let (one, other) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    let _held = ask(one, None).await;
    assert_eq!(ask(one, None).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ask(other, None).await.status(), StatusCode::OK);
    assert_eq!(ask(one, Some(other)).await.status(), StatusCode::OK);
    assert_eq!(ask(other, Some(one)).await.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn takes_no_permit_of_an_unread_upload() {
    let busy = service_fn(async |request: Request<Body>| {
        let mut body = request.into_body();
        let read = body.frame().await.is_some();
        sleep(Duration::from_secs(20)).await;
        Ok::<_, Infallible>(Response::new(Body::from(read.to_string())))
    });
    let limit = LimitConcurrency::new(1);
    let service = Limited(timed().layer(limit.layer(busy)));
    let held = service.upload("10.0.0.1", "A", slow(b"x", [0, 0, 0]));
    for _ in 0..19 {
        sleep(Duration::from_secs(1)).await;
        assert_eq!(service.quick("10.0.0.2", "B").await, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(text(held.await.unwrap()).await, "true");
}

#[tokio::test(start_paused = true)]
async fn does_not_blame_the_client_for_a_slow_store() {
    let (response, took) = read(slow(b"x", std::iter::repeat_n(0, 100)), 100).await;
    assert_eq!(text(response).await, "100");
    assert_eq!(took.as_secs(), 10_000);
}

#[tokio::test(start_paused = true)]
async fn limits_the_time_to_drain_a_body() {
    let refuse = service_fn(async |_: Request<Body>| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::FORBIDDEN;
        Ok::<_, Infallible>(response)
    });
    let service = timed().layer(refuse);
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
