//! `KazooStorage::mount` serves its prefix and passes on everything else unchanged.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use kazoo_storage::{
    BlobKey, BlobStore as _, Body, KazooStorage, MemoryStore,
    builder::Mount,
    extract_key::{MetadataKey, QueryKey},
};
use tower::{Layer as _, Service, ServiceExt as _, service_fn};

/// The inner service. Answers with the request that it received.
async fn echo(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let text = format!("{} {} {} {}", head.method, head.uri, head.headers.len(), body.len());
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert("x-inner", "1".parse().unwrap());
    Ok(response)
}

async fn ask(mount: &Mount, method: Method, target: &str, body: &'static str) -> (StatusCode, bool, Bytes) {
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header("x-a", "b")
        .body(Body::from(body))
        .unwrap();
    let response = mount.layer(service_fn(echo)).oneshot(request).await.unwrap();
    let inner = response.headers().contains_key("x-inner");
    (
        response.status(),
        inner,
        response.into_body().collect().await.unwrap().to_bytes(),
    )
}

async fn stored(store: &MemoryStore, key: &str) -> bool {
    store.head(&BlobKey::from_path(key).unwrap()).await.is_ok()
}

#[tokio::test]
async fn serves_a_prefix_with_any_slashes() {
    for prefix in ["/some/prefix", "/some/prefix/", "some/prefix", "//some/prefix//"] {
        let store = MemoryStore::new();
        let mount = KazooStorage::new(store.clone()).mount(prefix);
        for (target, key) in [
            ("/some/prefix/ACC/DOC/a.mp3", "ACC/DOC/a.mp3"),
            ("/some/prefix//ACC/DOC/b%2Fc.mp3", "ACC/DOC/b%2Fc.mp3"),
            ("http://host:8080/some/prefix/ACC/DOC/d.mp3?x=/y", "ACC/DOC/d.mp3"),
        ] {
            let (status, inner, _) = ask(&mount, Method::PUT, target, "ID3").await;
            assert_eq!((status, inner), (StatusCode::CREATED, false), "{prefix} {target}");
            assert!(stored(&store, key).await, "{prefix} {target}");
            let (status, _, body) = ask(&mount, Method::GET, target, "").await;
            assert_eq!((status, &body[..]), (StatusCode::OK, &b"ID3"[..]), "{prefix} {target}");
        }
    }
}

#[tokio::test]
async fn accepts_a_doubled_fetch_without_a_doubled_prefix() {
    let mount = KazooStorage::new(MemoryStore::new()).mount("/pre");
    ask(&mount, Method::PUT, "/pre/ACC/DOC/ATT.mp3", "ID3").await;
    let target = "/pre/ACC/DOC/ATT.mp3/ACC/DOC/ATT.mp3?media_id=DOC&call_id=1";
    let (status, _, body) = ask(&mount, Method::GET, target, "").await;
    assert_eq!((status, &body[..]), (StatusCode::OK, &b"ID3"[..]));
}

#[tokio::test]
async fn passes_requests_outside_of_the_prefix_on_unchanged() {
    let store = MemoryStore::new();
    let mount = KazooStorage::new(store.clone()).mount("/pre");
    for target in [
        "/",
        "/other?a=b",
        "/prefix/ACC/DOC/ATT",
        "/Pre/ACC/DOC/ATT",
        "/%70refix/ACC/DOC/ATT",
        "/../pre/ACC/DOC/ATT",
        "/pre%2FACC/DOC/ATT",
        "/x/pre/ACC/DOC/ATT",
        "http://pre/ACC",
    ] {
        for method in [Method::PUT, Method::GET, Method::OPTIONS, Method::DELETE] {
            let (status, inner, text) = ask(&mount, method.clone(), target, "body").await;
            assert_eq!((status, inner), (StatusCode::OK, true), "{method} {target}");
            let uri: http::Uri = target.parse().unwrap();
            assert_eq!(text, format!("{method} {uri} 1 4"));
        }
    }
    let star = Request::options("*").body(Body::empty()).unwrap();
    let answer = mount.layer(service_fn(echo)).oneshot(star).await.unwrap();
    assert!(
        answer.headers().contains_key("x-inner"),
        "OPTIONS * is the application's"
    );
}

#[tokio::test]
async fn compares_a_normalized_prefix() {
    let mount = KazooStorage::new(MemoryStore::new()).mount("/my%20files");
    for target in ["/my%20files/ACC/DOC/ATT", "/m%79%20files/ACC/DOC/ATT"] {
        assert_eq!(ask(&mount, Method::PUT, target, "ID3").await.0, StatusCode::CREATED);
    }
    assert!(ask(&mount, Method::PUT, "/my+files/ACC/DOC/ATT", "ID3").await.1);
}

