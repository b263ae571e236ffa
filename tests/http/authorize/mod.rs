//! Authentication and authorization of the requests that KAZOO's own code sends.

mod grants;
mod rules;

use std::net::SocketAddr;

use http::{HeaderMap, request::Parts};
use kazoo_storage::{
    AccessRules, BlobKey, Error, ErrorKind, Grant, KazooStorage, MemoryStore, PeerAddr,
    authorize::{Credential, SharedAccessRules},
    extract_key::QueryKey,
};
use kazoo_storage_test_support::{
    client::{Connection, Pace},
    fixture::{FIXTURES, Fixture},
    server::{Front, Server},
    stores::Spy,
};

const FRONTS: [Front; 2] = [Front::Hyper, Front::Axum];

const ACCOUNT: &str = "0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7";

const OTHER: &str = "1c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7";

fn request(method: &str, target: &str, headers: &[&str], body: &str) -> Vec<u8> {
    let mut head = format!(
        "{method} {target} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n",
        body.len()
    );
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    format!("{head}\r\n{body}").into_bytes()
}

async fn status(connection: &mut Connection, method: &str, target: &str) -> u16 {
    let body = if method == "PUT" { "ID3" } else { "" };
    connection
        .exchange(&request(method, target, &[], body), Pace::Whole)
        .await
        .status
}

fn captured_with_userinfo() -> Vec<&'static Fixture> {
    let with = |fixture: &&Fixture| fixture.captured && fixture.what().starts_with("userinfo-");
    FIXTURES.iter().filter(with).collect()
}

/// The credential in the settings of a capture.
fn credential(fixture: &Fixture) -> Credential {
    match fixture.what() {
        "userinfo-allalpha" => Credential::password("user", "secret"),
        "userinfo-digitpass" => Credential::password("user", "42secret"),
        "userinfo-zerodigitpass" => Credential::password("user", "007secret"),
        "userinfo-useronly" => Credential::token("token"),
        _ => Credential::password("user", "p@ss"),
    }
}

/// KAZOO sends the userinfo of its URL with every request. Each release mangles it in its own way.
#[tokio::test]
async fn accepts_captured_userinfo() {
    let fixtures = captured_with_userinfo();
    assert!(fixtures.len() >= 11, "{}", fixtures.len());
    for front in FRONTS {
        for fixture in &fixtures {
            let case = &fixture.case;
            for (credential, is_accepted) in [
                (credential(fixture), true),
                (Credential::password("user", "another"), false),
            ] {
                let store = Spy::memory();
                let rules = AccessRules::new().credential(credential);
                let storage = KazooStorage::new(store.clone()).authorize(rules);
                let server = Server::start(front, fixture.mount(), storage).await;
                let mut connection = Connection::open(server.address).await;
                let stored = connection.exchange(&fixture.request, Pace::Pieces(7)).await;
                let fetched = connection.exchange(fixture.fetch.as_ref().unwrap(), Pace::Whole).await;
                if is_accepted {
                    assert_eq!(stored.status, 201, "{case}: {stored:?}");
                    assert_eq!(fetched.status, 200, "{case}: {fetched:?}");
                    assert!(fetched.body == *fixture.content, "{case}");
                } else {
                    for refused in [stored, fetched] {
                        let challenge = refused.header("www-authenticate").unwrap_or_default().to_owned();
                        assert!(challenge.starts_with("Basic "), "{case}: {challenge}");
                        refused.refusal(401);
                    }
                    assert_eq!(store.stored(), [], "{case}");
                }
            }
        }
    }
}

/// A secret in the URL of the settings is part of every request, and of no key.
#[tokio::test]
async fn accepts_a_secret_segment_and_removes_it_from_the_key() {
    for front in FRONTS {
        let store = Spy::memory();
        let rules = AccessRules::new().credential(Credential::token("s3cr/t"));
        let storage = KazooStorage::new(store.clone()).authorize(rules);
        let server = Server::start(front, "/some_prefix", storage).await;
        let mut connection = Connection::open(server.address).await;
        let file = format!("/{ACCOUNT}/DOC/a.mp3");
        for prefix in ["/some_prefix/s3cr%2Ft", "/some_prefix//s3cr%2ft"] {
            assert_eq!(status(&mut connection, "PUT", &format!("{prefix}{file}")).await, 201);
            assert_eq!(status(&mut connection, "GET", &format!("{prefix}{file}")).await, 200);
            let doubled = format!("{prefix}{file}{file}?id=1");
            assert_eq!(status(&mut connection, "GET", &doubled).await, 200);
        }
        let key = BlobKey::from_path(&file).unwrap();
        assert_eq!(store.stored(), [key.clone(), key], "the secret is no part of the key");
        for wrong in [
            "/some_prefix",
            "/some_prefix/s3cr",
            "/some_prefix/s3cr/t",
            "/some_prefix/x/s3cr%2Ft",
        ] {
            for method in ["PUT", "GET", "HEAD", "DELETE"] {
                // The same for a file that exists and one that does not.
                for file in [&*file, "/none/none/none"] {
                    let found = status(&mut connection, method, &format!("{wrong}{file}")).await;
                    assert_eq!(found, 401, "{method} {wrong}{file}");
                }
            }
        }
    }
}

