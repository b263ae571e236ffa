//! The examples, run as programs.

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use kazoo_storage_client::Dialect;

/// Time limit for a program.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A running example, killed when it is dropped.
struct Example {
    child: Child,
    stdout: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Example {
    /// Starts the example `name` on a free port.
    fn start(name: &str, args: &[&str]) -> Self {
        let program = directory().join(format!("{name}{}", env::consts::EXE_SUFFIX));
        let mut child = Command::new(program)
            .arg("0")
            .args(args)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut example = Self {
            stdout: BufReader::new(child.stdout.take().unwrap()),
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        let mut line = String::new();
        example.stdout.read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on http://");
        let address = address.unwrap_or_else(|| panic!("{name} said {line:?}"));
        example.address = address.parse().unwrap();
        example
    }

    /// The status and the body of the answer to `head`, a request's first lines, and `body`.
    fn answer(&self, head: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let length = body.len();
        let head = format!(
            "{head}\r\ncontent-length: {length}\r\nte: \r\nhost: {}\r\n",
            self.address
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(b"connection: close\r\n\r\n").unwrap();
        stream.write_all(body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head["HTTP/1.1 ".len()..][..3].parse().unwrap(), body.to_owned())
    }

    fn get(&self, target: &str) -> (u16, String) {
        self.answer(&format!("GET {target} HTTP/1.1"), b"")
    }

    /// Stores a file in every form that KAZOO sends, and fetches it from both targets that KAZOO uses.
    fn is_a_storage_backend(&self) {
        let target = "/some_prefix/0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7/202401-DOC/my%20message.mp3";
        let plain = "content-type: audio/mpeg";
        let multipart = format!("content-type: multipart/form-data; boundary={BOUNDARY}");
        for (verb, content_type, body) in [
            ("PUT", plain, MEDIA.as_bytes().to_vec()),
            ("POST", plain, MEDIA.as_bytes().to_vec()),
            ("PUT", &*multipart, in_multipart(MEDIA)),
            ("POST", "content-type: multipart/mixed", in_multipart(MEDIA)),
            ("PUT", &*multipart, in_multipart(MEDIA_IN_BASE64)),
        ] {
            let stored = self.answer(&format!("{verb} {target} HTTP/1.1\r\n{content_type}"), &body);
            assert_eq!(stored, (201, String::new()), "{verb} {content_type}");
            let doubled = format!("{target}{}?call_id=b3f6", &target["/some_prefix".len()..]);
            for target in [target, &doubled] {
                assert_eq!(
                    self.get(target),
                    (200, MEDIA.to_owned()),
                    "{verb} {content_type} {target}"
                );
            }
        }
        let cut_off = &in_multipart(MEDIA)[..200];
        let refused = self.answer(&format!("PUT {target} HTTP/1.1\r\n{multipart}"), cut_off);
        assert_eq!(refused.0, 400, "{refused:?}");
        assert_eq!(self.get(target), (200, MEDIA.to_owned()), "what was there stays");
        assert_eq!(self.get("/some_prefix/ACC/DOC/absent.mp3").0, 404);
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Builds the examples, and returns their directory.
///
/// `cargo test` builds them too, but not if it runs a single test, and not those that contain tests.
fn directory() -> &'static PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        // target/[TRIPLE/]PROFILE/deps/this-test
        let this_test = env::current_exe().unwrap();
        let profile = this_test.ancestors().nth(2).unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        // The packages and features of `cargo test --all-features`: nothing is built with a second set of features.
        cargo.args(["build", "--quiet", "--workspace", "--all-features", "--examples"]);
        match profile.file_name().unwrap().to_str().unwrap() {
            "debug" => {}
            profile => drop(cargo.args(["--profile", profile])),
        }
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(cargo.status().unwrap().success(), "the examples compile");
        profile.join("examples")
    })
}

const BOUNDARY: &str = "-k8Zt0aQx_YB7Uq4v1LdWm3Rj9NsHc2EoP6gIfTnKbVyXwSz5DlMuAeJrGhCi0O-";
const JSON: &str = r#"{"id":"202401-DOC","call_id":"b3f6","caller_id_name":"Zoë"}"#;
const MEDIA: &str = "ID3\u{4}\0\0not really music, and not really base64 either\r\n--\r\n";
const MEDIA_IN_BASE64: &str = "SUQzBAAAbm90IHJlYWxseSBtdXNpYywgYW5kIG5vdCByZWFsbHkgYmFzZTY0IGVpdGhlcg0KLS0NCg==";

/// A multipart body as KAZOO since 4.3.21 lays it out: a line break first, none last, names without quotes.
fn in_multipart(media: &str) -> Vec<u8> {
    format!(
        "\r\n--{BOUNDARY}\r\ncontent-disposition: form-data; name=202401-DOC\r\ncontent-type: application/json\r\n\r\n{JSON}\
         \r\n--{BOUNDARY}\r\ncontent-disposition: form-data; name=my message.mp3\r\ncontent-type: audio/mpeg\r\n\r\n{media}\
         \r\n--{BOUNDARY}--"
    )
    .into_bytes()
}

#[test]
fn axum() {
    let root = tempfile::tempdir().unwrap();
    let files = root.path().to_str().unwrap();
    let example = Example::start("axum", &[files]);
    example.is_a_storage_backend();
    assert_eq!(example.get("/health"), (200, "the rest of the application".to_owned()));
    drop(example);
    let example = Example::start("axum", &[files]);
    let target = "/some_prefix/0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7/202401-DOC/my%20message.mp3";
    assert_eq!(
        example.get(target),
        (200, MEDIA.to_owned()),
        "the files outlive the program"
    );
}

#[test]
fn hyper() {
    let example = Example::start("hyper", &[]);
    example.is_a_storage_backend();
    assert_eq!(example.get("/other"), (200, "the rest of the application".to_owned()));
}

#[test]
fn custom_store() {
    Example::start("custom_store", &[]).is_a_storage_backend();
}

#[test]
fn object_store() {
    let example = Example::start("object_store", &[]);
    example.is_a_storage_backend();
    let (status, files) = example.get("/files");
    assert_eq!(status, 200);
    assert!(
        files.lines().any(|key| key.ends_with("/202401-DOC/my%20message.mp3")),
        "{files}"
    );
}

#[test]
fn only_multipart() {
    let example = Example::start("only_multipart", &[]);
    let multipart =
        format!("PUT /upload/my%20message.mp3 HTTP/1.1\r\ncontent-type: multipart/form-data; boundary={BOUNDARY}");
    let length = MEDIA.len();
    let (status, said) = example.answer(&multipart, &in_multipart(MEDIA));
    let report = format!("my message.mp3: {length} bytes of audio/mpeg, call \"b3f6\"\n");
    assert_eq!((status, said), (201, report));

    let plain = "POST /upload/x.mp3 HTTP/1.1\r\ncontent-type: audio/x-wav";
    let (status, said) = example.answer(plain, MEDIA.as_bytes());
    let report = format!("x.mp3: {length} bytes of audio/x-wav, call null\n");
    assert_eq!((status, said), (201, report));

    let whole = in_multipart(MEDIA);
    let (status, said) = example.answer(&multipart, &whole[..whole.len() - 2]);
    assert_eq!(status, 400, "{said}");
    assert!(said.contains("closing delimiter"), "{said}");
}

#[test]
fn play_kazoo() {
    let server = Example::start("hyper", &[]);
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("my message.mp3");
    std::fs::write(&file, MEDIA).unwrap();
    let play = |url: &str| {
        let program = directory().join(format!("play_kazoo{}", env::consts::EXE_SUFFIX));
        let output = Command::new(program).arg(url).arg(&file).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) = play(&format!("http://{}/some_prefix", server.address));
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        said.matches(": stored and fetched\n").count(),
        Dialect::ALL.len(),
        "{said}"
    );
    let (code, said) = play(&format!("http://{}/other", server.address));
    assert_eq!(code, Some(1), "{said}");
    // It answers 200 to everything. The oldest releases do not check the content.
    assert!(
        said.starts_with("kazoo-4.0 (4.0 to 4.3.16): the fetched content differs\n"),
        "{said}"
    );
    assert_eq!(
        said.matches(r#"500 {"cause":"invalid_data","message":"datastore_fault"}"#)
            .count(),
        Dialect::ALL.len() - 1,
        "{said}"
    );
}
