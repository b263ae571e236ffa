//! The server as a service of systemd: its reports, the watchdog, and a socket that outlives it.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    admin::ask,
    process::{Server, TIMEOUT, clean, eventually, program, put_head},
};

/// A service manager that receives reports.
struct Manager {
    socket: UnixDatagram,
    directory: TempDir,
}

impl Manager {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        Self { socket, directory }
    }

    fn start(&self, root: &Path, environment: &[(&str, &str)]) -> Server {
        let mut command = program();
        command.args(["serve", "--listen=127.0.0.1:0", "--grace=2", "--store"]);
        command
            .arg(root)
            .env("NOTIFY_SOCKET", self.directory.path().join("notify"));
        Server::spawn(command.envs(environment.iter().copied()))
    }

    fn receive(&self) -> String {
        let mut report = [0; 1024];
        let len = self.socket.recv(&mut report).unwrap();
        String::from_utf8(report[..len].to_vec()).unwrap()
    }

    /// Receives reports until one has the line `line`, and returns it.
    fn receive_until(&self, line: &str) -> String {
        loop {
            let report = self.receive();
            if report.lines().any(|found| found == line) {
                return report;
            }
        }
    }
}

#[test]
fn reports_the_start_a_reload_and_the_stop() {
    let root = TempDir::new().unwrap();
    let manager = Manager::new();
    let mut server = manager.start(root.path(), &[]);
    for what in ["store", "ledger"] {
        let opening = format!("STATUS=opening the {what}\nEXTEND_TIMEOUT_USEC=60000000\n");
        assert_eq!(manager.receive(), opening);
    }
    assert_eq!(manager.receive(), "READY=1\n");
    assert_eq!(manager.receive(), "STATUS=serving 0 connections\n");

    server.signal("HUP");
    let reloading = manager.receive_until("RELOADING=1");
    let clock = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(clock.unwrap().parse::<u64>().unwrap() > 0, "{reloading}");
    manager.receive_until("READY=1");

    server.signal("TERM");
    let stopping = manager.receive_until("STOPPING=1");
    // The grace period of 2 s, and 10 s for the exit.
    assert!(stopping.ends_with("EXTEND_TIMEOUT_USEC=12000000\n"), "{stopping}");
    assert!(stopping.contains("STATUS=stopping; 0 connections"), "{stopping}");
    assert!(server.wait().success());
}

#[test]
fn pings_the_watchdog_while_it_serves() {
    let root = TempDir::new().unwrap();
    let manager = Manager::new();
    let server = manager.start(root.path(), &[("WATCHDOG_USEC", "300000")]);
    manager.receive_until("WATCHDOG=1");
    let begun = Instant::now();
    for _ in 0..3 {
        manager.receive_until("WATCHDOG=1");
    }
    assert!(begun.elapsed() > Duration::from_millis(200), "a ping each 100 ms");
    drop(server);
    // For another process.
    let server = manager.start(root.path(), &[("WATCHDOG_USEC", "1000"), ("WATCHDOG_PID", "1")]);
    manager.receive_until("READY=1");
    thread::sleep(Duration::from_millis(50));
    manager.socket.set_nonblocking(true).unwrap();
    let mut rest = [0; 1024];
    while let Ok(len) = manager.socket.recv(&mut rest) {
        assert_ne!(&rest[..len], b"WATCHDOG=1\n");
    }
    drop(server);
}

/// Returns the command of a server that inherits `sockets`, in the same way as systemd passes them.
fn inheriting(sockets: &[&TcpListener], root: &Path) -> Command {
    let mut command = clean(Command::new("sh"));
    let script = "exec 3<&0 4<&2 2>&1; export LISTEN_PID=$$; exec \"$0\" serve --store \"$@\"";
    command.args(["-c", script]).arg(env!("CARGO_BIN_EXE_kazoo-storage"));
    command.arg(root).env("LISTEN_FDS", sockets.len().to_string());
    let passed = |socket: &TcpListener| Stdio::from(OwnedFd::from(socket.try_clone().unwrap()));
    command.stdin(passed(sockets[0]));
    command.stderr(sockets.get(1).map_or_else(Stdio::null, |socket| passed(socket)));
    command
}

