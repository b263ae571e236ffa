//! Redirected requests.

use kazoo_storage_client::{FailureKind, Verb};
use kazoo_storage_test_support::fixture::{body, target};

use super::{CONTENT, asked, fetch, handler, store};
use crate::recorder::{Recorder, answer};

/// Redirects everything below `/p` to `location` with `status`, and answers 200 to other requests.
async fn redirecting(status: u16, location: &'static str) -> Recorder {
    Recorder::start(move |request| {
        if target(request).starts_with(b"/p/") {
            answer(status, &format!("location: {location}\r\n"), b"")
        } else {
            answer(200, "", b"elsewhere")
        }
    })
    .await
}

#[tokio::test]
async fn repeats_a_redirected_put_and_keeps_the_new_url() {
    let other = Recorder::start(|_| answer(201, "", b"")).await;
    let to = format!("http://{}/q/a.mp3?signature=x", other.address);
    let recorder = Recorder::start({
        let to = to.clone();
        move |_| answer(302, &format!("location: {to}\r\n"), b"")
    })
    .await;
    let stored = store(&handler(&recorder)).await.unwrap();
    assert_eq!(stored.url.as_str(), to);
    assert!(!stored.is_lost());
    let [again] = other.take().try_into().unwrap();
    let again: Vec<u8> = again;
    assert_eq!(asked(std::slice::from_ref(&again)), ["PUT /q/a.mp3?signature=x"]);
    assert_eq!(body(&again), CONTENT.as_bytes());
    // Nothing else differs.
    let first = String::from_utf8(recorder.take().remove(0)).unwrap();
    let first = first.replace("/p/ACC/DOC/a.mp3", "/q/a.mp3?signature=x");
    let first = first.replace(&recorder.address.to_string(), &other.address.to_string());
    assert_eq!(String::from_utf8(again).unwrap(), first);
}

#[tokio::test]
async fn sends_an_endlessly_redirected_put_eleven_times() {
    let recorder = Recorder::start(|request| {
        let host = String::from_utf8_lossy(request);
        let (_, host) = host.split_once("host: ").unwrap();
        answer(
            301,
            &format!("location: http://{}/p/x\r\n", host.lines().next().unwrap()),
            b"",
        )
    })
    .await;
    let failure = store(&handler(&recorder)).await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Redirect);
    assert_eq!(failure.history().redirects.len(), 10);
    assert_eq!(recorder.take().len(), 11);
}

#[tokio::test]
async fn follows_no_other_redirect_of_a_put() {
    for (status, kind) in [
        (301, FailureKind::Redirect),
        (303, FailureKind::Crash),
        (307, FailureKind::Crash),
        (308, FailureKind::Crash),
    ] {
        let recorder = redirecting(status, "/q").await;
        let failure = store(&handler(&recorder)).await.unwrap_err();
        assert_eq!(failure.kind(), kind, "{status}");
        assert_eq!(recorder.take().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn counts_a_redirected_post_as_stored_although_the_file_is_lost() {
    for status in [301, 302, 303] {
        let recorder = redirecting(status, "/q").await;
        let stored = store(&handler(&recorder).verb(Verb::Post)).await.unwrap();
        assert!(stored.is_lost(), "{status}");
        // KAZOO will fetch it where it is not stored.
        assert!(stored.url.as_str().ends_with("/p/ACC/DOC/a.mp3"));
        let requests = recorder.take();
        assert_eq!(asked(&requests), ["POST /p/ACC/DOC/a.mp3", "GET /q"]);
        assert_eq!(body(&requests[1]), b"");
    }
    let recorder = redirecting(307, "/q").await;
    let stored = store(&handler(&recorder).verb(Verb::Post)).await.unwrap();
    assert!(!stored.is_lost());
    let requests = recorder.take();
    assert_eq!(asked(&requests), ["POST /p/ACC/DOC/a.mp3", "POST /q"]);
    assert_eq!(body(&requests[1]), CONTENT.as_bytes());
}

#[tokio::test]
async fn follows_a_redirected_fetch() {
    for status in [301, 302, 303, 307] {
        let recorder = redirecting(status, "/q").await;
        let fetched = fetch(&handler(&recorder)).await.unwrap();
        assert_eq!(fetched.content, "elsewhere", "{status}");
        assert_eq!(fetched.history.redirects.len(), 1);
        assert_eq!(
            asked(&recorder.take()),
            ["GET /p/ACC/DOC/a.mp3/ACC/DOC/a.mp3?folder=new", "GET /q"]
        );
    }
    let recorder = redirecting(308, "/q").await;
    assert_eq!(fetch(&handler(&recorder)).await.unwrap_err().kind(), FailureKind::Crash);
}
