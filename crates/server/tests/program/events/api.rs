//! Events are listed, retried, discarded and replayed over the API.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use super::site::{Receiver, Site};
use crate::process::{eventually, multipart};

const ACCOUNT: &str = "0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7";

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[test]
fn a_dead_event_is_seen_retried_and_delivered() {
    let receiver = Receiver::start(500);
    let site = Site::start(&receiver);
    let mut client = site.server.connect();
    let metadata = r#"{"call_id":"call-7","caller_id_number":"+4930123456","x":1.50}"#;
    client.send(multipart(
        &format!("/some_prefix/{ACCOUNT}/DOC/message.mp3"),
        metadata,
        "media",
    ));
    assert_eq!(client.receive().status, 201);
    let dead = &site.dead(1)[0];
    assert_eq!(
        (&dead["receiver"], &dead["attempts"]),
        (&"webhook:crm".into(), &1.into())
    );
    assert!(dead["error"].as_str().unwrap().contains("500"), "{dead}");
    let id = text(&dead["id"]);

    let (status, shown) = site.ask("GET", &format!("/v1/events/{id}"), "");
    assert_eq!((status, &shown["events"][0]["file"]["account"]), (200, &ACCOUNT.into()));
    assert!(
        !shown.to_string().contains("4930123456") && !shown.to_string().contains("call-7"),
        "{shown}"
    );
    let response = site.ask_with("GET", &format!("/v1/events/{id}?metadata=true"), "", "");
    let body = String::from_utf8(response.body).unwrap();
    assert!(body.contains(&format!("\"metadata\":{metadata}}}")), "{body}");
    let (_, shown) = site.ask("GET", &format!("/v1/events/{id}?metadata=true"), "");
    assert_eq!(shown["events"][0]["file"]["caller_number"], "+4930123456");

    let (_, receivers) = site.ask("GET", "/v1/receivers", "");
    let crm = &receivers["receivers"][0];
    assert_eq!((&crm["name"], &crm["dead"]), (&"webhook:crm".into(), &1.into()));
    assert_eq!((&crm["kind"], &crm["state"]), (&"webhook".into(), &"active".into()));
    let (status, refused) = site.ask("DELETE", "/v1/receivers/webhook%3Acrm", "");
    assert!(
        status == 409 && text(&refused["message"]).contains("SIGHUP"),
        "{refused}"
    );

    receiver.mend();
    let (status, done) = site.ask("POST", &format!("/v1/events/{id}/retry?receiver=webhook:crm"), "");
    assert_eq!((status, &done["retried"]), (200, &1.into()));
    assert_eq!(receiver.next(), id);
    eventually("the event is settled", || {
        let (status, _) = site.ask("GET", &format!("/v1/events/{id}"), "");
        (status == 404).then_some(())
    });
    let log = site.server.log();
    assert!(
        log.contains("the operator retries an event") && !log.contains(&site.token),
        "{log}"
    );
    assert!(!log.contains("4930123456"), "{log}");
}

