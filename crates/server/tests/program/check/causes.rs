//! The table of causes: fronts that break something on purpose, and the causes that `check` reports.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use kazoo_storage::{
    AccessRules, Base64, BlobKey, BlobStore, ByteRange, Error, ErrorKind, Fetched, KazooStorage, MemoryStore, Metadata,
    Result, Stored, Upload, authorize::Credential, extract_key::QueryKey,
};
use tempfile::TempDir;

use super::{
    Report, SECRET, check,
    front::{
        Front, Running,
        Turn::{Answer, Pass},
        page, start,
    },
    green::written,
};

fn storage() -> KazooStorage {
    KazooStorage::new(MemoryStore::new())
}

/// Checks `front` in front of a working storage.
async fn checked(front: Front) -> Report {
    let running = start(front, storage(), "/some_prefix").await;
    check(&[&running.url()]).await
}

fn assert_causes(report: &Report, exit: i32, causes: &[&str]) {
    assert_eq!(
        (report.exit, report.causes()),
        (exit, causes.to_vec()),
        "{:#}",
        report.json
    );
}

fn status(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap()
}

/// A page that repeats the request, as some servers do.
fn echo(code: u16, request: &Request<Bytes>) -> Response<Bytes> {
    page(status(code), &format!("{} {:?}", request.uri(), request.headers()))
}

fn answers(code: u16) -> Front {
    Front::answering(move |request| echo(code, request))
}

#[tokio::test]
async fn statuses() {
    for (code, cause) in [
        (401, "proxy_credentials"),
        (403, "proxy_credentials"),
        (404, "other_server"),
        (405, "method_not_allowed"),
        (413, "proxy_body_limit"),
        (409, "no_overwrite"),
        (418, "refused"),
        (420, "unknown_status"),
        (500, "server_error"),
        (502, "bad_gateway"),
        (504, "bad_gateway"),
        (507, "storage_full"),
        (308, "unsupported_redirect"),
        (200, "html_page"),
    ] {
        let report = checked(answers(code)).await;
        // A server that refuses everything may refuse multipart bodies only because they are multipart.
        let causes: &[&str] = if code == 418 {
            &[cause, "multipart_refused"]
        } else {
            &[cause]
        };
        assert_causes(&report, 1, causes);
        let finding = report.finding(cause);
        let answered = finding["response"].as_str().unwrap();
        assert!(
            answered.starts_with(&code.to_string()) && answered.contains("nginx"),
            "{answered}"
        );
        match code {
            200 => assert_eq!(finding["kazoo"]["body"]["cause"], "invalid_data"),
            308 | 420 => assert_eq!(finding["kazoo"]["status"], 500),
            _ => {
                let invalid = &finding["kazoo"]["body"]["attachments"]["HANDLER_ID"]["invalid"];
                assert_eq!(invalid["error_code"], code);
            }
        }
    }
}

#[tokio::test]
async fn another_path_than_the_mount() {
    let running = start(Front::default(), storage(), "/elsewhere").await;
    let report = check(&[&running.url()]).await;
    // The front's own page, and then the storage's response.
    assert_causes(&report, 1, &["other_server"]);
    let report = check(&[&format!("http://{}/{SECRET}", running.address)]).await;
    assert_causes(&report, 1, &["other_server"]);
}

