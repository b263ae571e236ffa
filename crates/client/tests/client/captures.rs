//! The client sends the same bytes as KAZOO's own code, for every capture.

use bytes::Bytes;
use kazoo_storage::{Base64, KazooStorage, MemoryStore, settings::KazooSettings};
use kazoo_storage_client::{Attachment, Boundary, Client, Dialect, Document, Handler, Outgoing};
use serde_json::{Value, json};

use crate::recorder::{Recorder, answer};
use kazoo_storage_test_support::{
    client::{Shown, find},
    fixture::{Encoding, FIXTURES, Fixture, manifest},
    server::{Front, Server},
};

const ACCOUNT: &str = "0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7";
const RECORDING: &str = "call_recording_b3f6d5e2.mp3";

/// The port in the captures.
const PORT: &str = "36177";

/// Captures whose target no request line can hold, so the client sends nothing.
const NOT_SENT: [&str; 1] = ["D3-master__folder-both-space"];

fn dialect(fixture: &Fixture) -> Dialect {
    let mut dialect = match fixture.dialect() {
        "D0" => Dialect::KAZOO_4_0,
        "D1" => Dialect::KAZOO_4_3_17,
        "D1b" if fixture.case.starts_with("D1b-8a5ff93a32") => Dialect::KAZOO_4_3_20_DEV_BASE64,
        "D1b" => Dialect::KAZOO_4_3_20_DEV,
        "D2" => Dialect::KAZOO_4_3_21,
        "D3" | "KAZOO5" => Dialect::KAZOO_4_3_106,
        "D3patched" => Dialect::KAZOO_4_3_106_PATCHED,
        "OpenKazoo" => Dialect::OPEN_KAZOO,
        other => panic!("{}: no dialect for the captures of {other}", fixture.case),
    };
    dialect.normalizes_url |= fixture.what().ends_with("-otp23");
    dialect
}

