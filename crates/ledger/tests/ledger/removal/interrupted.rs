//! A process that ends between the steps of a removal.

use std::{thread, time::Duration};

use kazoo_storage::{
    BlobCatalog as _, BlobStore as _, ErrorKind,
    store::{Fault, Operation},
};
use kazoo_storage_ledger::{
    EventKind, Recorded,
    policy::{Policy, Rule},
    removal::Cause,
};
use tokio::{runtime::Builder, sync::oneshot};

use super::{Shared, Site, drain, hold_account, key, names, server, shared, upload};

const KEY: &str = "acc/202401-doc/message.mp3";

/// The process ends after the intent is recorded.
async fn end_before_the_store(site: &Site, files: &Shared, cause: Cause) {
    let store = server(site, files.clone()).await;
    store.put(upload(KEY, "ID3")).await.unwrap();
    files.inject([Operation::Delete], Fault::Delay(Duration::MAX));
    let (end, ended) = oneshot::channel::<()>();
    let process = thread::spawn(move || {
        let keys = [key(KEY)];
        // Its tasks end with it.
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            tokio::select! {
                _ = store.remove(&keys, cause) => panic!("the store does not answer"),
                _ = ended => {}
            }
        });
    });
    while site.count("removals").await == 0 {
        tokio::task::yield_now().await;
    }
    drop(end);
    process.join().unwrap();
    files.repair();
    age(site);
}

/// The process ends after the store has removed the file.
async fn end_before_the_ledger(site: &Site, files: &Shared, cause: Cause) {
    let store = server(site, files.clone()).await;
    store.put(upload(KEY, "ID3")).await.unwrap();
    site.refuse("DELETE", "files", None);
    store.remove(&[key(KEY)], cause).await.pop().unwrap().unwrap_err();
    site.accept("DELETE", "files");
    assert!(files.head(&key(KEY)).await.unwrap_err().is_not_found());
    assert_eq!(site.count("removals").await, 1);
    age(site);
}

/// With PostgreSQL, a recent removal may be that of another server.
fn age(site: &Site) {
    site.execute("UPDATE removals SET begun_at = 0");
}

#[tokio::test]
async fn a_removal_is_finished_after_a_crash() {
    for is_late in [false, true] {
        let (site, files) = (Site::new().await, shared());
        let consumer = site.ledger.consumer("test").await.unwrap();
        if is_late {
            end_before_the_ledger(&site, &files, Cause::Erasure).await;
        } else {
            end_before_the_store(&site, &files, Cause::Erasure).await;
        }
        let store = Recorded::new(files.clone(), site.ledger.clone());
        assert_eq!(store.finish_removals().await.unwrap(), 1);
        assert!(files.head(&key(KEY)).await.unwrap_err().is_not_found());
        assert_eq!(names(&site.ledger).await, [""; 0]);
        assert_eq!(site.count("removals").await, 0);
        assert_eq!(store.finish_removals().await.unwrap(), 0);
        assert_eq!(
            drain(&consumer).await,
            [EventKind::Stored, EventKind::Deleted].map(|kind| (KEY.to_owned(), kind))
        );
    }
}

#[tokio::test]
async fn a_file_that_is_held_since_the_crash_stays_if_it_exists() {
    let (site, files) = (Site::new().await, shared());
    end_before_the_store(&site, &files, Cause::Operator).await;
    hold_account(&site, "acc");
    let store = Recorded::new(files.clone(), site.ledger.clone());
    assert_eq!(store.finish_removals().await.unwrap(), 0);
    assert_eq!(names(&site.ledger).await, [KEY]);
    assert!(files.head(&key(KEY)).await.is_ok());
    assert_eq!(site.count("removals").await, 0);
}

#[tokio::test]
async fn a_file_that_is_held_since_the_crash_is_gone_if_the_store_has_removed_it() {
    let (site, files) = (Site::new().await, shared());
    let consumer = site.ledger.consumer("test").await.unwrap();
    end_before_the_ledger(&site, &files, Cause::Operator).await;
    hold_account(&site, "acc");
    let store = Recorded::new(files.clone(), site.ledger.clone());
    assert_eq!(store.finish_removals().await.unwrap(), 1);
    assert_eq!(names(&site.ledger).await, [""; 0]);
    assert_eq!(site.count("removals").await, 0);
    assert_eq!(drain(&consumer).await.len(), 2);
}

