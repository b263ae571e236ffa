//! Every name addresses its own file below the root, and nothing else.
//!
//! The test uploads and fetches a corpus of path traversal attempts, with each key extractor, in a store that has
//! secrets beside its root and links to them below it. [`Site::verify`] lists the invariants. A site without
//! the secrets gives the same answers, so no answer reveals whether a file exists.

// On other systems, names that differ only in case may be one file.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
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
use kazoo_storage_test_support::{
    client::{Answer, Connection, Framing, Pace, request},
    server::{Front, Server},
};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, readlinkat, statat};
use tempfile::TempDir;
use tower::ServiceExt as _;

const SECRET: &str = "the secret beside the root";
const VICTIM: &str = "the voicemail of another account";

// ---- the corpus ----

/// Names and pieces of paths, percent-encoded or not.
#[rustfmt::skip]
const PIECES: &[&str] = &[
    // The parent directory, for some readers.
    "..", ".", "%2e%2e", "%2e", ".%2e", "%2e.", "...", "....", "....//", "..;", "..;a=b", ". .", "..%20", "%20..",
    "..+", "%c0%ae%c0%ae", "%c0%2e%c0%2e", "%e0%80%ae%e0%80%ae", "%f0%80%80%ae%f0%80%80%ae", "%uff0e%uff0e",
    "%u002e%u002e", "．．", "%ef%bc%8e%ef%bc%8e", "․․", "%e2%80%a5", "..%00", "%00..", "..%01", "..%0a", "..%0d%0a",
    "..%09", "..%7f", "..%c2%85", "..%e2%80%8b", "..%e2%80%ae", "..%ef%bb%bf", "..%cc%81", "x%2f..", "x%2f..%2f..",
    "x%5c..%5c..",
    // A separator, for some readers.
    "..%2f", "..%2f..%2f..", "..%5c", "..%5c..%5c..", "..\\", "..\\..\\", "%2e%2e%2f", "..%252f", "..%255c",
    "..%c0%af", "..%e0%80%af", "..%c1%9c", "..%c1%1c", "..%ef%bc%8f", "..%e2%88%95", "..%e2%81%84", "..%u2215",
    "..%u2216", "..%01/", ".%5c", "%2e%2f", "a%2fb", "a%5cb", "a\\b", "a:b", "%2f", "%5c", "%2f%2f", "%2f..", "%3f",
    "%23", "%26", "%3b", "%3d",
    // Absolute paths.
    "%2fetc%2fpasswd", "%2fdev%2fnull", "%2fproc%2fself%2fenviron", "%2fproc%2fself%2froot", "file:%2f%2f%2fetc",
    "C:", "C:%5c", "C:\\windows\\win.ini", "c:%2fboot.ini", "%5c%5chost%5cshare", "%5c%5c.%5cC:", "%5c%5c%3f%5cC:%5c",
    "~", "~root", "$HOME", "%24%28id%29", "%60id%60", "%7cid", "-rf", "--", "*", "%3f%3f",
    // Names that are special to an operating system.
    "CON", "con", "NUL", "nul.mp3", "aux.mp3", "PRN", "COM1", "com9.wav", "LPT1.txt", "CON.", "CLOCK$", "CONIN$",
    "a.mp3::$DATA", "a.mp3:stream", "PROGRA~1", "lost+found", "desktop.ini", "thumbs.db", ".htaccess", ".git", ".ssh",
    "core", "dev", "proc", "stdin", "index.html", "a.mp3.", "a.mp3..", "a.mp3%20", "a.mp3%20.", "%20", "%20a.mp3",
    "%c2%a0",
    // Names that are special to the store.
    ".stage", "%2estage", ".STAGE", ".stage%2flock", "%2estage%2fjournal.0", ".stage%2f", ".stage.",
    ".message.mp3.json", "%2emessage.mp3.json", "..message.mp3.json.json", ".message.mp3", ".json", "%", "%25",
    "x%25", "x%", "%%", "%2", "%zz", "%2g", "%252E", "%2E", "%25%32%45", "%%32%65", "x%2525", "message.mp3%25",
    "journal.0", "lock", "root", "secret", "secret.mp3", "link", "link.mp3", "LINK", "link%2fsecret.mp3", "link%00",
    "victim", "VICTIM%2fDOC%2fmessage.mp3", "..%2fVICTIM", "..%2froot", "..%2fsecret%2fsecret.mp3",
    // Text that looks the same, or runs right to left.
    "%c3%a9.mp3", "e%cc%81.mp3", "%e2%84%aa", "K", "k", "%ef%ac%81", "fi", "%c5%bf", "s", "%c3%9f", "ss", "%ce%a9",
    "%e2%84%a6", "%e2%80%aegpj.exe", "%e2%81%a6a%e2%81%a9", "%e2%80%8f", "%e2%80%8b", "%ef%bb%bf", "a%e2%80%8d",
    "%f0%9f%94%8a", "%e2%80%a8", "grüße €", "%f4%8f%bf%bf", "%ef%bf%bf",
    // Invalid UTF-8.
    "%80", "%ff", "%fe%ff", "%c0%80", "%e0%80%80", "%ed%a0%80", "%ed%b0%80", "%f8%88%80%80%80", "%f4%90%80%80", "%c3",
    "%e2%82", "a%ffb", "%c2%2e", "%aa%bb",
];

