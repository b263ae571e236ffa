//! [`Download`]: fetches contents.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use http::StatusCode;
use kazoo_storage::digest::{Digest, Digester};
use serde::Deserialize;
use serde_json::json;

use super::{cannot_write, create, list::Entry, scratch::Scratch};
use crate::admin_client::{AdminClient, Response};

const DIFFERS: &str =
    "the content differs from what was recorded: it was replaced or damaged since then; run `files verify`";

/// Maximum length of a content in memory, in bytes.
const BUFFER: usize = 1 << 20;

/// A content that has the expected digest.
pub(super) struct Fetched {
    pub(super) digest: Digest,
    pub(super) crc: u32,
    pub(super) len: u64,
    pub(super) content: Content,
}

pub(super) enum Content {
    Memory(Vec<u8>),
    File(PathBuf),
}

/// A temporary file for a content, which may not exist yet.
pub(super) struct Temporary {
    pub(super) directory: Arc<Scratch>,
    pub(super) name: String,
    /// Even a short content is written to the file.
    pub(super) is_required: bool,
}

/// Fetches contents, several with one response.
pub(super) struct Download<'a> {
    client: &'a AdminClient,
    /// The response whose next content has not been read.
    response: Option<Response>,
}

impl Temporary {
    fn path(&self) -> PathBuf {
        self.directory.file(&self.name)
    }
}

/// The line that precedes a content, or replaces it.
#[derive(Deserialize)]
struct Line {
    key: String,
    #[serde(default)]
    size: u64,
    sha256: Option<String>,
    /// The reason why the file cannot be sent.
    message: Option<String>,
}

impl<'a> Download<'a> {
    pub(super) fn new(client: &'a AdminClient) -> Self {
        Self { client, response: None }
    }

    /// Fetches the content of `entry`. The next calls must be for `others`, in this order: the same response has their contents. After
    /// a response that was interrupted, the next call sends another request.
    ///
    /// Fails if there is no response; the inner error concerns only this file.
    pub(super) async fn fetch<'e>(
        &mut self,
        entry: &'e Entry,
        others: impl Iterator<Item = &'e Entry>,
        temporary: Temporary,
    ) -> Result<Result<Fetched, String>, String> {
        let response = match self.response.take() {
            Some(response) => Ok(response),
            None => self.request([entry].into_iter().chain(others)).await?,
        };
        let mut response = match response {
            Ok(response) => response,
            Err(why) => return Ok(Err(why)),
        };
        let line = match response.line::<Line>().await {
            Ok(Some(line)) if line.key == entry.key => line,
            Ok(_) => {
                return Ok(Err(
                    "the response ended before this file, or has another one in its place; run the export again"
                        .to_owned(),
                ));
            }
            Err(why) => return Ok(Err(why)),
        };
        if let Some(why) = line.message {
            self.response = Some(response);
            return Ok(Err(format!("the server refused: {why}")));
        }
        if line.size != entry.size {
            // The response is dropped with the content.
            return Ok(Err(DIFFERS.to_owned()));
        }
        let mut received = Received::new(temporary);
        let mut left = line.size;
        while left > 0 {
            let part = match response.part(usize::try_from(left).unwrap_or(usize::MAX)).await {
                Ok(Some(part)) => part,
                Ok(None) => {
                    return Ok(Err(
                        "the response ended before the end of the content; run the export again".to_owned(),
                    ));
                }
                Err(why) => return Ok(Err(why)),
            };
            left -= part.len() as u64;
            if received.held + part.len() > BUFFER {
                received.spill()?;
            }
            received.held += part.len();
            received.parts.push(part);
        }
        self.response = Some(response);
        let declared = line.sha256.as_deref().and_then(Digest::from_hex);
        let expected = entry.digest().or(declared);
        received.complete(expected)
    }

    async fn request<'e>(&self, entries: impl Iterator<Item = &'e Entry>) -> Result<Result<Response, String>, String> {
        let keys: Vec<_> = entries.map(|entry| &entry.key).collect();
        let request = json!({"keys": keys});
        let response = self.client.query("/v1/files/export/contents", request);
        Ok(match response.await? {
            (StatusCode::OK, response) => Ok(response),
            (status, response) => Err(response.refusal(status).await),
        })
    }

    /// Reads the end of the response, so that its connection can be used again.
    pub(super) async fn end(self) {
        if let Some(mut response) = self.response {
            let _ = response.part(usize::MAX).await;
        }
    }
}

/// The part of a content that has arrived.
struct Received {
    temporary: Temporary,
    file: Option<File>,
    /// The bytes that are neither hashed nor in the file.
    parts: Vec<Bytes>,
    /// The number of these bytes.
    held: usize,
    digester: Digester,
    crc: crc32fast::Hasher,
    len: u64,
}

impl Received {
    fn new(temporary: Temporary) -> Self {
        Self {
            temporary,
            file: None,
            parts: Vec::new(),
            held: 0,
            digester: Digester::new(),
            crc: crc32fast::Hasher::new(),
            len: 0,
        }
    }

    /// Moves the parts to the file.
    fn spill(&mut self) -> Result<(), String> {
        self.hash();
        self.write()?;
        self.parts.clear();
        self.held = 0;
        Ok(())
    }

    /// Returns the content if it has the `expected` digest. Blocks.
    fn complete(mut self, expected: Option<Digest>) -> Result<Result<Fetched, String>, String> {
        self.hash();
        let digest = self.digester.clone().finish();
        if expected.is_some_and(|expected| expected != digest) {
            return Ok(Err(DIFFERS.to_owned()));
        }
        if self.file.is_some() || self.temporary.is_required {
            self.write()?;
        }
        let content = match self.file {
            Some(_) => Content::File(self.temporary.path()),
            None => Content::Memory(self.parts.concat()),
        };
        Ok(Ok(Fetched {
            digest,
            crc: self.crc.finalize(),
            len: self.len,
            content,
        }))
    }

    fn hash(&mut self) {
        for part in &self.parts {
            self.digester.update(part);
            self.crc.update(part);
        }
        self.len += self.held as u64;
    }

    fn write(&mut self) -> Result<(), String> {
        let path = &self.temporary.path();
        let mut file = self.file.take().map_or_else(|| create(path), Ok)?;
        for part in &self.parts {
            file.write_all(part).map_err(|error| cannot_write(path, &error))?;
        }
        self.file = Some(file);
        Ok(())
    }
}

/// Returns `true` if the file at `path` has this length and digest. Blocks.
pub(super) fn is_there(path: &Path, size: u64, expected: Digest) -> bool {
    let is_candidate = fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.len() == size);
    is_candidate && digest(path).is_ok_and(|found| found == expected)
}

fn digest(path: &Path) -> std::io::Result<Digest> {
    let (mut file, mut digester) = (File::open(path)?, Digester::new());
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(digester.finish());
        }
        digester.update(buffer.get(..read).unwrap_or_default());
    }
}
