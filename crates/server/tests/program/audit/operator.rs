//! The entries about the operator.

use std::collections::BTreeSet;

use tempfile::TempDir;

use super::{entries, fields};
use crate::{
    events::site::Site,
    process::{eventually, multipart},
};

#[test]
fn what_the_operator_does_is_recorded_without_the_flag() {
    let site = indexed();
    site.put("ACC/DOC/a.mp3", "content");
    site.put("ACC/DOC/b.mp3", "content");
    assert_eq!(site.server.connect().get("/some_prefix/ACC/DOC/a.mp3").status, 200);
    let content = site.ask_with("GET", "/v1/files/ACC%2FDOC%2Fa.mp3/content", "", "");
    assert_eq!(content.status, 200);
    let refused = site.ask_with("DELETE", "/v1/files/ACC%2FDOC%2Fa.mp3", "if-match: \"other\"\r\n", "");
    assert_eq!(refused.status, 412);
    assert_eq!(site.ask("DELETE", "/v1/files/ACC%2FDOC%2Fa.mp3", "").0, 200);
    site.follow("/v1/events/replay", r#"{"since": "2026-01-01T00:00:00Z"}"#);
    for operation in ["retry", "discard"] {
        site.follow(&format!("/v1/events/{operation}"), r#"{"all": true}"#);
        assert_eq!(site.ask("POST", &format!("/v1/events/other/{operation}"), "").0, 404);
        // No event has such an id, and the trail has no place for it.
        for (id, status) in [("%00", 400), ("%0A", 400), (&*"x".repeat(37), 404)] {
            assert_eq!(site.ask("POST", &format!("/v1/events/{id}/{operation}"), "").0, status);
        }
    }
    let hold = r#"{"account": "ACC", "reason": "case 7", "author": "legal"}"#;
    let (status, added) = site.ask("POST", "/v1/holds", hold);
    assert_eq!(status, 200);
    let id = added["hold"]["id"].as_str().unwrap();
    let removal = format!("/v1/holds/{id}?reason=closed");
    assert_eq!(site.ask("DELETE", &removal, "").0, 200);
    assert_eq!(site.ask("DELETE", "/v1/receivers/webhook%3Acrm", "").0, 404);
    site.follow("/v1/files/export?account=ACC", "");
    site.follow("/v1/erasures", r#"{"account": "ACC", "confirm": true}"#);
    let found: Vec<_> = entries(&site, "");
    let found: Vec<_> = found
        .iter()
        .rev()
        .map(|entry| fields(entry, &["name", "address", "action", "outcome", "key"]))
        .collect();
    let operator = (Some("operator"), Some("127.0.0.1"));
    let ledger = (None, None);
    let added_hold = format!("done: {id}; account; by legal: case 7");
    let (removing, removed_hold) = (format!("begun: {id}"), format!("done: {id}; account; because: closed"));
    let expected = [
        // The erasure erases the key.
        (operator, "fetch", "200", None),
        (operator, "delete", "begun", None),
        (operator, "delete", "precondition_failed", None),
        (operator, "delete", "begun", None),
        (ledger, "delete", "removed", None),
        (operator, "replay", "begun", None),
        (operator, "replay", "done", None),
        (operator, "retry", "begun", None),
        (operator, "retry", "done", None),
        (operator, "retry", "begun: other", None),
        (operator, "retry", "not_found", None),
        (operator, "discard", "begun", None),
        (operator, "discard", "done", None),
        (operator, "discard", "begun: other", None),
        (operator, "discard", "not_found", None),
        (operator, "hold.add", "begun", None),
        (operator, "hold.add", &*added_hold, None),
        (operator, "hold.remove", &*removing, None),
        (operator, "hold.remove", &*removed_hold, None),
        (operator, "receiver.remove", "begun: webhook:crm", None),
        (operator, "receiver.remove", "not_found", None),
        (operator, "export", "begun", None),
        (operator, "erase", "begun: by account", None),
        (ledger, "erase", "removed", None),
        (operator, "erase", "done", None),
    ];
    let expected: Vec<_> = expected
        .into_iter()
        .map(|((name, address), action, outcome, key)| vec![name, address, Some(action), Some(outcome), key])
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn the_entries_about_a_hold_have_its_conditions_without_personal_data() {
    let site = indexed();
    let metadata = r#"{"call_id":"call-7","caller_id_number":"+491"}"#;
    let mut client = site.server.connect();
    client.send(multipart("/some_prefix/ACC/DOC/a.mp3", metadata, "media"));
    assert_eq!(client.receive().status, 201);
    let hold = r#"{"account": "ACC", "document": "DOC", "number": "+491", "call_id": "call-7",
        "since": "2026-01-01T00:00:00Z", "reason": "case 7", "author": "legal"}"#;
    let (_, added) = site.ask("POST", "/v1/holds", hold);
    let id = added["hold"]["id"].as_str().unwrap();
    assert_eq!(site.ask("DELETE", &format!("/v1/holds/{id}?reason=closed"), "").0, 200);
    let conditions = "account document number call-id since=2026-01-01T00:00:00.000Z";
    let found = |key: Option<&str>| {
        let found = entries(&site, "");
        let holds = found.iter().filter(|entry| {
            let action = entry["action"].as_str();
            action.is_some_and(|action| action.starts_with("hold."))
        });
        let holds: Vec<_> = holds.map(|entry| fields(entry, &["outcome", "key"])).collect();
        let outcomes = [
            format!("done: {id}; {conditions}; because: closed"),
            format!("begun: {id}"),
            format!("done: {id}; {conditions}; by legal: case 7"),
            "begun".to_owned(),
        ];
        let expected = outcomes.each_ref().map(|outcome| vec![Some(outcome.as_str()), key]);
        assert_eq!(holds, expected);
        let text = serde_json::to_string(&found).unwrap();
        assert!(!text.contains("+491") && !text.contains("call-7"), "{text}");
    };
    found(Some("ACC/DOC"));
    assert_eq!(entries(&site, "account=ACC").len(), 4);
    site.follow("/v1/erasures", r#"{"number": "+491", "confirm": true}"#);
    found(None);
}

/// A request for an operation of the API, by its method and path, and the entries about it.
type Change = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
);

/// The operations that change nothing, and are not GETs because they have a body.
const PREVIEWS: [&str; 2] = ["POST /v1/retention/plan", "POST /v1/retention/files"];

/// Each other operation that is not a GET.
const CHANGES: [Change; 15] = [
    (
        "POST /v1/files/export",
        "/v1/files/export?all=true",
        "",
        "export",
        &["begun"],
    ),
    (
        "POST /v1/files/export/contents",
        "/v1/files/export/contents",
        r#"{"keys": ["ACC/DOC/a.mp3"]}"#,
        "fetch",
        &["200"],
    ),
    (
        "POST /v1/files/verify",
        "/v1/files/verify",
        r#"{"repair": true}"#,
        "repair",
        &["begun", "done"],
    ),
    (
        "DELETE /v1/files/{key}",
        "/v1/files/ACC%2FDOC%2Fb.mp3",
        "",
        "delete",
        &["begun", "removed"],
    ),
    (
        "POST /v1/events/retry",
        "/v1/events/retry",
        r#"{"all": true}"#,
        "retry",
        &["begun", "done"],
    ),
    (
        "POST /v1/events/discard",
        "/v1/events/discard",
        r#"{"all": true}"#,
        "discard",
        &["begun", "done"],
    ),
    (
        "POST /v1/events/replay",
        "/v1/events/replay",
        r#"{"since": "2026-01-01T00:00:00Z"}"#,
        "replay",
        &["begun", "done"],
    ),
    (
        "POST /v1/events/{id}/retry",
        "/v1/events/other/retry",
        "",
        "retry",
        &["begun: other", "not_found"],
    ),
    (
        "POST /v1/events/{id}/discard",
        "/v1/events/other/discard",
        "",
        "discard",
        &["begun: other", "not_found"],
    ),
    (
        "DELETE /v1/receivers/{name}",
        "/v1/receivers/webhook%3Acrm",
        "",
        "receiver.remove",
        &["begun: webhook:crm", "not_found"],
    ),
    (
        "POST /v1/holds",
        "/v1/holds",
        r#"{"account": "OTHER", "reason": "", "author": "legal"}"#,
        "hold.add",
        &["begun", "invalid_request"],
    ),
    (
        "DELETE /v1/holds/{id}",
        "/v1/holds/other?reason=closed",
        "",
        "hold.remove",
        &["begun: other", "not_found"],
    ),
    (
        "POST /v1/erasures",
        "/v1/erasures",
        r#"{"account": "OTHER", "confirm": true}"#,
        "erase",
        &["begun: by account", "done"],
    ),
    (
        "POST /v1/retention/resume",
        "/v1/retention/resume",
        "",
        "retention.resume",
        &["begun", "done"],
    ),
    (
        "DELETE /v1/retention/requests",
        "/v1/retention/requests?account=ACC&document=DOC",
        "",
        "request.cancel",
        &["begun", "not_found"],
    ),
];

/// A server whose ledger has all files, so that it erases some.
fn indexed() -> Site {
    let site = Site::with(TempDir::new().unwrap(), &[]);
    eventually("the files are recorded", || {
        site.server.log().contains("reindexed").then_some(())
    });
    site
}

#[test]
fn every_operation_that_changes_something_is_recorded() {
    let site = indexed();
    site.put("ACC/DOC/a.mp3", "content");
    site.put("ACC/DOC/b.mp3", "content");
    let (_, description) = site.ask("GET", "/v1/openapi.json", "");
    let mut operations = BTreeSet::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        let methods = item.as_object().unwrap().keys();
        let changing = methods.filter(|name| !["get", "parameters"].contains(&name.as_str()));
        operations.extend(changing.map(|method| format!("{} {path}", method.to_uppercase())));
    }
    for preview in PREVIEWS {
        assert!(operations.remove(preview), "{preview}");
    }
    let tested: BTreeSet<_> = CHANGES.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(operations, tested);
    for (name, target, body, action, outcomes) in CHANGES {
        let before = entries(&site, "").len();
        let (method, _) = name.split_once(' ').unwrap();
        site.ask_with(method, target, "", body);
        let found = entries(&site, "");
        let found: Vec<_> = found.iter().rev().skip(before).collect();
        let shown: Vec<_> = found
            .iter()
            .map(|entry| fields(entry, &["action", "outcome"]))
            .collect();
        let expected: Vec<_> = outcomes
            .iter()
            .map(|outcome| vec![Some(action), Some(*outcome)])
            .collect();
        assert_eq!(shown, expected, "{name}");
        assert_eq!(found[0]["name"], "operator", "{name}");
    }
}

#[test]
fn an_erasure_that_fails_is_recorded_with_its_error() {
    let site = indexed();
    let connection = rusqlite::Connection::open(site.root.path().join("data/.ledger/files.sqlite")).unwrap();
    connection
        .execute_batch(
            "INSERT INTO deletion_requests (account, document, kind, requested_at, due_at) VALUES ('ACC', 'DOC', 'x', 0, 0); \
             CREATE TRIGGER broken BEFORE DELETE ON deletion_requests BEGIN SELECT RAISE(FAIL, 'broken'); END;",
        )
        .unwrap();
    let (status, error) = site.ask("POST", "/v1/erasures", r#"{"account": "ACC", "confirm": true}"#);
    assert!(status >= 500, "{error}");
    let found = entries(&site, "action=erase");
    let outcomes: Vec<_> = found.iter().map(|entry| &entry["outcome"]).collect();
    assert_eq!(outcomes, [&error["error"], &"begun: by account".into()]);
}
