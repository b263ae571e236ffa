//! The same cases in the program, which parses heads itself and has limits.

use std::{fs, path::Path};

use kazoo_storage_test_support::client::{Connection, Pace, request};

use crate::process::Server;

use super::{MOUNT, OLD, bodies::chunked_bodies, departure, heads::heads_in_the_program, several::several, table};

/// Every stored file by its path below the root, with its content.
fn files(root: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for account in fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()) {
        if account.ends_with(".stage") || account.ends_with(".ledger") {
            continue;
        }
        for document in fs::read_dir(account).unwrap().map(|entry| entry.unwrap().path()) {
            for file in fs::read_dir(document).unwrap().map(|entry| entry.unwrap().path()) {
                let name = file.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                if !name.contains("/.") {
                    files.push((name, fs::read_to_string(&file).unwrap()));
                }
            }
        }
    }
    files.sort();
    files
}

#[tokio::test]
async fn answers_every_case_in_the_program() {
    let root = tempfile::tempdir().unwrap();
    let program = Server::start(root.path(), &["--no-fsync", "--mount", MOUNT]);
    let old = request("PUT", OLD.0, &[], OLD.1);
    let old = Connection::open(program.address)
        .await
        .exchange(&old, Pace::Whole)
        .await;
    assert_eq!(old.status, 201);
    let mut wrong = Vec::new();
    let of_heads = heads_in_the_program().into_iter();
    let in_pieces = of_heads.map(|case| (Pace::Pieces(1), case));
    // The program tracks the requests of a connection itself.
    let followed = chunked_bodies().into_iter().chain(several());
    let followed = followed.filter(|case| case.bytes.len() < 1000);
    let in_pieces = in_pieces.chain(followed.map(|case| (Pace::Pieces(7), case)));
    let whole = table().into_iter().chain(heads_in_the_program());
    for (pace, case) in whole.map(|case| (Pace::Whole, case)).chain(in_pieces) {
        let mut departure = departure(&case, pace, program.address).await;
        let mut expected = vec![("ACC/OLD/old.mp3".to_owned(), OLD.1.to_owned())];
        for (name, content) in case.stored {
            expected.push((format!("ACC/DOC/{name}"), (*content).to_owned()));
        }
        expected.sort();
        let files = files(root.path());
        if files != expected {
            departure = format!("{departure}; stored {files:?}");
        }
        if !departure.is_empty() {
            wrong.push(format!("{}, {pace:?}: {departure}", case.what));
        }
        // The next case starts with only the older file.
        let _ = fs::remove_dir_all(root.path().join("ACC/DOC"));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
