//! Every release fetches what it stores: every body form, kind of file and kind of key.

use bytes::Bytes;
use kazoo_storage::{
    Base64, KazooStorage, MemoryStore,
    extract_key::{MetadataKey, QueryKey},
    settings::KazooSettings,
};
use kazoo_storage_client::{Attachment, Client, Dialect, Document, Escaping, FailureKind, Handler, StorageUrl, Verb};
use serde_json::json;

use kazoo_storage_test_support::server::{Front, Server};

const ACCOUNT: &str = "0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7";

/// All dialects, released or not.
fn dialects() -> impl Iterator<Item = &'static Dialect> {
    Dialect::ALL.iter().chain(Dialect::UNRELEASED)
}

/// A handler for each body form: raw, multipart, and multipart with base64.
fn handlers(url: &str) -> Vec<Handler> {
    let mut handlers = Vec::new();
    for verb in [Verb::Put, Verb::Post] {
        for (multipart, base64) in [(false, false), (true, false), (true, true)] {
            let handler = Handler::new(url).unwrap().verb(verb);
            handlers.push(handler.send_multipart(multipart).base64_encode_data(base64));
        }
    }
    handlers
}

fn document(id: &str) -> Document {
    let json = json!({"_id": id, "pvt_type": "mailbox_message", "metadata": {
        "media_id": id, "call_id": "ZGQ4@10.1.2.3;x=1&y=2", "caller_id_name": "Jörg \"JD\" O'Neil", "folder": "new"}});
    Document::from_json(&json.to_string()).unwrap()
}

/// Returns `len` bytes that are not text and begin like an MP3 file.
fn noise(len: usize) -> Bytes {
    let mut state = 0x2545_f491_u32;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0] | 0x80
    };
    b"ID3\x04\0\0"
        .iter()
        .copied()
        .chain((0..len).map(next))
        .take(len)
        .collect()
}

/// Stores and fetches `attachment`, and returns its URL.
async fn round_trip(client: &mut Client, dialect: &Dialect, handler: &Handler, attachment: &Attachment) -> StorageUrl {
    let what = || format!("{} {} {handler:?}", dialect.name, attachment.name());
    let stored = client.store(dialect, handler, attachment).await;
    let stored = stored.unwrap_or_else(|failure| panic!("{}: {failure} {failure:?}", what()));
    let fetched = client.fetch(dialect, handler, &stored.url, attachment).await;
    let fetched = fetched.unwrap_or_else(|failure| panic!("{}: {failure} {failure:?}", what()));
    assert!(fetched.content == attachment.content(), "{}", what());
    assert_eq!(
        fetched.answer.headers()["content-type"],
        attachment.content_type(),
        "{}",
        what()
    );
    stored.url
}

