//! The command `health`.

use std::{
    fs,
    net::TcpListener,
    process::Output,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    admin::start,
    process::{Server, program},
};

fn health(arguments: &[&str]) -> Output {
    program().arg("health").args(arguments).output().unwrap()
}

#[track_caller]
fn refused(output: &Output, status: i32, reason: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{stderr}");
    assert!(stderr.contains(reason), "{stderr}");
}

#[test]
fn is_0_if_the_server_is_ready_and_1_with_the_reason_if_it_is_not() {
    let root = TempDir::new().unwrap();
    let store = root.path().join("store");
    let (mut server, admin) = start(&store, &[]);
    let admin = admin.to_string();
    let ready = health(&["--admin", &admin]);
    assert!(ready.status.success() && ready.stderr.is_empty(), "{ready:?}");
    let by_variable = program().arg("health").env("KAZOO_STORAGE_ADMIN", &admin).output();
    assert!(by_variable.unwrap().status.success());
    let config = root.path().join("config.toml");
    fs::write(&config, format!("admin = '{admin}'\n")).unwrap();
    assert!(health(&["--config", config.to_str().unwrap()]).status.success());

    let moved = root.path().join("moved");
    fs::rename(&store, &moved).unwrap();
    fs::create_dir(&store).unwrap();
    fs::remove_dir_all(moved.join(".stage")).unwrap();
    // The server checks its store at most every two seconds.
    thread::sleep(Duration::from_millis(2100));
    refused(&health(&["--admin", &admin]), 1, "is not ready (store): ");

    server.signal("TERM");
    server.wait();
    refused(
        &health(&["--admin", &admin]),
        1,
        "cannot reach the server at 127.0.0.1:",
    );
    refused(&health(&["--admin", "nonsense"]), 2, "expected ADDR:PORT");
}

#[test]
fn asks_at_a_unix_socket() {
    let root = TempDir::new().unwrap();
    let admin = format!("unix:{}", root.path().join("admin.sock").display());
    let _server = Server::start(&root.path().join("store"), &["--admin", &admin]);
    assert!(health(&["--admin", &admin]).status.success());
}

#[test]
fn is_1_for_another_server_and_for_one_that_does_not_answer() {
    let root = TempDir::new().unwrap();
    let server = Server::start(root.path(), &[]);
    let address = server.address.to_string();
    refused(
        &health(&["--admin", &address]),
        1,
        "not as kazoo-storage does; is this its --admin?",
    );

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let begun = Instant::now();
    refused(&health(&["--admin", &address]), 1, "did not answer within 5 s");
    assert!(begun.elapsed() < Duration::from_secs(10));
}
