//! Limits of time, memory, requests and connections.

use std::{
    fs,
    io::{BufRead as _, Read as _, Write as _},
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::process::{Client, FILE, Response, Server, eventually, multipart, program, put_head};

const PROBE: &str = "/some_prefix/ACC/DOC/7f3c2a90b1d4e6f8a0c2e4f618293a4b_test_credentials_file.txt";
const PROBE_CONTENT: &[u8] = b"some random content: 7f3c2a90b1d4e6f8a0c2e4f618293a4b";

/// Returns the `Retry-After` of a response.
fn retry_after(response: &Response) -> Option<Duration> {
    let (_, rest) = response.head.split_once("\r\nretry-after: ")?;
    Some(Duration::from_secs(rest.lines().next()?.parse().unwrap()))
}

/// Stores as KAZOO's HTTP client does: it repeats a request after `Retry-After`, and no other.
///
/// Returns the number of waits.
fn upload(address: SocketAddr, target: &str, body: &[u8]) -> usize {
    let mut waits = 0;
    loop {
        let response = Client::connect(address).unwrap().put(target, body);
        match (response.status, retry_after(&response)) {
            (201, None) => return waits,
            (503, Some(delay)) => {
                waits += 1;
                thread::sleep(delay);
            }
            _ => panic!("{response:?}"),
        }
    }
}

/// Stores one file for each of `clients` at once, by KAZOO's rules, and fetches them. Returns the number of waits.
fn burst(server: &Server, clients: usize, len: usize) -> usize {
    let waits = thread::scope(|scope| {
        let uploads: Vec<_> = (0..clients)
            .map(|number| {
                scope.spawn(move || {
                    let body = vec![u8::try_from(number).unwrap(); len];
                    upload(server.address, &format!("/some_prefix/ACC/DOC/{number}.mp3"), &body)
                })
            })
            .collect();
        uploads.into_iter().map(|upload| upload.join().unwrap()).sum()
    });
    let mut reader = server.connect();
    for number in 0..clients {
        let response = reader.get(&format!("/some_prefix/ACC/DOC/{number}.mp3"));
        assert_eq!(response.status, 200, "{number}");
        assert_eq!(response.body, vec![u8::try_from(number).unwrap(); len], "{number}");
    }
    waits
}

/// Half of an upload that is not slow, although it takes minutes.
static HALF: [u8; 2 << 20] = [7; 2 << 20];

/// Starts an upload of `len` bytes, and waits until it is admitted: it has its permit before another request asks for one.
fn hold(server: &Server, target: &str, len: usize, header: &str) -> Client {
    let mut client = server.connect();
    let expect = format!("{header}expect: 100-continue\r\nconnection:");
    client.send(put_head(target, len).replace("connection:", &expect));
    let mut interim = String::new();
    while !interim.ends_with("\r\n\r\n") {
        assert_ne!(client.0.read_line(&mut interim).unwrap(), 0);
    }
    assert!(interim.starts_with("HTTP/1.1 100"), "{interim}");
    client
}

/// Sends half of an upload.
fn send_half(server: &Server, number: usize) -> Client {
    let target = format!("/some_prefix/ACC/BUSY/{number}.mp3");
    let mut client = hold(server, &target, 2 * HALF.len(), "");
    client.send(&HALF[..]);
    client
}

#[test]
fn slow_uploads_yield_to_others() {
    let root = TempDir::new().unwrap();
    let server = Server::start(root.path(), &["--max-requests=2"]);
    let mut slow: Vec<_> = (0..2)
        .map(|n| hold(&server, &format!("/some_prefix/ACC/SLOW/{n}.mp3"), 1_000, ""))
        .collect();
    // Long before the stall timeout, which is 30 seconds.
    let waits = upload(server.address, FILE, b"content");
    assert!((1..15).contains(&waits), "{waits}");
    assert_eq!(server.connect().get(FILE).body, b"content");
    let ended = slow.iter_mut().map(Client::receive).find(Response::closes);
    let ended = ended.unwrap();
    assert_eq!((ended.status, retry_after(&ended)), (503, Some(Duration::from_secs(1))));
}

#[test]
fn limits_the_requests_of_an_address() {
    let root = TempDir::new().unwrap();
    let access = root.path().join("access.json");
    fs::write(&access, r#"{"networks":["0.0.0.0/0"],"trusted_proxies":["127.0.0.1"]}"#).unwrap();
    let access = format!("--access={}", access.display());
    let store = root.path().join("store");
    let server = Server::start(&store, &["--max-requests-per-address=2", &access]);
    let from = |address: &str| format!("x-forwarded-for: {address}\r\n");
    let _held = ["1", "2"].map(|n| hold(&server, &format!("/some_prefix/A/B/{n}.mp3"), 1_000, &from("192.0.2.1")));
    let ask = |method: &str, target: &str, address: &str, body: &[u8]| {
        let mut client = server.connect();
        let (header, len) = (from(address), body.len());
        client.send(format!(
            "{method} {target} HTTP/1.1\r\nhost: x\r\n{header}content-length: {len}\r\n\r\n"
        ));
        client.send(body);
        client.receive()
    };
    let refused = ask("GET", FILE, "192.0.2.1", b"");
    assert_eq!(
        (refused.status, retry_after(&refused)),
        (503, Some(Duration::from_secs(1)))
    );
    assert_eq!(ask("GET", FILE, "192.0.2.2", b"").status, 404);
    assert_eq!(ask("PUT", PROBE, "192.0.2.1", PROBE_CONTENT).status, 201);
}

#[test]
fn stores_every_file_of_a_burst_over_the_limit_of_requests() {
    let root = TempDir::new().unwrap();
    let server = Server::start(root.path(), &["--max-requests=4"]);
    let mut busy: Vec<_> = (0..4).map(|number| send_half(&server, number)).collect();
    let refused = eventually("all permits are taken", || {
        let response = server.connect().get(FILE);
        (response.status == 503).then_some(response)
    });
    assert_eq!(refused.json()["error"], "unavailable");
    assert_eq!(retry_after(&refused), Some(Duration::from_secs(1)));
    // The credentials probe is always answered.
    assert_eq!(server.connect().put(PROBE, PROBE_CONTENT).status, 201);
    let waits = thread::scope(|scope| {
        let burst = scope.spawn(|| burst(&server, 40, 100_000));
        eventually("many requests have to wait", || {
            (server.log().matches("status=503").count() >= 40).then_some(())
        });
        for client in &mut busy {
            client.send(&HALF[..]);
            assert_eq!(client.receive().status, 201);
        }
        burst.join().unwrap()
    });
    assert!(waits >= 40, "{waits}");
}

#[test]
fn stores_every_file_of_a_burst_over_the_limit_of_connections() {
    let root = TempDir::new().unwrap();
    let server = Server::start(root.path(), &["--max-connections-per-address=4"]);
    let mut busy: Vec<_> = (0..4).map(|_| server.connect()).collect();
    for client in &mut busy {
        assert_eq!(client.get(FILE).status, 404);
    }
    let refused = server.connect().put(FILE, &vec![0; 3_000_000]);
    assert_eq!((refused.status, refused.closes()), (503, true), "{refused:?}");
    assert_eq!(retry_after(&refused), Some(Duration::from_secs(1)));
    let probed = server.connect().put(PROBE, PROBE_CONTENT);
    assert_eq!((probed.status, retry_after(&probed)), (503, None), "{probed:?}");
    // Open connections are served.
    assert_eq!(busy[0].put(FILE, b"content").status, 201);
    let waits = thread::scope(|scope| {
        let burst = scope.spawn(|| burst(&server, 40, 100_000));
        eventually("many requests have to wait", || {
            (server.log().matches("status=503").count() >= 40).then_some(())
        });
        busy.clear();
        burst.join().unwrap()
    });
    assert!(waits >= 38, "{waits}");
}

#[test]
fn sends_no_retry_after_once_the_retry_window_is_over() {
    let root = TempDir::new().unwrap();
    for limit in ["--max-requests=1", "--max-connections=1"] {
        let server = Server::start(root.path(), &[limit, "--retry-window=1"]);
        let _busy = send_half(&server, 0);
        let first = server.connect().put(FILE, b"content");
        assert_eq!((first.status, retry_after(&first).is_some()), (503, true), "{limit}");
        let final_answer = eventually("an answer without Retry-After", || {
            let response = server.connect().put(FILE, b"content");
            assert_eq!(response.status, 503, "{limit}");
            retry_after(&response).is_none().then_some(response)
        });
        assert_eq!(final_answer.json()["error"], "unavailable");
        let other = server.connect().put("/some_prefix/ACC/DOC/other.mp3", b"content");
        assert!(retry_after(&other).is_some(), "{limit}");
    }
}

/// Sends `bytes`, one each tenth of a second, until the server answers.
pub(crate) fn drip(client: &mut Client, bytes: &[u8]) -> Response {
    let mut stream = client.0.get_ref().try_clone().unwrap();
    let bytes = bytes.to_vec();
    let dripping = thread::spawn(move || {
        for byte in bytes {
            if stream.write_all(&[byte]).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(100));
        }
    });
    let response = client.receive();
    client.0.get_ref().shutdown(std::net::Shutdown::Both).unwrap();
    dripping.join().unwrap();
    response
}

#[test]
fn answers_slow_requests_with_408_and_keeps_idle_connections() {
    let root = TempDir::new().unwrap();
    let server = Server::start(root.path(), &["--head-timeout=1", "--stall-timeout=1"]);
    let mut idle = server.connect();
    assert_eq!(idle.put(FILE, b"content").status, 201);
    let long = format!("GET {FILE} HTTP/1.1\r\nx: {}", "x".repeat(600));

    let begun = Instant::now();
    let mut silent = server.connect();
    let head = drip(&mut server.connect(), long.as_bytes());
    assert_eq!((head.status, head.closes()), (408, true), "{head:?}");
    assert_eq!(head.json()["error"], "timeout");
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert!(silent.is_closed());

    // On an idle connection the time starts with the first byte.
    let mut used = server.connect();
    assert_eq!(used.get(FILE).status, 200);
    assert_eq!(drip(&mut used, long.as_bytes()).status, 408);

    let mut client = server.connect();
    client.send(put_head("/some_prefix/ACC/DOC/slow.mp3", 1000));
    let body = drip(&mut client, &[b'x'; 600]);
    assert_eq!((body.status, body.closes()), (408, true), "{body:?}");
    assert_eq!(body.json()["error"], "timeout");

    // The body of a refused upload has the same time limit.
    let mut client = server.connect();
    client.send(put_head("/some_prefix/ACC/%2E%2E/slow.mp3", 1000));
    let refused = drip(&mut client, &[b'x'; 600]);
    assert_eq!((refused.status, refused.closes()), (400, true), "{refused:?}");

    assert_eq!(idle.get(FILE).body, b"content");
    assert_eq!(idle.get("/some_prefix/ACC/DOC/slow.mp3").status, 404);
}

#[test]
fn closes_the_connection_of_a_client_that_does_not_read() {
    let root = TempDir::new().unwrap();
    let server = Server::start(root.path(), &["--stall-timeout=1", "--max-requests=1"]);
    assert_eq!(server.connect().put(FILE, &vec![7; 64 << 20]).status, 201);
    let mut client = server.connect();
    client.send(format!("GET {FILE} HTTP/1.1\r\nhost: storage\r\n\r\n"));
    client.0.fill_buf().unwrap();
    // It holds the only permit until then.
    eventually("the permit is free", || {
        (server.connect().get("/some_prefix/A/B/C").status == 404).then_some(())
    });
    let mut answer = Vec::new();
    let end = client.0.read_to_end(&mut answer);
    assert!(answer.len() < 64 << 20 && (end.is_err() || answer.starts_with(b"HTTP/1.1 200 ")));
}

#[test]
fn limits_heads_metadata_and_parts() {
    let root = TempDir::new().unwrap();
    let server = Server::start(root.path(), &["--max-head=8KiB", "--max-metadata=100"]);
    let head = |len: usize| {
        let mut client = server.connect();
        client.send(format!(
            "GET {FILE} HTTP/1.1\r\nhost: h\r\nx: {}\r\n\r\n",
            "x".repeat(len)
        ));
        client.receive().status
    };
    assert_eq!(head(7000), 404);
    assert_eq!(head(9000), 431);

    let upload = |body: String| {
        let mut client = server.connect();
        client.send(body);
        client.receive()
    };
    let json = |len: usize| format!(r#"{{"id":"{}"}}"#, "x".repeat(len));
    assert_eq!(upload(multipart(FILE, &json(80), "media")).status, 201);
    assert_eq!(
        upload(multipart(FILE, &json(100), "media")).json()["error"],
        "too_large"
    );
    let third = "media\r\n--B\r\ncontent-type: audio/mpeg\r\n\r\nmore";
    assert_eq!(
        upload(multipart(FILE, &json(1), third)).json()["error"],
        "invalid_multipart"
    );
    let many = third.repeat(10_000);
    assert_eq!(
        upload(multipart(FILE, &json(1), &many)).json()["error"],
        "invalid_multipart"
    );
    let huge = format!("{}\r\n--B\r\nx: {}\r\n\r\n", json(1), "x".repeat(100_000));
    assert_eq!(upload(multipart(FILE, &huge, "media")).json()["error"], "too_large");
    assert_eq!(server.connect().get(FILE).body, b"media");
}

#[test]
fn refuses_impossible_limits() {
    for (wrong, says) in [
        ("--idle-timeout=124", "120 s"),
        ("--head-timeout=0", "at least 1"),
        ("--stall-timeout=0", "at least 1"),
        ("--max-head=8191", "8KiB"),
    ] {
        let output = program().args(["serve", wrong]).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong}: {stderr}");
        assert!(stderr.contains(says), "{wrong}: {stderr}");
    }
}

/// Returns the number of open files of the server.
#[test]
fn accepts_the_largest_limits() {
    let root = TempDir::new().unwrap();
    let largest = usize::MAX.to_string();
    let mut options = Vec::new();
    for flag in [
        "--max-connections",
        "--max-connections-per-address",
        "--max-requests",
        "--max-requests-per-address",
        "--max-body",
        "--max-metadata",
    ] {
        options.extend([flag, &*largest]);
    }
    let mut server = Server::start(root.path(), &options);
    let mut client = server.connect();
    client.send(multipart(FILE, "{}", "content"));
    assert_eq!(client.receive().status, 201);
    drop(client);
    server.stop();
}

fn descriptors(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.child.id())).unwrap().count()
}

