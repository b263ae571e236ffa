//! A check lists the files that it stores, and `--clean` removes them if the server supports DELETE.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use kazoo_storage::{
    KazooStorage, MemoryStore,
    extract_key::{MetadataKey, QueryKey},
};
use tempfile::TempDir;

use super::{
    Report, SECRET, check,
    front::{Front, Running, Turn::Pass, page, start},
    green::{text_report, written},
};
use crate::events::site::{Site, expect};

fn left(report: &Report) -> Vec<&str> {
    let left = report.json["leftovers"].as_array().unwrap();
    left.iter().map(|key| key.as_str().unwrap()).collect()
}

/// A server that answers DELETE with success, whether it removes the file or not.
fn takes_delete(removes: bool) -> (Front, Arc<Mutex<HashMap<String, Bytes>>>) {
    let files = Arc::<Mutex<HashMap<String, Bytes>>>::default();
    let held = Arc::clone(&files);
    let front = Front::answering(move |request| {
        let path = request.uri().path().to_owned();
        let mut files = held.lock().unwrap();
        match *request.method() {
            Method::GET => match files.get(&path) {
                Some(file) => Response::new(file.clone()),
                None => page(StatusCode::NOT_FOUND, "404"),
            },
            Method::DELETE => {
                if removes {
                    files.remove(&path);
                }
                Response::new(Bytes::new())
            }
            _ => {
                files.insert(path, request.body().clone());
                Response::builder().status(201).body(Bytes::new()).unwrap()
            }
        }
    });
    (front, files)
}

fn storage() -> KazooStorage {
    KazooStorage::new(MemoryStore::new())
}

#[tokio::test]
async fn removes_all_files_if_the_server_supports_delete() {
    let (front, files) = takes_delete(true);
    let running = start(front, storage(), "/some_prefix").await;
    let report = check(&[&running.url()]).await;
    // This server stores each credentials probe.
    assert!(left(&report).len() > 20, "{:#}", report.json);
    // This server stores one name outside ASCII under two spellings, which are one key.
    assert!(left(&report).len() >= files.lock().unwrap().len() - 1);
    files.lock().unwrap().clear();

    let report = check(&[&running.url(), "--clean"]).await;
    assert_eq!(left(&report), [""; 0]);
    assert!(report.json["removed"].as_u64().unwrap() > 20, "{:#}", report.json);
    let files = files.lock().unwrap();
    assert!(files.is_empty(), "{:?}", files.keys());
}

#[tokio::test]
async fn lists_files_that_a_server_does_not_remove() {
    let (front, _) = takes_delete(false);
    let keeps = start(front, storage(), "/some_prefix").await;
    let report = check(&[&keeps.url(), "--clean"]).await;
    assert!(
        !left(&report).is_empty() && report.json["removed"] == 0,
        "{:#}",
        report.json
    );

    let ours = start(Front::default(), storage(), &format!("/some_prefix/{SECRET}")).await;
    let url = format!("http://{}/some_prefix/{SECRET}", ours.address);
    for options in [&[&*url][..], &[&url, "--clean"]] {
        let report = check(options).await;
        assert_eq!(report.exit, 0, "{:#}", report.json);
        let left = left(&report);
        // kazoo-storage stores no credentials probe; a name with a space has another key in OpenKazoo.
        assert_eq!(left.len(), 11, "{left:?}");
        let account = "c4ecc4ecc4ecc4ecc4ecc4ecc4ecc4ec";
        let document = "202001-c4ec0000000000000000000000000000";
        assert!(
            left.contains(&&*format!("{account}/{document}/message.mp3")),
            "{left:?}"
        );
    }
    let (_, text) = text_report(&[&url]).await;
    assert!(
        text.contains("11 files that the check stored remain on the server:\n  c4ecc4ec"),
        "{text}"
    );
    assert!(
        text.contains("run `check --clean`") && text.contains("find DIRECTORY"),
        "{text}"
    );
    let (_, text) = text_report(&[&url, "--clean"]).await;
    assert!(
        text.contains("refuses to remove them with DELETE (405 Method Not Allowed"),
        "{text}"
    );
    assert!(!text.contains(SECRET), "{text}");
}

#[tokio::test]
async fn its_files_can_be_removed_with_files_rm() {
    let site = Site::with(TempDir::new().unwrap(), &[]);
    let url = format!("http://{}/some_prefix", site.server.address);
    let (_, text) = text_report(&[&url]).await;
    assert!(text.contains("kazoo-storage files rm --yes KEY"), "{text}");
    let report = check(&[&url]).await;
    let arguments = [&["rm", "--yes"][..], &left(&report)].concat();
    expect(0, &arguments, site.command("files", &arguments).output().unwrap());
    let all = ["list", "--all", "--json"];
    let (listed, _) = expect(0, &all, site.command("files", &all).output().unwrap());
    assert_eq!(listed, "");
}

#[tokio::test]
async fn removes_the_files_of_a_load() {
    let (front, files) = takes_delete(true);
    let running = start(front, storage(), "/some_prefix").await;
    let options = ["--load", "2", "--for", "1s", "--size", "1KiB"];
    let report = check(&[&[&*running.url()][..], &options].concat()).await;
    assert!(
        left(&report).iter().any(|key| key.ends_with("/load.mp3")),
        "{:#}",
        report.json
    );
    let report = check(&[&[&*running.url(), "--clean"][..], &options].concat()).await;
    assert_eq!(left(&report), [""; 0]);
    let files = files.lock().unwrap();
    assert!(
        !files.keys().any(|path| path.ends_with("/load.mp3")),
        "{:?}",
        files.keys()
    );
}

/// A URL shared by several files must not be deleted.
#[tokio::test]
async fn sends_no_delete_to_a_url_that_files_share() {
    let directory = TempDir::new().unwrap();
    let fields = MetadataKey::new(["media_id", "id", "call_id"]);
    for (url, settings, storage) in [
        ("/some_prefix", r#","field_list":[]"#, storage().key(fields.clone())),
        ("/some_prefix", r#","file":"all.bin""#, storage().key(fields)),
        ("/some_prefix?recording=", "", storage().key(QueryKey::new("recording"))),
        (
            "/some_prefix",
            r#","field_list":["static/",{"arg":"attachment"}]"#,
            self::storage(),
        ),
    ] {
        let deletes = Arc::<AtomicUsize>::default();
        let seen = Arc::clone(&deletes);
        let front = Front::before(move |request| {
            if request.method() == Method::DELETE {
                seen.fetch_add(1, Ordering::Relaxed);
            }
            Pass(request)
        });
        let running: Running = start(front, storage, "/some_prefix").await;
        let url = format!("http://{}{url}", running.address);
        let document = format!(r#"{{"url":"{url}","verb":"put","send_multipart":true{settings}}}"#);
        let file = written(&directory, "storage.json", &document);
        let report = check(&["--settings", &file, "--clean"]).await;
        assert!(!left(&report).is_empty(), "{:#}", report.json);
        assert_eq!(
            (&report.json["removed"], deletes.load(Ordering::Relaxed)),
            (&0.into(), 0)
        );
    }
}
