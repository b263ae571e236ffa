//! A running server, and a client that sends and receives bytes.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Time limit for anything that should be immediate.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// Waits until `condition` returns a value.
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}: not within {TIMEOUT:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Returns the program without environment variables that configure it.
pub(crate) fn program() -> Command {
    clean(Command::new(env!("CARGO_BIN_EXE_kazoo-storage")))
}

pub(crate) fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name == "RUST_LOG" || name.to_string_lossy().starts_with("KAZOO_STORAGE_") {
            command.env_remove(name);
        }
    }
    command
}

/// A running server, killed when it is dropped.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) logs: TempDir,
}

impl Server {
    /// Starts a server on a free port with its files in `root`.
    pub(crate) fn start(root: &Path, options: &[&str]) -> Self {
        let mut command = program();
        command.args(["serve", "--listen", "127.0.0.1:0"]).args(options);
        Self::spawn(command.arg("--store").arg(root))
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        let logs = TempDir::new().unwrap();
        command.stderr(File::create(logs.path().join("stderr")).unwrap());
        Self::spawn_logging(command, logs)
    }

    pub(crate) fn spawn_logging(command: &mut Command, logs: TempDir) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .strip_prefix("listening on http://")
            .or_else(|| line.strip_prefix("listening on https://"))
            .and_then(|rest| rest.strip_suffix('\n')?.parse().ok());
        let Some(address) = address else {
            let _ = child.kill();
            let log = fs::read_to_string(logs.path().join("stderr")).unwrap_or_default();
            panic!("first line on stdout: {line:?}; stderr: {log}")
        };
        Self { child, address, logs }
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address).unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").arg("-c").arg(kill).status().unwrap().success());
    }

    /// Sends a signal, and waits until new connections are refused.
    pub(crate) fn stop_accepting(&self, signal: &str) {
        self.signal(signal);
        eventually("new connections are refused", || {
            let error = TcpStream::connect(self.address).err()?;
            (error.kind() == io::ErrorKind::ConnectionRefused).then_some(())
        });
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        eventually("the server exits", || self.child.try_wait().unwrap())
    }

    /// Stops the server, which has no open connections.
    pub(crate) fn stop(&mut self) {
        self.signal("TERM");
        assert!(self.wait().success(), "{}", self.log());
    }

    /// Returns the log so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.logs.path().join("stderr")).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client that sends and receives bytes.
pub(crate) struct Client(pub(crate) BufReader<TcpStream>);

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Status line and header lines, in lower case.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn closes(&self) -> bool {
        self.head.contains("\r\nconnection: close\r\n")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        let json = self.head.contains("\r\ncontent-type: application/json\r\n");
        assert!(json, "{}", self.head);
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self(BufReader::new(stream)))
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    pub(crate) fn receive(&mut self) -> Response {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = self.0.read_line(&mut head).unwrap();
            assert_ne!(read, 0, "the connection ended: {head:?}");
        }
        let head = head.to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut body = Vec::new();
        if let Some((_, length)) = head.split_once("\r\ncontent-length: ") {
            body.resize(length.lines().next().unwrap().parse().unwrap(), 0);
            self.0.read_exact(&mut body).unwrap();
        } else if head.contains("\r\ntransfer-encoding: chunked\r\n") {
            loop {
                let mut size = String::new();
                self.0.read_line(&mut size).unwrap();
                let size = usize::from_str_radix(size.trim(), 16).unwrap();
                let mut chunk = vec![0; size + 2];
                self.0.read_exact(&mut chunk).unwrap();
                if size == 0 {
                    break;
                }
                body.extend_from_slice(&chunk[..size]);
            }
        }
        Response { status, head, body }
    }

    pub(crate) fn put(&mut self, target: &str, body: &[u8]) -> Response {
        self.send(put_head(target, body.len()));
        self.send(body);
        self.receive()
    }

    pub(crate) fn get(&mut self, target: &str) -> Response {
        self.send(format!("GET {target} HTTP/1.1\r\nhost: storage\r\n\r\n"));
        self.receive()
    }

    /// Returns `true` if the server has closed its side, with nothing more to read.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).unwrap() == 0
    }
}

pub(crate) fn put_head(target: &str, len: usize) -> String {
    format!(
        "PUT {target} HTTP/1.1\r\ncontent-type: audio/mpeg\r\ncontent-length: {len}\r\nhost: storage\r\nconnection: \
         keep-alive\r\n\r\n"
    )
}

/// Returns a multipart upload of metadata and media.
pub(crate) fn multipart(target: &str, json: &str, media: &str) -> String {
    let body = format!(
        "\r\n--B\r\ncontent-type: application/json\r\n\r\n{json}\r\n--B\r\ncontent-type: audio/mpeg\r\n\r\n{media}\r\n\
         --B--"
    );
    let len = body.len();
    format!(
        "POST {target} HTTP/1.1\r\ncontent-type: multipart/form-data; boundary=B\r\ncontent-length: {len}\r\nhost: \
         storage\r\n\r\n{body}"
    )
}

pub(crate) const FILE: &str = "/some_prefix/ACC/DOC/message.mp3";