/// `text` with every byte percent-encoded.
fn encoded(text: &str) -> String {
    text.bytes()
        .fold(String::new(), |text, byte| format!("{text}%{byte:02x}"))
}

/// `text` with the hex digits of its escapes in the other case.
fn other_case(text: &str) -> String {
    let mut parts = text.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let digits = part.char_indices().nth(2).map_or(part.len(), |(at, _)| at);
        let (digits, rest) = part.split_at(digits);
        let upper = digits.to_ascii_uppercase();
        let digits = if upper == digits {
            digits.to_ascii_lowercase()
        } else {
            upper
        };
        format!("{text}%{digits}{rest}")
    })
}

/// Every piece, every forbidden byte at each position, and lengths around each limit.
fn pieces() -> BTreeSet<String> {
    let mut pieces = BTreeSet::new();
    for piece in PIECES {
        pieces.insert((*piece).to_owned());
        pieces.insert(other_case(piece));
        pieces.insert(piece.replace('%', "%25"));
        pieces.insert(piece.replace('%', "%2525"));
        pieces.insert(encoded(piece));
        pieces.insert(encoded(piece).replace('%', "%25"));
    }
    let name = "message.mp3";
    for at in 0..=name.len() {
        for bad in ["%00", "%0a", "%2500", "%c0%80"] {
            pieces.insert(format!("{}{bad}{}", &name[..at], &name[at..]));
        }
    }
    for byte in (0..0x20).chain(0x7f..=0xa0) {
        pieces.insert(format!("a%{byte:02x}"));
        pieces.insert(format!("a%c2%{:02x}.mp3", byte | 0x80));
    }
    for len in [
        1, 2, 120, 238, 239, 240, 241, 242, 254, 255, 256, 257, 480, 1023, 1024, 1025,
    ] {
        for (unit, size) in [
            ("x", 1),
            ("%25", 1),
            ("%2e", 1),
            ("%2f", 1),
            ("%c3%a9", 2),
            ("%f0%9f%94%8a", 4),
        ] {
            pieces.insert(unit.repeat(len / size));
            pieces.insert(format!("{}.mp3", unit.repeat(len.saturating_sub(4) / size)));
        }
    }
    pieces
}

/// Every spelling of a path, without the leading slash.
fn corpus() -> Vec<String> {
    let mut corpus = BTreeSet::new();
    for piece in pieces() {
        let deep = |times: usize| format!("{piece}/").repeat(times);
        corpus.extend([
            format!("{piece}/DOC/message.mp3"),
            format!("EVIL/{piece}/message.mp3"),
            format!("EVIL/DOC/{piece}"),
            format!("EVIL/DOC/a{piece}"),
            format!("{}secret/secret.mp3", deep(1)),
            format!("EVIL/{}secret.mp3", deep(3)),
            format!("EVIL/DOC/{}root/VICTIM/DOC/message.mp3", deep(4)),
            format!("link/{piece}"),
            format!("EVIL/link/{piece}/secret.mp3"),
        ]);
    }
    for (times, name) in [(31, "deep"), (32, "deep"), (33, "deep"), (4000, "x"), (4000, "..")] {
        corpus.insert(format!("{}{name}", format!("{name}/").repeat(times - 1)));
    }
    for len in [4096, 60_000] {
        corpus.insert(format!("EVIL/DOC/{}", "x".repeat(len)));
        corpus.insert(format!("EVIL/DOC/{}", "%2e".repeat(len / 3)));
    }
    let corpus: Vec<String> = corpus.into_iter().filter(|spelling| !spelling.is_empty()).collect();
    assert!(corpus.len() >= 10_000, "{}", corpus.len());
    corpus
}

// ---- the ways to find a key ----

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Path,
    Query,
    Metadata,
}

/// A request as text, because not every target is a valid [`Uri`].
struct Ask {
    method: &'static str,
    target: String,
    content_type: &'static str,
    body: String,
}

