//! The captured requests of `tests/fixtures/kazoo`.

use std::{
    collections::HashMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::client::find;

/// Every case of the manifest that sent a request, in its order.
pub static FIXTURES: LazyLock<Vec<Fixture>> = LazyLock::new(load);

/// One store that KAZOO sent, and the fetch that followed.
#[derive(Debug)]
pub struct Fixture {
    /// `DIALECT-REVISION__WHAT`.
    pub case: String,
    /// The store, byte for byte.
    pub request: Vec<u8>,
    /// `true` if `request` is stored as captured, and not constructed or rebuilt from its description.
    pub captured: bool,
    /// The fetch, byte for byte, if one was sent.
    pub fetch: Option<Vec<u8>>,
    /// KAZOO's storage settings, as JSON.
    pub settings: String,
    /// The URL in them.
    pub url: String,
    /// The bytes that a fetch must answer.
    pub content: Arc<[u8]>,
    /// The media type that a fetch must answer with.
    pub content_type: String,
    /// `true` if the body is multipart.
    pub multipart: bool,
    /// Encoding of the body by `base64_encode_data`.
    pub encoding: Encoding,
    /// The JSON part of a multipart body, to the byte.
    pub metadata: Option<String>,
}

/// Encoding of an upload by the setting `base64_encode_data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// It is not set.
    Off,
    /// It is set, and makes no difference: to a raw body never, and in some releases to none.
    Ignored,
    /// The media part is base64.
    Base64,
}

/// Part of the request that contains the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// In the path.
    Path,
    /// In this parameter of the query.
    Query(&'static str),
    /// Nowhere: one URL for everything.
    Metadata,
}

impl Fixture {
    /// `WHAT`, the case without its dialect.
    pub fn what(&self) -> &str {
        self.case.split_once("__").expect("a case is DIALECT__WHAT").1
    }

    /// The dialect without its revision, such as `D3`.
    pub fn dialect(&self) -> &str {
        self.case.split_once('-').expect("a case begins with DIALECT-").0
    }

    /// Returns `true` if it is the file that KAZOO stores and fetches to test its settings.
    pub fn is_probe(&self) -> bool {
        self.what().ends_with("probe")
    }

    /// The part of the request that contains the key.
    pub fn key_place(&self) -> KeyPlace {
        if self.what() == "fieldlist-empty" || self.what() == "url-fragment" {
            KeyPlace::Metadata
        } else if self.url.ends_with("&recording=") {
            KeyPlace::Query("recording")
        } else {
            KeyPlace::Path
        }
    }

    /// The path that the settings put in front of every key, as it is in the request: empty, or with a leading slash
    /// and without a trailing one.
    pub fn mount(&self) -> &str {
        let url = self.url.split(['?', '#']).next().unwrap();
        let (_, after_scheme) = url.split_once("://").expect("an absolute URL");
        let path = after_scheme.find('/').map_or("", |slash| &after_scheme[slash..]);
        let path = path.trim_end_matches('/');
        if target(&self.request).starts_with(path.as_bytes()) {
            return path;
        }
        // Newer Erlang clients normalise the path of the base URL before they use it.
        assert_eq!(path, "/pre%2Dfix/./x", "{}", self.case);
        "/pre-fix/x"
    }

    /// The JSON part of the captured body, byte for byte.
    pub fn metadata_bytes(&self) -> &[u8] {
        self.parts()[0]
    }

    /// The media part of the captured body, byte for byte.
    pub fn media_bytes(&self) -> &[u8] {
        self.parts()[1]
    }

    /// The two parts of the captured body without their headers. The boundary is taken from the first line, which
    /// holds for every dialect.
    fn parts(&self) -> [&[u8]; 2] {
        let body = body(&self.request);
        let body = body.strip_prefix(b"\r\n").expect("a leading CRLF");
        let line = find(body, b"\r\n").unwrap();
        let delimiter = [b"\r\n", &body[..line]].concat();
        let part = |from: &'static str, bytes| -> (&[u8], &[u8]) {
            let bytes: &[u8] = bytes;
            let start = find(bytes, b"\r\n\r\n").expect(from) + 4;
            let len = find(&bytes[start..], &delimiter).expect(from);
            (&bytes[start..start + len], &bytes[start + len + delimiter.len()..])
        };
        let (json, rest) = part("a JSON part", &body[line..]);
        let (media, rest) = part("a media part", rest);
        assert_eq!(rest, b"--", "the closing delimiter");
        [json, media]
    }
}

