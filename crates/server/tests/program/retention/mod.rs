//! The policy: retention, its command, and KAZOO's webhook for deletions.

mod audit;
mod clock;
mod policy;
mod quota;
mod webhook;

use std::{fs, path::Path};

use tempfile::TempDir;

use crate::events::site::{Site, expect};

const ACCOUNT: &str = "0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7";
const DOCUMENT: &str = "202401-9f86d081884c7d659a2feaa0c55ad015";

/// Starts a server with a policy in a file, and with these options.
fn start(policy: &str, options: &[&str]) -> Site {
    start_in(TempDir::new().unwrap(), policy, options)
}

fn start_in(root: TempDir, policy: &str, options: &[&str]) -> Site {
    let file = root.path().join("policy.toml");
    fs::write(&file, policy).unwrap();
    let options = [&["--policy", file.to_str().unwrap()], options].concat();
    Site::with(root, &options)
}

/// Runs `kazoo-storage retention` with these arguments. Asserts the status, and returns stdout and stderr.
fn run(site: &Site, status: i32, arguments: &[&str]) -> (String, String) {
    expect(
        status,
        arguments,
        site.command("retention", arguments).output().unwrap(),
    )
}

/// Runs `sql` in the ledger below `root`.
fn execute(root: &Path, sql: &str) {
    let path = root.join("data/.ledger/files.sqlite");
    let ledger = rusqlite::Connection::open(path).unwrap();
    ledger.busy_timeout(crate::process::TIMEOUT).unwrap();
    ledger.execute_batch(sql).unwrap();
}

/// Makes the file `name` older.
fn age(site: &Site, name: &str, days: u64) {
    let millis = days * 86_400_000;
    let sql = format!("UPDATE files SET stored_at = stored_at - {millis} WHERE attachment = '{name}'");
    execute(site.root.path(), &sql);
}

fn status(site: &Site, name: &str) -> u16 {
    let target = format!("/some_prefix/{ACCOUNT}/{DOCUMENT}/{name}");
    site.server.connect().get(&target).status
}

fn put(site: &Site, name: &str) {
    site.put(&format!("{ACCOUNT}/{DOCUMENT}/{name}"), "content");
}
