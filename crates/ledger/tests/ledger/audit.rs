//! The audit trail: what it has, which changes of it are found, and what is erased.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use futures_util::future::try_join_all;
use kazoo_storage_ledger::{
    Ledger,
    audit::{Action, AuditFault, AuditSearch, Audited, Entry},
};

use super::{key, site::Site};

async fn append(ledger: &Ledger, count: usize) {
    for number in 0..count {
        let entry = Entry::new(Action::Fetch, "200")
            .name(Some("kazoo"))
            .address("10.0.0.7".parse::<IpAddr>().ok())
            .key(&key(&format!("ACC{}/DOC/{number}.mp3", number % 2)));
        ledger.append_audit(&entry).await.unwrap();
    }
}

async fn fault(ledger: &Ledger) -> Option<AuditFault> {
    ledger.verify_audit(|_| ()).await.unwrap().fault
}

async fn seqs(ledger: &Ledger, search: AuditSearch) -> Vec<i64> {
    let found = ledger.audit(search, 100).await.unwrap();
    found.iter().map(|entry| entry.seq).collect()
}

#[tokio::test]
async fn finds_entries_newest_first() {
    let site = Site::new().await;
    append(&site.ledger, 4).await;
    let now = SystemTime::now();
    let entry = Entry::new(Action::Delete, "deleted")
        .name(Some("operator"))
        .at(now + Duration::from_secs(60));
    assert_eq!(site.ledger.append_audit(&entry).await.unwrap(), 5);
    let search = AuditSearch::new;
    assert_eq!(seqs(&site.ledger, search()).await, [5, 4, 3, 2, 1]);
    assert_eq!(seqs(&site.ledger, search().account("ACC1")).await, [4, 2]);
    assert_eq!(seqs(&site.ledger, search().account("ACC")).await, [0_i64; 0]);
    assert_eq!(seqs(&site.ledger, search().key(&key("ACC0/DOC/2.mp3"))).await, [3]);
    assert_eq!(
        seqs(&site.ledger, search().name("operator").action("delete")).await,
        [5]
    );
    assert_eq!(
        seqs(&site.ledger, search().since(now + Duration::from_secs(1))).await,
        [5]
    );
    assert_eq!(
        seqs(&site.ledger, search().until(now + Duration::from_secs(1))).await,
        [4, 3, 2, 1]
    );
    let page = site.ledger.audit(search(), 2).await.unwrap();
    assert_eq!(seqs(&site.ledger, search().after(&page[1])).await, [3, 2, 1]);
    let Audited {
        name,
        address,
        action,
        outcome,
        key: found,
        ..
    } = &site.ledger.audit_after(1, 1).await.unwrap()[0];
    assert_eq!((name.as_deref(), address.as_deref()), (Some("kazoo"), Some("10.0.0.7")));
    assert_eq!(
        (&**action, &**outcome, found.as_ref()),
        ("fetch", "200", Some(&key("ACC1/DOC/1.mp3")))
    );
}

