//! Each operation fails, waits or breaks off as its fault says.

use std::{future::poll_fn, pin::pin};

use super::*;
use crate::{error::ErrorKind, store::MemoryStore};

fn key() -> BlobKey {
    BlobKey::from_path("ACC/DOC/message.mp3").unwrap()
}

fn error() -> Error {
    Error::new(ErrorKind::StorageFull, "full")
}

fn fail_at(offset: u64) -> Fault {
    Fault::FailAt { offset, error: error() }
}

#[tokio::test]
async fn fails_the_chosen_operations_until_it_is_repaired() {
    let store = FaultyStore::new(MemoryStore::new());
    let entries = async || {
        let mut listed = pin!(store.list(None));
        let first = poll_fn(|cx| listed.as_mut().poll_next(cx)).await;
        let second = poll_fn(|cx| listed.as_mut().poll_next(cx)).await;
        assert!(second.is_none(), "a listing ends after an error, and after one file");
        first.transpose().map(drop)
    };
    let outcomes = async || {
        [
            (Operation::Put, store.put(Upload::new(key(), "ID3")).await.map(drop)),
            (Operation::Get, store.get(&key(), None).await.map(drop)),
            (Operation::Head, store.head(&key()).await.map(drop)),
            (Operation::Metadata, store.metadata(&key()).await.map(drop)),
            (Operation::Describe, store.describe(&key()).await.map(drop)),
            (Operation::Check, store.check().await),
            (Operation::List, entries().await),
            (Operation::Delete, store.delete(&key()).await),
        ]
    };
    for faulty in Operation::ALL {
        store.put(Upload::new(key(), "ID3")).await.unwrap();
        store.inject([faulty], Fault::Fail(error()));
        for (operation, outcome) in outcomes().await {
            let kind = outcome.map_err(|error| error.kind());
            let expected = if operation == faulty {
                Err(ErrorKind::StorageFull)
            } else {
                Ok(())
            };
            assert_eq!(kind, expected, "{operation:?} with a fault of {faulty:?}");
        }
        store.repair();
    }
    for (operation, outcome) in outcomes().await {
        assert!(outcome.is_ok(), "{operation:?}");
    }
}

#[tokio::test]
async fn reads_an_upload_up_to_the_fault() {
    for (offset, polled) in [(0, 0), (1, 1), (3, 1), (4, 2), (u64::MAX, 3)] {
        let store = FaultyStore::new(MemoryStore::new());
        store.inject([Operation::Put], fail_at(offset));
        let count = Arc::new(RwLock::new(0));
        let counted = Arc::clone(&count);
        let chunks = futures_util::stream::iter([Ok::<_, Error>("ID3"), Ok("abc")]);
        let body = Body::from_stream(chunks).inspect(move |_, _| *counted.write().unwrap() += 1);
        let refused = store.put(Upload::new(key(), body)).await.unwrap_err();
        assert_eq!(
            (refused.kind(), *count.read().unwrap()),
            (ErrorKind::StorageFull, polled),
            "{offset}"
        );
        store.repair();
        assert!(store.head(&key()).await.unwrap_err().is_not_found());
    }
}

#[tokio::test]
async fn interrupts_a_body_that_contains_the_byte() {
    let store = FaultyStore::new(MemoryStore::new());
    store.put(Upload::new(key(), "0123456789")).await.unwrap();
    for (offset, range, intact) in [
        (4, None, Err("0123")),
        (0, None, Err("")),
        (9, None, Err("012345678")),
        (10, None, Ok("0123456789")),
        (4, Some(ByteRange::FromTo(2, 5)), Err("23")),
        (4, Some(ByteRange::FromTo(2, 3)), Ok("23")),
        (4, Some(ByteRange::From(6)), Err("")),
    ] {
        store.inject([Operation::Get], fail_at(offset));
        let blob = store.get(&key(), range).await.unwrap().into_blob().unwrap();
        let (mut body, mut read) = (blob.body, Vec::new());
        let end = loop {
            match body.frame().await {
                Some(Ok(frame)) => read.extend_from_slice(&frame.into_data().unwrap()),
                Some(Err(error)) => break Err(error.kind()),
                None => break Ok(()),
            }
        };
        let expected = intact.map(drop).map_err(|_| ErrorKind::StorageFull);
        let (Ok(content) | Err(content)) = intact;
        assert_eq!((&*read, end), (content.as_bytes(), expected), "{offset} {range:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn waits_before_it_succeeds() {
    let store = FaultyStore::new(MemoryStore::new());
    store.inject(Operation::ALL, Fault::Delay(Duration::from_secs(7)));
    let begun = tokio::time::Instant::now();
    store.put(Upload::new(key(), "ID3")).await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 7);
    store.inject([Operation::Put], Fault::Delay(Duration::MAX));
    let forever = store.put(Upload::new(key(), "ID3"));
    assert!(
        tokio::time::timeout(Duration::from_secs(99_999), forever)
            .await
            .is_err()
    );
}
