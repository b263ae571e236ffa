//! Grants of the access rules, of an authorizer and of the application's own middleware.

use std::sync::{Arc, mpsc};

use http::{Request, StatusCode, request::Parts};
use kazoo_storage::{
    AccessRules, Body, Error, ErrorKind, Event, Grant, KazooStorage, MemoryStore, PeerAddr, client_addr::ClientAddr,
};
use kazoo_storage_test_support::{
    client::{Connection, Pace},
    server::{Front, Server},
    stores::Spy,
};
use tower::{ServiceBuilder, ServiceExt as _};

use super::{ACCOUNT, OTHER, request, status};

#[tokio::test]
async fn a_credential_with_folders_covers_the_files_below_them() {
    let rules = AccessRules::from_json(&format!(
        r#"{{"credentials": [
            {{"token": "folder", "folders": ["archive/my%20acme", "recordings/{ACCOUNT}/"]}},
            {{"token": "either", "accounts": ["{ACCOUNT}"], "folders": ["recordings/{ACCOUNT}"]}},
            {{"token": "account", "accounts": ["{ACCOUNT}"]}},
            {{"token": "nothing", "folders": []}}
        ]}}"#
    ));
    let storage = KazooStorage::new(MemoryStore::new()).authorize(rules.unwrap());
    let server = Server::start(Front::Hyper, "/p", storage).await;
    let mut connection = Connection::open(server.address).await;
    let in_archive = format!("/archive/my%20acme/{ACCOUNT}/DOC/a.mp3");
    let recording = format!("/recordings/{ACCOUNT}/call_recording_1.mp3");
    let plain = format!("/{ACCOUNT}/DOC/a.mp3");
    for (token, path, put, get) in [
        ("folder", &in_archive, 201, 200),
        ("folder", &recording, 201, 200),
        ("folder", &plain, 403, 403),
        ("either", &recording, 201, 200),
        ("either", &plain, 201, 200),
        ("either", &in_archive, 403, 403),
        ("account", &plain, 201, 200),
        ("account", &recording, 403, 403),
        ("account", &in_archive, 403, 403),
        ("nothing", &plain, 403, 403),
    ] {
        let target = format!("/p/{token}{path}");
        assert_eq!(status(&mut connection, "PUT", &target).await, put, "{token} {path}");
        for target in [target.clone(), format!("{target}{path}?id=1")] {
            assert_eq!(status(&mut connection, "GET", &target).await, get, "{target}");
        }
    }
    for path in [
        format!("/recordings/{ACCOUNT}"),
        format!("/recordings/{OTHER}/a.mp3"),
        "/archive/my%20acme.mp3".to_owned(),
        "/call_recording_1.mp3".to_owned(),
    ] {
        let target = format!("/p/folder{path}");
        assert_eq!(status(&mut connection, "PUT", &target).await, 403, "{path}");
        assert_eq!(status(&mut connection, "GET", &target).await, 403, "{path}");
    }
}