#[tokio::test]
async fn accepts_a_secret_parameter_and_removes_it_from_the_query() {
    for front in FRONTS {
        let store = Spy::memory();
        let rules = AccessRules::new().credential(Credential::token("s3cr+t&"));
        let storage = KazooStorage::new(store.clone())
            .key(QueryKey::new("recording"))
            .authorize(rules);
        let server = Server::start(front, "/index.php", storage).await;
        let mut connection = Connection::open(server.address).await;
        let base = "/index.php?key=abc&token=s3cr%2Bt%26&recording=ACC/DOC/a.mp3";
        assert_eq!(status(&mut connection, "PUT", base).await, 201);
        // KAZOO since 4.3.106 appends the segments and its own parameters to the last value.
        assert_eq!(
            status(&mut connection, "GET", &format!("{base}ACC/DOC/a.mp3&id=1")).await,
            200
        );
        assert_eq!(store.stored(), [BlobKey::from_path("ACC/DOC/a.mp3").unwrap()]);
        for wrong in [
            "/index.php?recording=ACC/DOC/a.mp3",
            "/index.php?token=&recording=ACC/DOC/a.mp3",
            "/index.php?token=s3cr&recording=ACC/DOC/a.mp3",
            "/index.php?nottoken=s3cr%2Bt%26&recording=ACC/DOC/a.mp3",
        ] {
            assert_eq!(status(&mut connection, "GET", wrong).await, 401, "{wrong}");
        }
    }
}

/// A credential covers its accounts and its direction. A refusal does not reveal whether the file exists.
#[tokio::test]
async fn limits_a_credential_to_its_grant() {
    let rules = AccessRules::from_json(&format!(
        r#"{{"credentials": [
            {{"token": "all"}},
            {{"token": "one", "accounts": ["{ACCOUNT}"]}},
            {{"token": "reader", "may": "read"}},
            {{"token": "writer", "accounts": ["{ACCOUNT}", "{OTHER}"], "may": "write"}}
        ]}}"#
    ));
    let storage = KazooStorage::new(MemoryStore::new()).authorize(rules.unwrap());
    let server = Server::start(Front::Hyper, "/p", storage).await;
    let mut connection = Connection::open(server.address).await;
    for account in [ACCOUNT, OTHER] {
        assert_eq!(
            status(&mut connection, "PUT", &format!("/p/all/{account}/DOC/a.mp3")).await,
            201
        );
    }
    for (token, account, put, get) in [
        ("one", ACCOUNT, 201, 200),
        ("one", OTHER, 403, 403),
        ("reader", ACCOUNT, 403, 200),
        ("reader", OTHER, 403, 200),
        ("writer", ACCOUNT, 201, 403),
        ("writer", OTHER, 201, 403),
    ] {
        let case = format!("{token} {account}");
        let own = format!("/{account}/DOC/a.mp3");
        let get_missing = if get == 200 { 404 } else { get };
        for (method, path, expected) in [
            ("PUT", own.clone(), put),
            ("GET", own.clone(), get),
            ("HEAD", own.clone(), get),
            ("GET", format!("{own}{own}?id=1"), get),
            ("GET", format!("/{account}/DOC/none.mp3"), get_missing),
        ] {
            let found = status(&mut connection, method, &format!("/p/{token}{path}")).await;
            assert_eq!(found, expected, "{case}: {method} {path}");
        }
    }
    // A key without an account is on no list. A path that names two accounts needs access to the first.
    for path in ["/file.mp3", "/a/b/c/d/e"] {
        assert_eq!(
            status(&mut connection, "PUT", &format!("/p/one{path}")).await,
            403,
            "{path}"
        );
        assert_eq!(
            status(&mut connection, "PUT", &format!("/p/all{path}")).await,
            201,
            "{path}"
        );
    }
    let both = format!("/p/one/{OTHER}/DOC/a.mp3/{ACCOUNT}/DOC/a.mp3");
    assert_eq!(status(&mut connection, "GET", &both).await, 403);
}

