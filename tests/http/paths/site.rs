//! A store with secrets beside its root, and the invariants of its directory.

use std::{
    collections::{BTreeMap, HashSet},
    ffi::OsStr,
    fs::{self, File},
    io::Read as _,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    path::{Path, PathBuf},
};

use futures_util::TryStreamExt as _;
use http::{Request, Response, Uri};
use http_body_util::BodyExt as _;
use kazoo_storage::{
    BlobCatalog as _, BlobKey, BlobStore as _, Body, FsStore, KazooStorage, PathKey, Upload,
    builder::StorageService,
    extract_key::{MetadataKey, QueryKey},
};
use kazoo_storage_test_support::client::{Answer, Framing, request};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, readlinkat, statat};
use tempfile::TempDir;
use tower::ServiceExt as _;

use super::{SECRET, VICTIM, corpus::encoded};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Path,
    Query,
    Metadata,
}

/// A request as text, because not every target is a valid [`Uri`].
pub(super) struct PathRequest {
    pub(super) method: &'static str,
    pub(super) target: String,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

impl By {
    pub(super) fn storage(self, store: FsStore) -> KazooStorage {
        let storage = KazooStorage::new(store);
        match self {
            Self::Path => storage.key(PathKey),
            Self::Query => storage.key(QueryKey::new("recording")),
            Self::Metadata => storage.key(MetadataKey::new(["media_id"])),
        }
    }

    pub(super) fn put(self, spelling: &str, content: &str) -> PathRequest {
        let mut ask = PathRequest {
            method: "PUT",
            target: self.target(spelling),
            content_type: "audio/mpeg",
            body: content.to_owned(),
        };
        if self == Self::Metadata {
            let json = serde_json::json!({ "media_id": spelling });
            "/".clone_into(&mut ask.target);
            ask.content_type = "multipart/form-data; boundary=BOUNDARY";
            ask.body = format!(
                "\r\n--BOUNDARY\r\ncontent-type: application/json\r\n\r\n{json}\r\n--BOUNDARY\r\ncontent-type: \
                 audio/mpeg\r\n\r\n{content}\r\n--BOUNDARY--"
            );
        }
        ask
    }

    pub(super) fn get(self, spelling: &str) -> PathRequest {
        PathRequest {
            method: "GET",
            target: self.target(spelling),
            content_type: "audio/mpeg",
            body: String::new(),
        }
    }

    pub(super) fn target(self, spelling: &str) -> String {
        match self {
            Self::Path => format!("/{spelling}"),
            Self::Query => format!("/?key=abc&recording={spelling}"),
            Self::Metadata => format!("/?folder=new&media_id={}", encoded(spelling)),
        }
    }

    /// The key of an acknowledged upload.
    pub(super) fn key(self, spelling: &str) -> BlobKey {
        match self {
            Self::Path | Self::Query => BlobKey::from_path(spelling).unwrap(),
            Self::Metadata => BlobKey::from_segments([spelling]).unwrap(),
        }
    }
}

impl PathRequest {
    /// `None` if the target is not valid HTTP.
    pub(super) fn request(&self) -> Option<Request<Body>> {
        let uri = Uri::try_from(&self.target).ok()?;
        let request = Request::builder().method(self.method).uri(uri);
        let request = request.header("content-type", self.content_type);
        Some(request.body(Body::from(self.body.clone())).unwrap())
    }

    pub(super) fn bytes(&self, mount: &str) -> Vec<u8> {
        let target = format!("{mount}{}", self.target);
        request(self.method, &target, &[("content-type", self.content_type)], &self.body)
    }
}

/// An entry of a file system.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: FileType,
    pub(super) mode: u32,
    pub(super) inode: u64,
    pub(super) modified: (i64, u64),
    /// The content of a file, or the target of a link.
    pub(super) content: Vec<u8>,
}

/// Every entry below `dir` except `except`, by relative path. Does not follow links, and accepts paths of any
/// length.
pub(super) fn entries(dir: &Path, except: &str) -> BTreeMap<PathBuf, Entry> {
    let mut found = BTreeMap::new();
    collect(&File::open(dir).unwrap(), Path::new(""), except, &mut found);
    found
}

