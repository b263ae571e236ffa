//! Altered and missing responses to fetches.

use std::{collections::HashMap, sync::Mutex};

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};

use super::{assert_causes, checked, status};
use crate::check::front::{
    Front,
    Turn::{Answer, Pass},
    page,
};

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
async fn reports_altered_responses_to_fetches() {
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
async fn reports_missing_files() {
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
