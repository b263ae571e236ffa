//! The file of the trail after the ledger was restored from a backup.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rusqlite::Connection;
use tempfile::TempDir;

use super::{BELOW, run, site, start, verify};
use crate::{
    events::site::Site,
    process::{eventually, program},
};

const LEDGER: &str = "data/.ledger/files.sqlite";

/// Fetches a file `count` times.
fn fetch(site: &Site, name: &str, count: usize) {
    let target = format!("{BELOW}/ACC/DOC/{name}");
    let mut client = site.server.connect();
    assert_eq!(client.put(&target, b"content").status, 201);
    for _ in 0..count {
        assert_eq!(client.get(&target).status, 200);
    }
}

fn lines(file: &Path) -> usize {
    fs::read_to_string(file).unwrap_or_default().lines().count()
}

/// Waits until the file has `count` lines, which are the whole chain.
fn wait_for(file: &Path, count: usize) {
    eventually("the entries in the file", || (lines(file) == count).then_some(()));
    assert_eq!(verify(&fs::read_to_string(file).unwrap()), count);
}

fn stop(mut site: Site) -> TempDir {
    site.server.stop();
    site.root
}

fn kept(file: &Path, suffix: &str) -> PathBuf {
    file.with_extension(format!("jsonl.replaced-{suffix}"))
}

/// A server whose ledger is restored from a backup with 3 entries, and the file with 5 entries.
fn restored() -> (TempDir, PathBuf, String) {
    let (site, file) = site();
    fetch(&site, "a.mp3", 3);
    wait_for(&file, 3);
    let root = stop(site);
    let [ledger, backup] = [LEDGER, "backup.sqlite"].map(|name| root.path().join(name));
    fs::copy(&ledger, &backup).unwrap();

    let (site, _) = start(root);
    fetch(&site, "b.mp3", 2);
    wait_for(&file, 5);
    let root = stop(site);
    for more in ["-wal", "-shm"] {
        let path = root.path().join(format!("{LEDGER}{more}"));
        assert!(!path.exists(), "the server has closed its ledger");
    }
    fs::copy(&backup, &ledger).unwrap();
    let old = fs::read_to_string(&file).unwrap();
    (root, file, old)
}

#[test]
fn a_new_file_begins_after_the_ledger_was_restored() {
    let (root, file, old) = restored();
    let (site, _) = start(root);
    wait_for(&file, 3);
    let name = kept(&file, "5");
    assert_eq!(fs::read_to_string(&name).unwrap(), old);
    let log = site.server.log();
    let line = log.lines().find(|line| line.contains("does not have the last entry"));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    assert!(
        line.contains("ERROR") && line.contains(name.to_str().unwrap()),
        "{line}"
    );
    fetch(&site, "c.mp3", 3);
    wait_for(&file, 6);
    assert!(run(&site, 0, &["verify"]).starts_with("6 entries verified"));

    // The file of the other history comes back, although the ledger now has an entry with its last number.
    fs::rename(&name, &file).unwrap();
    fs::write(&name, "of someone else").unwrap();
    site.server.signal("HUP");
    let second = kept(&file, "5-2");
    eventually("a new file", || second.exists().then_some(()));
    wait_for(&file, 6);
    assert_eq!(fs::read_to_string(&second).unwrap(), old);
    assert_eq!(fs::read_to_string(&name).unwrap(), "of someone else");
    fetch(&site, "d.mp3", 1);
    wait_for(&file, 7);
}

/// As when the server is started without the flag after the restore, and with it later.
#[test]
fn a_new_file_begins_if_the_ledger_has_another_entry_with_the_number() {
    let (root, file, old) = restored();
    let options = ["--audit"];
    let site = Site::with(root, &options);
    let target = "/some_prefix/ACC/DOC/c.mp3";
    site.put("ACC/DOC/c.mp3", "content");
    for _ in 0..4 {
        assert_eq!(site.server.connect().get(target).status, 200);
    }
    let (site, _) = start(stop(site));
    wait_for(&file, 7);
    assert_eq!(fs::read_to_string(kept(&file, "5")).unwrap(), old);
    fetch(&site, "d.mp3", 1);
    wait_for(&file, 8);
}

/// The directory has no room for the name under which the file is kept.
#[test]
fn the_server_does_not_start_if_the_file_cannot_be_kept() {
    let (root, file, old) = restored();
    let long = root.path().join("a".repeat(250));
    fs::rename(&file, &long).unwrap();
    let errors = root.path().join("stderr");
    let mut command = program();
    command.args([
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--no-fsync",
        "--allow-anyone",
        "--audit",
        "--store",
    ]);
    command.arg(root.path().join("data")).arg("--audit-file").arg(&long);
    let mut child = command.stderr(fs::File::create(&errors).unwrap()).spawn().unwrap();
    let status = eventually("the server exits", || child.try_wait().unwrap());
    let stderr = fs::read_to_string(errors).unwrap();
    assert!(!status.success(), "{stderr}");
    assert!(stderr.contains("does not have its last entry 5"), "{stderr}");
    assert_eq!(fs::read_to_string(&long).unwrap(), old);
}

/// A new ledger has nothing with which a new file could begin. It begins with the first entry.
#[test]
fn the_file_of_another_ledger_is_kept_until_there_is_an_entry() {
    let (root, file, old) = restored();
    fs::remove_file(root.path().join(LEDGER)).unwrap();
    let (site, _) = start(root);
    assert_eq!(fs::read_to_string(&file).unwrap(), old);
    fetch(&site, "c.mp3", 2);
    wait_for(&file, 2);
    assert_eq!(fs::read_to_string(kept(&file, "5")).unwrap(), old);
}

#[test]
fn the_file_goes_on_if_its_last_entry_is_too_old_for_the_ledger() {
    let (site, file) = site();
    fetch(&site, "a.mp3", 3);
    wait_for(&file, 3);
    let root = stop(site);
    let site = Site::with(root, &["--audit"]);
    site.put("ACC/DOC/c.mp3", "content");
    for _ in 0..2 {
        assert_eq!(site.server.connect().get("/some_prefix/ACC/DOC/c.mp3").status, 200);
    }
    let root = stop(site);
    // As `keep_days` does.
    let connection = Connection::open(root.path().join(LEDGER)).unwrap();
    let remove = "UPDATE audit_ends SET seq = 3, hash = (SELECT hash FROM audit WHERE seq = 3) WHERE name = 'anchor'; \
        DELETE FROM audit WHERE seq <= 3";
    connection.execute_batch(remove).unwrap();
    drop(connection);
    let (site, _) = start(root);
    wait_for(&file, 5);
    assert!(run(&site, 0, &["verify"]).starts_with("2 entries verified"));
    assert!(!kept(&file, "3").exists());
}