pub(super) fn collect(dir: &File, above: &Path, except: &str, found: &mut BTreeMap<PathBuf, Entry>) {
    for entry in Dir::read_from(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") || name.to_bytes() == except.as_bytes() {
            continue;
        }
        let path = above.join(OsStr::from_bytes(name.to_bytes()));
        let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        let kind = FileType::from_raw_mode(stat.st_mode);
        let mut content = Vec::new();
        if kind == FileType::Symlink {
            content = readlinkat(dir, name, Vec::new()).unwrap().into_bytes();
        } else {
            let mut child = File::from(openat(dir, name, OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty()).unwrap());
            if kind == FileType::RegularFile {
                child.read_to_end(&mut content).unwrap();
            } else {
                collect(&child, &path, "", found);
            }
        }
        let entry = Entry {
            kind,
            mode: stat.st_mode,
            inode: stat.st_ino,
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            content,
        };
        found.insert(path, entry);
    }
}

pub(super) struct Site {
    pub(super) by: By,
    pub(super) outer: TempDir,
    pub(super) store: FsStore,
    pub(super) service: StorageService,
    /// The entries beside the root, as they were at the start.
    pub(super) beside: BTreeMap<PathBuf, Entry>,
    /// The links below the root and the store's own files, as they were at the start.
    pub(super) kept: BTreeMap<PathBuf, Entry>,
    /// The content last acknowledged for each key.
    pub(super) stored: BTreeMap<BlobKey, String>,
    /// The contents that a fetch may return.
    pub(super) contents: HashSet<String>,
}

