//! Every release fetches what it stores, whatever the name and the content, without a socket in between.

use std::convert::Infallible;

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use kazoo_storage::{Body, KazooStorage, MemoryStore, settings::KazooSettings};
use kazoo_storage_client::{Attachment, Boundary, Dialect, Document, Handler, Outgoing};
use proptest::{collection::vec, option, prelude::*, sample::select, test_runner::RngSeed};
use serde_json::json;
use tower::{Layer as _, Service, ServiceExt as _, service_fn};

/// Returns the response of `storage`.
fn answer<S>(storage: &S, outgoing: Outgoing) -> (StatusCode, Vec<u8>)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let request = outgoing.request.map(Body::from);
        let answer: Response<Body> = storage.clone().oneshot(request).await.unwrap();
        let status = answer.status();
        (status, answer.into_body().collect().await.unwrap().to_bytes().to_vec())
    })
}

/// Generates text that can be a segment of a key and a target, from characters with a meaning in a URL, a multipart header or
/// JSON. It contains no backtick: KAZOO does not escape it, and hyper rejects it in a target.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zA-Z0-9._-]{1,4}",
        4 => select(&[" ", "/", "%", "%2F", "?", "#", "&", "=", "+", ";", ":", "@", "\"", "'", "\\", "<", "[", "{", "..", "--B", "ü", "日本", "\u{1F600}"][..]).prop_map(str::to_owned),
        1 => any::<char>().prop_filter("no part of a target", |letter| !letter.is_control() && *letter != '`').prop_map(String::from),
    ];
    let text = vec(piece, 1..6).prop_map(|pieces| pieces.concat());
    text.prop_filter("no segment", |text| !matches!(&**text, "." | ".."))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        rng_seed: RngSeed::Fixed(20_240_101),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn fetches_what_was_stored(
        dialect in select([Dialect::ALL, Dialect::UNRELEASED].concat()),
        verb in select(vec!["put", "post"]),
        (multipart, base64) in any::<(bool, bool)>(),
        url in select(vec!["http://h", "http://h/", "http://user:p%40ss@h/some/prefix//", "http://h/p?key=1&recording=", "http://h/pre%2Dfix/./%78"]),
        separator in option::of(select(vec!["-", "%2F"])),
        (id, owner, name) in (text(), option::of(text()), text()),
        content in vec(any::<u8>(), 0..100),
        more in vec(("[a-zA-Z_-]{1,4}", text()), 0..4),
    ) {
        // The server must not decode what a release does not encode.
        let base64 = base64 && (dialect.encodes_base64 || !multipart);
        let settings = json!({"url": url, "verb": verb, "send_multipart": multipart, "base64_encode_data": base64,
                              "field_separator": separator}).to_string();
        let mut document = json!({"_id": id, "owner_id": owner.clone().unwrap_or_default(), "pvt_secret": "x"});
        if owner.is_none() {
            document.as_object_mut().unwrap().remove("owner_id");
        }
        for (name, value) in more {
            document[format!("x{name}")] = json!({"list": [value, true], "n": 1.5});
        }
        let document = Document::from_json(&document.to_string()).unwrap();
        let attachment = Attachment::new("ACCOUNT", document, name, content.clone());
        let handler = Handler::from_json(&settings).unwrap();
        let read = KazooSettings::from_json(&settings).unwrap();
        let storage = KazooStorage::from_settings(MemoryStore::new(), &read);
        let elsewhere = service_fn(async |_: Request<Body>| {
            let mut answer = Response::new(Body::empty());
            *answer.status_mut() = StatusCode::NOT_FOUND;
            Ok::<_, Infallible>(answer)
        });
        let storage = storage.mount(read.mount()).layer(elsewhere);

        let store = handler.store(&dialect, &attachment, &Boundary::new("-B_").unwrap()).unwrap();
        let stored = store.url.clone();
        let (status, said) = answer(&storage, store);
        prop_assert_eq!(status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&said));
        let fetch = handler.fetch(&dialect, &stored, &attachment).unwrap();
        let (status, fetched) = answer(&storage, fetch);
        prop_assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&fetched));
        prop_assert_eq!(fetched, content);
    }
}