#[tokio::test]
async fn checks_the_address_of_the_peer_or_from_a_trusted_proxy() {
    let rules = |networks: &[&str], proxies: &[&str]| {
        let rules = AccessRules::new().networks(networks).unwrap();
        SharedAccessRules::new(rules.trusted_proxies(proxies).unwrap())
    };
    let peer = |authorizer: SharedAccessRules| {
        move |request: &mut Parts| {
            request
                .extensions
                .insert(PeerAddr(SocketAddr::from(([127, 0, 0, 1], 4711))));
            let asked = kazoo_storage::authorize::Authorizer::authorize(&authorizer, request);
            futures_util::FutureExt::now_or_never(asked).expect("rules decide at once")
        }
    };
    for (networks, proxies, headers, expected) in [
        (&["127.0.0.0/8"][..], &[][..], &[][..], 201),
        (&["10.0.0.0/8"], &[], &[], 403),
        (&["10.0.0.0/8"], &[], &["x-forwarded-for: 10.1.2.3"], 403),
        (&["10.0.0.0/8"], &["127.0.0.1"], &["x-forwarded-for: 10.1.2.3"], 201),
        (&["10.0.0.0/8"], &["127.0.0.1"], &["forwarded: for=10.1.2.3"], 201),
        (
            &["10.0.0.0/8"],
            &["127.0.0.1"],
            &["x-forwarded-for: 10.1.2.3, 192.0.2.1"],
            403,
        ),
        (&["10.0.0.0/8"], &["127.0.0.1"], &[], 403),
        (&["10.0.0.0/8"], &["127.0.0.1"], &["x-forwarded-for: x"], 403),
    ] {
        let storage = KazooStorage::new(MemoryStore::new()).authorize(peer(rules(networks, proxies)));
        let server = Server::start(Front::Hyper, "/p", storage).await;
        let mut connection = Connection::open(server.address).await;
        let put = request("PUT", "/p/ACC/DOC/a.mp3", headers, "ID3");
        let answer = connection.exchange(&put, Pace::Whole).await;
        assert_eq!(
            answer.status, expected,
            "{networks:?} {proxies:?} {headers:?}: {answer:?}"
        );
    }
    // The address of the peer is unknown.
    let storage = KazooStorage::new(MemoryStore::new()).authorize(rules(&["127.0.0.1"], &[]));
    let server = Server::start(Front::Hyper, "/p", storage).await;
    let mut connection = Connection::open(server.address).await;
    assert_eq!(status(&mut connection, "PUT", "/p/ACC/DOC/a.mp3").await, 500);
}

/// The layer removes from the request what the application's authorizer has read.
#[tokio::test]
async fn accepts_an_authorizer_of_the_application() {
    let by_header = |request: &mut Parts| {
        let headers: &HeaderMap = &request.headers;
        match headers.get("x-tenant").and_then(|tenant| tenant.to_str().ok()) {
            Some(tenant) => Ok(Grant::everything().accounts([tenant])),
            None => Err(Error::new(ErrorKind::Forbidden, "no tenant")),
        }
    };
    let server = Server::start(
        Front::Axum,
        "/p",
        KazooStorage::new(MemoryStore::new()).authorize(by_header),
    )
    .await;
    let mut connection = Connection::open(server.address).await;
    for (headers, expected) in [(&["x-tenant: ACC"][..], 201), (&["x-tenant: OTHER"], 403), (&[], 403)] {
        let put = request("PUT", "/p/ACC/DOC/a.mp3", headers, "ID3");
        let answer = connection.exchange(&put, Pace::Whole).await;
        assert_eq!(answer.status, expected, "{headers:?}");
    }
}

#[tokio::test]
async fn refuses_everything_without_a_rule() {
    let storage = KazooStorage::new(MemoryStore::new()).authorize(AccessRules::new());
    let server = Server::start(Front::Hyper, "/p", storage).await;
    let mut connection = Connection::open(server.address).await;
    assert_eq!(status(&mut connection, "PUT", "/p/ACC/DOC/a.mp3").await, 403);
}

/// The client receives the answer, and the server does not read the body.
#[tokio::test]
async fn does_not_read_a_refused_body() {
    let storage =
        KazooStorage::new(MemoryStore::new()).authorize(AccessRules::new().credential(Credential::token("token")));
    let server = Server::start(Front::Hyper, "/p", storage).await;
    let mut connection = Connection::open(server.address).await;
    let head =
        b"PUT /p/ACC/DOC/a.mp3 HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 1000000000\r\n\r\n";
    connection.send(head, Pace::Whole).await;
    connection.receive().await.refusal(401);

    // Nor is a body, multipart or not, whose credential does not cover the target.
    let one_account = Credential::token("token").grant(Grant::everything().accounts([ACCOUNT]));
    let storage = KazooStorage::new(MemoryStore::new()).authorize(AccessRules::new().credential(one_account));
    let server = Server::start(Front::Hyper, "/p", storage).await;
    for content_type in ["audio/mpeg", "multipart/form-data; boundary=B"] {
        let mut connection = Connection::open(server.address).await;
        let head = format!(
            "PUT /p/token/{OTHER}/DOC/a.mp3 HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n\
             content-type: {content_type}\r\ncontent-length: 1000000000\r\n\r\n"
        );
        connection.send(head.as_bytes(), Pace::Whole).await;
        connection.receive().await.refusal(403);
    }
}
