//! Names that break a rule, and unusual names that do not.

use kazoo_storage::{BlobKey, FsStore, KazooStorage};
use kazoo_storage_test_support::{
    client::{Connection, Pace, request},
    fixture::kazoo_fetch,
    server::Server,
    stores::{Kind, Spy},
};

use super::{FRONTS, Site, put};

#[tokio::test]
async fn names_the_rule_that_a_name_breaks() {
    let long = format!("/prefix/ACC/DOC/{}", "x".repeat(BlobKey::MAX_SEGMENT_LEN + 1));
    for front in FRONTS {
        let mut site = Site::new(front).await;
        for (target, rule) in [
            ("/prefix/ACC/DOC/..", "`..`"),
            ("/prefix/ACC/../DOC", "`..`"),
            ("/prefix/ACC/%2E%2E/DOC", "`..`"),
            ("/prefix/ACC/%2e./DOC", "`..`"),
            ("/prefix/ACC/.%2e/DOC", "`..`"),
            ("/prefix/ACC/./DOC", "`.`"),
            ("/prefix/ACC/%2E/DOC", "`.`"),
            ("/prefix/ACC/DOC/a%00b", "NUL"),
            ("/prefix/ACC/DOC/a%0Ab", "control"),
            ("/prefix/ACC/DOC/a%0D%0Ab", "control"),
            ("/prefix/ACC/DOC/a%7Fb", "control"),
            ("/prefix/ACC/DOC/a%C2%85b", "control"),
            ("/prefix/ACC/DOC/%FF%FE", "UTF-8"),
            ("/prefix/ACC/DOC/%C3", "UTF-8"),
            ("/prefix/ACC/DOC/%C0%AE%C0%AE", "UTF-8"),
            (&*long, "1024"),
            ("/prefix/", "names no file"),
            ("/prefix", "names no file"),
            ("/prefix///", "names no file"),
            ("/prefix/?media_id=x", "names no file"),
        ] {
            for method in ["PUT", "POST", "GET"] {
                let message = site.refused(&request(method, target, &[], ""), 400).await;
                assert!(message.contains(rule), "{method} {target}: {message}");
            }
        }
        // A fetch may repeat the longest key, an upload may not.
        for (method, segments) in [("PUT", 1), ("POST", 1), ("GET", 2)].map(|(m, n)| (m, n * BlobKey::MAX_SEGMENTS + 1))
        {
            let target = format!("/prefix{}", "/x".repeat(segments));
            let message = site.refused(&request(method, &target, &[], ""), 400).await;
            assert!(message.contains("segments"), "{method}: {message}");
        }
    }
}

/// An encoded character in a name is data: never a separator, never decoded twice.
#[tokio::test]
async fn takes_encoded_characters_of_a_name_as_data() {
    for (front, kind) in FRONTS
        .into_iter()
        .flat_map(|front| Kind::ALL.iter().map(move |kind| (front, *kind)))
    {
        let longest = "x".repeat(match kind {
            // An object's whole name has 1024 bytes.
            Kind::Objects => BlobKey::MAX_SEGMENT_LEN - "ACC/DOC/".len(),
            _ => BlobKey::MAX_SEGMENT_LEN,
        });
        let store = Spy::open(kind);
        let server = Server::start(front, "/prefix", KazooStorage::new(store.clone())).await;
        let mut connection = Connection::open(server.address).await;
        let names = [
            (&*longest, &*longest),
            ("a%2Fb.mp3", "a/b.mp3"),
            ("%2Fetc%2Fpasswd", "/etc/passwd"),
            ("..%2F..%2Fb.mp3", "../../b.mp3"),
            ("a%5Cb.mp3", "a\\b.mp3"),
            ("..%5Cb.mp3", "..\\b.mp3"),
            ("50%2520off.mp3", "50%20off.mp3"),
            ("%252E%252E", "%2E%2E"),
            ("a%25.mp3", "a%.mp3"),
            ("...", "..."),
            ("..mp3", "..mp3"),
            ("%20", " "),
            ("a+b.mp3", "a+b.mp3"),
            ("a%2Bb.mp3", "a+b.mp3"),
            ("gr%C3%BC%C3%9Fe.mp3", "grüße.mp3"),
        ];
        for (encoded, _) in names {
            let target = format!("/prefix/ACC/DOC/{encoded}");
            let answer = connection.exchange(&put(&target, encoded), Pace::Whole).await;
            assert_eq!(answer.status, 201, "{encoded}: {answer:?}");
        }
        // Read back after all are stored, which reveals files that replace each other.
        for (encoded, name) in names {
            let same_file_twice = name == "a+b.mp3";
            let target = format!("/prefix/ACC/DOC/{encoded}");
            let fetched = connection.exchange(&kazoo_fetch(target.as_bytes()), Pace::Whole).await;
            assert_eq!(fetched.status, 200, "{encoded}");
            assert!(
                same_file_twice || fetched.body == encoded.as_bytes(),
                "{encoded}: {fetched:?}"
            );
            let key = BlobKey::from_segments(["ACC", "DOC", name]).unwrap();
            assert!(store.stored().contains(&key), "{encoded} is {name}");
        }
        for other in [
            "/prefix/ACC/DOC/a/b.mp3",
            "/prefix/etc/passwd",
            "/prefix/b.mp3",
            "/prefix/ACC/DOC/50%20off.mp3",
        ] {
            let fetched = connection.exchange(&kazoo_fetch(other.as_bytes()), Pace::Whole).await;
            fetched.refusal(404);
        }
    }
}

/// A file and a file beneath it are distinct, in either order.
#[tokio::test]
async fn stores_a_file_and_a_file_beneath_it() {
    for front in FRONTS {
        let root = tempfile::tempdir().unwrap();
        let server = Server::start(front, "/prefix", KazooStorage::new(FsStore::open(root.path()).unwrap())).await;
        let mut connection = Connection::open(server.address).await;
        let paths =
            ["/ACC/DOC", "/ACC/DOC/ATT.mp3", "/SYS/DOC.1/ATT.mp3", "/SYS/DOC.1"].map(|path| format!("/prefix{path}"));
        for path in &paths {
            assert_eq!(connection.exchange(&put(path, path), Pace::Whole).await.status, 201);
        }
        for path in &paths {
            let kept = connection.exchange(&kazoo_fetch(path.as_bytes()), Pace::Whole).await;
            assert_eq!(kept.body, path.as_bytes());
        }
    }
}

/// A directory that someone created in the root is not replaced.
#[tokio::test]
async fn names_a_directory_in_place_of_a_file() {
    for front in FRONTS {
        let root = tempfile::tempdir().unwrap();
        let server = Server::start(front, "/prefix", KazooStorage::new(FsStore::open(root.path()).unwrap())).await;
        let mut connection = Connection::open(server.address).await;
        std::fs::create_dir_all(root.path().join("ACC/DOC/ATT.mp3")).unwrap();
        let refused = connection
            .exchange(&put("/prefix/ACC/DOC/ATT.mp3", "ID3"), Pace::Whole)
            .await;
        let message = refused.refusal(409);
        assert!(
            message.contains("name 3 of its path in the storage root") && message.contains("is a directory"),
            "{message}"
        );
    }
}
