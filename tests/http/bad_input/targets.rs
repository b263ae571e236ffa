//! Targets that name no file, and methods without a meaning.

use kazoo_storage::{KazooStorage, extract_key::QueryKey, settings::KazooSettings};
use kazoo_storage_test_support::{
    client::{Connection, Pace, request},
    fixture::kazoo_fetch,
    server::{Front, Server},
    stores::Spy,
};

use super::{FRONTS, JSON, OLD, OLD_CONTENT, Site, multipart, put, put_multipart};

/// httpc sends such a target for a file named `..`. It would occupy the directory of later files.
#[tokio::test]
async fn refuses_an_upload_without_a_name() {
    for front in FRONTS {
        let mut site = Site::new(front).await;
        for target in [
            "/prefix/ACC/",
            "/prefix/ACC/OWNER/",
            "/prefix/ACC/DOC/",
            "/prefix/ACC/DOC/message.mp3/",
            "/prefix/ACC//?x=y",
        ] {
            for method in ["PUT", "POST"] {
                let message = site.refused(&request(method, target, &[], "ID3"), 400).await;
                assert!(message.contains("rename the file"), "{target}: {message}");
            }
            for pace in [Pace::Pieces(7), Pace::Pieces(1)] {
                let answer = site.open().await.exchange(&put(target, "ID3"), pace).await;
                answer.refusal(400);
                site.assert_untouched().await;
            }
        }
        // A fetch ignores the trailing slash.
        let fetch = kazoo_fetch(format!("{OLD}/").as_bytes());
        let old = site.open().await.exchange(&fetch, Pace::Whole).await;
        assert_eq!((old.status, &old.body[..]), (200, OLD_CONTENT));
    }
}

#[tokio::test]
async fn refuses_an_upload_without_a_name_in_its_query() {
    let store = Spy::memory();
    let storage = KazooStorage::new(store.clone()).key(QueryKey::new("recording"));
    let server = Server::start(Front::Hyper, "/prefix", storage).await;
    let mut connection = Connection::open(server.address).await;
    for value in ["ACC/", "ACC/DOC/", "ACC/DOC/a.mp3/&x=y"] {
        let bad = put(&format!("/prefix?recording={value}"), "ID3");
        let message = connection.exchange(&bad, Pace::Whole).await.refusal(400);
        assert!(message.contains("rename the file"), "{value}: {message}");
    }
    assert_eq!(store.stored(), []);
    // The path is not part of the key here, so its end does not matter.
    let good = put("/prefix/?recording=ACC/DOC/a.mp3", "ID3");
    assert_eq!(connection.exchange(&good, Pace::Whole).await.status, 201);
}

/// Known settings determine the minimum number of segments.
#[tokio::test]
async fn refuses_an_upload_with_fewer_segments_than_the_settings_make() {
    const ONE_URL: &str = r#""field_list":[],"send_multipart":true"#;
    let json = put_multipart("/prefix/", multipart(&[JSON, ("audio/mpeg", b"ID3")]));
    for (settings, good, bad) in [
        (
            "",
            &["/prefix/A/D/a.mp3", "/prefix/A/O/D/a.mp3", "/prefix/A/B/C/D/E"][..],
            &["/prefix/A", "/prefix/A/D"][..],
        ),
        (
            r#""folder_base_path":"/in/","folder_path":"x/""#,
            &["/prefix/in//x//A/D/a"],
            &["/prefix/in/x/A/D", "/prefix/A/D/a"],
        ),
        (
            r#""field_list":[{"arg":"id"},{"field":"x"},{"arg":"attachment"}]"#,
            &["/prefix/D/a"],
            &["/prefix/D"],
        ),
        (
            r#""field_list":["a/b",{"group":["x-",{"arg":"id"}]},{"arg":"attachment"}]"#,
            &["/prefix/a/b/x-D/a"],
            &["/prefix/a/b/a"],
        ),
        (r#""field_separator":"-""#, &["/prefix/A-D-a.mp3"], &[]),
        // Direct recordings have other settings.
        (
            "",
            &["/prefix/call_recording_1.mp3", "/prefix/x/call_recording_2.mp3?from=1"],
            &["/prefix/recording_1.mp3"],
        ),
        (ONE_URL, &[], &[]),
    ] {
        let rest = if settings.is_empty() {
            String::new()
        } else {
            format!(",{settings}")
        };
        let settings = format!(r#"{{"url":"http://h/prefix","verb":"put"{rest}}}"#);
        let store = Spy::memory();
        let storage = KazooStorage::from_settings(store.clone(), &KazooSettings::from_json(&settings).unwrap());
        let server = Server::start(Front::Hyper, "/prefix", storage).await;
        let mut connection = Connection::open(server.address).await;
        for target in bad {
            let message = connection.exchange(&put(target, "ID3"), Pace::Whole).await.refusal(400);
            assert!(
                message.contains("KAZOO sends at least"),
                "{settings}, {target}: {message}"
            );
        }
        assert_eq!(store.stored(), [], "{settings}");
        for target in good {
            let answer = connection.exchange(&put(target, "ID3"), Pace::Whole).await;
            assert_eq!(answer.status, 201, "{settings}, {target}: {answer:?}");
        }
        // The regular target of every file.
        if rest.contains(ONE_URL) {
            assert_eq!(connection.exchange(&json, Pace::Whole).await.status, 201);
        }
    }
}

#[tokio::test]
async fn answers_405_to_other_methods() {
    for front in FRONTS {
        let mut site = Site::new(front).await;
        for method in ["DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "MKCOL"] {
            let mut connection = site.open().await;
            let answer = connection.exchange(&request(method, OLD, &[], ""), Pace::Whole).await;
            answer.refusal(405);
            let allow = answer.header("allow").expect("Allow");
            let mut allowed: Vec<_> = allow.split(',').map(str::trim).collect();
            allowed.sort_unstable();
            assert_eq!(allowed, ["GET", "HEAD", "POST", "PUT"], "{method}");
            site.assert_untouched().await;
        }
    }
}
