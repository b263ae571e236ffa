//! Signals that stop the server, and a kill.

use std::{
    fs,
    io::{BufRead as _, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Mutex,
    thread,
};

use tempfile::TempDir;

use crate::process::{FILE, Server, eventually, put_head};

/// Uploads until the server is gone, and records the acknowledged uploads.
fn upload_until_it_ends(address: SocketAddr, client: usize, acknowledged: &Mutex<Vec<(String, Vec<u8>)>>) {
    let Ok(mut stream) = TcpStream::connect(address) else {
        return;
    };
    for number in 0.. {
        let target = format!("/some_prefix/ACC/DOC{}/{client}-{number}.mp3", number % 7);
        let body = format!("{client}-{number};")
            .repeat([1, 500, 20_000][number % 3])
            .into_bytes();
        let request = [put_head(&target, body.len()).as_bytes(), &body].concat();
        let mut answer = [0; 1024];
        let sent = stream.write_all(&request).and_then(|()| stream.read(&mut answer));
        if !sent.is_ok_and(|len| answer[..len].starts_with(b"HTTP/1.1 201 ")) {
            return;
        }
        acknowledged.lock().unwrap().push((target, body));
    }
}

#[test]
fn keeps_every_acknowledged_upload_when_killed() {
    let root = TempDir::new().unwrap();
    let acknowledged = Mutex::new(Vec::new());
    for round in 1..=3 {
        let mut server = Server::start(root.path(), &[]);
        let address = server.address;
        thread::scope(|scope| {
            for client in 0..4 {
                let acknowledged = &acknowledged;
                scope.spawn(move || upload_until_it_ends(address, round * 10 + client, acknowledged));
            }
            eventually("some uploads", || {
                (acknowledged.lock().unwrap().len() > round * 50).then_some(())
            });
            server.signal("KILL");
        });
        server.wait();
    }
    let mut server = Server::start(root.path(), &[]);
    let mut client = server.connect();
    for (target, body) in &*acknowledged.lock().unwrap() {
        assert!(client.get(target).body == *body, "{target}");
    }
    drop(client);
    server.stop();
    let staged = fs::read_dir(root.path().join(".stage")).unwrap().count();
    assert_eq!(staged, 3, "the lock and the journal");
}

#[test]
fn finishes_an_upload_after_the_signal() {
    let upload = put_head(FILE, 8) + "12345678";
    // In the request line, in the headers, before the body, and in the body.
    for (signal, sent) in [
        ("TERM", 9),
        ("INT", 80),
        ("TERM", upload.len() - 8),
        ("INT", upload.len() - 4),
    ] {
        let root = TempDir::new().unwrap();
        let mut server = Server::start(root.path(), &[]);
        let mut client = server.connect();
        assert_eq!(client.put(FILE, b"old").status, 201);
        client.send(&upload[..sent]);
        server.stop_accepting(signal);
        client.send(&upload[sent..]);
        let response = client.receive();
        assert_eq!((response.status, response.closes()), (201, true), "{response:?}");
        assert!(client.is_closed());
        drop(client);
        assert!(server.wait().success());

        let server = Server::start(root.path(), &[]);
        assert_eq!(server.connect().get(FILE).body, b"12345678");
    }
}

#[test]
fn finishes_a_download_after_the_signal() {
    let root = TempDir::new().unwrap();
    let mut server = Server::start(root.path(), &["--no-fsync"]);
    // More than two socket buffers hold.
    let content = vec![7; 32 << 20];
    assert_eq!(server.connect().put(FILE, &content).status, 201);
    let mut client = server.connect();
    client.send(format!("GET {FILE} HTTP/1.1\r\nhost: storage\r\n\r\n"));
    client.0.fill_buf().unwrap();
    server.stop_accepting("TERM");
    let response = client.receive();
    assert_eq!((response.status, response.body == content), (200, true));
    // The head was sent before the signal, so the connection stays open for another request.
    assert!(client.get(FILE).closes());
    drop(client);
    assert!(server.wait().success());
}

#[test]
fn answers_an_idle_connection_after_the_signal() {
    let root = TempDir::new().unwrap();
    let mut server = Server::start(root.path(), &[]);
    let mut used = server.connect();
    let mut also_used = server.connect();
    for client in [&mut used, &mut also_used] {
        let response = client.put(FILE, b"before");
        assert_eq!((response.status, response.closes()), (201, false), "{response:?}");
    }
    server.stop_accepting("TERM");
    let response = used.put(FILE, b"after");
    assert_eq!((response.status, response.closes()), (201, true), "{response:?}");
    assert!(used.is_closed());
    drop(used);
    let response = also_used.get(FILE);
    assert_eq!((response.status, response.closes()), (200, true), "{response:?}");
    assert_eq!(response.body, b"after");
    drop(also_used);
    assert!(server.wait().success());
}

#[test]
fn answers_a_connection_that_was_queued_at_the_signal() {
    let root = TempDir::new().unwrap();
    let mut server = Server::start(root.path(), &[]);
    // The kernel establishes the connection for the stopped server, which then sees it together with the signal.
    server.signal("STOP");
    let mut client = server.connect();
    client.send(put_head(FILE, 4));
    client.send("body");
    server.signal("TERM");
    server.signal("CONT");
    let response = client.receive();
    assert_eq!(response.status, 201, "{response:?}");
    drop(client);
    assert!(server.wait().success());
}

#[test]
fn stops_at_once_on_a_second_signal() {
    let root = TempDir::new().unwrap();
    let mut server = Server::start(root.path(), &["--grace", "3600"]);
    let mut stuck = server.connect();
    assert_eq!(stuck.get(FILE).status, 404);
    stuck.send(put_head(FILE, 8));
    stuck.send("half");
    server.stop_accepting("TERM");
    assert!(server.child.try_wait().unwrap().is_none());
    server.signal("INT");
    assert_eq!(server.wait().code(), Some(128 + 2));

    let server = Server::start(root.path(), &[]);
    assert_eq!(server.connect().get(FILE).status, 404);
}

#[test]
fn asks_to_retry_a_stuck_upload_at_the_end_of_the_grace_period() {
    let root = TempDir::new().unwrap();
    let mut server = Server::start(root.path(), &["--grace", "2"]);
    let mut stuck = server.connect();
    assert_eq!(stuck.get(FILE).status, 404);
    stuck.send(put_head(FILE, 8));
    stuck.send("half");
    server.signal("TERM");
    let response = stuck.receive();
    assert_eq!((response.status, response.closes()), (503, true), "{response:?}");
    assert!(response.head.contains("\r\nretry-after: 5\r\n"), "{response:?}");
    assert_eq!(response.json()["error"], "unavailable");
    // The client keeps the connection open; the server waits for it no longer than the grace period.
    assert_eq!(server.wait().code(), Some(0));
    assert!(server.log().contains("the grace period is over"), "{}", server.log());

    let server = Server::start(root.path(), &[]);
    assert_eq!(server.connect().get(FILE).status, 404);
}
