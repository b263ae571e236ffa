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
        (Search::new().number("x' OR '1'='1"), &[]),
    ] {
        let found = site.ledger.search(search.clone(), 100).await.unwrap();
        let names: Vec<&str> = found.iter().map(|file| file.key.attachment()).collect();
        assert_eq!(names, expected, "{search:?}");
    }
    assert_eq!(site.ledger.search(Search::new(), 2).await.unwrap().len(), 2);
}

/// A lookup whose cost grows with the number of files scans a table, which the plan of the query shows.
#[tokio::test]
async fn looks_up_calls_and_numbers_in_an_index() {
    let site = Site::sqlite().await;
    let connection = rusqlite::Connection::open(site.path()).unwrap();
    for condition in [
        "call_id = 'c'",
        "(caller_number = '1' OR callee_number = '1')",
        "key = 'a'",
    ] {
        let sql = format!(
            "EXPLAIN QUERY PLAN SELECT * FROM files WHERE {condition} ORDER BY stored_at DESC, key DESC LIMIT 9"
        );
        let mut statement = connection.prepare(&sql).unwrap();
        let plan: Vec<String> = statement
            .query_map([], |row| row.get(3))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert!(
            !plan.iter().any(|step| step.starts_with("SCAN")),
            "{condition}: {plan:?}"
        );
    }
}
