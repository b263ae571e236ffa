//! A client that sends exact bytes and parses HTTP/1.1 answers itself, because an HTTP
//! library would repair both.

use std::{
    fmt::{self, Write as _},
    io,
    net::SocketAddr,
    time::Duration,
};

use serde_json::{Map, Value};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task,
    time::timeout,
};

/// Time limit for an answer.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// The way in which the bytes of a request are written to the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// In one write.
    Whole,
    /// In writes of this many bytes, each sent before the next.
    Pieces(usize),
}

/// One connection to a server, kept open between requests.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

/// The framing of an answer's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body: the answer to HEAD, or a status without one.
    Bodiless,
    /// `content-length`.
    Length,
    /// `transfer-encoding: chunked`, complete.
    Chunked,
    /// The end of the connection.
    Close,
}

/// A complete answer.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub framing: Framing,
    /// The statuses of the interim answers before it.
    pub interim: Vec<u16>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        Self {
            stream,
            received: Vec::new(),
        }
    }

    /// Sends `bytes`. Panics if the server does not read them.
    pub async fn send(&mut self, bytes: &[u8], pace: Pace) {
        self.try_send(bytes, pace)
            .await
            .expect("the server takes the whole request");
    }

    /// Sends `bytes`, or returns the error that interrupted it.
    pub async fn try_send(&mut self, bytes: &[u8], pace: Pace) -> io::Result<()> {
        let size = match pace {
            Pace::Whole => bytes.len().max(1),
            Pace::Pieces(size) => size,
        };
        let all = async {
            for piece in bytes.chunks(size) {
                self.stream.write_all(piece).await?;
                // The server's task, on the same thread, reads this piece first.
                task::yield_now().await;
            }
            Ok(())
        };
        timeout(TIMEOUT, all).await.expect("the server reads on")
    }

    /// Closes the sending side of the connection.
    pub async fn finish(&mut self) {
        // The server may have closed it already.
        let _ = self.stream.shutdown().await;
    }

    /// Resets the connection.
    pub fn reset(self) {
        self.stream.set_zero_linger().expect("SO_LINGER");
    }

    /// Sends a request and reads its answer.
    pub async fn exchange(&mut self, request: &[u8], pace: Pace) -> Answer {
        self.send(request, pace).await;
        self.receive_for(request).await
    }

    /// Reads the answer to `request`. Panics if it is incomplete.
    pub async fn receive_for(&mut self, request: &[u8]) -> Answer {
        self.try_receive(request.starts_with(b"HEAD "))
            .await
            .unwrap_or_else(|error| panic!("no whole answer: {error}; request: {}", Shown(request)))
    }

    /// Reads the answer to a request other than HEAD. Panics if it is incomplete.
    pub async fn receive(&mut self) -> Answer {
        self.try_receive(false)
            .await
            .unwrap_or_else(|error| panic!("no whole answer: {error}"))
    }

    /// Reads one answer. A truncated body is an error.
    pub async fn try_receive(&mut self, to_head: bool) -> io::Result<Answer> {
        let mut interim = Vec::new();
        loop {
            let (status, headers) = self.receive_head().await?;
            if (100..200).contains(&status) && status != 101 {
                interim.push(status);
                continue;
            }
            let (body, framing) = self.receive_body(status, &headers, to_head).await?;
            return Ok(Answer {
                status,
                headers,
                body,
                framing,
                interim,
            });
        }
    }

    /// Reads an interim answer, and nothing after it.
    pub async fn receive_interim(&mut self) -> u16 {
        let (status, _) = self.receive_head().await.expect("an interim answer");
        assert!((100..200).contains(&status), "{status}");
        status
    }

    /// Returns `true` if the server closes the connection without sending another byte.
    pub async fn is_closed(&mut self) -> bool {
        self.received.is_empty() && matches!(self.fill().await, Ok(0) | Err(_))
    }

    /// Reads and discards everything until the end of the connection.
    pub async fn drain(&mut self) {
        while self.fill().await.is_ok_and(|len| len > 0) {}
    }

    async fn fill(&mut self) -> io::Result<usize> {
        timeout(TIMEOUT, self.stream.read_buf(&mut self.received))
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the server neither answers nor closes"))?
    }

    async fn need(&mut self) -> io::Result<()> {
        match self.fill().await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    async fn receive_head(&mut self) -> io::Result<(u16, Vec<(String, String)>)> {
        let end = loop {
            if let Some(end) = find(&self.received, b"\r\n\r\n") {
                break end;
            }
            self.need().await?;
        };
        let head: Vec<u8> = self.received.drain(..end + 4).collect();
        let head = String::from_utf8(head).expect("an answer's head is text");
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap();
        let (version, rest) = status_line.split_once(' ').expect(status_line);
        assert!(version == "HTTP/1.1" || version == "HTTP/1.0", "{status_line}");
        let status = rest[..3].parse().expect(status_line);
        let headers = lines
            .filter(|line| !line.is_empty())
            .map(|line| {
                let (name, value) = line.split_once(':').expect(line);
                (name.to_ascii_lowercase(), value.trim().to_owned())
            })
            .collect();
        Ok((status, headers))
    }

    async fn receive_body(
        &mut self,
        status: u16,
        headers: &[(String, String)],
        to_head: bool,
    ) -> io::Result<(Vec<u8>, Framing)> {
        let header = |name: &str| headers.iter().find(|(have, _)| have == name).map(|(_, value)| value);
        if to_head || status == 204 || status == 304 {
            return Ok((Vec::new(), Framing::Bodiless));
        }
        if let Some(coding) = header("transfer-encoding") {
            assert_eq!(coding, "chunked");
            assert!(header("content-length").is_none(), "both lengths at once");
            return Ok((self.receive_chunks().await?, Framing::Chunked));
        }
        if let Some(len) = header("content-length") {
            let len = len.parse().expect("content-length");
            while self.received.len() < len {
                self.need().await?;
            }
            return Ok((self.received.drain(..len).collect(), Framing::Length));
        }
        while self.fill().await? > 0 {}
        Ok((std::mem::take(&mut self.received), Framing::Close))
    }

    async fn receive_chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.receive_line().await?;
            let size = line.split(';').next().unwrap().trim();
            let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("chunk size {line:?}"));
            if size == 0 {
                // Trailers, if any, end with an empty line.
                while !self.receive_line().await?.is_empty() {}
                return Ok(body);
            }
            while self.received.len() < size + 2 {
                self.need().await?;
            }
            assert_eq!(&self.received[size..size + 2], b"\r\n", "a chunk ends with CRLF");
            body.extend_from_slice(&self.received[..size]);
            self.received.drain(..size + 2);
        }
    }

    async fn receive_line(&mut self) -> io::Result<String> {
        let end = loop {
            if let Some(end) = find(&self.received, b"\r\n") {
                break end;
            }
            self.need().await?;
        };
        let line: Vec<u8> = self.received.drain(..end + 2).collect();
        Ok(String::from_utf8_lossy(&line[..end]).into_owned())
    }
}

