//! Plays every release of KAZOO against a service, in a unit test.
//!
//! ```
//! use kazoo_storage::{KazooStorage, MemoryStore};
//! use kazoo_storage_client::testing::assert_serves_every_release;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let storage = KazooStorage::new(MemoryStore::new()).into_service();
//! let app: axum::Router = axum::Router::new().nest_service("/some_prefix", storage);
//! assert_serves_every_release(app, "http://storage.example.com/some_prefix").await;
//! # });
//! ```
//!
//! Nothing is sent over a network, and the host of the URL is not resolved. The feature `tls` is not needed.

// These functions are assertions.
#![allow(clippy::panic, clippy::missing_panics_doc)]

use std::{error::Error as _, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;

use super::{Attachment, Client, Dialect, Document, Failure, Handler, LocalService, SaveResult, Verb};

const ACCOUNT: &str = "0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7";

/// The id of the handler in the storage document.
const HANDLER: &str = "7f3c2a90b1d4e6f8a0c2e4f618293a4b";

const DOCUMENT: &str = r#"{"_id":"202401-9f86d081884c7d659a2feaa0c55ad015","media_id":"202401-9f86d081884c7d659a2feaa0c55ad015","call_id":"b3f6@192.0.2.1","metadata":{"media_id":"202401-9f86d081884c7d659a2feaa0c55ad015","folder":"new"}}"#;

/// Names of files, each with a character that some release escapes in a way of its own.
const NAMES: [&str; 3] = ["message.mp3", "my voice mail.mp3", "sub/dir+1.mp3"];

/// Two files of one name: a retry, or a new upload, replaces the first.
const CONTENTS: [&[u8]; 2] = [
    b"ID3\x04\0\0\0\0\0\0\xff\xfb\x90\0the first upload\r\n--",
    b"ID3\x04\0\0\0\0\0\0\xff\xfb\x90\0the second upload, a little longer",
];

/// Length of the long file, in bytes.
const LONG: usize = 3 << 20;

/// Asserts that `service` passes the credentials probe that KAZOO makes when an administrator saves `handler` as the
/// storage settings, for every release.
///
/// # Panics
///
/// If the probe of a release fails. The message contains what KAZOO shows to the administrator.
pub async fn assert_probe_passes(service: impl LocalService, handler: &Handler) {
    Play::new(Client::over(service), handler.clone()).probe().await;
}

/// Asserts that `service` serves every release of KAZOO, whose storage settings have this `url` and the default names of
/// files.
///
/// Each release makes its credentials probe. Then it stores files with PUT and with POST, raw, as multipart and as base64
/// in multipart, stores each again with other content, and fetches it.
///
/// The files are MP3 files of a few bytes, and one of 3 MiB, in an account `0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7`. A service with
/// [`Base64::Off`](kazoo_storage::Base64::Off) does not serve settings with `base64_encode_data`, and fails here.
///
/// # Panics
///
/// If a probe fails, a file is refused, or the fetched content differs. The message names the release, the settings and
/// the request.
pub async fn assert_serves_every_release(service: impl LocalService, url: &str) {
    let handler = Handler::new(url).unwrap_or_else(|error| panic!("the URL `{url}` is invalid: {error}"));
    for verb in [Verb::Put, Verb::Post] {
        for (multipart, base64) in [(false, false), (true, false), (true, true)] {
            let handler = handler.clone().verb(verb);
            let handler = handler.send_multipart(multipart).base64_encode_data(base64);
            let mut play = Play::new(Client::over(service.clone()), handler);
            play.probe().await;
            play.files().await;
            play.long_file().await;
        }
    }
}

/// A client, and the settings of a KAZOO.
struct Play {
    client: Client,
    handler: Handler,
}

impl Play {
    fn new(client: Client, handler: Handler) -> Self {
        Self { client, handler }
    }

    async fn probe(&mut self) {
        for dialect in Dialect::ALL {
            let probed = self.client.probe(dialect, &self.handler, ACCOUNT, HANDLER).await;
            let report = probed.unwrap_or_else(|error| panic!("{}: {error}", self.case(dialect)));
            let shown = match &report.result {
                SaveResult::Saved => continue,
                SaveResult::Refused { status, body } => format!("answers {status} with {body}"),
                SaveResult::Crashed => "crashes, and answers 500".to_owned(),
                SaveResult::Waiting => "waits without an end".to_owned(),
            };
            let failure = report.stored.as_ref().err();
            let failure = failure.or_else(|| report.fetched.as_ref().and_then(|fetched| fetched.as_ref().err()));
            let reason = failure.map_or_else(|| "the fetched content differs".to_owned(), describe);
            panic!(
                "{}: the credentials probe fails: {reason}. KAZOO {shown} when an administrator saves the settings",
                self.case(dialect)
            );
        }
    }

    async fn files(&mut self) {
        for dialect in Dialect::ALL {
            for name in NAMES {
                for content in CONTENTS {
                    self.file(dialect, &file(name, content)).await;
                }
            }
        }
    }

    /// A body of many chunks, longer than the limit of many frameworks: axum's is 2 MB.
    async fn long_file(&mut self) {
        // The period of the bytes is no power of two, as the lengths of buffers are.
        let [start, _] = CONTENTS;
        let content: Vec<u8> = start.iter().copied().chain((0..=250).cycle()).take(LONG).collect();
        self.file(&Dialect::KAZOO_4_3_106, &file("recording.mp3", content))
            .await;
    }

    async fn file(&mut self, dialect: &Dialect, file: &Attachment) {
        let case = self.case(dialect);
        let name = file.name();
        let verb = &self.handler.settings().verb;
        let target = format!("{verb} {}", self.handler.url_of(dialect, file).path());
        let stored = self.client.store(dialect, &self.handler, file).await;
        let stored = stored.unwrap_or_else(|failure| panic!("{case}: {target}: {}", describe(&failure)));
        assert!(
            !stored.is_lost(),
            "{case}: `{name}` is lost: a redirected POST becomes a GET without a body"
        );
        let fetch = self.handler.fetch(dialect, &stored.url, file);
        let target = fetch.map_or_else(
            |error| error.to_string(),
            |fetch| format!("GET {}", fetch.request.uri()),
        );
        let fetched = self.client.fetch(dialect, &self.handler, &stored.url, file).await;
        let fetched = fetched.unwrap_or_else(|failure| panic!("{case}: {target}: {}", describe(&failure)));
        if fetched.content != file.content() {
            let difference = difference(&fetched.content, file.content());
            panic!("{case}: {target}: the content differs from the stored one: {difference}");
        }
    }

    /// The release and its settings, for a message.
    fn case(&self, dialect: &Dialect) -> impl fmt::Display + use<> {
        let settings = self.handler.settings();
        format!(
            "KAZOO {}, verb={} send_multipart={} base64_encode_data={}",
            dialect.releases, settings.verb, settings.send_multipart, settings.base64_encode_data
        )
    }
}

fn file(name: &str, content: impl Into<Bytes>) -> Attachment {
    let document = Document::from_json(DOCUMENT);
    let document = document.unwrap_or_else(|error| panic!("the document is invalid: {error}"));
    Attachment::new(ACCOUNT, document, name, content)
}

/// The failure with its causes, and the beginning of the response.
fn describe(failure: &Failure) -> String {
    let mut text = failure.to_string();
    let mut cause = failure.source();
    while let Some(error) = cause {
        // Many errors include their cause in their own message.
        let message = error.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    let answer = failure
        .answer()
        .map(|answer| String::from_utf8_lossy(answer.body()).into_owned());
    match answer.filter(|body| !body.is_empty()) {
        Some(body) => format!("{text}: {}", body.chars().take(500).collect::<String>()),
        None => text,
    }
}

fn difference(fetched: &[u8], stored: &[u8]) -> String {
    if fetched == STANDARD.encode(stored).as_bytes() {
        return "it is base64, which the service has stored undecoded".to_owned();
    }
    let same = fetched
        .iter()
        .zip(stored)
        .take_while(|(fetched, stored)| fetched == stored)
        .count();
    format!(
        "{} bytes instead of {}, of which the first {same} are equal",
        fetched.len(),
        stored.len()
    )
}
