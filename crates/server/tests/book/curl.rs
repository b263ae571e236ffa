//! The subset of curl that the pages use, so that nothing has to be installed.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    time::Duration,
};

/// Time limit for an answer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The answer to a request: head and body.
pub(crate) struct Answer {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// A parsed command line.
#[derive(Default)]
struct Request {
    method: Option<String>,
    headers: Vec<String>,
    body: Option<Vec<u8>>,
    parts: Vec<u8>,
    output: Option<String>,
    url: String,
}

const BOUNDARY: &str = "------------------------b00k";

/// Sends the request in `arguments` to `server`. Files are in `directory`.
pub(crate) fn curl(arguments: &[String], server: &str, directory: &Path) -> Answer {
    let read = |name: &str| fs::read(directory.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut request = Request::default();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .unwrap_or_else(|| panic!("{word} of curl needs a value"))
                .as_str()
        };
        match word.as_str() {
            "-i" | "-s" | "-sS" => {}
            "-X" => request.method = Some(value().to_owned()),
            "-H" => request.headers.push(value().to_owned()),
            "-o" => request.output = Some(value().to_owned()),
            "-T" => {
                request.body = Some(read(value()));
                request.method.get_or_insert_with(|| "PUT".to_owned());
            }
            "-d" => request.body = Some(value().as_bytes().to_vec()),
            "--data-binary" => request.body = Some(read(value().strip_prefix('@').expect("@FILE"))),
            "-u" => {
                use base64::Engine as _;
                let encoded = base64::engine::general_purpose::STANDARD.encode(value());
                request.headers.push(format!("authorization: Basic {encoded}"));
            }
            "-F" => part(&mut request.parts, value(), read),
            url if url.starts_with("http://") => url.clone_into(&mut request.url),
            other => panic!("the book's curl has no {other}"),
        }
    }
    if !request.parts.is_empty() {
        request
            .parts
            .extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        request
            .headers
            .push(format!("content-type: multipart/form-data; boundary={BOUNDARY}"));
        request.body = Some(std::mem::take(&mut request.parts));
        request.method.get_or_insert_with(|| "POST".to_owned());
    }
    let answer = request.send(server);
    if let Some(name) = request.output {
        fs::write(directory.join(name), &answer.body).unwrap();
    }
    answer
}

/// `NAME=TEXT;type=TYPE`, or `@FILE` instead of the text.
fn part(body: &mut Vec<u8>, form: &str, read: impl Fn(&str) -> Vec<u8>) {
    let (name, rest) = form.split_once('=').expect("NAME=VALUE");
    let (value, media_type) = rest.split_once(";type=").expect("a type");
    let content = value.strip_prefix('@').map_or_else(|| value.as_bytes().to_vec(), read);
    let head = format!(
        "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"\r\ncontent-type: {media_type}\r\n\r\n"
    );
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(&content);
    body.extend_from_slice(b"\r\n");
}

impl Request {
    fn send(&self, server: &str) -> Answer {
        let rest = self.url.strip_prefix("http://").unwrap();
        let (host, target) = rest.split_once('/').unwrap();
        assert_eq!(host, "127.0.0.1:8080", "where the book's server is");
        let method = self.method.as_deref().unwrap_or("GET");
        let mut head = format!("{method} /{target} HTTP/1.1\r\nhost: {server}\r\nuser-agent: curl\r\naccept: */*\r\n");
        head.push_str("connection: close\r\n");
        for header in &self.headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        if let Some(body) = &self.body {
            let length = format!("content-length: {}\r\n", body.len());
            head.push_str(&length);
        }
        let mut stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        stream.write_all(self.body.as_deref().unwrap_or_default()).unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        let end = received
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .expect("a head");
        let head = String::from_utf8(received[..end].to_vec()).unwrap();
        assert!(!head.contains("chunked"), "the book's curl reads no chunks");
        Answer {
            head,
            body: received.split_off(end + 4),
        }
    }
}