/// Returns the document of the case: a message, a recording, a fax or a probe, from a multipart upload that contains it.
fn document(fixture: &Fixture) -> Document {
    let uploaded = |case: &str| {
        let fixture = FIXTURES.iter().find(|fixture| fixture.case == case).expect(case);
        fixture.metadata.clone().expect(case)
    };
    let what = fixture.what();
    let json = match what {
        _ if fixture.is_probe() => uploaded("D3-master__post-mp-probe"),
        _ if what.starts_with("fax") => uploaded("D3-master__fax-tiff-mp-b64"),
        _ if what.contains("recording-other-url") || what.starts_with("call-recording") => {
            // The documents of 4.0 have another caller.
            if what.ends_with("ascii-otp23") || what == "kz-media-recording-other-url" {
                uploaded("D3-master__call-recording-storage-plan-ascii-otp23")
            } else {
                uploaded("D3-master__call-recording-storage-plan")
            }
        }
        "docid-special" => uploaded("D3-master__docid-special"),
        _ => uploaded("D3-master__put-mp-mini"),
    };
    let metadata = || {
        let start = json.find(r#","metadata":{"#).unwrap();
        let end = start + json[start..].find('}').unwrap() + 1;
        json[start..end].to_owned()
    };
    let json = match what {
        "owner-id" => json.replacen('{', r#"{"owner_id":"1a2b3c4d5e6f708192a3b4c5d6e7f809","#, 1),
        "qs-no-metadata" => json.replace(&metadata(), r#","tags":["x","y"]"#),
        "qs-metadata-empty" => json.replace(&metadata(), r#","metadata":{}"#),
        _ => json,
    };
    Document::from_json(&json).unwrap()
}

fn name(fixture: &Fixture) -> String {
    let what = fixture.what();
    let fixed = match what {
        "name-space" => "my voice mail.mp3",
        "name-plus" => "a+b c.mp3",
        "name-percent" => "50%20off.mp3",
        "name-slash" => "sub/dir.mp3",
        "name-quote" => "q\"uo'te.mp3",
        "name-semicolon" => "a;b=c&d?e#f.mp3",
        "name-dots" => "..mp3",
        "name-dotdot" => "..",
        "name-noext" => "voicemail",
        "name-upper" => "ABC.MP3",
        "name-unicode" | "name-unicode-raw" => "grüße-日本.mp3",
        "fax-pdf" => "pdf_file.pdf",
        _ if what.starts_with("fax") => "received_file_202401-e4da3b7fbbce2345d7772b0674a318d5.tiff",
        _ if fixture.is_probe() => "7f3c2a90b1d4e6f8a0c2e4f618293a4b_test_credentials_file.txt",
        _ if what.contains("recording-") && what != "url-query-recording" => RECORDING,
        _ => "",
    };
    match what.strip_prefix("rand1m-") {
        _ if what == "name-long" => format!("{}.mp3", "x".repeat(240)),
        Some(kind) => format!("d1e2f3.{}", kind.rsplit('-').next().unwrap()),
        None if fixed.is_empty() => "5d41402abc4b2a76b9719d911017c592.mp3".to_owned(),
        None => fixed.to_owned(),
    }
}

fn attachment(fixture: &Fixture) -> Attachment {
    let content = Bytes::from_owner(fixture.content.clone());
    let attachment = Attachment::new(ACCOUNT, document(fixture), name(fixture), content);
    // The uploader sets the media type; it does not follow from the name.
    match fixture.what() {
        "name-dotdot" => attachment.with_content_type("audio/mpeg"),
        _ => attachment,
    }
}

fn boundary(fixture: &Fixture, manifest: &[Value]) -> Boundary {
    let entry = manifest.iter().find(|entry| entry["case"] == *fixture.case).unwrap();
    match entry["boundary"].as_str() {
        Some(boundary) => Boundary::new(boundary).unwrap(),
        None => Boundary::random().unwrap(),
    }
}

/// Sends `outgoing` and returns the recorded bytes, with the port of the captures.
async fn sent(client: &mut Client, outgoing: &Outgoing, recorder: &Recorder) -> Vec<u8> {
    client.send(outgoing).await.unwrap();
    let [request] = recorder.take().try_into().unwrap();
    let request: Vec<u8> = request;
    let host = format!("\r\nhost: {}\r\n", recorder.address);
    let start = find(&request, host.as_bytes()).expect("the host");
    let captured = format!("\r\nhost: 127.0.0.1:{PORT}\r\n");
    [&request[..start], captured.as_bytes(), &request[start + host.len()..]].concat()
}

/// Captures that a service with the settings of the case refuses.
const NOT_SERVED: [&str; 8] = [
    "D1-6af2b20117__post-mp-b64-mp3",
    "D1-6af2b20117__put-mp-b64-b64txt",
    "D1b-7ee4bfd647__post-mp-b64-mp3",
    "D3-master__fieldlist-empty",
    "D3patched-e4abbd5a5f__fieldlist-empty",
    "D3-master__name-dotdot",
    "D3-master__folder-both-space",
    "D3-master__url-fragment",
];

/// Captures of which KAZOO sent nothing but the client does: a development revision and 4.0 crash on settings that all others
/// accept, and later Erlang sends no names outside ASCII.
const SENT: [&str; 5] = [
    "D1b-8a5ff93a32__put-mp-mp3",
    "D3-master__name-unicode-otp23",
    "D0-4.0__default-fields-crash",
    "D1b-8a5ff93a32__put-mp-nob64key-crash",
    "D0-4.0__json-fieldlist-crash",
];

#[tokio::test]
async fn sends_every_capture_byte_for_byte() {
    let recorder = Recorder::start(|_| answer(201, "", b"")).await;
    let port = recorder.address.port().to_string();
    let manifest = manifest();
    let mut client = Client::new();
    let (mut stores, mut fetches) = (0, 0);
    let mut not_sent = Vec::new();
    for fixture in FIXTURES.iter() {
        let case = &fixture.case;
        let handler = Handler::from_json(&fixture.settings.replace(PORT, &port)).unwrap();
        let (dialect, attachment) = (dialect(fixture), attachment(fixture));
        let Ok(store) = handler.store(&dialect, &attachment, &boundary(fixture, &manifest)) else {
            not_sent.push(case.as_str());
            handler
                .fetch(&dialect, &handler.url_of(&dialect, &attachment), &attachment)
                .unwrap_err();
            continue;
        };
        // Recordings stored at a URL of their own are fetched with the settings of the account.
        let other_url = fixture.what().contains("other-url");
        let fetched_by = if other_url {
            Handler::from_json(&json!({"url": handler.url().as_str(), "verb": "put"}).to_string()).unwrap()
        } else {
            handler.clone()
        };
        let bytes = sent(&mut client, &store, &recorder).await;
        let request = &fixture.request;
        assert!(bytes == *request, "{case}:\n{}\n{}", Shown(&bytes), Shown(request));
        stores += 1;
        if let Some(captured) = &fixture.fetch {
            let fetch = fetched_by.fetch(&dialect, &store.url, &attachment).unwrap();
            let bytes = sent(&mut client, &fetch, &recorder).await;
            assert!(bytes == *captured, "{case}:\n{}\n{}", Shown(&bytes), Shown(captured));
            fetches += 1;
        }
    }
    assert_eq!(not_sent, NOT_SENT);
    let with_fetch = FIXTURES.iter().filter(|fixture| fixture.fetch.is_some()).count();
    let left_out = NOT_SENT.len();
    assert_eq!((stores, fetches), (FIXTURES.len() - left_out, with_fetch - left_out));
    // Like KAZOO, the client keeps the connection open.
    assert_eq!(recorder.connections(), 1);
}

/// Uses KAZOO's settings on both sides, and includes fetches without a capture.
#[tokio::test]
async fn fetches_every_capture_that_can_be_served() {
    let manifest = manifest();
    let mut left_out = Vec::new();
    for fixture in FIXTURES.iter() {
        let case = &fixture.case;
        // Content that is not encoded as the settings require is refused or decoded, and `..` makes no key.
        let is_plain = fixture.encoding != Encoding::Base64 && fixture.multipart && !fixture.content.is_empty();
        let settings = KazooSettings::from_json(&fixture.settings).ok().filter(|settings| {
            let is_decoded = settings.base64() == Base64::Declared && is_plain;
            !is_decoded && fixture.what() != "name-dotdot"
        });
        let Some(settings) = settings else {
            left_out.push(&**case);
            continue;
        };
        let storage = KazooStorage::from_settings(MemoryStore::new(), &settings);
        let server = Server::start(Front::Hyper, settings.mount().trim_end_matches('/'), storage).await;
        let handler = fixture.settings.replace(PORT, &server.address.port().to_string());
        let handler = Handler::from_json(&handler).unwrap();
        let (dialect, attachment) = (dialect(fixture), attachment(fixture));
        let mut client = Client::new();
        let store = handler
            .store(&dialect, &attachment, &boundary(fixture, &manifest))
            .unwrap();
        assert_eq!(client.send(&store).await.unwrap().status(), 201, "{case}");
        let mut fetch = dialect;
        // Older Erlang fetches names that newer Erlang does not.
        fetch.normalizes_url &= fixture.fetch.is_some();
        let fetched = client.fetch(&fetch, &handler, &store.url, &attachment).await;
        let fetched = fetched.unwrap_or_else(|failure| panic!("{case}: {failure}: {failure:?}"));
        assert!(fetched.content == attachment.content(), "{case}");
    }
    assert_eq!(left_out, NOT_SERVED);
}

#[test]
fn sends_nothing_where_kazoo_sent_nothing() {
    let document = Document::from_json(r#"{"_id":"DOC"}"#).unwrap();
    let attachment = Attachment::new(ACCOUNT, document, "grüße.mp3", "ID3");
    let boundary = Boundary::random().unwrap();
    let mut sent = Vec::new();
    for entry in manifest().iter().filter(|entry| entry["sent"] != true) {
        let case = entry["case"].as_str().unwrap();
        let dialect = if case.starts_with("D2") {
            Dialect::KAZOO_4_3_21
        } else {
            Dialect::KAZOO_4_3_106
        };
        let handler = Handler::from_json(&entry["settings"].to_string());
        if handler
            .and_then(|handler| handler.store(&dialect, &attachment, &boundary))
            .is_ok()
        {
            sent.push(case.to_owned());
        }
    }
    assert_eq!(sent, SENT);
}
