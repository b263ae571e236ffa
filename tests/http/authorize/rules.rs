//! Access rules applied to the head of a request, without a server.

use std::net::SocketAddr;

use http::{HeaderMap, Request};
use kazoo_storage::{
    AccessRules, PeerAddr,
    authorize::{Credential, SharedAccessRules},
};

#[test]
fn marks_a_grant_by_address_alone() {
    let networks = || AccessRules::new().networks(["127.0.0.1"]).unwrap();
    let secret = || Credential::token("s3cret");
    for (rules, target, by_address) in [
        (networks(), "/ACC/DOC/a.mp3", true),
        (networks().credential(secret()), "/s3cret/ACC/DOC/a.mp3", false),
        (
            AccessRules::new().credential(secret()),
            "/ACC/DOC/a.mp3?token=s3cret",
            false,
        ),
    ] {
        let (mut head, ()) = Request::get(target).body(()).unwrap().into_parts();
        head.extensions
            .insert(PeerAddr(SocketAddr::from(([127, 0, 0, 1], 4711))));
        let asked = kazoo_storage::authorize::Authorizer::authorize(&rules, &mut head);
        let grant = futures_util::FutureExt::now_or_never(asked).expect("rules decide at once");
        assert_eq!(grant.unwrap().by_address(), by_address, "{target}");
    }
}