#[tokio::test]
async fn every_kind_of_file_in_every_dialect() {
    let contents = [0, 9, 72, 64 * 1024, 64 * 1024 + 1, 300_000].map(noise);
    for front in [Front::Hyper, Front::Axum] {
        let server = Server::start(front, "/some_prefix", KazooStorage::new(MemoryStore::new())).await;
        let url = format!("http://{}/some_prefix/", server.address);
        let mut client = Client::new();
        for (number, dialect) in dialects().enumerate() {
            for (kind, handler) in handlers(&url).iter().enumerate() {
                for (content, name) in contents.iter().zip([
                    "5d41402abc4b2a76b9719d911017c592.mp3",
                    "my voice/50%.wav",
                    "grüße-日本.tiff",
                    "a;b=c&d?e#f'\"\\^|{}<>[],+@:.pdf",
                    "voicemail",
                    "x.mp3",
                ]) {
                    let document = document(&format!("202401-{number}{kind}"));
                    let attachment = Attachment::new(ACCOUNT, document, name, content.clone());
                    round_trip(&mut client, dialect, handler, &attachment).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn reports_an_absent_file_as_refused_with_404() {
    let server = Server::start(Front::Hyper, "/p", KazooStorage::new(MemoryStore::new())).await;
    let handler = Handler::new(format!("http://{}/p", server.address)).unwrap();
    let attachment = Attachment::new(ACCOUNT, document("202401-1"), "a.mp3", "");
    for dialect in dialects() {
        let url = handler.url_of(dialect, &attachment);
        let fetched = Client::new().fetch(dialect, &handler, &url, &attachment).await;
        let failure = fetched.unwrap_err();
        assert_eq!(failure.kind(), FailureKind::Refused);
        assert_eq!(failure.answer().unwrap().status(), 404);
    }
}

/// Since 4.3.106, the current settings make the second half of the path, and the current document makes the query.
#[tokio::test]
async fn fetches_a_file_after_settings_and_document_have_changed() {
    let server = Server::start(Front::Axum, "/p", KazooStorage::new(MemoryStore::new())).await;
    let url = format!("http://{}/p", server.address);
    let mut client = Client::new();
    let then = Handler::new(&*url).unwrap();
    let stored_as = Attachment::new(ACCOUNT, document("202401-1"), "a.mp3", "ID3");
    let owned = Document::from_json(r#"{"_id":"202401-1","owner_id":"1a2b","folder":"saved"}"#).unwrap();
    let fetched_as = Attachment::new(ACCOUNT, owned, "a.mp3", "");
    let list = json!({"url": &*url, "verb": "put", "field_list": [{"arg": "id"}, "x", {"arg": "attachment"}]});
    let folder = json!({"url": &*url, "verb": "put", "folder_base_path": "/abs/base/", "field_separator": "-"});
    let stored = client.store(&Dialect::KAZOO_4_3_106, &then, &stored_as).await.unwrap();
    for now in [
        list,
        folder,
        json!({"url": "http://elsewhere", "verb": "post", "file": "a.bin"}),
    ] {
        let now = Handler::from_json(&now.to_string()).unwrap();
        let fetched = client
            .fetch(&Dialect::KAZOO_4_3_106, &now, &stored.url, &fetched_as)
            .await
            .unwrap();
        assert_eq!(fetched.content, "ID3");
    }
}

#[tokio::test]
async fn finds_the_key_in_the_query_or_in_the_metadata() {
    let by_query = KazooStorage::new(MemoryStore::new()).key(QueryKey::new("recording"));
    let server = Server::start(Front::Hyper, "/index.php", by_query).await;
    let url = format!("http://{}/index.php?key=abc&recording=", server.address);
    let mut client = Client::new();
    for dialect in dialects() {
        for handler in handlers(&url) {
            let attachment = Attachment::new(ACCOUNT, document("202401-1"), "my voice.mp3", noise(100));
            let kept = round_trip(&mut client, dialect, &handler, &attachment).await;
            let is_uri = dialect.escaping == Escaping::Uri;
            let name = if is_uri { "my%20voice.mp3" } else { "my+voice.mp3" };
            assert!(kept.as_str().ends_with(&format!("recording={ACCOUNT}/202401-1/{name}")));
        }
    }

    let by_metadata = KazooStorage::new(MemoryStore::new()).key(MetadataKey::new(["media_id", "id"]));
    let server = Server::start(Front::Axum, "/p", by_metadata).await;
    for url in ["http://ADDRESS/p#frag", "http://ADDRESS/p"] {
        let settings = json!({
            "url": url.replace("ADDRESS", &server.address.to_string()),
            "verb": "put", "send_multipart": true, "field_list": [],
        });
        let handler = Handler::from_json(&settings.to_string()).unwrap();
        // A fetch does not return the file stored last instead of another.
        for id in ["202401-1", "202401-2"] {
            let attachment = Attachment::new(ACCOUNT, document(id), "a.mp3", noise(id.len()));
            client
                .store(&Dialect::KAZOO_4_3_106, &handler, &attachment)
                .await
                .unwrap();
        }
        let attachment = Attachment::new(ACCOUNT, document("202401-3"), "a.mp3", noise(100));
        round_trip(&mut client, &Dialect::KAZOO_4_3_106, &handler, &attachment).await;
    }
}

/// KAZOO and the server use the same settings.
#[tokio::test]
async fn configures_both_sides_by_the_same_settings() {
    for (settings, dialects) in [
        (
            json!({"send_multipart": true, "base64_encode_data": true}),
            &[Dialect::KAZOO_4_3_21, Dialect::KAZOO_4_3_106][..],
        ),
        (json!({"base64_encode_data": true}), Dialect::ALL),
        (json!({"send_multipart": true}), Dialect::ALL),
        (
            json!({"folder_base_path": "/a/b/", "folder_path": "c", "field_separator": "%2F"}),
            Dialect::ALL,
        ),
        (
            json!({"path": "a%20b", "field_list": [{"arg": "db"}, {"field": "pvt_type"}, {"arg": "attachment"}]}),
            Dialect::ALL,
        ),
    ] {
        let mut settings = settings;
        settings["verb"] = json!("post");
        settings["url"] = json!("http://storage.example.com/p");
        let read = KazooSettings::from_json(&settings.to_string()).unwrap();
        let storage = KazooStorage::from_settings(MemoryStore::new(), &read);
        let server = Server::start(Front::Hyper, read.mount(), storage).await;
        settings["url"] = json!(format!("http://{}/p", server.address));
        let handler = Handler::from_json(&settings.to_string()).unwrap();
        let mut client = Client::new();
        for dialect in dialects {
            // Text that is itself base64 is not taken for an encoded file.
            for content in [noise(1000), Bytes::from("ZGVjb2RlIG1lIG5vdA==")] {
                let attachment = Attachment::new(ACCOUNT, document("202401-1"), "a.mp3", content);
                round_trip(&mut client, dialect, &handler, &attachment).await;
            }
        }
    }
}

#[tokio::test]
async fn stores_and_fetches_a_long_file() {
    let storage = KazooStorage::new(MemoryStore::new()).base64(Base64::Declared);
    let server = Server::start(Front::Hyper, "/p", storage).await;
    let attachment = Attachment::new(ACCOUNT, document("202401-1"), "a.mp3", noise(16 << 20));
    let handler = Handler::new(format!("http://{}/p", server.address)).unwrap();
    let handler = handler.send_multipart(true).base64_encode_data(true);
    round_trip(&mut Client::new(), &Dialect::KAZOO_4_3_106, &handler, &attachment).await;
}

/// A site may change the release: a file is found at its stored URL, even if its name is now spelled differently.
#[tokio::test]
async fn fetches_a_file_by_another_spelling_of_its_name() {
    let server = Server::start(Front::Hyper, "/p", KazooStorage::new(MemoryStore::new())).await;
    let handler = Handler::new(format!("http://{}/p", server.address)).unwrap();
    let mut client = Client::new();
    for (from, to) in [
        (Dialect::KAZOO_4_3_106, Dialect::OPEN_KAZOO),
        (Dialect::OPEN_KAZOO, Dialect::KAZOO_4_3_106),
        (Dialect::KAZOO_4_0, Dialect::OPEN_KAZOO),
        (Dialect::OPEN_KAZOO, Dialect::KAZOO_4_0),
    ] {
        for name in ["my voice.mp3", "a+b c.mp3", "größe!.mp3", "50% /2.tiff"] {
            let content = noise(100);
            let attachment = Attachment::new(ACCOUNT, document("202401-1"), name, content.clone());
            // Newer Erlang sends no unescaped name outside ASCII.
            if to.normalizes_url && !name.is_ascii() {
                continue;
            }
            let stored = client.store(&from, &handler, &attachment).await.unwrap();
            let fetched = client.fetch(&to, &handler, &stored.url, &attachment).await;
            assert_eq!(fetched.unwrap().content, content, "{} {} {name}", from.name, to.name);
        }
    }
}