impl Site {
    /// A store with links to files beside its root. The files exist if `secrets` is set.
    pub(super) async fn new(by: By, secrets: bool) -> Self {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("root");
        fs::create_dir_all(root.join("EVIL")).unwrap();
        if secrets {
            for file in [
                "secret.mp3",
                "secret/secret.mp3",
                "secret/DOC/message.mp3",
                "VICTIM/DOC/message.mp3",
                "x",
            ] {
                let file = outer.path().join(file);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, SECRET).unwrap();
            }
        }
        symlink("../secret", root.join("link")).unwrap();
        symlink("../secret/secret.mp3", root.join("link.mp3")).unwrap();
        symlink("../../secret", root.join("EVIL/link")).unwrap();
        symlink("../../secret.mp3", root.join("EVIL/secret.mp3")).unwrap();
        let store = FsStore::options().durable(false).open(&root).unwrap();
        for path in ["VICTIM/DOC/message.mp3", "VICTIM/DOC/%2Emessage.mp3.json"] {
            let upload = Upload::new(BlobKey::from_path(path).unwrap(), VICTIM);
            store.put(upload).await.unwrap();
        }
        let mut site = Self {
            by,
            service: by.storage(store.clone()).into_service(),
            store,
            beside: entries(outer.path(), "root"),
            kept: BTreeMap::new(),
            stored: BTreeMap::new(),
            contents: HashSet::new(),
            outer,
        };
        site.kept = site.not_stored();
        assert_eq!(
            site.kept.len(),
            7,
            "the lock, four links and two files: {:?}",
            site.kept
        );
        site
    }

    /// The links below the root, the store's own files, and the files of the victim.
    pub(super) fn not_stored(&self) -> BTreeMap<PathBuf, Entry> {
        let mut entries = entries(&self.outer.path().join("root"), "");
        entries.retain(|path, entry| {
            // Storing a file changes the time of its directory.
            let own = path.starts_with(".stage") && path != Path::new(".stage");
            own || entry.kind == FileType::Symlink || entry.content == VICTIM.as_bytes()
        });
        entries
    }

    pub(super) async fn ask(&self, ask: &PathRequest) -> Option<Answer> {
        let response = self.service.clone().oneshot(ask.request()?).await.unwrap();
        Some(answer(response).await)
    }

    /// Uploads `content`, fetches it, and checks both answers. Returns them.
    pub(super) async fn try_out(&mut self, spelling: &str, content: String) -> Option<[Answer; 2]> {
        let put = self.ask(&self.by.put(spelling, &content)).await?;
        self.judge_put(spelling, content, &put);
        let get = self.ask(&self.by.get(spelling)).await?;
        self.judge_get(spelling, &put, &get);
        Some([put, get])
    }

    pub(super) fn judge_put(&mut self, spelling: &str, content: String, put: &Answer) {
        if put.status == 201 {
            if let Some(before) = self.stored.insert(self.by.key(spelling), content.clone()) {
                self.contents.remove(&before);
            }
            self.contents.insert(content);
        } else {
            refusal(spelling, put);
        }
    }

    pub(super) fn judge_get(&self, spelling: &str, put: &Answer, get: &Answer) {
        if put.status == 201 {
            assert_eq!(get.status, 200, "{spelling}: {get:?}");
            assert_eq!(
                get.body,
                self.stored[&self.by.key(spelling)].as_bytes(),
                "{spelling}: {get:?}"
            );
        } else if get.status == 200 {
            // A file stored at the start of the fetched path.
            let content = String::from_utf8(get.body.clone()).unwrap();
            assert!(self.contents.contains(&content), "{spelling}: {get:?}");
        } else {
            refusal(spelling, get);
        }
    }

    /// Asserts the invariants.
    pub(super) async fn verify(&self) {
        // Nothing beside the root was created, changed or removed. No link was replaced. The store's own files and the
        // victim's are untouched.
        assert_eq!(entries(self.outer.path(), "root"), self.beside);
        assert_eq!(self.not_stored(), self.kept);
        // Exactly the acknowledged files exist, each with its content.
        let listed: Vec<_> = self.store.list(None).try_collect().await.unwrap();
        let mut keys: Vec<BlobKey> = listed.into_iter().map(|entry| entry.key).collect();
        keys.sort();
        let victim = ["VICTIM/DOC/%2Emessage.mp3.json", "VICTIM/DOC/message.mp3"];
        let mut expected: Vec<BlobKey> = self.stored.keys().cloned().collect();
        expected.extend(victim.map(|path| BlobKey::from_path(path).unwrap()));
        expected.sort();
        let differ = keys.iter().filter(|key| expected.binary_search(key).is_err());
        let differ: Vec<_> = differ
            .chain(expected.iter().filter(|key| keys.binary_search(key).is_err()))
            .collect();
        assert!(
            keys == expected,
            "listed and not acknowledged, or the reverse: {differ:?}"
        );
        for (key, content) in &self.stored {
            let blob = self.store.get(key, None).await.unwrap().into_blob().unwrap();
            assert_eq!(blob.body.collect().await.unwrap().to_bytes(), *content, "{key}");
        }
        // They are regular files.
        let mut contents: Vec<Vec<u8>> = Vec::new();
        for (path, entry) in entries(&self.outer.path().join("root"), ".stage") {
            let sidecar = path.file_name().unwrap().as_bytes().starts_with(b".");
            if entry.kind == FileType::RegularFile && !sidecar {
                contents.push(entry.content);
            }
        }
        contents.sort();
        let mut expected: Vec<Vec<u8>> = self
            .stored
            .values()
            .map(|content| content.clone().into_bytes())
            .collect();
        expected.extend([VICTIM.into(), VICTIM.into()]);
        expected.sort();
        assert!(
            contents == expected,
            "{} files, {} were acknowledged",
            contents.len(),
            expected.len()
        );
    }
}

pub(super) async fn answer(response: Response<Body>) -> Answer {
    let (head, body) = response.into_parts();
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Answer {
        status: head.status.as_u16(),
        headers: head
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect(),
        body: body.collect().await.unwrap().to_bytes().to_vec(),
        framing: Framing::Length,
        interim: Vec::new(),
    }
}

/// Asserts that `answer` names the fault and nothing else.
pub(super) fn refusal(spelling: &str, answer: &Answer) {
    assert!((400..500).contains(&answer.status), "{spelling}: {answer:?}");
    let message = answer.refusal(answer.status);
    for secret in ["secret beside", "voicemail of", "os error", "/tmp"] {
        assert!(!message.contains(secret), "{spelling}: {message}");
    }
}