#[test]
fn pages_list_each_event_once() {
    let site = Site::start(&Receiver::start(500));
    for number in 0..230 {
        site.put(
            &format!("{}/DOC/{number}", if number % 2 == 0 { ACCOUNT } else { "other" }),
            "content",
        );
    }
    for (parameters, expected) in [
        ("limit=7", 230),
        ("limit=230", 230),
        ("limit=1000&order=oldest", 230),
        ("limit=50&account=0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7", 115),
        ("limit=115&account=other&receiver=webhook:crm", 115),
        ("since=2020-01-01T00:00:00Z&limit=200", 230),
        ("since=2999-01-01T00:00:00Z", 0),
    ] {
        let (mut ids, mut keys, mut cursor) = (BTreeSet::new(), Vec::new(), String::new());
        loop {
            let (status, page) = site.ask("GET", &format!("/v1/events?{parameters}{cursor}"), "");
            assert_eq!(status, 200, "{page}");
            for event in page["events"].as_array().unwrap() {
                assert!(ids.insert(text(&event["id"])), "{parameters}");
                keys.push(text(&event["time"]));
            }
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(ids.len(), expected, "{parameters}");
        if parameters.contains("oldest") {
            assert!(keys.is_sorted());
        } else {
            assert!(keys.iter().rev().is_sorted());
        }
    }
    // A wrong name must not look like a receiver that has everything.
    let (status, page) = site.ask("GET", "/v1/events?receiver=crm", "");
    assert_eq!(status, 404, "{page}");
    let dead = r#"{"receiver": "crm"}"#;
    for operation in ["retry", "discard"] {
        let (status, page) = site.ask("POST", &format!("/v1/events/{operation}"), dead);
        assert_eq!(status, 404, "{page}");
    }
}

#[test]
fn retries_and_discards_all_dead_events() {
    let receiver = Receiver::start(500);
    let site = Site::start(&receiver);
    for name in ["a/DOC/1", "a/DOC/2", "b/DOC/3"] {
        site.put(name, "content");
    }
    let dead = site.dead(3);
    let discarded = site.follow("/v1/events/discard", r#"{"account": "b"}"#);
    assert_eq!(discarded["discarded"], 1);
    receiver.mend();
    let retried = site.follow("/v1/events/retry", r#"{"receiver": "webhook:crm"}"#);
    assert_eq!((&retried["retried"], &retried["superseded"]), (&2.into(), &0.into()));
    let sent = BTreeSet::from([receiver.next(), receiver.next()]);
    assert_eq!(sent, BTreeSet::from([text(&dead[1]["id"]), text(&dead[2]["id"])]));
    let (status, _) = site.ask("POST", &format!("/v1/events/{}/discard", text(&dead[0]["id"])), "");
    assert_eq!(status, 404);
    let none = site.follow("/v1/events/retry", r#"{"all": true}"#);
    assert_eq!(none["retried"], 0);
}

#[test]
fn replays_files_with_their_ids() {
    let receiver = Receiver::start(200);
    let site = Site::start(&receiver);
    let mut ids = BTreeSet::new();
    for name in ["a/DOC/1", "a/DOC/2", "b/DOC/3"] {
        site.put(name, "content");
        ids.insert(receiver.next());
    }
    let settled = || {
        let (_, crm) = site.ask("GET", "/v1/receivers/webhook:crm", "");
        (crm["waiting"] == 0).then_some(())
    };
    // An event that is not settled yet is not replayed.
    eventually("all events are settled", settled);
    let replayed = site.follow("/v1/events/replay", r#"{"since": "2020-01-01T00:00:00Z"}"#);
    assert_eq!((&replayed["files"], &replayed["queued"]), (&3.into(), &3.into()));
    let again = BTreeSet::from([receiver.next(), receiver.next(), receiver.next()]);
    assert_eq!(again, ids);
    eventually("all events are settled", settled);
    let request = r#"{"since": "2020-01-01T00:00:00Z", "account": "b", "receiver": "webhook:crm"}"#;
    assert_eq!(site.follow("/v1/events/replay", request)["files"], 1);
    assert!(ids.contains(&receiver.next()));
}

#[test]
fn removes_a_webhook_that_is_no_longer_configured() {
    let site = Site::start(&Receiver::start(500));
    site.put("a/DOC/1", "content");
    site.dead(1);
    fs::write(site.root.path().join("deliveries.json"), r#"{"webhooks": []}"#).unwrap();
    site.server.signal("HUP");
    eventually("the webhook is not active", || {
        let (_, crm) = site.ask("GET", "/v1/receivers/webhook:crm", "");
        (crm["state"] == "inactive").then_some(())
    });
    let (status, removed) = site.ask("DELETE", "/v1/receivers/webhook:crm", "");
    assert_eq!((status, &removed["events"]), (200, &1.into()));
    let (_, receivers) = site.ask("GET", "/v1/receivers", "");
    assert!(receivers["receivers"].as_array().unwrap().is_empty(), "{receivers}");
    assert!(site.dead(0).is_empty());
}