#[test]
fn refuses_an_invalid_folder_in_the_rules() {
    for folder in ["", "/", "a/../b", "%FF"] {
        let json = format!(r#"{{"credentials": [{{"token": "hush", "folders": ["a", "{folder}"]}}]}}"#);
        let error = AccessRules::from_json(&json).unwrap_err();
        assert!(
            error.message().contains("credential 1 has an invalid folder"),
            "{error}"
        );
        assert!(!error.message().contains("hush"), "{error}");
    }
}

/// The limit of a grant applies to declared and discovered lengths. A body without a credential is refused for that.
#[tokio::test]
async fn a_credential_limits_the_body() {
    let store = Spy::memory();
    let rules = r#"{"credentials": [{"token": "small", "max_body": 4}, {"token": "large"}]}"#;
    let rules = AccessRules::from_json(rules).unwrap();
    let storage = KazooStorage::new(store.clone()).max_body(8).authorize(rules);
    let server = Server::start(Front::Hyper, "/p", storage).await;
    for (token, body, expected) in [
        ("small", "1234", 201),
        ("small", "12345", 413),
        ("large", "12345678", 201),
        ("large", "123456789", 413),
        ("wrong", "123456789", 401),
    ] {
        let target = format!("/p/{token}/A/B/a.mp3");
        let declared = request("PUT", &target, &[], body);
        let len = body.len();
        let chunked = format!(
            "PUT {target} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{len:x}\r\n{body}\r\n0\r\n\r\n"
        );
        for bytes in [declared, chunked.into_bytes()] {
            let before = store.stored().len();
            let mut connection = Connection::open(server.address).await;
            let answer = connection.exchange(&bytes, Pace::Whole).await;
            assert_eq!(answer.status, expected, "{token} {body}");
            let stored = store.stored().len() - before;
            assert_eq!(stored, usize::from(expected == 201), "{token} {body}");
        }
    }
}

/// Returns the status of an upload of `ID3`, with a grant that middleware around the service inserts.
async fn with_outer_grant(storage: KazooStorage, grant: Grant, path: &str) -> StatusCode {
    let app = ServiceBuilder::new()
        .map_request(move |mut request: Request<Body>| {
            request.extensions_mut().insert(grant.clone());
            request
        })
        .service(storage.into_service());
    let upload = Request::put(path).body(Body::from("ID3")).unwrap();
    app.oneshot(upload).await.unwrap().status()
}

#[tokio::test]
async fn enforces_a_grant_of_outer_middleware() {
    let all = Grant::everything();
    for (grant, expected) in [
        (all.clone(), StatusCode::CREATED),
        (all.clone().accounts(["ACC"]).max_body(3), StatusCode::CREATED),
        (all.clone().accounts(["OTHER"]), StatusCode::FORBIDDEN),
        (all.clone().read_only(), StatusCode::FORBIDDEN),
        (all.clone().folders([]), StatusCode::FORBIDDEN),
        (all.max_body(2), StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let storage = KazooStorage::new(MemoryStore::new());
        let case = format!("{grant:?}");
        assert_eq!(
            with_outer_grant(storage, grant, "/ACC/DOC/a.mp3").await,
            expected,
            "{case}"
        );
    }
}

#[tokio::test]
async fn the_grant_of_an_authorizer_replaces_the_outer_one_which_it_may_read() {
    let combined = |request: &mut Parts| {
        let outer = request.extensions.get::<Grant>();
        let outer = outer.ok_or_else(|| Error::new(ErrorKind::Unauthorized, "no session"))?;
        Ok(outer.clone().read_only())
    };
    let replaced = |_: &mut Parts| Ok(Grant::everything());
    let outer = Grant::everything().accounts(["OTHER"]);
    let storage = || KazooStorage::new(MemoryStore::new());
    let path = "/ACC/DOC/a.mp3";
    assert_eq!(
        with_outer_grant(storage().authorize(replaced), outer, path).await,
        StatusCode::CREATED
    );
    let everything = Grant::everything();
    assert_eq!(
        with_outer_grant(storage().authorize(combined), everything, path).await,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn an_application_may_share_an_authorizer() {
    let authorizer = Arc::new(|_: &mut Parts| Ok(Grant::everything().read_only()));
    let storage = KazooStorage::new(MemoryStore::new()).authorize(Arc::clone(&authorizer));
    let upload = Request::put("/ACC/DOC/ATT").body(Body::from("ID3")).unwrap();
    let response = storage.into_service().oneshot(upload).await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}

/// Logs and audits tell who it was, also if the request is refused after its authorization.
#[tokio::test]
async fn an_event_has_the_name_of_the_credential_or_of_the_network() {
    let rules = AccessRules::from_json(&format!(
        r#"{{
            "networks": [{{"network": "127.0.0.0/8", "name": "the site"}}, "::1"],
            "credentials": [
                {{"token": "named", "name": "{}"}},
                {{"token": "same", "name": "Ünal", "may": "read"}},
                {{"token": "unnamed"}}
            ]
        }}"#,
        "é".repeat(64)
    ));
    let (events, seen) = mpsc::channel();
    let storage = KazooStorage::new(MemoryStore::new()).authorize(rules.unwrap());
    let storage = storage.observe(move |event: &Event<'_>| {
        let _ = events.send(event.credential.map(str::to_owned));
    });
    let service = storage.into_service();
    for (peer, token, expected, credential) in [
        ("127.0.0.1:1", "named", 201, Some("é".repeat(64))),
        ("127.0.0.1:1", "same", 403, Some("Ünal".to_owned())),
        ("127.0.0.1:1", "unnamed", 201, Some("the site".to_owned())),
        ("[::1]:1", "unnamed", 201, None),
        ("127.0.0.1:1", "unknown", 401, None),
    ] {
        let request = Request::put(format!("/{token}/{ACCOUNT}/DOC/a.mp3")).extension(PeerAddr(peer.parse().unwrap()));
        let response = service
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        assert_eq!(response.status(), expected, "{token}");
        let client = response
            .extensions()
            .get::<ClientAddr>()
            .map(|client| client.0.to_string());
        let is_authorized = expected != 401;
        assert_eq!(client.is_some(), is_authorized, "{token}");
        assert_eq!(response.extensions().get::<Grant>().is_some(), is_authorized, "{token}");
        drop(response);
        assert_eq!(seen.recv().unwrap(), credential, "{token}");
    }
}
