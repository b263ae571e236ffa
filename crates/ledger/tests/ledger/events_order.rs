//! Whatever is retried and replayed, a receiver ends with the last state of each file.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use kazoo_storage::{BlobStore as _, Upload};
use kazoo_storage_ledger::{
    Consumer, Ledger,
    events::{Replay, Selection},
};

use super::{Site, key};

/// Receives what is due, and gives up every third event unless `all` is set. Keeps the last size of each file.
async fn receive(consumer: &Consumer, all: bool, sizes: &mut HashMap<String, u64>, count: &mut u32) {
    while let Some(job) = consumer.try_next().await.unwrap() {
        *count += 1;
        if !all && count.is_multiple_of(3) {
            job.bury("busy").await.unwrap();
            continue;
        }
        let (name, size) = (job.event().file.key.to_string(), job.event().file.size);
        if job.ack().await.unwrap() {
            sizes.insert(name, size);
        }
    }
}

async fn retry_and_replay(ledger: Ledger, done: Arc<AtomicBool>) {
    while !done.load(Ordering::SeqCst) {
        let replay = Replay::since(SystemTime::UNIX_EPOCH).receiver("test");
        ledger.replay(replay, |_| ()).await.unwrap();
        ledger.retry(Selection::dead(), false, |_| ()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_ends_with_the_last_state_of_each_file() {
    const FILES: u32 = 10;
    const VERSIONS: u32 = 30;
    let site = Site::new().await;
    let consumer = site.ledger.consumer("test").await.unwrap();
    let done = Arc::<AtomicBool>::default();
    // As another process.
    let changing = tokio::spawn(retry_and_replay(site.open_again().await, Arc::clone(&done)));
    let store = site.store();
    let uploading = tokio::spawn(async move {
        for number in 0..FILES * VERSIONS {
            let content = "x".repeat(usize::try_from(1 + number / FILES).unwrap());
            let name = key(&format!("acc/d/{}", number % FILES));
            store.put(Upload::new(name, content)).await.unwrap();
        }
    });
    let (mut sizes, mut count) = (HashMap::new(), 0);
    while !uploading.is_finished() {
        receive(&consumer, false, &mut sizes, &mut count).await;
        tokio::task::yield_now().await;
    }
    done.store(true, Ordering::SeqCst);
    changing.await.unwrap();
    site.ledger.retry(Selection::dead(), false, |_| ()).await.unwrap();
    for _ in 0..4 {
        receive(&consumer, true, &mut sizes, &mut count).await;
        // Some events wait for a moment.
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    assert_eq!(sizes.len(), usize::try_from(FILES).unwrap());
    assert!(sizes.values().all(|size| *size == u64::from(VERSIONS)), "{sizes:?}");
}
