//! What arrives at a receiver.

use std::{collections::BTreeSet, time::SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use kazoo_storage::{BlobCatalog as _, BlobKey, kazoo_id::AttachmentKind};
use kazoo_storage_ledger::{EventKind, delivery::Webhook};
use serde_json::json;
use sha2::Sha256;

use super::{
    Site,
    receiver::{Delivery, Receiver, SECRET},
};

const ACCOUNT: &str = "0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7";
const OTHER_ACCOUNT: &str = "1c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7";
const OTHER_SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn signature(delivery: &Delivery, secret: &str) -> String {
    let key = STANDARD.decode(secret.trim_start_matches("whsec_")).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    let timestamp = delivery.headers["webhook-timestamp"].to_str().unwrap();
    mac.update(format!("{}.{timestamp}.", delivery.id()).as_bytes());
    mac.update(&delivery.body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[tokio::test]
async fn sends_a_signed_cloud_event() {
    let site = Site::new().await;
    let mut receiver = Receiver::start().await;
    let webhook = Webhook::new(&receiver.url, SECRET).unwrap();
    let webhook = webhook.second_secret(OTHER_SECRET).unwrap();
    let running = site.deliver([webhook.into()]).await;
    let path = format!("{ACCOUNT}/202401-{ACCOUNT}/ä b.mp3");
    site.put_with(
        &path,
        "ID3",
        r#"{"source_type": "voicemail", "call_id": "b3f6", "caller_id_number": "+15551234"}"#,
    )
    .await;
    let delivery = receiver.next().await;

    assert_eq!(delivery.headers["content-type"], "application/cloudevents+json");
    let signatures = format!(
        "{} {}",
        signature(&delivery, SECRET),
        signature(&delivery, OTHER_SECRET)
    );
    assert_eq!(delivery.headers["webhook-signature"], *signatures);
    let timestamp: u64 = delivery.headers["webhook-timestamp"].to_str().unwrap().parse().unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert!(now.as_secs() - timestamp < 60);

    let event = delivery.json();
    let key = format!("{ACCOUNT}/202401-{ACCOUNT}/%C3%A4%20b.mp3");
    assert_eq!(
        event,
        json!({
            "specversion": "1.0",
            "id": delivery.id(),
            "source": "/kazoo-storage",
            "type": "kazoo_storage.file.stored",
            "subject": key,
            "time": event["time"],
            "datacontenttype": "application/json",
            "data": {
                "key": key,
                "account": ACCOUNT,
                "document": format!("202401-{ACCOUNT}"),
                "attachment": "ä b.mp3",
                "kind": "voicemail",
                "size": 3,
                "sha256": "041149186b23a9502aea5a4e81bbc9620d2b4b76b4bad94e36c744abcf9d3771",
                "stored_at": event["data"]["stored_at"],
            },
        })
    );
    assert!(humantime::parse_rfc3339(event["time"].as_str().unwrap()).is_ok());
    running.stop().await;
    assert!(site.outbox().is_empty());
    assert!(receiver.is_quiet());
}

#[tokio::test]
async fn sends_the_numbers_the_metadata_and_a_link_only_if_configured() {
    let site = Site::new().await;
    let mut receiver = Receiver::start().await;
    let webhook = receiver.webhook().metadata(true);
    let webhook = webhook.link("https://files.example.com/kazoo/").unwrap();
    let running = site.deliver([webhook]).await;
    let document = r#"{"call_id":"b3f6","caller_id_number":"+15551234","callee_id_number":"100","x":1.50}"#;
    site.put_with("a/b c.mp3", "ID3", document).await;
    let delivery = receiver.next().await;
    let data = &delivery.json()["data"];
    assert_eq!(
        (&data["call_id"], &data["caller_number"], &data["callee_number"]),
        (&json!("b3f6"), &json!("+15551234"), &json!("100"))
    );
    assert_eq!(data["url"], "https://files.example.com/kazoo/a/b%20c.mp3");
    // As it was uploaded, also in its spelling.
    assert!(String::from_utf8(delivery.body).unwrap().contains(document));
    // JSON permits more than most parsers read.
    let deep = format!("{}1e400{}", "[".repeat(500), "]".repeat(500));
    let unusual: &str = format!("{{\"x\": {deep}, \"s\":\"\\ud800\"}}").leak();
    site.put_with("other.mp3", "ID3", unusual).await;
    assert!(String::from_utf8(receiver.next().await.body).unwrap().contains(unusual));
    let key = BlobKey::from_path("a/b c.mp3").unwrap();
    site.store.delete(&key).await.unwrap();
    let deleted = receiver.next().await.json();
    assert_eq!(deleted["type"], "kazoo_storage.file.deleted");
    assert!(deleted["data"].get("url").is_none());
    running.stop().await;
}

#[tokio::test]
async fn removes_events_that_the_filters_exclude() {
    let site = Site::new().await;
    let (mut account, mut kinds, mut events) = (
        Receiver::start().await,
        Receiver::start().await,
        Receiver::start().await,
    );
    let running = site
        .deliver([
            account.webhook().accounts([ACCOUNT]),
            kinds.webhook().kinds([Some(AttachmentKind::Fax), None]),
            events.webhook().events([EventKind::Replaced]),
        ])
        .await;
    let fax = r#"{"source_type": "incoming_fax"}"#;
    let voicemail = r#"{"source_type": "voicemail"}"#;
    for number in 0..50 {
        let path = format!("{OTHER_ACCOUNT}/202401-{ACCOUNT}/{number}.mp3");
        site.put_with(&path, "1", voicemail).await;
    }
    site.put_with(&format!("{ACCOUNT}/202401-{ACCOUNT}/a.mp3"), "1", voicemail)
        .await;
    site.put_with(&format!("{OTHER_ACCOUNT}/202401-{ACCOUNT}/f.tiff"), "1", fax)
        .await;
    site.put("greeting", "1").await;
    site.put("greeting", "22").await;
    assert_eq!(account.next().await.json()["data"]["account"], ACCOUNT);
    let seen: BTreeSet<String> = [kinds.next().await, kinds.next().await, kinds.next().await]
        .map(|delivery| delivery.json()["data"]["kind"].as_str().unwrap().to_owned())
        .into();
    assert_eq!(seen, BTreeSet::from(["fax".to_owned(), "other".to_owned()]));
    assert_eq!(events.next().await.json()["type"], "kazoo_storage.file.replaced");
    running.stop().await;
    let all = [account.is_quiet(), kinds.is_quiet(), events.is_quiet()];
    assert_eq!(all, [true; 3]);
}

#[tokio::test]
async fn delivers_a_backlog_in_the_order_of_each_key() {
    let site = Site::new().await;
    let mut receiver = Receiver::start().await;
    // Registered, and not running.
    site.deliver([receiver.webhook()]).await.stop().await;
    let contents = ["1", "22", "333", "4444"];
    for content in contents {
        for key in 0..25 {
            site.put(&format!("key{key}"), content).await;
        }
    }
    let running = site.deliver([receiver.webhook()]).await;
    let mut sizes = vec![Vec::new(); 25];
    for _ in 0..100 {
        let (key, len) = receiver.next().await.file();
        sizes[key.trim_start_matches("key").parse::<usize>().unwrap()].push(len);
    }
    assert!(sizes.iter().all(|sizes| *sizes == [1, 2, 3, 4]), "{sizes:?}");
    running.stop().await;
    assert!(site.outbox().is_empty());
    assert!(receiver.is_quiet());
}
