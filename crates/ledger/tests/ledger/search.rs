//! Searches find files by what is known of a call.

use std::time::{Duration, SystemTime};

use kazoo_storage::kazoo_id::AttachmentKind;
use kazoo_storage_ledger::{FileRecord, Search};

use super::{Site, key, metadata};

#[tokio::test]
async fn finds_files_by_each_condition_newest_first() {
    let site = Site::new().await;
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for (seconds, path, document) in [
        (0, "A/D/fax_file.tiff", r#"{"from_number":"1","to_number":"2"}"#),
        (
            1,
            "A/D/call_recording_x.mp3",
            r#"{"call_id":"c","caller_id_number":"2","callee_id_number":"3"}"#,
        ),
        (
            2,
            "B/D/call_recording_y.mp3",
            r#"{"call_id":"c","caller_id_number":"9"}"#,
        ),
        (3, "B/D/greeting.wav", "{}"),
    ] {
        let file =
            FileRecord::new(&key(path), 1, metadata(document)).with_stored_at(start + Duration::from_secs(seconds));
        site.ledger.record(&file).await.unwrap();
    }
    for (search, expected) in [
        (
            Search::new(),
            &[
                "greeting.wav",
                "call_recording_y.mp3",
                "call_recording_x.mp3",
                "fax_file.tiff",
            ][..],
        ),
        (
            Search::new().call_id("c"),
            &["call_recording_y.mp3", "call_recording_x.mp3"],
        ),
        (Search::new().number("2"), &["call_recording_x.mp3", "fax_file.tiff"]),
        (
            Search::new().number("2").account("A").call_id("c"),
            &["call_recording_x.mp3"],
        ),
        (Search::new().kind(AttachmentKind::Fax), &["fax_file.tiff"]),
        (Search::new().kind(None), &["greeting.wav"]),
        (
            Search::new().since(start + Duration::from_secs(2)).account("B"),
            &["greeting.wav", "call_recording_y.mp3"],
        ),
        (
            Search::new()
                .since(start + Duration::from_secs(1))
                .until(start + Duration::from_secs(2)),
            &["call_recording_x.mp3"],
        ),
        (
            Search::new().account("A").document("D").kind(AttachmentKind::Fax),
            &["fax_file.tiff"],
        ),
        (Search::new().document("E"), &[]),
        (Search::new().number("x' OR '1'='1"), &[]),
    ] {
        let found = site.ledger.search(search.clone(), 100).await.unwrap();
        let names: Vec<&str> = found.iter().map(|file| file.key.attachment()).collect();
        assert_eq!(names, expected, "{search:?}");
    }
    assert_eq!(site.ledger.search(Search::new(), 2).await.unwrap().len(), 2);
}

#[tokio::test]
async fn pages_return_each_file_once() {
    let site = Site::new().await;
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let mut expected = Vec::new();
    for number in 0..40 {
        // Some are of the same time.
        let (path, stored_at) = (
            format!("A/D/{:02}.mp3", 39 - number),
            start + Duration::from_millis(number / 7),
        );
        let file = FileRecord::new(&key(&path), 1, metadata(r#"{"call_id":"c","caller_id_number":"1"}"#))
            .with_stored_at(stored_at);
        site.ledger.record(&file).await.unwrap();
        expected.push((stored_at, key(&path)));
    }
    expected.sort_by(|one, other| other.cmp(one));
    for search in [
        Search::new(),
        Search::new().account("A").document("D"),
        Search::new().call_id("c").since(start),
        Search::new().number("1").account("A"),
        Search::new().until(start + Duration::from_secs(1)),
    ] {
        let search = search.without_metadata();
        for limit in [1, 3, 40] {
            let (mut found, mut next) = (Vec::new(), search.clone());
            loop {
                let page = site.ledger.search(next, limit).await.unwrap();
                assert!(page.iter().all(|file| file.metadata.is_none()));
                found.extend(page.into_iter().map(|file| (file.stored_at, file.key)));
                if found.len() % limit > 0 || found.len() > 40 {
                    break;
                }
                let Some((stored_at, key)) = found.last() else { break };
                if found.len() == 40 {
                    let rest = search.clone().after(*stored_at, key);
                    assert!(site.ledger.search(rest, 1).await.unwrap().is_empty());
                    break;
                }
                next = search.clone().after(*stored_at, key);
            }
            assert_eq!(found, expected, "{search:?} by {limit}");
        }
    }
}

#[tokio::test]
async fn sums_up_the_files_of_each_account() {
    let site = Site::new().await;
    for (path, size) in [
        ("A/D/1", 5),
        ("A/D/2", 7),
        ("B/OWNER/D/1", 100),
        ("C/D/1", 12),
        ("top/level", 1),
    ] {
        site.ledger
            .record(&FileRecord::new(&key(path), size, None))
            .await
            .unwrap();
    }
    let usage = async |account| {
        let usage = site.ledger.usage(account).await.unwrap();
        let rows = usage.into_iter().map(|usage| (usage.account, usage.files, usage.bytes));
        rows.collect::<Vec<_>>()
    };
    let of = |account: &str, files, bytes| (Some(account.to_owned()), files, bytes);
    assert_eq!(
        usage(None).await,
        [of("B", 1, 100), of("A", 2, 12), of("C", 1, 12), (None, 1, 1)]
    );
    assert_eq!(usage(Some("A")).await, [of("A", 2, 12)]);
    assert_eq!(usage(Some("a")).await, []);
}