#[test]
fn reports_what_is_wrong_in_an_access_file() {
    for good in [
        r#"{"networks": ["127.0.0.1", "::1/128"]}"#,
        r#"{"credentials": [{"user": "kazoo", "password": "secret", "may": "both"}]}"#,
    ] {
        AccessRules::from_json(good).expect(good);
    }
    for (bad, says) in [
        ("", "the JSON is truncated at line 1, column 0"),
        (r#"{"networks": ["hush""#, "the JSON is truncated"),
        ("{hush", "invalid JSON at line 1, column 2"),
        (
            r#"{"credentials": [{"token": hush}]}"#,
            "invalid JSON at line 1, column 2",
        ),
        (
            r#"{"credential": ["hush"]}"#,
            "unknown key at line 1, column 13; the keys are networks, trusted_proxies and credentials, and in each credential",
        ),
        (r#"{"networks": "hush"}"#, "a value has the wrong type at line 1"),
        (r#"{"networks": [], "networks": ["hush"]}"#, "duplicate key at line 1"),
        ("{}", "no network and no credential"),
        // An array of the fields of an object, in their order.
        (r#"[["::/0"]]"#, "a value has the wrong type at line 1"),
        (
            r#"{"credentials": [["hush", null, null, "hush"]]}"#,
            "a value has the wrong type at line 1",
        ),
        (
            r#"{"networks": [["::/0", "hush"]]}"#,
            "a value has the wrong type at line 1",
        ),
        (r#"{"networks": ["10.0.0.0/40"]}"#, "10.0.0.0/40"),
        (r#"{"credentials": [{"user": "hush"}]}"#, "credential 1 needs"),
        (
            r#"{"credentials": [{"token": "hush", "max_body": "64MiB"}]}"#,
            "a value has the wrong type at line 1",
        ),
        (
            r#"{"credentials": [{"token": "hush", "max_body": -1}]}"#,
            "max_body (in bytes)",
        ),
        (
            r#"{"credentials": [{"token": "hush", "max_body": 0}]}"#,
            r#"credential 1 has a `max_body` of 0, which refuses every file; for fetches only, use `"may": "read"`"#,
        ),
        (
            r#"{"credentials": [{"token": "hush", "accounts": ["A", ""]}]}"#,
            "credential 1 has an empty account",
        ),
        (
            r#"{"credentials": [{"token": "a"}, {"token": "hush", "user": "hush", "password": "hush"}]}"#,
            "credential 2",
        ),
        (
            r#"{"credentials": [{"token": "a"}, {"token": "b", "name": ""}]}"#,
            "credential 2 has an invalid name; use 1 to 64 printable characters",
        ),
        (
            r#"{"networks": [{"network": "::/0", "name": " hush"}]}"#,
            "network 1 has an invalid name",
        ),
        (
            r#"{"networks": [{"network": "::/0", "name": "\u202e"}]}"#,
            "network 1 has an invalid name",
        ),
        (
            r#"{"networks": [{"network": "::/0", "hush": 1}]}"#,
            "a network is a text, or has the keys",
        ),
        (
            &format!(r#"{{"credentials": [{{"token": "a", "name": "{}"}}]}}"#, "é".repeat(65)),
            "credential 1 has an invalid name",
        ),
        (r#"{"credentials": [{"token": ""}]}"#, "empty"),
        (
            &format!(r#"{{"credentials": [{{"token": "{}"}}]}}"#, "hush".repeat(257)),
            "1024 bytes",
        ),
        (
            r#"{"credentials": [{"user": "hush", "password": "hush\n"}]}"#,
            "control character",
        ),
        (r#"{"credentials": [{"user": "", "password": "hush"}]}"#, "empty"),
        (r#"{"credentials": [{"user": "hush", "password": ""}]}"#, "empty"),
        (
            r#"{"credentials": [{"token": "hush", "hush": 1}]}"#,
            "user, password, token, accounts, folders, max_body (in bytes) and may",
        ),
        (
            r#"{"credentials": [{"token": "hush", "may": "hush"}]}"#,
            "unknown value of `may` at line 1, column 48; use read, write or both",
        ),
    ] {
        let error = AccessRules::from_json(bad).expect_err(bad);
        assert!(error.message().contains(says), "{bad}: {error}");
        assert!(!format!("{error:?}").contains("hush"), "{error:?}");
    }
}

/// Neither a handler nor its log sees the credentials.
#[test]
fn removes_credentials_from_the_request() {
    let rules = SharedAccessRules::new(AccessRules::new().credential(Credential::token("old")));
    let authorize = |target: &str| {
        let request = Request::get(target).header("authorization", "Basic eDp5").body(());
        let (mut head, ()) = request.unwrap().into_parts();
        let asked = kazoo_storage::authorize::Authorizer::authorize(&rules, &mut head);
        let granted = futures_util::FutureExt::now_or_never(asked).expect("rules decide at once");
        granted.map(|_| (head.uri.to_string(), head.headers))
    };
    authorize("/old/ACC").unwrap();
    rules.replace(AccessRules::new().credential(Credential::token("s3cret")));
    authorize("/old/ACC").unwrap_err();
    for (target, left) in [
        ("/s3cret/ACC/DOC/a.mp3?id=1", "/ACC/DOC/a.mp3?id=1"),
        ("/s3cret?id=1", "/?id=1"),
        ("//s3cret", "/"),
        ("/i?key=abc&token=s3cret&recording=A", "/i?key=abc&recording=A"),
        ("/i?token=s3cret", "/i"),
        ("/s3cret/i?token=s3cret&id=1&token=s3cret", "/i?id=1"),
    ] {
        assert_eq!(
            authorize(target).unwrap(),
            (left.to_owned(), HeaderMap::new()),
            "{target}"
        );
    }
}

#[test]
fn logs_no_possible_secret() {
    let rules = AccessRules::new().credential(Credential::token("secret"));
    for (path, shown) in [
        ("/p/secret/ACC/DOC/a.mp3", "/p/***/ACC/DOC/a.mp3"),
        ("/p/secrett/ACC", "/p/***/ACC"),
        ("/p//secret", "/p/***"),
        ("/p", "/p"),
        ("/p/x/secret/s%65cret/ACC", "/p/***/***/***/ACC"),
        ("/p/secret/", "/p/***/"),
        ("/secret/ACC", "/***"),
        ("/other/secret/ACC", "/***"),
        ("/prefix/secret/ACC", "/***"),
        ("//p/secret/ACC", "/***"),
    ] {
        assert_eq!(rules.redact_path("/p", path), shown, "{path}");
    }
    let without = AccessRules::new().credential(Credential::password("user", "secret"));
    let long = format!("/p/x{}", "/a".repeat(1000));
    assert_eq!(rules.redact_path("/p", &long), format!("/p/***{}/…", "/a".repeat(16)));
    assert_eq!(without.redact_path("/p", "/p/ACC/DOC"), "/p/ACC/DOC");
    assert!(!format!("{rules:?} {without:?}").contains("secret"));
}
