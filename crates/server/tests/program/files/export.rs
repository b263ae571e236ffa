//! `files export` writes whole files, each once, under names that every system accepts.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use kazoo_storage::digest::Digest;
use serde_json::Value;
use tempfile::TempDir;

use super::{NAMES, run};
use crate::{events::site::Site, process::multipart};

/// Returns the lines of a manifest by their keys.
fn manifest(text: &str) -> BTreeMap<String, Value> {
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .map(|line| (line["key"].as_str().unwrap().to_owned(), line))
        .collect()
}

/// Checks the files below `root` as `sha256sum --check SHA256SUMS` does, and returns their number.
fn check(root: &Path) -> usize {
    let sums = fs::read_to_string(root.join("SHA256SUMS")).unwrap();
    for line in sums.lines() {
        let (digest, path) = line.split_once("  ").unwrap();
        let content = fs::read(root.join(path)).unwrap();
        assert_eq!(Digest::of(&content).to_string(), digest, "{path}");
    }
    sums.lines().count()
}

/// Extracts the ZIP file at `path` to `root`.
fn extract(path: &Path, root: &Path) {
    let bytes = fs::read(path).unwrap();
    let number = |at: usize, len: usize| {
        let bytes = bytes[at..at + len].iter().rev();
        bytes.fold(0_usize, |number, byte| number << 8 | usize::from(*byte))
    };
    let end = bytes.len() - 22;
    assert_eq!(number(end, 4), 0x0605_4b50);
    let mut at = number(end + 16, 4);
    for _ in 0..number(end + 10, 2) {
        assert_eq!(number(at, 4), 0x0201_4b50);
        let (crc, len, name_len) = (number(at + 16, 4), number(at + 24, 4), number(at + 28, 2));
        let name = std::str::from_utf8(&bytes[at + 46..at + 46 + name_len]).unwrap();
        let local = number(at + 42, 4);
        assert_eq!((number(local, 4), number(local + 14, 4)), (0x0403_4b50, crc));
        assert_eq!((number(local + 8, 2), number(local + 26, 2)), (0, name_len));
        let begin = local + 30 + name_len + number(local + 28, 2);
        let content = &bytes[begin..begin + len];
        assert_eq!(crc32fast::hash(content) as usize, crc, "{name}");
        fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
        fs::write(root.join(name), content).unwrap();
        at += 46 + name_len + number(at + 30, 2);
    }
    assert_eq!(at, end);
}

/// Returns the paths of the files below `directory`.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// A server with files of all names, one of them long, and one with a document.
fn site() -> Site {
    let site = Site::with(TempDir::new().unwrap(), &[]);
    for name in NAMES {
        site.put(&format!("acc/DOC/{name}"), name);
    }
    site.put("acc/doc/long.mp3", &"0123456789abcdef".repeat(200_000));
    site.put("other/doc/a.mp3", "other");
    let metadata = "{\"call_id\": \"c\",\r\n \"n\": 1.50, \"s\":\"\\ud800\", \"sha256\": null}";
    let mut client = site.server.connect();
    client.send(multipart("/some_prefix/acc/doc/message.mp3", metadata, "media"));
    assert_eq!(client.receive().status, 201);
    site
}

