//! Uploads that are altered, redirected, refused or too long.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use kazoo_storage::Base64;
use tempfile::TempDir;

use super::{assert_causes, checked, echo, storage};
use crate::check::{
    SECRET, check,
    front::{
        Front,
        Turn::{Answer, Pass},
        page, start,
    },
    green::written,
};

#[tokio::test]
async fn reports_base64_on_one_side() {
    let off = start(Front::default(), storage().base64(Base64::Off), "/some_prefix").await;
    let report = check(&[&off.url()]).await;
    // KAZOO's settings may not need it.
    assert_causes(&report, 0, &["base64_not_decoded"]);
    assert_eq!(report.finding("base64_not_decoded")["severity"], "warning");
    assert_eq!(
        report.finding("base64_not_decoded")["only_with"],
        "`base64_encode_data`"
    );
    let places = report.finding("base64_not_decoded")["where"].as_str().unwrap();
    assert!(
        places.starts_with("4.3.21 to 4.3.105; 4.3.106 and later; OpenKazoo | base64"),
        "{places}"
    );

    let declared = start(Front::default(), storage().base64(Base64::Declared), "/some_prefix").await;
    let report = check(&[&declared.url()]).await;
    assert_causes(&report, 0, &["base64_expected"]);
    let finding = report.finding("base64_expected");
    assert_eq!(finding["only_with"], "`send_multipart` without `base64_encode_data`");
    let places = finding["where"].as_str().unwrap();
    assert!(places.contains("| multipart |"), "{places}");

    // With known settings, KAZOO needs what they enable.
    let directory = TempDir::new().unwrap();
    for (running, multipart, cause) in [
        (
            &off,
            r#""send_multipart":true,"base64_encode_data":true"#,
            "base64_not_decoded",
        ),
        (&declared, r#""send_multipart":true"#, "base64_expected"),
    ] {
        let document = format!(r#"{{"url":"{}","verb":"put",{multipart}}}"#, running.url());
        let file = written(&directory, "storage.json", &document);
        let report = check(&["--settings", &file]).await;
        assert_eq!(
            (report.exit, &report.finding(cause)["severity"]),
            (1, &"failure".into())
        );
    }
}

/// An intermittent failure is a failure, whatever the form of the body.
#[tokio::test]
async fn reports_one_failing_multipart_upload() {
    for (status, cause) in [(500, "server_error"), (415, "multipart_refused")] {
        let seen = AtomicUsize::new(0);
        let once = Front::before(move |request| {
            let media_type = request.headers().get(header::CONTENT_TYPE);
            let in_parts = media_type.is_some_and(|text| text.as_bytes().starts_with(b"multipart/"));
            if in_parts && seen.fetch_add(1, Ordering::Relaxed) == 1 {
                Answer(page(StatusCode::from_u16(status).unwrap(), "nginx"))
            } else {
                Pass(request)
            }
        });
        let report = checked(once).await;
        assert_causes(&report, 1, &[cause]);
        assert_eq!(report.finding(cause)["severity"], "failure");
    }
}

#[tokio::test]
async fn reports_bodies_that_do_not_arrive() {
    let strips = Front::before(|request| Pass(emptied(request)));
    assert_causes(&checked(strips).await, 1, &["upload_altered"]);
    // This server is not kazoo-storage, and stores bodies unparsed.
    let naive = naive(emptied);
    let report = checked(naive).await;
    assert_causes(&report, 1, &["empty_response", "doubled_path_not_found"]);
}

fn emptied(request: Request<Bytes>) -> Request<Bytes> {
    let (mut head, _) = request.into_parts();
    if head.method != Method::GET {
        head.headers
            .insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    Request::from_parts(head, Bytes::new())
}

/// A server that stores each body at its path, as a `WebDAV` server does.
fn naive(change: impl Fn(Request<Bytes>) -> Request<Bytes> + Send + Sync + 'static) -> Front {
    let files = Mutex::new(HashMap::new());
    Front::answering(move |request| {
        let request = change(request.clone());
        let path = request.uri().path().to_owned();
        let mut files = files.lock().unwrap();
        if request.method() != Method::GET {
            files.insert(path, request.into_body());
            return Response::builder().status(201).body(Bytes::new()).unwrap();
        }
        match files.get(&path) {
            Some(file) => Response::new(file.clone()),
            None => page(StatusCode::NOT_FOUND, "404 Not Found"),
        }
    })
}

#[tokio::test]
async fn reports_a_server_that_stores_bodies_unparsed() {
    let report = checked(naive(|request| request)).await;
    assert_causes(&report, 1, &["doubled_path_not_found", "multipart_not_parsed"]);
    assert_eq!(report.finding("multipart_not_parsed")["only_with"], "`send_multipart`");
    let scenarios = &report.json["dialects"][0]["scenarios"];
    assert!(
        scenarios
            .as_array()
            .unwrap()
            .iter()
            .all(|scenario| scenario["works"] == true),
        "{scenarios}"
    );
    let shown = &report.finding("multipart_not_parsed")["kazoo"];
    assert_eq!(shown["body"]["message"], "datastore_fault");
}

#[tokio::test]
async fn reports_redirected_uploads() {
    let target = start(Front::default(), storage(), "/some_prefix").await;
    let to = target.address;
    let redirects = |code: u16| {
        Front::before(move |request| {
            // A `Location` cannot contain bytes outside ASCII.
            if !request.uri().path().is_ascii() {
                return Pass(request);
            }
            let answer = Response::builder().status(code);
            let location = format!("http://kazoo:{SECRET}@{to}{}", request.uri());
            Answer(answer.header(header::LOCATION, location).body(Bytes::new()).unwrap())
        })
    };
    for code in [301, 302] {
        let report = checked(redirects(code)).await;
        assert_causes(&report, 1, &["redirected_post", "redirected_put"]);
        let answered = report.finding("redirected_put")["response"].as_str().unwrap();
        assert!(answered.ends_with(&format!("to http://{to}")), "{answered}");
    }
    assert_causes(
        &checked(redirects(303)).await,
        1,
        &["redirected_post", "unsupported_redirect"],
    );
    assert_causes(&checked(redirects(307)).await, 1, &["unsupported_redirect"]);
}

#[tokio::test]
async fn reports_limits_of_length() {
    let proxy = Front::before(|request| {
        if request.body().len() > 65_000 {
            return Answer(echo(413, &request));
        }
        Pass(request)
    });
    let report = checked(proxy).await;
    assert_causes(&report, 1, &["proxy_body_limit"]);
    assert!(
        report.finding("proxy_body_limit")["kazoo"].is_null(),
        "the credentials probe is short"
    );

    let own = start(Front::default(), storage().max_body(65_000), "/some_prefix").await;
    assert_causes(&check(&[&own.url()]).await, 1, &["max_body"]);

    let resets = Front::before(|request| {
        if request.body().len() > 65_000 {
            Answer(echo(400, &request))
        } else {
            Pass(request)
        }
    });
    assert_causes(&checked(resets).await, 1, &["large_file"]);
    let empty = Front::before(|request| {
        if request.method() != Method::GET && request.body().is_empty() {
            return Answer(echo(411, &request));
        }
        Pass(request)
    });
    assert_causes(&checked(empty).await, 1, &["empty_file"]);
}

#[tokio::test]
async fn reports_a_server_that_does_not_replace_files() {
    let seen = Mutex::new(HashSet::new());
    let once = Front::before(move |request| {
        let is_new = seen.lock().unwrap().insert(request.uri().path().to_owned());
        if request.method() == Method::GET || is_new {
            return Pass(request);
        }
        Answer(page(StatusCode::FORBIDDEN, "it is there"))
    });
    let report = checked(once).await;
    assert!(report.causes().contains(&"no_overwrite"), "{:#}", report.json);
}