#[tokio::test]
async fn a_store_that_fails_leaves_the_intent_of_a_held_file() {
    let (site, files) = (Site::new().await, shared());
    end_before_the_ledger(&site, &files, Cause::Operator).await;
    hold_account(&site, "acc");
    let store = Recorded::new(files.clone(), site.ledger.clone());
    let down = kazoo_storage::Error::new(kazoo_storage::ErrorKind::Unavailable, "down");
    files.inject([Operation::Head], Fault::Fail(down));
    store.finish_removals().await.unwrap_err();
    files.repair();
    assert_eq!(store.finish_removals().await.unwrap(), 1);
}

#[tokio::test]
async fn a_file_that_was_uploaded_again_since_the_crash_stays() {
    for is_late in [false, true] {
        for content in ["ID3", "new"] {
            let (site, files) = (Site::new().await, shared());
            if is_late {
                end_before_the_ledger(&site, &files, Cause::Operator).await;
            } else {
                end_before_the_store(&site, &files, Cause::Operator).await;
            }
            let store = Recorded::new(files.clone(), site.ledger.clone());
            if site.is_shared() {
                // The removal may be running on another server, and is finished first.
                let error = store.put(upload(KEY, content)).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                assert_eq!(store.finish_removals().await.unwrap(), 1);
            }
            store.put(upload(KEY, content)).await.unwrap();
            assert_eq!(store.finish_removals().await.unwrap(), 0);
            assert_eq!(super::content(&files, KEY).await, content);
            assert_eq!(names(&site.ledger).await, [KEY]);
            assert_eq!(site.count("removals").await, 0);
        }
    }
}

#[tokio::test]
async fn a_file_that_the_policy_keeps_since_the_crash_stays_if_it_exists() {
    let none = || Some(Policy::new());
    let rule = |rule| Some(Policy::new().rule(rule).unwrap());
    for (cause, policy, is_kept) in [
        (Cause::Operator, none(), false),
        (Cause::Operator, rule(Rule::new().floor_days(36_500)), true),
        (Cause::Retention, none(), true),
        (Cause::Retention, rule(Rule::new().days(1)), false),
        // The clock is wrong.
        (Cause::Retention, None, true),
        (Cause::Request, None, true),
    ] {
        for is_late in [false, true].into_iter().filter(|is_late| is_kept || !is_late) {
            let (site, files) = (Site::new().await, shared());
            if is_late {
                end_before_the_ledger(&site, &files, cause).await;
            } else {
                end_before_the_store(&site, &files, cause).await;
            }
            site.execute("UPDATE files SET stored_at = 0");
            if policy.is_none() {
                site.execute("UPDATE state SET value = 1 WHERE name IN ('clock_suspended', 'clock_noted_at')");
            }
            let ledger = site.open_again().await;
            let rules = policy.clone().or_else(|| rule(Rule::new().days(1)));
            ledger.set_policy(rules.unwrap());
            let store = Recorded::new(files.clone(), ledger);
            let is_removed = is_late || !is_kept;
            assert_eq!(
                store.finish_removals().await.unwrap(),
                u64::from(is_removed),
                "{cause:?}"
            );
            assert_eq!(files.head(&key(KEY)).await.is_err(), is_removed);
            assert_eq!(names(&site.ledger).await.is_empty(), is_removed);
            assert_eq!(site.count("removals").await, 0);
        }
    }
}

#[tokio::test]
async fn a_removal_is_finished_although_the_clock_was_ahead() {
    let (site, files) = (Site::new().await, shared());
    end_before_the_store(&site, &files, Cause::Operator).await;
    site.execute("UPDATE removals SET begun_at = 9000000000000");
    let store = Recorded::new(files.clone(), site.ledger.clone());
    assert_eq!(store.finish_removals().await.unwrap(), 1);
}

#[tokio::test]
async fn a_removal_that_is_running_is_not_interrupted() {
    let (site, files) = (Site::new().await, shared());
    let store = Recorded::new(files.clone(), site.ledger.clone());
    store.put(upload(KEY, "ID3")).await.unwrap();
    files.inject([Operation::Delete], Fault::Delay(Duration::from_millis(200)));
    let keys = [key(KEY)];
    let (removed, finished) = tokio::join!(store.remove(&keys, Cause::Operator), async {
        while site.count("removals").await == 0 {
            tokio::task::yield_now().await;
        }
        age(&site);
        store.finish_removals().await
    });
    assert!(removed[0].is_ok());
    assert_eq!(finished.unwrap(), 0);
    store.delete(&key(KEY)).await.unwrap();
}
