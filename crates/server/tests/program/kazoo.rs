//! Every release of KAZOO against the program.

use std::{fs, path::Path, process::Command};

use bytes::Bytes;
use kazoo_storage_client::{
    Attachment, Client, Dialect, Document, Failure, FailureKind, Handler, SaveResult, StoredFile, Tls, Verb,
};
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::{
    process::{Server, program},
    reload::certificate,
};

/// KAZOO with its storage settings.
pub(crate) struct Kazoo {
    runtime: Runtime,
    client: Client,
    handler: Handler,
}

impl Kazoo {
    pub(crate) fn new(url: &str) -> Self {
        Self::by(Handler::new(url).unwrap())
    }

    fn by(handler: Handler) -> Self {
        Self {
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
            client: Client::new(),
            handler,
        }
    }

    pub(crate) fn tls(mut self, tls: &Tls) -> Self {
        self.client = Client::new().tls(tls.clone());
        self
    }

    pub(crate) fn store(&mut self, dialect: &Dialect, content: &[u8]) -> Result<StoredFile, Failure> {
        let attachment = attachment("DOC", content);
        self.runtime
            .block_on(self.client.store(dialect, &self.handler, &attachment))
    }

    /// Stores `content` and fetches it.
    pub(crate) fn round_trip(&mut self, dialect: &Dialect, content: &[u8]) {
        let attachment = attachment("DOC", content);
        self.runtime.block_on(async {
            let stored = self.client.store(dialect, &self.handler, &attachment).await.unwrap();
            let fetched = self
                .client
                .fetch(dialect, &self.handler, &stored.url, &attachment)
                .await
                .unwrap();
            assert!(fetched.content == content, "{}", dialect.name);
        });
    }

    /// Returns the reason why it cannot store.
    pub(crate) fn failure(&mut self) -> FailureKind {
        self.store(&Dialect::KAZOO_4_3_106, b"content").unwrap_err().kind()
    }

    fn probe(&mut self, dialect: &Dialect) -> SaveResult {
        let probe = self.client.probe(dialect, &self.handler, "system_data", "ID");
        self.runtime.block_on(probe).unwrap().result
    }
}

fn attachment(id: &str, content: &[u8]) -> Attachment {
    let json = json!({"_id": id, "metadata": {"media_id": id, "caller_id_name": "Anna Müller", "folder": "new"}});
    let document = Document::from_json(&json.to_string()).unwrap();
    Attachment::new("ACC", document, "grüße vom/band.mp3", Bytes::copy_from_slice(content))
}

/// Returns the command of a server with its certificate and its files in `directory`.
pub(crate) fn by_tls(directory: &Path) -> Command {
    let mut command = program();
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--store"])
        .arg(directory.join("data"));
    command.arg("--tls-cert").arg(directory.join("cert.pem"));
    command.arg("--tls-key").arg(directory.join("key.pem"));
    command
}

/// Tries each dialect, verb and form of body over TLS with each kind of credential, on one connection each.
#[test]
fn every_release_saves_its_settings_stores_and_fetches_over_tls_with_credentials() {
    let root = TempDir::new().unwrap();
    let tls = certificate(root.path());
    let rules = root.path().join("access.json");
    let credentials = json!({"credentials": [{"user": "kazoo", "password": "s3cret"}, {"token": "t0ken"}]});
    fs::write(&rules, credentials.to_string()).unwrap();
    let mut server = Server::spawn(by_tls(root.path()).arg("--access").arg(&rules).arg("--no-fsync"));
    let host = format!("localhost:{}/some_prefix", server.address.port());
    let noise = (0..200_000_u32).map(|i| i.to_le_bytes()[1] | 0x80);
    let content: Vec<u8> = b"ID3\x04\0\0".iter().copied().chain(noise).collect();
    for url in [
        format!("https://kazoo:s3cret@{host}"),
        format!("https://t0ken@{host}"),
        format!("https://{host}/t0ken"),
    ] {
        for verb in [Verb::Put, Verb::Post] {
            for (multipart, base64) in [(false, false), (true, false), (true, true)] {
                let handler = Handler::new(&*url).unwrap().verb(verb);
                let handler = handler.send_multipart(multipart).base64_encode_data(base64);
                let mut kazoo = Kazoo::by(handler).tls(&tls);
                for dialect in Dialect::ALL {
                    assert_eq!(kazoo.probe(dialect), SaveResult::Saved, "{}", dialect.name);
                    kazoo.round_trip(dialect, b"");
                    kazoo.round_trip(dialect, &content);
                }
            }
        }
    }
    for url in [format!("https://kazoo:secret@{host}"), format!("https://{host}")] {
        let mut stranger = Kazoo::new(&url).tls(&tls);
        let SaveResult::Refused { status: 400, body } = stranger.probe(&Dialect::KAZOO_4_3_106) else {
            panic!("{url}");
        };
        let shown = &body["attachments"]["ID"]["invalid"];
        assert_eq!(shown["error_code"], 401);
        assert_eq!(shown["message"], "Unauthorized");
        assert_eq!(shown["error_body"]["error"], "unauthorized");
    }
    server.stop();
    for secret in ["s3cret", "t0ken", "Anna", "M%C3%BCller"] {
        assert!(!server.log().contains(secret), "{secret}");
    }
}

#[test]
fn metadata_can_name_the_files_of_one_static_url() {
    let root = TempDir::new().unwrap();
    let mut server = Server::start(root.path(), &["--key", "metadata=media_id,id"]);
    let url = format!("http://{}/some_prefix", server.address);
    let settings = json!({"url": url, "verb": "post", "send_multipart": true, "field_list": []});
    let mut kazoo = Kazoo::by(Handler::from_json(&settings.to_string()).unwrap());
    let files = ["file-one", "file-two"].map(|id| attachment(id, id.as_bytes()));
    kazoo.runtime.block_on(async {
        let mut urls = Vec::new();
        for file in &files {
            let stored = kazoo
                .client
                .store(&Dialect::KAZOO_4_3_106, &kazoo.handler, file)
                .await
                .unwrap();
            urls.push(stored.url);
        }
        assert_eq!(urls[0], urls[1]);
        for file in &files {
            let fetched = kazoo
                .client
                .fetch(&Dialect::KAZOO_4_3_106, &kazoo.handler, &urls[0], file)
                .await;
            assert_eq!(fetched.unwrap().content, file.content());
        }
    });
    drop(kazoo);
    server.stop();
    // The key is part of the metadata, which is not logged.
    assert!(!server.log().contains("file-"), "{}", server.log());
}