#[test]
fn exports_to_a_directory_and_continues() {
    let (site, scratch) = (site(), TempDir::new().unwrap());
    let root = scratch.path().join("export");
    let to = format!("--to={}", root.display());
    let arguments = ["export", "--account=acc", &to];
    let count = NAMES.len() + 2;
    let (done, _) = run(&site, 0, &arguments);
    assert!(done.starts_with(&format!("{count} files, 3 MiB, 0 of them")), "{done}");
    assert_eq!(check(&root), count);
    assert_eq!(files(&root).len(), count + 2, "{:?}", files(&root));

    let text = fs::read_to_string(root.join("manifest.jsonl")).unwrap();
    assert!(
        text.contains(r#""metadata":{"call_id":"c","n":1.50,"s":"\ud800","sha256":null}"#),
        "{text}"
    );
    let described: BTreeMap<_, _> = manifest(&text.replace("\\ud800", ""));
    assert_eq!(described.len(), count);
    for (key, file) in &described {
        let content = fs::read(root.join(file["path"].as_str().unwrap())).unwrap();
        assert_eq!(file["size"], content.len(), "{key}");
        assert!(file["sha256"].is_string() && file["stored_at"].is_string());
        if let Some(name) = key.strip_prefix("acc/DOC/") {
            assert!(NAMES.iter().any(|sent| sent.as_bytes() == content), "{name}");
        }
    }
    let long = root.join("acc/doc/long.mp3");
    assert_eq!(described["acc/doc/long.mp3"]["path"], "acc/doc/long.mp3");

    // As after an interruption: a file is missing, one is damaged, and temporary files are left.
    fs::write(&long, "damaged").unwrap();
    fs::remove_file(root.join("acc/doc/message.mp3")).unwrap();
    fs::create_dir(root.join(".partial")).unwrap();
    fs::write(root.join(".partial/7"), "half").unwrap();
    let (done, _) = run(&site, 0, &arguments);
    assert!(
        done.contains(&format!("{} of them from an earlier export", count - 2)),
        "{done}"
    );
    assert_eq!((check(&root), files(&root).len()), (count, count + 2));
}

#[test]
fn exports_to_a_zip_file_that_replaces_none() {
    let (site, scratch) = (site(), TempDir::new().unwrap());
    let path = scratch.path().join("export.zip");
    let to = format!("--to={}", path.display());
    run(&site, 0, &["export", "--all", &to]);
    assert_eq!(files(scratch.path()), std::slice::from_ref(&path));
    let root = scratch.path().join("extracted");
    extract(&path, &root);
    assert_eq!((check(&root), files(&root).len()), (NAMES.len() + 3, NAMES.len() + 5));

    let before = fs::read(&path).unwrap();
    let (_, refused) = run(&site, 2, &["export", "--all", &to]);
    assert!(refused.contains("exists"), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn an_export_without_files_is_complete() {
    let (site, scratch) = (Site::with(TempDir::new().unwrap(), &[]), TempDir::new().unwrap());
    let path = scratch.path().join("empty.zip");
    let (done, _) = run(&site, 0, &["export", "--all", &format!("--to={}", path.display())]);
    assert!(done.starts_with("0 files"), "{done}");
    extract(&path, scratch.path());
    assert_eq!(check(scratch.path()), 0);
}

#[test]
fn reports_a_damaged_file_and_exports_the_others() {
    let (site, scratch) = (site(), TempDir::new().unwrap());
    let root = scratch.path().join("export");
    fs::write(site.root.path().join("data/other/doc/a.mp3"), "damaged").unwrap();
    let (done, failed) = run(&site, 1, &["export", "--all", &format!("--to={}", root.display())]);
    assert!(
        done.contains("1 failed") && failed.contains("other/doc/a.mp3: "),
        "{done}{failed}"
    );
    assert_eq!(check(&root), NAMES.len() + 2);
    assert!(!root.join("other").exists());
}

#[test]
fn leaves_nothing_if_the_server_cannot_be_reached() {
    let (mut site, scratch) = (site(), TempDir::new().unwrap());
    site.server.stop();
    let to = format!("--to={}", scratch.path().join("a.zip").display());
    run(&site, 1, &["export", "--all", &to]);
    assert!(files(scratch.path()).is_empty() && fs::read_dir(scratch.path()).unwrap().next().is_none());
}

#[test]
fn follows_no_link_out_of_the_directory() {
    let (site, scratch) = (site(), TempDir::new().unwrap());
    let (root, outside) = (scratch.path().join("export"), scratch.path().join("outside"));
    let to = format!("--to={}", root.display());
    for link in ["acc", "acc/doc", ".partial", ".partial/lock"] {
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("mine"), "mine").unwrap();
        fs::create_dir_all(root.join(link).parent().unwrap()).unwrap();
        let target = if link.ends_with("lock") {
            outside.join("mine")
        } else {
            outside.clone()
        };
        symlink(target, root.join(link)).unwrap();
        let (_, refused) = run(&site, 1, &["export", "--all", &to]);
        let path = root.join(link).display().to_string();
        assert!(
            refused.contains(&path) && refused.contains("symbolic link"),
            "{refused}"
        );
        assert_eq!(files(&outside), [outside.join("mine")], "{link}");
        assert_eq!(fs::read_to_string(outside.join("mine")).unwrap(), "mine", "{link}");
        for directory in [&root, &outside] {
            fs::remove_dir_all(directory).unwrap();
        }
    }
    // The directory itself may be one.
    fs::create_dir(&outside).unwrap();
    symlink(&outside, &root).unwrap();
    run(&site, 0, &["export", "--all", &to]);
    assert_eq!(check(&outside), NAMES.len() + 3);
}
