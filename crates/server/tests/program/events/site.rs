//! [`Site`]: a server with an admin API and a receiver that can fail.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    os::unix::ffi::OsStringExt as _,
    path::PathBuf,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
        mpsc,
    },
    thread,
};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;
use tempfile::TempDir;

use super::schema;
use crate::process::{Client, Response, Server, TIMEOUT, eventually, program};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A receiver of webhooks that answers with a status.
pub(crate) struct Receiver {
    url: String,
    status: Arc<AtomicU16>,
    ids: mpsc::Receiver<String>,
}

impl Receiver {
    pub(crate) fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/kazoo", listener.local_addr().unwrap());
        let status = Arc::new(AtomicU16::new(status));
        let (sender, ids) = mpsc::channel();
        let answers = Arc::clone(&status);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let (mut length, mut id, mut line) = (0, String::new(), String::new());
                while line != "\r\n" {
                    line.clear();
                    if stream.read_line(&mut line).unwrap() == 0 {
                        return;
                    }
                    match line.trim().split_once(": ") {
                        Some(("content-length", value)) => length = value.parse().unwrap(),
                        Some(("webhook-id", value)) => value.clone_into(&mut id),
                        _ => {}
                    }
                }
                stream.read_exact(&mut vec![0; length]).unwrap();
                let status = answers.load(Ordering::SeqCst);
                let answer = format!("HTTP/1.1 {status} Any\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream.get_mut().write_all(answer.as_bytes()).unwrap();
                if status == 200 && sender.send(id).is_err() {
                    return;
                }
            }
        });
        Self { url, status, ids }
    }

    pub(crate) fn mend(&self) {
        self.status.store(200, Ordering::SeqCst);
    }

    /// Waits for the next event that is accepted, and returns its id.
    pub(crate) fn next(&self) -> String {
        self.ids.recv_timeout(TIMEOUT).unwrap()
    }
}

pub(crate) struct Site {
    pub(crate) root: TempDir,
    pub(crate) server: Server,
    pub(crate) admin: SocketAddr,
    pub(crate) token: String,
}

impl Site {
    /// Starts a server whose webhook `crm` gives events up after their first failure.
    pub(crate) fn start(receiver: &Receiver) -> Self {
        let root = TempDir::new().unwrap();
        let file = root.path().join("deliveries.json");
        let url = &receiver.url;
        let webhook = format!(r#"{{"name": "crm", "url": "{url}", "secret": "{SECRET}", "max_age": "1ms"}}"#);
        fs::write(&file, format!(r#"{{"webhooks": [{webhook}]}}"#)).unwrap();
        Self::with(root, &["--deliveries", file.to_str().unwrap()])
    }

    /// Starts a server with these options.
    pub(crate) fn with(root: TempDir, options: &[&str]) -> Self {
        let token_file = root.path().join("token");
        let fixed = ["--no-fsync", "--admin=127.0.0.1:0", "--admin-token-file"];
        let options = [&fixed[..], &[token_file.to_str().unwrap()], options].concat();
        let server = Server::start(&root.path().join("data"), &options);
        let log = server.log();
        let line = log.lines().find(|line| line.contains("admin endpoint started"));
        let address = line.unwrap().split_once("address=").unwrap().1.trim();
        Self {
            admin: address.parse().unwrap(),
            token: fs::read_to_string(&token_file).unwrap().trim().to_owned(),
            root,
            server,
        }
    }

    pub(crate) fn token_file(&self) -> PathBuf {
        self.root.path().join("token")
    }

    /// Stores a file below `/some_prefix/`.
    pub(crate) fn put(&self, name: &str, content: &str) {
        let target = format!("/some_prefix/{name}");
        assert_eq!(self.server.connect().put(&target, content.as_bytes()).status, 201);
    }

    /// Sends a request with the head lines `more`, and the token.
    pub(crate) fn ask_with(&self, method: &str, target: &str, more: &str, body: &str) -> Response {
        let (admin, token, length) = (self.admin, &self.token, body.len());
        let mut client = Client::connect(admin).unwrap();
        client.send(format!(
            "{method} {target} HTTP/1.1\r\nhost: {admin}\r\nauthorization: Bearer {token}\r\ncontent-length: {length}\r\n{more}\r\n{body}"
        ));
        client.receive()
    }

    /// Sends a request, and returns status and JSON, which is as documented.
    pub(crate) fn ask(&self, method: &str, target: &str, body: &str) -> (u16, Value) {
        let response = self.ask_with(method, target, "", body);
        let json = response.json();
        schema::check(method, target, response.status, &json);
        (response.status, json)
    }

    /// Sends a request whose response are lines, and returns the last one.
    pub(crate) fn follow(&self, target: &str, body: &str) -> Value {
        let response = self.ask_with("POST", target, "", body);
        assert_eq!(response.status, 200, "{response:?}");
        assert!(response.head.contains("\r\ncontent-type: application/x-ndjson\r\n"));
        let text = String::from_utf8(response.body).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for line in &lines {
            schema::check("POST", target, 200, line);
        }
        let last = lines.last().unwrap().clone();
        assert_eq!(last["done"], true, "{last}");
        last
    }

    /// Waits until `count` events are dead, and returns them, newest first.
    pub(crate) fn dead(&self, count: usize) -> Vec<Value> {
        eventually("the events are dead", || {
            let (status, json) = self.ask("GET", "/v1/events?state=dead", "");
            assert_eq!(status, 200);
            let events = json["events"].as_array().unwrap();
            (events.len() == count).then(|| events.clone())
        })
    }

    /// Runs `kazoo-storage events` with these arguments.
    pub(crate) fn events(&self, arguments: &[&str]) -> Output {
        self.command("events", arguments).output().unwrap()
    }

    /// Returns the command `name` of the program, for this server.
    pub(crate) fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = program();
        command.arg(name).args(arguments);
        command.env("KAZOO_STORAGE_ADMIN", self.admin.to_string());
        command.env("KAZOO_STORAGE_ADMIN_TOKEN_FILE", self.token_file());
        command
    }
}

/// Asserts the status of a command with these arguments. Returns stdout and stderr.
pub(crate) fn expect(status: i32, arguments: &[&str], output: Output) -> (String, String) {
    let (stdout, stderr) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {stdout}{stderr}");
    (stdout, stderr)
}

/// Returns a terminal, and the file of what is typed into it.
pub(crate) fn terminal() -> (File, File) {
    let typed = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&typed).unwrap();
    unlockpt(&typed).unwrap();
    let name = OsString::from_vec(ptsname(&typed, Vec::new()).unwrap().into_bytes());
    let terminal = File::options().read(true).write(true).open(name).unwrap();
    (terminal, File::from(typed))
}
