//! A receiver of events that answers without end: it costs uploads nothing.
#![cfg(target_os = "linux")]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use tempfile::TempDir;

use crate::{
    deliveries::{SECRET, start, write},
    process::{FILE, Server},
};

/// Starts a receiver that answers each request with informational heads, without end.
fn endless() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        let heads = "HTTP/1.1 100 Continue\r\n\r\n".repeat(10_000);
        for stream in listener.incoming() {
            let heads = heads.clone();
            thread::spawn(move || {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                while stream.write_all(heads.as_bytes()).is_ok() {}
            });
        }
    });
    url
}

/// The name of each thread, and its processor time in ticks.
fn threads(server: &Server) -> Vec<(String, u64)> {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.child.id())).unwrap();
    // A thread may have ended.
    let stats = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("stat")).ok());
    let thread = |stat: String| {
        let (name, fields) = stat.rsplit_once(") ").unwrap();
        let fields: Vec<&str> = fields.split(' ').collect();
        let ticks = |at: usize| fields[at].parse::<u64>().unwrap();
        let name = name.split_once(" (").unwrap().1.to_owned();
        (name, ticks(11) + ticks(12))
    };
    stats.map(thread).collect()
}

#[test]
fn a_receiver_that_answers_without_end_occupies_only_its_own_thread() {
    let root = TempDir::new().unwrap();
    let file = root.path().join("deliveries.json");
    let url = endless();
    write(
        &file,
        &[format!(r#"{{"url": "{url}", "secret": "{SECRET}", "timeout": "1s"}}"#)],
    );
    let server = start(root.path(), &file);
    let mut client = server.connect();
    let mut count = 0;
    while !server.log().contains("no answer within 1s") {
        assert_eq!(client.put(&format!("{FILE}{count}"), b"content").status, 201);
        count += 1;
    }
    let threads = threads(&server);
    let spent = |of_receiver: bool| -> u64 {
        let chosen = threads.iter().filter(|(name, _)| (name == "webhook") == of_receiver);
        chosen.map(|(_, ticks)| ticks).sum()
    };
    assert!(spent(true) > spent(false), "{threads:?}");
}