#[tokio::test]
async fn base64_on_one_side() {
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
async fn one_failing_multipart_upload_is_a_failure() {
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
async fn bodies_that_do_not_arrive() {
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
async fn a_server_that_stores_bodies_unparsed() {
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
async fn redirected_uploads() {
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
async fn limits_of_length() {
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
async fn names_that_do_not_arrive() {
    let escaped = Front::before(|request| {
        if request.uri().path().contains("%2F") {
            return Answer(echo(404, &request));
        }
        Pass(request)
    });
    assert_causes(&checked(escaped).await, 1, &["escaped_name"]);
    // Decoded twice: the `%` of the name is no longer an escape.
    let decodes = Front::before(|mut request| {
        let target = request.uri().to_string().replace("%25", "%").replace("%2F", "/");
        match target.parse::<Uri>() {
            Ok(uri) if request.method() != Method::GET => {
                *request.uri_mut() = uri;
                Pass(request)
            }
            _ => Pass(request),
        }
    });
    assert_causes(&checked(decodes).await, 1, &["escaped_name"]);
    let ascii = Front::before(|request| {
        if request.uri().path().is_ascii() {
            return Pass(request);
        }
        Answer(echo(400, &request))
    });
    assert_causes(&checked(ascii).await, 1, &["non_ascii_name"]);
}

/// KAZOO on newer Erlang sends a different spelling of such a URL, which this front may not accept.
#[tokio::test]
async fn a_url_that_newer_erlang_rewrites() {
    let mount = "/pre%2Dfix/./x";
    let url = |running: &Running| format!("http://k%61zoo:{SECRET}@{}{mount}", running.address);
    let takes_both = start(Front::default(), storage(), mount).await;
    let report = check(&[&url(&takes_both)]).await;
    assert_causes(&report, 0, &["settings_warning"]);
    let findings = report.json["findings"].to_string();
    assert!(
        findings.contains("different spelling") && findings.contains("unescaped"),
        "{findings}"
    );

    for code in [404, 403, 405] {
        let verbatim = Front::before(move |request| {
            if request.uri().path().starts_with(mount) {
                return Pass(request);
            }
            Answer(echo(code, &request))
        });
        let verbatim = start(verbatim, storage(), mount).await;
        let report = check(&[&url(&verbatim)]).await;
        assert_causes(&report, 1, &["normalized_url_fails", "settings_warning"]);
        let finding = report.finding("normalized_url_fails");
        assert!(
            finding["where"].as_str().unwrap().starts_with("OpenKazoo | "),
            "{finding}"
        );
        assert!(finding["fix"].as_str().unwrap().contains("normalized"), "{finding}");
        // A check by settings reports it too.
        let settings = format!(r#"{{"url":"{}","verb":"put"}}"#, url(&verbatim));
        let directory = TempDir::new().unwrap();
        let settings = written(&directory, "storage.json", &settings);
        assert_causes(
            &check(&["--settings", &settings]).await,
            1,
            &["normalized_url_fails", "settings_warning"],
        );
    }
    // If neither spelling works, the spelling is not the cause.
    let nowhere = start(Front::default(), storage(), "/elsewhere").await;
    assert_causes(
        &check(&[&url(&nowhere)]).await,
        1,
        &["other_server", "settings_warning"],
    );
}

fn without_query(mut request: Request<Bytes>) -> Request<Bytes> {
    *request.uri_mut() = request.uri().path().parse().unwrap();
    request
}

#[tokio::test]
async fn a_query_that_is_lost_or_ignored() {
    let by_query = || storage().key(QueryKey::new("recording"));
    let url = |running: &Running| {
        format!(
            "http://kazoo:{SECRET}@{}/index.php?key={SECRET}&recording=",
            running.address
        )
    };
    let works = start(Front::default(), by_query(), "/index.php").await;
    assert_causes(&check(&[&url(&works)]).await, 0, &[]);
    let drops = start(
        Front::before(|request| Pass(without_query(request))),
        by_query(),
        "/index.php",
    )
    .await;
    assert_causes(&check(&[&url(&drops)]).await, 1, &["query_lost"]);
    let by_path = start(Front::default(), storage(), "/index.php").await;
    assert_causes(&check(&[&url(&by_path)]).await, 1, &["query_lost"]);
}

/// Changes the successful responses to fetches.
fn fetched(change: impl Fn(&str, Response<Bytes>) -> Response<Bytes> + Send + Sync + 'static) -> Front {
    Front::after(move |method, target, answer| {
        if method == Method::GET && answer.status() == StatusCode::OK {
            change(target, answer)
        } else {
            answer
        }
    })
}

#[tokio::test]
async fn altered_responses_to_fetches() {
    for code in [201, 203, 204, 206] {
        let other = fetched(move |_, mut answer| {
            *answer.status_mut() = status(code);
            if code == 204 {
                answer.map(|_| Bytes::new())
            } else {
                answer
            }
        });
        let report = checked(other).await;
        assert_causes(&report, 1, &["fetch_not_200"]);
        assert_eq!(report.finding("fetch_not_200")["kazoo"]["status"], 500);
    }
    let compresses = fetched(|_, answer| {
        let mut answer = answer.map(|body| [b"\x1f\x8b\x08", &*body].concat().into());
        let gzip = HeaderValue::from_static("gzip");
        answer.headers_mut().insert(header::CONTENT_ENCODING, gzip);
        answer.headers_mut().remove(header::CONTENT_LENGTH);
        answer
    });
    assert_causes(&checked(compresses).await, 1, &["compressed"]);
    let cuts = fetched(|_, mut answer| {
        answer.headers_mut().remove(header::CONTENT_LENGTH);
        answer.map(|body| body.slice(..body.len().min(1000)))
    });
    assert_causes(&checked(cuts).await, 1, &["truncated"]);
    let alters = fetched(|_, answer| answer.map(|body| body.iter().map(|byte| byte ^ 1).collect()));
    assert_causes(&checked(alters).await, 1, &["altered"]);
    let cache = Mutex::new(HashMap::new());
    let caches = fetched(move |target, answer| {
        let mut cache = cache.lock().unwrap();
        cache.entry(target.to_owned()).or_insert(answer).clone()
    });
    assert_causes(&checked(caches).await, 1, &["stale"]);
    let undoubled = fetched(|target, answer| {
        if target.matches("c4ecc4ec").count() > 5 {
            page(StatusCode::NOT_FOUND, "404")
        } else {
            answer
        }
    });
    let report = checked(undoubled).await;
    assert_causes(&report, 1, &["doubled_path_not_found"]);
    let places = report.finding("doubled_path_not_found")["where"].as_str().unwrap();
    assert!(places.starts_with("4.3.106 and later; OpenKazoo | "), "{places}");
}

#[tokio::test]
async fn missing_files() {
    let finds = Front::after(|_, _, answer| {
        if answer.status() == StatusCode::NOT_FOUND {
            page(StatusCode::OK, "start")
        } else {
            answer
        }
    });
    assert_causes(&checked(finds).await, 1, &["missing_file_found"]);
    let gone = Front::after(|_, _, mut answer| {
        if answer.status() == StatusCode::NOT_FOUND {
            *answer.status_mut() = StatusCode::GONE;
        }
        answer
    });
    assert_causes(&checked(gone).await, 0, &["missing_not_404"]);
    let forgets = Front::before(|request| {
        let is_probe = request.uri().path().ends_with("_test_credentials_file.txt");
        if request.method() == Method::GET || is_probe {
            return Pass(request);
        }
        Answer(Response::new(Bytes::new()))
    });
    assert_causes(&checked(forgets).await, 1, &["not_stored"]);
}

#[tokio::test]
async fn an_existing_file_is_not_replaced() {
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

#[tokio::test]
async fn credentials() {
    let credential = Credential::password("kazoo", "another");
    let rules = AccessRules::new().credential(credential);
    let ours = start(Front::default(), storage().authorize(rules), "/some_prefix").await;
    assert_causes(&check(&[&ours.url()]).await, 1, &["wrong_credentials"]);

    // Another server compares the credentials literally.
    let plain = HeaderValue::from_static("Basic a2F6b286czNjcmV0");
    let asks = Front::before(move |request| {
        if request.headers().get(header::AUTHORIZATION) == Some(&plain) {
            return Pass(request);
        }
        Answer(echo(401, &request))
    });
    let report = checked(asks).await;
    assert_causes(&report, 1, &["mangled_credentials"]);
    let places = report.finding("mangled_credentials")["where"].as_str().unwrap();
    assert!(places.starts_with("4.3.106 and later; OpenKazoo | "), "{places}");
}

/// A store on a full disk.
#[derive(Debug)]
struct Full;

impl BlobStore for Full {
    async fn put(&self, _: Upload) -> Result<Stored> {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        Err(Error::new(ErrorKind::StorageFull, "no space is left").with_source(full))
    }

    async fn get(&self, _: &BlobKey, _: Option<ByteRange>) -> Result<Fetched> {
        Err(Error::new(ErrorKind::NotFound, "nothing is here"))
    }

    async fn metadata(&self, _: &BlobKey) -> Result<Option<Metadata>> {
        Err(Error::new(ErrorKind::NotFound, "nothing is here"))
    }
}

#[tokio::test]
async fn a_full_disk() {
    let running = start(Front::default(), KazooStorage::new(Full), "/some_prefix").await;
    let report = check(&[&running.url()]).await;
    assert_causes(&report, 1, &["storage_full"]);
    let finding = report.finding("storage_full");
    assert!(finding["kazoo"].is_null(), "the credentials probe needs no disk");
    assert!(finding["response"].as_str().unwrap().starts_with("507 "), "{finding}");
}

#[tokio::test]
async fn endless_retries_and_closed_idle_connections() {
    let comes_again = Front::answering(|_| {
        let answer = Response::builder().status(503).header(header::RETRY_AFTER, "9");
        answer.body(Bytes::new()).unwrap()
    });
    let running = start(comes_again, storage(), "/some_prefix").await;
    let report = check(&[&running.url(), "--timeout", "1"]).await;
    assert_causes(&report, 1, &["endless_retry"]);
    assert_eq!(report.json["complete"], false);

    // A `keep-alive` header does not announce that the connection closes now; `close` does, so no upload is lost.
    for (connection, causes) in [("keep-alive", &["idle_timeout_too_short"][..]), ("close", &[])] {
        let idle = Front {
            idle: Some(Duration::from_millis(300)),
            after: Box::new(move |_, _, mut answer| {
                let headers = answer.headers_mut();
                headers.insert(header::CONNECTION, HeaderValue::from_static(connection));
                headers.insert("keep-alive", HeaderValue::from_static("timeout=75"));
                answer
            }),
            ..Front::default()
        };
        let running = start(idle, storage(), "/some_prefix").await;
        let report = check(&[&running.url(), "--idle", "1"]).await;
        assert_causes(&report, i32::from(!causes.is_empty()), causes);
    }
    let silent = Front {
        idle: Some(Duration::from_millis(300)),
        ..Front::default()
    };
    let running = start(silent, storage(), "/some_prefix").await;
    assert_causes(
        &check(&[&running.url(), "--idle", "1"]).await,
        1,
        &["idle_timeout_too_short"],
    );
    let stays = start(Front::default(), storage(), "/some_prefix").await;
    assert_causes(&check(&[&stays.url(), "--idle", "1"]).await, 0, &[]);
}

/// nginx merges slashes if `proxy_pass` has a path.
#[tokio::test]
async fn merged_slashes_are_harmless() {
    let directory = TempDir::new().unwrap();
    for folder in ["/abs/base", "/abs/base/", "base/"] {
        let merges = Front::before(|mut request| {
            let target = request.uri().to_string().replace("//", "/");
            *request.uri_mut() = target.parse().unwrap();
            Pass(request)
        });
        let running = start(merges, storage(), "/some_prefix").await;
        let url = running.url();
        let settings = format!(r#"{{"url":"{url}","verb":"put","folder_base_path":"{folder}"}}"#);
        let settings = written(&directory, "storage.json", &settings);
        assert_causes(&check(&["--settings", &settings]).await, 0, &[]);
    }
}