#[tokio::test]
async fn refuses_other_methods_under_the_prefix() {
    let mount = KazooStorage::new(MemoryStore::new()).mount("/pre");
    for method in ["OPTIONS", "DELETE", "PATCH", "PROPFIND"] {
        let method: Method = method.parse().unwrap();
        let (status, inner, _) = ask(&mount, method.clone(), "/pre/ACC/DOC/ATT", "").await;
        assert_eq!((status, inner), (StatusCode::METHOD_NOT_ALLOWED, false), "{method}");
    }
    for target in ["/pre", "/pre/", "/pre//"] {
        let (status, inner, _) = ask(&mount, Method::PUT, target, "ID3").await;
        assert_eq!(
            (status, inner),
            (StatusCode::BAD_REQUEST, false),
            "{target}: the prefix alone names no file"
        );
    }
}

#[tokio::test]
async fn finds_a_key_in_the_query() {
    let store = MemoryStore::new();
    let mount = KazooStorage::new(store.clone())
        .key(QueryKey::new("recording"))
        .mount("/index.fu");
    let target = "/index.fu?key=abc&recording=ACC/DOC/ATT.mp3";
    assert_eq!(ask(&mount, Method::POST, target, "ID3").await.0, StatusCode::CREATED);
    assert!(stored(&store, "ACC/DOC/ATT.mp3").await);
    let polluted = "/index.fu?key=abc&recording=ACC/DOC/ATT.mp3ACC/DOC/ATT.mp3&media_id=1";
    assert_eq!(ask(&mount, Method::GET, polluted, "").await.2, "ID3");
}

#[tokio::test]
async fn distinguishes_files_at_one_target_by_their_metadata() {
    let store = MemoryStore::new();
    let mount = KazooStorage::new(store.clone())
        .key(MetadataKey::new(["call_id"]))
        .mount("/p/");
    let body = "--B\r\ncontent-type: application/json\r\n\r\n{\"call_id\":\"b3f6\"}\r\n--B\r\n\
                content-type: audio/mpeg\r\n\r\nID3\r\n--B--";
    let request = Request::put("/p/").header("content-type", "multipart/mixed; boundary=B");
    let request = request.body(Body::from(body)).unwrap();
    let answer = mount.layer(service_fn(echo)).oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert_eq!(ask(&mount, Method::GET, "/p/?call_id=b3f6", "").await.2, "ID3");
}

#[tokio::test]
async fn serves_everything_with_the_empty_prefix() {
    for prefix in ["/", ""] {
        let mount = KazooStorage::new(MemoryStore::new()).mount(prefix);
        assert_eq!(
            ask(&mount, Method::PUT, "/ACC/DOC/ATT", "ID3").await.0,
            StatusCode::CREATED
        );
        assert!(!ask(&mount, Method::GET, "/", "").await.1);
    }
}

/// Two mounts in front of an application. The first matching prefix serves a request.
#[tokio::test]
async fn stacks_mounts() {
    let (first, second) = (MemoryStore::new(), MemoryStore::new());
    let inner = KazooStorage::new(second.clone()).mount("/b").layer(service_fn(echo));
    let mut service = KazooStorage::new(first.clone()).mount("/a").layer(inner);
    for target in ["/a/ACC/DOC/ATT", "/b/ACC/DOC/ATT", "/c/ACC/DOC/ATT"] {
        let request = Request::put(target).body(Body::from("ID3")).unwrap();
        drop(service.ready().await.unwrap().call(request).await.unwrap());
    }
    assert!(stored(&first, "ACC/DOC/ATT").await && stored(&second, "ACC/DOC/ATT").await);
}

/// KAZOO sends the URL of its settings unchanged before OTP 22, and normalized since.
#[tokio::test]
async fn serves_every_spelling_of_the_prefix_by_erlang() {
    for prefix in ["/pre%2Dfix/./x", "/pre-fix/x", "/pre%2dfix/y/../x"] {
        let store = MemoryStore::new();
        let mount = KazooStorage::new(store.clone()).mount(prefix);
        let spellings = ["/pre%2Dfix/./x", "/pre-fix/x", "/pre%2dfix/%78"];
        for (number, put) in spellings.iter().enumerate() {
            let file = format!("ACC/DOC/{number}.mp3");
            let (status, inner, _) = ask(&mount, Method::PUT, &format!("{put}/{file}"), "ID3").await;
            assert_eq!((status, inner), (StatusCode::CREATED, false), "{prefix} {put}");
            assert!(stored(&store, &file).await, "{prefix} {put}");
            for get in spellings {
                let target = format!("{get}/{file}/{file}?media_id=DOC");
                let (status, _, body) = ask(&mount, Method::GET, &target, "").await;
                assert_eq!(
                    (status, &body[..]),
                    (StatusCode::OK, &b"ID3"[..]),
                    "{prefix} {put} {get}"
                );
            }
        }
        for other in ["/x/../pre-fix/x/ACC/DOC/0.mp3", "/pre-fix%2Fx/ACC/DOC/0.mp3"] {
            let (_, inner, _) = ask(&mount, Method::GET, other, "").await;
            assert!(inner, "{prefix} {other}");
        }
    }
}