impl Answer {
    /// The value of header `name`. Panics if there are two.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(have, _)| have == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} twice in {self:?}");
        value
    }

    /// Returns `true` if the body contains `words`.
    pub fn says(&self, words: &str) -> bool {
        String::from_utf8_lossy(&self.body).contains(words)
    }

    /// Asserts that this is a refusal with `status`, in the form that KAZOO shows to its administrator. Returns
    /// its message.
    #[track_caller]
    pub fn refusal(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        let survived = matches!(
            status,
            400..=418 | 421..=424 | 426 | 428 | 429 | 431 | 444 | 451 | 500..=508 | 510 | 511
        );
        assert!(survived, "KAZOO's client crashes on {status}");
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"), "{self:?}");
        let object: Map<String, Value> = serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{self:?}"));
        assert!(object.values().all(|value| !value.is_object() && !value.is_array()));
        assert_eq!(object["status"], status);
        assert!(object["error"].as_str().is_some_and(|error| !error.is_empty()));
        let message = object["message"].as_str().expect("a message").to_owned();
        assert!(!message.is_empty());
        message
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {}", self.status, self.headers, Shown(&self.body))
    }
}

/// A request with `headers` and `body`. Adds `content-length` unless a header determines the length.
pub fn request(method: &str, target: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: 127.0.0.1\r\n");
    for (name, value) in headers {
        writeln!(head, "{name}: {value}\r").unwrap();
    }
    let framed = headers
        .iter()
        .any(|(name, _)| matches!(*name, "content-length" | "transfer-encoding"));
    if !framed && matches!(method, "PUT" | "POST") {
        writeln!(head, "content-length: {}\r", body.len()).unwrap();
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

/// `body` in chunks of `size` bytes, followed by the last chunk.
pub fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut chunks = Vec::new();
    for chunk in body.chunks(size) {
        chunks.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunks.extend_from_slice(chunk);
        chunks.extend_from_slice(b"\r\n");
    }
    chunks.extend_from_slice(b"0\r\n\r\n");
    chunks
}

/// Displays the start and the end of bytes.
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(400)];
        let tail = &self.0[shown.len().max(self.0.len().saturating_sub(100))..];
        write!(
            f,
            "{} bytes: {}…{}",
            self.0.len(),
            shown.escape_ascii(),
            tail.escape_ascii()
        )
    }
}

pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
