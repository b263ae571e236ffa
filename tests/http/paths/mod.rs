//! Every name addresses its own file below the root, and nothing else.
//!
//! The test uploads and fetches a corpus of path traversal attempts, with each key extractor, in a store that has
//! secrets beside its root and links to them below it. [`Site::verify`] lists the invariants. A site without
//! the secrets gives the same answers, so no answer reveals whether a file exists.

// On other systems, names that differ only in case may be one file.

mod corpus;
mod site;

use std::collections::BTreeSet;

use kazoo_storage_test_support::{
    client::{Answer, Connection, Pace},
    server::{Front, Server},
};

use self::{
    corpus::{corpus, pieces},
    site::{By, Site},
};

const SECRET: &str = "the secret beside the root";

const VICTIM: &str = "the voicemail of another account";

/// The information in an answer, without the time.
fn known(answer: &Answer) -> (u16, &[u8]) {
    (answer.status, &answer.body)
}

async fn try_all<'a>(by: By, spellings: impl Iterator<Item = &'a String>) {
    let mut site = Site::new(by, true).await;
    let mut tried = 0;
    for (number, spelling) in spellings.enumerate() {
        let answers = site.try_out(spelling, format!("{number} is spelled {spelling}")).await;
        tried += usize::from(answers.is_some());
    }
    let stored = site.stored.len();
    assert!(tried > 1000 && stored > tried / 5, "{tried} requests, {stored} files");
    site.verify().await;
}

#[tokio::test]
async fn keeps_every_path_below_the_root() {
    try_all(By::Path, corpus().iter()).await;
}

/// Only a part of the corpus, because a fetch tries many keys.
#[tokio::test]
async fn keeps_every_query_below_the_root() {
    try_all(By::Query, corpus().iter().step_by(5)).await;
}

/// Metadata is never percent-encoded, so each spelling is a name, and its decoded form another.
#[tokio::test]
async fn keeps_all_metadata_below_the_root() {
    let mut names = BTreeSet::new();
    for piece in pieces() {
        for name in [
            piece.clone(),
            format!("{piece}/secret/secret.mp3"),
            format!("EVIL/{piece}/link/{piece}"),
        ] {
            let bytes: Vec<u8> = percent_decode(&name);
            names.extend(String::from_utf8(bytes).ok());
            names.insert(name);
        }
    }
    let names: Vec<String> = names.into_iter().filter(|name| !name.is_empty()).collect();
    try_all(By::Metadata, names.iter().step_by(2)).await;
}

fn percent_decode(text: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(text).collect()
}

/// Answers reveal neither files beside the root nor the target of a link.
#[tokio::test]
async fn reveals_no_files_beside_the_root() {
    let mut with = Site::new(By::Path, true).await;
    let mut without = Site::new(By::Path, false).await;
    let corpus = corpus();
    let near = corpus
        .iter()
        .filter(|spelling| spelling.contains("link/") || spelling.contains("secret"));
    let mut conflicts = 0;
    for (number, spelling) in near.step_by(6).enumerate() {
        let content = format!("{number} is spelled {spelling}");
        let answers = with.try_out(spelling, content.clone()).await;
        let others = without.try_out(spelling, content).await;
        let (Some(answers), Some(others)) = (answers, others) else {
            continue;
        };
        for (answer, other) in answers.iter().zip(&others) {
            assert_eq!(known(answer), known(other), "{spelling}");
            conflicts += usize::from(answer.says("symbolic link"));
        }
    }
    assert!(conflicts > 50, "{conflicts} answers are about a link");
    with.verify().await;
    without.verify().await;
}

/// Both servers give the same answers as the service alone, for a part of the corpus.
#[tokio::test]
async fn keeps_every_request_over_a_socket_below_the_root() {
    const MOUNT: &str = "/some_prefix";
    let corpus = corpus();
    for front in [Front::Hyper, Front::Axum] {
        for by in [By::Path, By::Query, By::Metadata] {
            let mut alone = Site::new(by, true).await;
            let mut site = Site::new(by, true).await;
            let server = Server::start(front, MOUNT, by.storage(site.store.clone())).await;
            let mut connection = Connection::open(server.address).await;
            for (number, spelling) in corpus.iter().enumerate().step_by(89) {
                let content = format!("{number} is spelled {spelling}");
                let put = by.put(spelling, &content).bytes(MOUNT);
                let Some([put_alone, get_alone]) = alone.try_out(spelling, content.clone()).await else {
                    // The server refuses it and closes the connection.
                    let refused = connection.exchange(&put, Pace::Whole).await;
                    assert!(matches!(refused.status, 400 | 414), "{spelling}: {refused:?}");
                    assert!(connection.is_closed().await, "{spelling}");
                    connection = Connection::open(server.address).await;
                    continue;
                };
                let put = connection.exchange(&put, Pace::Whole).await;
                site.judge_put(spelling, content, &put);
                let get = connection.exchange(&by.get(spelling).bytes(MOUNT), Pace::Whole).await;
                site.judge_get(spelling, &put, &get);
                assert_eq!(known(&put), known(&put_alone), "{spelling}");
                assert_eq!(known(&get), known(&get_alone), "{spelling}");
            }
            assert!(site.stored.len() > 30, "{}", site.stored.len());
            site.verify().await;
            alone.verify().await;
        }
    }
}