impl By {
    fn storage(self, store: FsStore) -> KazooStorage {
        let storage = KazooStorage::new(store);
        match self {
            Self::Path => storage.key(PathKey),
            Self::Query => storage.key(QueryKey::new("recording")),
            Self::Metadata => storage.key(MetadataKey::new(["media_id"])),
        }
    }

    fn put(self, spelling: &str, content: &str) -> Ask {
        let mut ask = Ask {
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

    fn get(self, spelling: &str) -> Ask {
        Ask {
            method: "GET",
            target: self.target(spelling),
            content_type: "audio/mpeg",
            body: String::new(),
        }
    }

    fn target(self, spelling: &str) -> String {
        match self {
            Self::Path => format!("/{spelling}"),
            Self::Query => format!("/?key=abc&recording={spelling}"),
            Self::Metadata => format!("/?folder=new&media_id={}", encoded(spelling)),
        }
    }

    /// The key of an acknowledged upload.
    fn key(self, spelling: &str) -> BlobKey {
        match self {
            Self::Path | Self::Query => BlobKey::from_path(spelling).unwrap(),
            Self::Metadata => BlobKey::from_segments([spelling]).unwrap(),
        }
    }
}

impl Ask {
    /// `None` if the target is not valid HTTP.
    fn request(&self) -> Option<Request<Body>> {
        let uri = Uri::try_from(&self.target).ok()?;
        let request = Request::builder().method(self.method).uri(uri);
        let request = request.header("content-type", self.content_type);
        Some(request.body(Body::from(self.body.clone())).unwrap())
    }

    fn bytes(&self, mount: &str) -> Vec<u8> {
        let target = format!("{mount}{}", self.target);
        request(self.method, &target, &[("content-type", self.content_type)], &self.body)
    }
}

// ---- the store and what is around it ----

/// An entry of a file system.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    kind: FileType,
    mode: u32,
    inode: u64,
    modified: (i64, u64),
    /// The content of a file, or the target of a link.
    content: Vec<u8>,
}

/// Every entry below `dir` except `except`, by relative path. Does not follow links, and accepts paths of any
/// length.
fn entries(dir: &Path, except: &str) -> BTreeMap<PathBuf, Entry> {
    let mut found = BTreeMap::new();
    collect(&File::open(dir).unwrap(), Path::new(""), except, &mut found);
    found
}

fn collect(dir: &File, above: &Path, except: &str, found: &mut BTreeMap<PathBuf, Entry>) {
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

struct Site {
    by: By,
    outer: TempDir,
    store: FsStore,
    service: StorageService,
    /// The entries beside the root, as they were at the start.
    beside: BTreeMap<PathBuf, Entry>,
    /// The links below the root and the store's own files, as they were at the start.
    kept: BTreeMap<PathBuf, Entry>,
    /// The content last acknowledged for each key.
    stored: BTreeMap<BlobKey, String>,
    /// The contents that a fetch may return.
    contents: HashSet<String>,
}

impl Site {
    /// A store with links to files beside its root. The files exist if `secrets` is set.
    async fn new(by: By, secrets: bool) -> Self {
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
    fn not_stored(&self) -> BTreeMap<PathBuf, Entry> {
        let mut entries = entries(&self.outer.path().join("root"), "");
        entries.retain(|path, entry| {
            // Storing a file changes the time of its directory.
            let own = path.starts_with(".stage") && path != Path::new(".stage");
            own || entry.kind == FileType::Symlink || entry.content == VICTIM.as_bytes()
        });
        entries
    }

    async fn ask(&self, ask: &Ask) -> Option<Answer> {
        let response = self.service.clone().oneshot(ask.request()?).await.unwrap();
        Some(answer(response).await)
    }

    /// Uploads `content`, fetches it, and checks both answers. Returns them.
    async fn try_out(&mut self, spelling: &str, content: String) -> Option<[Answer; 2]> {
        let put = self.ask(&self.by.put(spelling, &content)).await?;
        self.judge_put(spelling, content, &put);
        let get = self.ask(&self.by.get(spelling)).await?;
        self.judge_get(spelling, &put, &get);
        Some([put, get])
    }

    fn judge_put(&mut self, spelling: &str, content: String, put: &Answer) {
        if put.status == 201 {
            if let Some(before) = self.stored.insert(self.by.key(spelling), content.clone()) {
                self.contents.remove(&before);
            }
            self.contents.insert(content);
        } else {
            refusal(spelling, put);
        }
    }

    fn judge_get(&self, spelling: &str, put: &Answer, get: &Answer) {
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
    async fn verify(&self) {
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

async fn answer(response: Response<Body>) -> Answer {
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
fn refusal(spelling: &str, answer: &Answer) {
    assert!((400..500).contains(&answer.status), "{spelling}: {answer:?}");
    let message = answer.refusal(answer.status);
    for told in ["secret beside", "voicemail of", "os error", "/tmp"] {
        assert!(!message.contains(told), "{spelling}: {message}");
    }
}

/// The information in an answer, without the time.
fn known(answer: &Answer) -> (u16, &[u8]) {
    (answer.status, &answer.body)
}

async fn try_all<'a>(by: By, spellings: impl Iterator<Item = &'a String>) {
    let mut site = Site::new(by, true).await;
    let mut tried = 0;
    for (number, spelling) in spellings.enumerate() {
        let answers = site.try_out(spelling, format!("{number} is spelled {spelling}")).await;
        tried += usize::from(answers.is_some());
    }
    let stored = site.stored.len();
    assert!(tried > 1000 && stored > tried / 5, "{tried} requests, {stored} files");
    site.verify().await;
}

#[tokio::test]
async fn no_path_leaves_the_root() {
    try_all(By::Path, corpus().iter()).await;
}

/// Only a part of the corpus, because a fetch tries many keys.
#[tokio::test]
async fn no_query_leaves_the_root() {
    try_all(By::Query, corpus().iter().step_by(5)).await;
}

/// Metadata is never percent-encoded, so each spelling is a name, and its decoded form another.
#[tokio::test]
async fn no_metadata_leaves_the_root() {
    let mut names = BTreeSet::new();
    for piece in pieces() {
        for name in [
            piece.clone(),
            format!("{piece}/secret/secret.mp3"),
            format!("EVIL/{piece}/link/{piece}"),
        ] {
            let bytes: Vec<u8> = percent_decode(&name);
            names.extend(String::from_utf8(bytes).ok());
            names.insert(name);
        }
    }
    let names: Vec<String> = names.into_iter().filter(|name| !name.is_empty()).collect();
    try_all(By::Metadata, names.iter().step_by(2)).await;
}

fn percent_decode(text: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(text).collect()
}

/// Answers reveal neither files beside the root nor the target of a link.
#[tokio::test]
async fn no_answer_reveals_files_beside_the_root() {
    let mut with = Site::new(By::Path, true).await;
    let mut without = Site::new(By::Path, false).await;
    let corpus = corpus();
    let near = corpus
        .iter()
        .filter(|spelling| spelling.contains("link/") || spelling.contains("secret"));
    let mut conflicts = 0;
    for (number, spelling) in near.step_by(6).enumerate() {
        let content = format!("{number} is spelled {spelling}");
        let answers = with.try_out(spelling, content.clone()).await;
        let others = without.try_out(spelling, content).await;
        let (Some(answers), Some(others)) = (answers, others) else {
            continue;
        };
        for (answer, other) in answers.iter().zip(&others) {
            assert_eq!(known(answer), known(other), "{spelling}");
            conflicts += usize::from(answer.says("symbolic link"));
        }
    }
    assert!(conflicts > 50, "{conflicts} answers are about a link");
    with.verify().await;
    without.verify().await;
}

/// Both servers give the same answers as the service alone, for a part of the corpus.
#[tokio::test]
async fn no_request_over_a_socket_leaves_the_root() {
    const MOUNT: &str = "/some_prefix";
    let corpus = corpus();
    for front in [Front::Hyper, Front::Axum] {
        for by in [By::Path, By::Query, By::Metadata] {
            let mut alone = Site::new(by, true).await;
            let mut site = Site::new(by, true).await;
            let server = Server::start(front, MOUNT, by.storage(site.store.clone())).await;
            let mut connection = Connection::open(server.address).await;
            for (number, spelling) in corpus.iter().enumerate().step_by(89) {
                let content = format!("{number} is spelled {spelling}");
                let put = by.put(spelling, &content).bytes(MOUNT);
                let Some([put_alone, get_alone]) = alone.try_out(spelling, content.clone()).await else {
                    // The server refuses it and closes the connection.
                    let refused = connection.exchange(&put, Pace::Whole).await;
                    assert!(matches!(refused.status, 400 | 414), "{spelling}: {refused:?}");
                    assert!(connection.is_closed().await, "{spelling}");
                    connection = Connection::open(server.address).await;
                    continue;
                };
                let put = connection.exchange(&put, Pace::Whole).await;
                site.judge_put(spelling, content, &put);
                let get = connection.exchange(&by.get(spelling).bytes(MOUNT), Pace::Whole).await;
                site.judge_get(spelling, &put, &get);
                assert_eq!(known(&put), known(&put_alone), "{spelling}");
                assert_eq!(known(&get), known(&get_alone), "{spelling}");
            }
            assert!(site.stored.len() > 30, "{}", site.stored.len());
            site.verify().await;
            alone.verify().await;
        }
    }
}
