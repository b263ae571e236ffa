//! The directories and ledgers of earlier versions in `tests/fixtures/versions`.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

/// What a version has written.
#[derive(Debug)]
pub struct Version {
    /// Its directory of fixtures.
    pub fixtures: PathBuf,
    /// The files that it has acknowledged and not deleted.
    pub files: Vec<StoredFile>,
    /// The keys that it has deleted.
    pub deleted: Vec<String>,
    /// Modification times of the media, which Git does not keep, by their paths below the root.
    times: BTreeMap<String, String>,
}

/// A file that a version has acknowledged.
#[derive(Debug)]
pub struct StoredFile {
    /// The key, as a path.
    pub key: String,
    /// SHA-256 of the content, in hexadecimal.
    pub sha256: String,
    pub content_type: String,
    /// The document of the upload, to the byte.
    pub metadata: Option<String>,
}

/// Returns the directory of the fixtures of all versions.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/versions")
}

/// Returns every version, oldest first.
pub fn all() -> Vec<Version> {
    let entries = fs::read_dir(directory()).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(Version::read).collect()
}

impl Version {
    fn read(fixtures: PathBuf) -> Self {
        let json: Value = serde_json::from_str(&fs::read_to_string(fixtures.join("store.json")).unwrap()).unwrap();
        let file = |file: &Value| StoredFile {
            key: text(&file["key"]),
            sha256: text(&file["sha256"]),
            content_type: text(&file["content_type"]),
            metadata: file["metadata"].as_str().map(str::to_owned),
        };
        Self {
            files: json["files"].as_array().unwrap().iter().map(file).collect(),
            deleted: json["deleted"].as_array().unwrap().iter().map(text).collect(),
            times: serde_json::from_value(json["times"].clone()).unwrap(),
            fixtures,
        }
    }

    /// Copies the root of the store to `root`, as the version left it.
    pub fn copy_store(&self, root: &Path) {
        copy(&self.fixtures.join("store"), root);
        for (path, time) in &self.times {
            let (secs, nanos) = time.split_once('.').unwrap();
            let time = UNIX_EPOCH + Duration::new(secs.parse().unwrap(), nanos.parse().unwrap());
            let media = fs::File::options().write(true).open(root.join(path)).unwrap();
            media.set_modified(time).unwrap();
        }
    }
}

/// Copies a directory, without times.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::write(target, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

/// Returns a time as the fixtures have it: seconds, and nine digits behind the point.
pub fn time(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap();
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}

/// Returns the hexadecimal digits of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