/// The target of a request: what stands between its method and its version.
pub fn target(request: &[u8]) -> &[u8] {
    let line = &request[..find(request, b"\r\n").expect("a request line")];
    let start = find(line, b" ").expect("a method") + 1;
    let end = line.len() - " HTTP/1.1".len();
    &line[start..end]
}

/// The body of a request.
pub fn body(request: &[u8]) -> &[u8] {
    &request[find(request, b"\r\n\r\n").expect("a whole head") + 4..]
}

/// A fetch of `target` with the headers that KAZOO sends: no `user-agent`, no `accept`.
pub fn kazoo_fetch(target: &[u8]) -> Vec<u8> {
    [
        b"GET ",
        target,
        b" HTTP/1.1\r\ncontent-length: 0\r\nte: \r\nhost: 127.0.0.1:36177\r\nconnection: keep-alive\r\n\r\n",
    ]
    .concat()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|directory| directory.join("tests/fixtures/kazoo"))
        .find(|fixtures| fixtures.is_dir())
        .unwrap()
}

fn load() -> Vec<Fixture> {
    let mut contents = HashMap::new();
    manifest()
        .iter()
        .filter(|entry| entry["sent"] == true)
        .map(|entry| {
            let content_file = text(entry, "expected_content_file");
            let content = contents
                .entry(content_file)
                .or_insert_with(|| Arc::from(read(content_file)));
            fixture(entry, Arc::clone(content))
        })
        .collect()
}

/// Every entry of the manifest, those that sent nothing too.
pub fn manifest() -> Vec<Value> {
    serde_json::from_slice(&read("manifest.json")).expect("the manifest is a JSON array")
}

fn fixture(entry: &Value, content: Arc<[u8]>) -> Fixture {
    let file = entry["file"].as_str();
    Fixture {
        case: text(entry, "case").to_owned(),
        request: file.map_or_else(|| rebuild(entry, &content), read),
        captured: file.is_some() && entry["constructed"] != true,
        fetch: entry["get_file"].as_str().map(read),
        settings: entry["settings"].to_string(),
        url: text(entry, "url").to_owned(),
        content,
        content_type: match entry["part_headers"].as_array() {
            Some(parts) => {
                let (_, value) = parts[1].as_str().unwrap().rsplit_once("content-type: ").unwrap();
                value.to_owned()
            }
            None => text(entry, "content_type").to_owned(),
        },
        multipart: entry["multipart"] == true,
        encoding: match (entry["base64_encode_data"] == true, entry["base64"] == true) {
            (false, false) => Encoding::Off,
            (true, false) => Encoding::Ignored,
            (true, true) => Encoding::Base64,
            (false, true) => panic!("{entry}"),
        },
        metadata: entry["expected_metadata"].as_str().map(str::to_owned),
    }
}

/// The request that `entry` describes.
///
/// KAZOO puts every header and every part in a fixed place, so its requests can be rebuilt to the byte; a test
/// compares the result with those that were kept.
pub fn rebuild(entry: &Value, content: &[u8]) -> Vec<u8> {
    let body = match entry["part_headers"].as_array() {
        Some(headers) => {
            let json = text(entry, "expected_metadata");
            let media = if entry["base64"] == true {
                STANDARD.encode(content).into_bytes()
            } else {
                content.to_vec()
            };
            let delimiter = format!("\r\n--{}", text(entry, "boundary"));
            let mut body = Vec::new();
            for (headers, part) in headers.iter().zip([json.as_bytes(), &media]) {
                body.extend_from_slice(format!("{delimiter}\r\n{}\r\n\r\n", headers.as_str().unwrap()).as_bytes());
                body.extend_from_slice(part);
            }
            body.extend_from_slice(format!("{delimiter}--").as_bytes());
            body
        }
        None => content.to_vec(),
    };
    let mut head = format!(
        "{} {} HTTP/1.1\r\n",
        text(entry, "verb").to_ascii_uppercase(),
        text(entry, "put_target")
    );
    for name in entry["headers"].as_array().expect("headers") {
        let name = name.as_str().unwrap();
        let value = match name {
            "content-type" | "content_type" => text(entry, "content_type").to_owned(),
            "content-length" => body.len().to_string(),
            "te" => String::new(),
            "host" => "127.0.0.1:36177".to_owned(),
            "connection" => "keep-alive".to_owned(),
            other => panic!("{other} is not described"),
        };
        writeln!(head, "{name}: {value}\r").unwrap();
    }
    [head.as_bytes(), b"\r\n", &body].concat()
}

fn text<'a>(entry: &'a Value, field: &str) -> &'a str {
    entry[field].as_str().unwrap_or_else(|| panic!("{field} in {entry}"))
}

fn read(name: impl AsRef<Path>) -> Vec<u8> {
    let path = folder().join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
