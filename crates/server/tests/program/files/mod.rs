//! The operator's API of the files, and the command `files`.

mod api;
mod command;
mod consistency;
mod erasure;
mod export;
mod get;
mod holds;
mod interruption;
mod verify;

use crate::events::site::{Site, expect};

/// Names that a path or a shell could misread, as segments of a target.
const NAMES: [&str; 8] = [
    "plain.mp3",
    "a%2Fb.mp3",
    "..%2F..%2Fetc.mp3",
    "...",
    "100%25.mp3",
    "%252F.mp3",
    "two%20words%20%C3%BC.mp3",
    "content",
];

/// Runs `kazoo-storage files` with these arguments. Asserts the status, and returns stdout and stderr.
fn run(site: &Site, status: i32, arguments: &[&str]) -> (String, String) {
    expect(status, arguments, site.command("files", arguments).output().unwrap())
}

/// Returns the key of each line of `lines`, which are JSON.
fn keys(lines: &str) -> Vec<String> {
    let key = |line| {
        let file: serde_json::Value = serde_json::from_str(line).unwrap();
        file["key"].as_str().unwrap().to_owned()
    };
    lines.lines().map(key).collect()
}