#[test]
#[cfg(target_os = "linux")]
fn aborted_uploads_leave_nothing_behind() {
    let root = TempDir::new().unwrap();
    let server = Server::start(root.path(), &[]);
    assert_eq!(server.connect().put(FILE, b"content").status, 201);
    let before = descriptors(&server);
    for number in 0..500 {
        let mut client = server.connect();
        let target = format!("/some_prefix/ACC/DOC/{number}.mp3");
        match number % 4 {
            0 => client.send("PUT /some_prefix/ACC"),
            1 => client.send(put_head(&target, 1_000_000)),
            2 => {
                client.send(put_head(&target, 1_000_000));
                client.send(vec![0; 100_000]);
            }
            _ => {
                let whole = multipart(&target, "{}", &"x".repeat(50_000));
                client.send(&whole[..40_000]);
            }
        }
    }
    let stage = root.path().join(".stage");
    let staged = || {
        let files = fs::read_dir(&stage).unwrap();
        files
            .filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().contains('-'))
            .count()
    };
    eventually("the server is as before", || {
        (descriptors(&server) <= before + 20 && staged() == 0).then_some(())
    });
    assert_eq!(server.connect().get(FILE).body, b"content");
    assert_eq!(server.connect().get("/some_prefix/ACC/DOC/2.mp3").status, 404);
}