/// Starts a server on `socket`. Its log follows the first line on stdout.
fn start(socket: &TcpListener, root: &Path) -> Server {
    let mut command = inheriting(&[socket], root);
    command.args(["--grace=5", "--log-format=json"]).env("RUST_LOG", "off");
    Server::spawn_logging(&mut command, TempDir::new().unwrap())
}

/// Uploads a file on a connection of its own, and returns the status.
fn upload(address: SocketAddr, target: &str, body: &[u8]) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(&[put_head(target, body.len()).as_bytes(), body].concat())?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[9..]).parse().unwrap_or(0))
}

#[test]
fn refuses_and_loses_nothing_while_it_restarts_on_an_inherited_socket() {
    let root = TempDir::new().unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let stored = Mutex::new(Vec::new());
    let stop = AtomicBool::new(false);
    let mut server = start(&socket, root.path());
    assert_eq!(server.address, address);
    thread::scope(|scope| {
        for client in 0..4 {
            let (stored, stop) = (&stored, &stop);
            scope.spawn(move || {
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let target = format!("/some_prefix/ACC/DOC{client}/{number}.mp3");
                    let body = format!("{client}-{number};").repeat(5000).into_bytes();
                    let status = upload(address, &target, &body).map_err(|error| error.to_string());
                    stored.lock().unwrap().push((target, body, status));
                }
            });
        }
        for round in 1..=4 {
            let before = stored.lock().unwrap().len();
            eventually("some uploads", || {
                (stored.lock().unwrap().len() > before + 10).then_some(())
            });
            server.signal("TERM");
            assert!(server.wait().success(), "round {round}");
            // Clients connect while there is no server.
            thread::sleep(Duration::from_millis(50));
            server = start(&socket, root.path());
        }
        stop.store(true, Ordering::Relaxed);
    });
    let stored = stored.into_inner().unwrap();
    let mut client = server.connect();
    for (target, body, status) in &stored {
        assert_eq!(*status, Ok(201), "{target}");
        assert!(client.get(target).body == *body, "{target}");
    }
}

#[test]
fn serves_the_admin_endpoint_on_the_inherited_socket_of_that_name() {
    let root = TempDir::new().unwrap();
    let files = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = TcpListener::bind("127.0.0.1:0").unwrap();
    for (sockets, names) in [
        ([&files, &admin], "kazoo-storage.socket:admin"),
        ([&admin, &files], "admin:kazoo-storage"),
    ] {
        let mut command = inheriting(&sockets, root.path());
        command.env("LISTEN_FDNAMES", names).env("RUST_LOG", "off");
        let server = Server::spawn_logging(&mut command, TempDir::new().unwrap());
        assert_eq!(server.address, files.local_addr().unwrap());
        let target = "/some_prefix/ACC/DOC/a.mp3";
        assert_eq!(upload(server.address, target, b"ID3").unwrap(), 201);
        assert_eq!(ask(admin.local_addr().unwrap(), "/readyz").status, 200);
    }
}

#[test]
fn refuses_inherited_sockets_that_it_must_not_serve() {
    let root = TempDir::new().unwrap();
    let public = TcpListener::bind("0.0.0.0:0").unwrap();
    let loopback = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut two_admins = inheriting(&[&loopback, &loopback], root.path());
    two_admins.env("LISTEN_FDNAMES", "admin:admin");
    let mut no_socket = inheriting(&[&loopback], root.path());
    no_socket.stdin(Stdio::null());
    for (mut command, says) in [
        (inheriting(&[&public], root.path()), "--allow-anyone"),
        (inheriting(&[&loopback, &public], root.path()), "passed 2 sockets"),
        (two_admins, "on one admin socket"),
        (no_socket, "passed no TCP socket"),
    ] {
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!((output.status.code(), text.lines().count()), (Some(2), 1), "{text}");
        assert!(text.contains(says), "{text}");
    }
    assert!(std::fs::read_dir(root.path()).unwrap().next().is_none());
}
