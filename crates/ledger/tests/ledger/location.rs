//! The place of a ledger as text.

use kazoo_storage::ErrorKind;
use kazoo_storage_ledger::{Ledger, Location};

#[test]
fn parses_and_shows_the_path_of_a_file() {
    for text in ["sqlite:ledger.sqlite", "sqlite:/var/lib/kazoo: storage/ledger"] {
        assert_eq!(text.parse::<Location>().unwrap().to_string(), text);
    }
}

#[test]
fn says_what_it_expects() {
    for (text, reason) in [
        ("", "expected `sqlite:PATH` or `postgres://"),
        ("/var/lib/ledger", "expected `sqlite:PATH` or `postgres://"),
        ("mysql://host/db", "expected `sqlite:PATH` or `postgres://"),
        ("sqlite:", "the path of a file"),
        ("sqlite::memory:", "the path of a file"),
        ("sqlite:///var/lib/ledger", "directly after the colon"),
    ] {
        let error = text.parse::<Location>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(error.message().contains(reason), "{text}: {error}");
    }
}

#[cfg(feature = "postgres")]
#[test]
fn shows_a_database_without_its_password() {
    for (url, shown) in [
        ("postgres://a:secret@localhost/b", "postgres://a@localhost:5432/b"),
        ("postgresql://a:secret@[::1]:1/b", "postgres://a@[::1]:1/b"),
        (
            "postgres://a:secret@127.0.0.1,10.0.0.1:2/b?sslmode=verify-full",
            "postgres://a@127.0.0.1:5432,10.0.0.1:2/b",
        ),
        (
            "postgres://a@%2Frun%2Fpostgresql/b?password=secret",
            "postgres://a@/run/postgresql:5432/b",
        ),
        (
            "postgres://a:secret@db.example/b?sslrootcert=/etc/ca.pem",
            "postgres://a@db.example:5432/b",
        ),
    ] {
        let location: Location = url.parse().unwrap();
        assert_eq!(location.to_string(), shown);
        assert!(!format!("{location:?}").contains("secret"), "{location:?}");
    }
}

#[cfg(feature = "postgres")]
#[test]
fn explains_what_is_wrong_with_a_url_of_a_database() {
    for (url, reason) in [
        ("postgres:a", "expected `sqlite:PATH` or `postgres://"),
        ("postgres:///b", "no host"),
        ("postgres://a:secret@host:port/b", "invalid value for option `port`"),
        (
            "postgres://a:secret@host/b?sslmode=disable&colour=secret",
            "unknown option `colour`",
        ),
        ("postgres://a:secret@host/b", "sslmode=verify-full"),
        ("postgres://a:secret@host/b?sslmode=prefer", "`sslmode` must be"),
    ] {
        let error = url.parse::<Location>().unwrap_err();
        assert!(error.message().contains(reason), "{url}: {error}");
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
}

#[tokio::test]
async fn opens_a_file_by_its_location() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger");
    Ledger::open(&format!("sqlite:{}", path.display())).await.unwrap();
    assert!(path.exists());
}
