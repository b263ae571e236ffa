//! [`List`]: the files to export, in a temporary file.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, BufWriter, Lines, Write as _},
    path::{Path, PathBuf},
};

use http::Method;
use kazoo_storage::digest::Digest;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{cannot_write, create, name};
use crate::admin_client::{AdminClient, values::in_one_line};

/// The files to export. Each has a line in a file, so that their number needs no memory.
pub(super) struct List {
    path: PathBuf,
    /// The number of files.
    pub(super) files: u64,
}

/// A file to export.
#[derive(Deserialize)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) path: String,
    pub(super) size: u64,
    sha256: Option<String>,
}

/// A line of the server.
#[derive(Deserialize)]
struct Line {
    file: Option<Listed>,
    metadata: Option<Box<RawValue>>,
    #[serde(default)]
    done: bool,
    /// An error.
    message: Option<String>,
}

#[derive(Deserialize)]
struct Listed {
    key: String,
    size: u64,
    sha256: Option<String>,
    content_type: Option<String>,
    stored_at: String,
}

/// A line of the manifest. The document is as it was uploaded: a value could not hold everything that JSON permits.
#[derive(Serialize, Deserialize)]
struct Described {
    key: String,
    path: String,
    sha256: Option<String>,
    size: u64,
    stored_at: String,
    content_type: Option<String>,
    metadata: Option<Box<RawValue>>,
}

/// The lines of the manifest, in the order of the entries. Their digests are those of the ledger, which may not have one.
pub(super) struct Texts(Lines<BufReader<File>>);

impl List {
    /// Fetches the list before the first content: the server ends a response that is read slowly.
    pub(super) async fn fetch(client: &AdminClient, parameters: &str, path: &Path) -> Result<Self, String> {
        let target = format!("/v1/files/export?{parameters}");
        let mut response = client.send(Method::POST, &target, None).await?;
        let mut file = BufWriter::new(create(path)?);
        let mut files = 0;
        loop {
            let line: Option<Line> = response.line().await?;
            let line = line.ok_or("the server has sent only a part of the list; run the command again")?;
            if let Some(message) = line.message {
                return Err(format!("the list is incomplete: {message}"));
            }
            if let Some(listed) = line.file {
                let described = described(listed, line.metadata.as_deref())?;
                let text = serde_json::to_string(&described).map_err(|error| error.to_string())?;
                writeln!(file, "{text}").map_err(|error| cannot_write(path, &error))?;
                files += 1;
            }
            if line.done {
                break;
            }
        }
        file.flush().map_err(|error| cannot_write(path, &error))?;
        Ok(Self {
            path: path.to_owned(),
            files,
        })
    }

    /// Returns the files, which are read while the iterator advances.
    pub(super) fn entries(&self) -> Result<impl Iterator<Item = Result<Entry, String>> + use<>, String> {
        let lines = self.lines()?;
        Ok(lines.map(|line| {
            let line = line.map_err(|error| error.to_string())?;
            serde_json::from_str(&line).map_err(|error| error.to_string())
        }))
    }

    pub(super) fn texts(&self) -> Result<Texts, String> {
        self.lines().map(Texts)
    }

    fn lines(&self) -> Result<Lines<BufReader<File>>, String> {
        let file = File::open(&self.path).map_err(|error| format!("cannot read {}: {error}", self.path.display()))?;
        Ok(BufReader::new(file).lines())
    }
}

impl Entry {
    /// Returns the digest that the ledger has.
    pub(super) fn digest(&self) -> Option<Digest> {
        self.sha256.as_deref().and_then(Digest::from_hex)
    }
}

impl Texts {
    /// Returns the line of the next file, whose content has this digest.
    pub(super) fn next(&mut self, digest: Digest) -> Result<String, String> {
        let mut described: Described = serde_json::from_str(&self.line()?).map_err(|error| error.to_string())?;
        described.sha256 = Some(digest.to_string());
        serde_json::to_string(&described).map_err(|error| error.to_string())
    }

    /// Leaves out the next file.
    pub(super) fn skip(&mut self) -> Result<(), String> {
        self.line().map(drop)
    }

    fn line(&mut self) -> Result<String, String> {
        let line = self.0.next().ok_or("the temporary file with the list was truncated")?;
        line.map_err(|error| error.to_string())
    }
}

fn described(listed: Listed, metadata: Option<&RawValue>) -> Result<Described, String> {
    let metadata = metadata.map(|document| RawValue::from_string(in_one_line(document.get())));
    Ok(Described {
        path: name::path(&listed.key),
        key: listed.key,
        sha256: listed.sha256,
        size: listed.size,
        stored_at: listed.stored_at,
        content_type: listed.content_type,
        metadata: metadata.transpose().map_err(|error| error.to_string())?,
    })
}