/// Each tampering starts from a trail of its own.
#[tokio::test]
async fn finds_the_first_entry_that_was_tampered_with() {
    for (sql, expected) in [
        ("SELECT 1", None),
        (
            "UPDATE audit SET name = 'other' WHERE seq = 4",
            Some(AuditFault::Changed(4)),
        ),
        (
            "UPDATE audit SET name = NULL WHERE seq = 1",
            Some(AuditFault::Changed(1)),
        ),
        (
            "UPDATE audit SET at = at + 1 WHERE seq = 6",
            Some(AuditFault::Changed(6)),
        ),
        (
            "UPDATE audit SET address = outcome, outcome = address WHERE seq = 2",
            Some(AuditFault::Changed(2)),
        ),
        (
            "UPDATE audit SET key = 'x' WHERE seq = 3",
            Some(AuditFault::OtherKey(3)),
        ),
        (
            "UPDATE audit SET key = NULL WHERE seq = 3",
            Some(AuditFault::OtherKey(3)),
        ),
        (
            "UPDATE audit SET key = NULL, salt = NULL, subject = NULL WHERE seq = 3",
            Some(AuditFault::Changed(3)),
        ),
        ("DELETE FROM audit WHERE seq = 3", Some(AuditFault::Missing(3))),
        ("DELETE FROM audit WHERE seq = 1", Some(AuditFault::Missing(1))),
        ("DELETE FROM audit WHERE seq = 6", Some(AuditFault::Missing(6))),
        ("DELETE FROM audit", Some(AuditFault::Missing(1))),
        (
            "UPDATE audit SET seq = 99 WHERE seq = 3; UPDATE audit SET seq = 3 WHERE seq = 4; UPDATE audit SET seq = 4 WHERE seq = 99",
            Some(AuditFault::Changed(3)),
        ),
        (
            "UPDATE audit SET seq = 7 WHERE seq = 6; UPDATE audit SET seq = 6 WHERE seq = 5; \
             INSERT INTO audit SELECT 5, at, name, address, action, outcome, key, salt, subject, hash FROM audit WHERE seq = 4; \
             UPDATE audit_ends SET seq = 7 WHERE name = 'head'",
            Some(AuditFault::Changed(5)),
        ),
        (
            "INSERT INTO audit SELECT 7, at, name, address, action, outcome, key, salt, subject, hash FROM audit WHERE seq = 6",
            Some(AuditFault::Behind(7)),
        ),
        (
            "UPDATE audit_ends SET hash = (SELECT hash FROM audit WHERE seq = 5) WHERE name = 'head'",
            Some(AuditFault::Changed(6)),
        ),
        (
            "DELETE FROM audit WHERE seq = 6; UPDATE audit_ends SET seq = 5 WHERE name = 'head'",
            Some(AuditFault::Changed(5)),
        ),
    ] {
        let site = Site::new().await;
        append(&site.ledger, 6).await;
        site.execute(sql);
        assert_eq!(fault(&site.ledger).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn erasing_and_pruning_leave_the_chain_valid() {
    let site = Site::new().await;
    append(&site.ledger, 6).await;
    assert_eq!(site.ledger.erase_audit_account("ACC0").await.unwrap(), 3);
    assert_eq!(site.ledger.erase_audit_account("ACC0").await.unwrap(), 0);
    let verified = site.ledger.verify_audit(|_| ()).await.unwrap();
    assert_eq!((verified.entries, verified.erased, verified.fault), (6, 3, None));
    let erased = &site.ledger.audit_after(0, 1).await.unwrap()[0];
    assert!(erased.is_erased() && erased.key.is_none() && erased.salt.is_none());

    let now = SystemTime::now();
    assert_eq!(
        site.ledger.prune_audit(now - Duration::from_secs(3600)).await.unwrap(),
        0
    );
    for number in 0..1500 {
        let entry = Entry::new(Action::Fetch, "200").at(now + Duration::from_secs(number));
        site.ledger.append_audit(&entry).await.unwrap();
    }
    assert_eq!(
        site.ledger.prune_audit(now + Duration::from_secs(1300)).await.unwrap(),
        1306
    );
    let verified = site.ledger.verify_audit(|_| ()).await.unwrap();
    assert_eq!((verified.anchor, verified.entries, verified.fault), (1306, 201, None));
    let last = site.ledger.audit_after(1506, 9).await.unwrap();
    assert_eq!((last.len(), &*last[0].action), (1, "prune"));
    // What follows is still found.
    site.execute("DELETE FROM audit WHERE seq = 1307");
    assert_eq!(fault(&site.ledger).await, Some(AuditFault::Missing(1307)));
}

/// Also two ledgers on one PostgreSQL, with two connections each.
#[tokio::test]
async fn processes_share_one_chain() {
    let site = Site::new().await;
    let other = site.open_again().await;
    let appends = (0..200).map(|number| {
        let ledger = if number % 2 == 0 { &site.ledger } else { &other };
        async move {
            let entry = Entry::new(Action::Fetch, number.to_string()).key(&key("A/B/c.mp3"));
            ledger.append_audit(&entry).await
        }
    });
    let mut seqs = try_join_all(appends).await.unwrap();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=200).collect::<Vec<_>>());
    for ledger in [&site.ledger, &other] {
        let verified = ledger.verify_audit(|_| ()).await.unwrap();
        assert_eq!((verified.entries, verified.fault), (200, None));
    }
}

/// Also while entries are appended and pruned.
#[tokio::test]
async fn verifies_many_entries_page_by_page() {
    let site = Site::new().await;
    let before = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    for _ in 0..10 {
        let entries: Vec<_> = (0..1000)
            .map(|_| Entry::new(Action::Fetch, "200").at(SystemTime::UNIX_EPOCH))
            .collect();
        try_join_all(entries.iter().map(|entry| site.ledger.append_audit(entry)))
            .await
            .unwrap();
    }
    let mut pages = 0;
    let verified = site.ledger.verify_audit(|_| pages += 1).await.unwrap();
    assert_eq!(
        (verified.entries, verified.last, verified.fault, pages),
        (10_000, 10_000, None, 20)
    );
    let (verified, pruned) = tokio::join!(site.ledger.verify_audit(|_| ()), site.ledger.prune_audit(before));
    assert_eq!((verified.unwrap().fault, pruned.unwrap()), (None, 10_000));
    let verified = site.ledger.verify_audit(|_| ()).await.unwrap();
    assert_eq!((verified.anchor, verified.entries, verified.fault), (10_000, 1, None));
}
