//! The storage service inside an axum application.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};
use http_body_util::{BodyExt as _, Limited};
use kazoo_storage::{KazooStorage, MemoryStore, Outcome};
use kazoo_storage_test_support::{
    client::{Connection, Pace, chunked, request},
    fixture::kazoo_fetch,
    server::Server,
    stores::Spy,
};
use tower::{ServiceExt as _, util::MapRequestLayer};

/// An application keeps its own state and routes.
#[tokio::test]
async fn keeps_the_routes_of_the_application() {
    let storage = KazooStorage::new(MemoryStore::new()).into_service();
    let app = Router::new()
        .route("/", get(|State(name): State<&'static str>| async move { name }))
        .route("/upload", post(|body: String| async move { body }))
        .nest_service("/kazoo", storage)
        .fallback(|| async { "the application's own 404" })
        .with_state("the application");
    let server = Server::axum(app).await;
    let mut connection = Connection::open(server.address).await;
    let mut ask = async |bytes: Vec<u8>| connection.exchange(&bytes, Pace::Whole).await;

    assert_eq!(ask(request("GET", "/", &[], "")).await.body, b"the application");
    assert_eq!(ask(request("POST", "/upload", &[], "text")).await.body, b"text");
    assert_eq!(ask(request("PUT", "/kazoo/ACC/DOC/ATT", &[], "ID3")).await.status, 201);
    assert_eq!(ask(kazoo_fetch(b"/kazoo/ACC/DOC/ATT")).await.body, b"ID3");
    ask(kazoo_fetch(b"/kazoo/ACC/DOC/OTHER")).await.refusal(404);
    for not_ours in ["/kazoos/ACC/DOC/ATT", "/kazoo%2FACC/DOC/ATT", "/ACC/DOC/ATT"] {
        let answer = ask(kazoo_fetch(not_ours.as_bytes())).await;
        assert_eq!(answer.body, b"the application's own 404", "{not_ours}");
    }
}

/// Two services, each with its own store, one of them nested deeper.
#[tokio::test]
async fn nests_at_any_depth() {
    let (outer, inner) = (Spy::memory(), Spy::memory());
    let app = Router::new()
        .nest_service("/files", KazooStorage::new(outer.clone()).into_service())
        .nest(
            "/api/{version}",
            Router::new().nest_service("/kazoo/files", KazooStorage::new(inner.clone()).into_service()),
        );
    let server = Server::axum(app).await;
    let mut connection = Connection::open(server.address).await;
    for (target, content) in [("/files/A/B/C", "outer"), ("/api/v2/kazoo/files/A/B/C", "inner")] {
        let stored = connection
            .exchange(&request("PUT", target, &[], content), Pace::Whole)
            .await;
        assert_eq!(stored.status, 201);
    }
    assert_eq!(outer.content("A/B/C").await.unwrap(), b"outer");
    assert_eq!(inner.content("A/B/C").await.unwrap(), b"inner");
}

/// axum's limit of 2 MB belongs to its extractors. The limit of the service applies.
#[tokio::test]
async fn ignores_the_body_limit_of_axum() {
    let storage = KazooStorage::new(MemoryStore::new()).max_body(4 << 20).into_service();
    let app = Router::new()
        .nest_service("/kazoo", storage)
        .layer(DefaultBodyLimit::max(10));
    let server = Server::axum(app).await;
    let mut connection = Connection::open(server.address).await;
    let body = vec![b'x'; 3 << 20];
    let stored = connection
        .exchange(&request("PUT", "/kazoo/A/B/C", &[], &body), Pace::Whole)
        .await;
    assert_eq!(stored.status, 201);
    let fetched = connection.exchange(&kazoo_fetch(b"/kazoo/A/B/C"), Pace::Whole).await;
    assert!(fetched.body == body);
    let body = vec![b'x'; 5 << 20];
    let refused = connection
        .exchange(&request("PUT", "/kazoo/A/B/C", &[], &body), Pace::Whole)
        .await;
    refused.refusal(413);
}

/// A body limit imposed by a layer in front of the service results in its status, not in a broken connection.
#[tokio::test]
async fn answers_413_for_a_body_limit_in_front() {
    let store = Spy::memory();
    let app = Router::new()
        .nest_service("/kazoo", KazooStorage::new(store.clone()).into_service())
        .layer(MapRequestLayer::new(|request: Request| {
            request.map(|body| axum::body::Body::new(Limited::new(body, 1000)))
        }));
    let server = Server::axum(app).await;
    let body = vec![b'x'; 5000];
    for bad in [
        request("PUT", "/kazoo/A/B/C", &[], &body),
        request(
            "PUT",
            "/kazoo/A/B/C",
            &[("transfer-encoding", "chunked")],
            chunked(&body, 100),
        ),
    ] {
        let mut connection = Connection::open(server.address).await;
        let answer = connection.exchange(&bad, Pace::Whole).await;
        answer.refusal(413);
        assert_eq!(store.stored(), []);
    }
}

/// A middleware of the application reads the outcome from the response.
#[tokio::test]
async fn shows_the_outcome_to_middleware() {
    type Seen = Arc<Mutex<Vec<String>>>;

    async fn note(State(seen): State<Seen>, request: Request, next: Next) -> Response {
        let response = next.run(request).await;
        let outcome = match response.extensions().get::<Outcome>() {
            Some(Outcome::Stored { key, len, .. }) => format!("stored {key} ({len})"),
            Some(Outcome::Fetched { key, .. }) => format!("fetched {key}"),
            Some(Outcome::Failed { error, .. }) => format!("failed: {}", error.kind()),
            other => format!("{other:?}"),
        };
        seen.lock().unwrap().push(outcome);
        response
    }

    let seen = Seen::default();
    let app = Router::new()
        .nest_service("/kazoo", KazooStorage::new(MemoryStore::new()).into_service())
        .layer(middleware::from_fn_with_state(Arc::clone(&seen), note));
    for (method, target) in [
        ("PUT", "/kazoo/A/B/C"),
        ("GET", "/kazoo/A/B/C/A/B/C?folder=new"),
        ("GET", "/kazoo/A/B/D"),
        ("PUT", "/kazoo/A/../D"),
    ] {
        let request = http::Request::builder()
            .method(method)
            .uri(target)
            .body(axum::body::Body::from("ID3"))
            .unwrap();
        // Without a socket: a router is a service.
        let response = app.clone().oneshot(request).await.unwrap();
        response.into_body().collect().await.unwrap();
    }
    assert_eq!(
        *seen.lock().unwrap(),
        [
            "stored A/B/C (3)",
            "fetched A/B/C",
            "failed: not_found",
            "failed: invalid_key"
        ]
    );
}
