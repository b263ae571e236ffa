//! A machine whose clock is set, with a ledger that deletes files after 30 days.

use std::{
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use kazoo_storage::{BlobKey, BlobStore as _, MemoryStore, Upload};
use tempfile::TempDir;

use super::*;
use crate::{
    FileRecord, Ledger, Recorded,
    policy::{Policy, Rule},
    retention::Retained,
};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// A machine whose clock can be set, with a ledger that deletes files after 30 days.
struct Machine {
    directory: TempDir,
    /// The true time, and the error of the clock.
    time: Arc<(AtomicI64, AtomicI64)>,
    stored: AtomicU32,
    files: MemoryStore,
    store: Option<Recorded<MemoryStore>>,
    ledger: Option<Ledger>,
}

impl Machine {
    async fn start() -> Self {
        let mut machine = Self {
            directory: TempDir::new().unwrap(),
            time: Arc::new((AtomicI64::new(1_790_000_000_000), AtomicI64::new(0))),
            stored: AtomicU32::new(0),
            files: MemoryStore::new(),
            store: None,
            ledger: None,
        };
        machine.restart().await;
        machine
    }

    async fn restart(&mut self) {
        let time = Arc::clone(&self.time);
        let origin = time.0.load(Ordering::SeqCst);
        let source = Source::new(move || {
            let (now, error) = (time.0.load(Ordering::SeqCst), time.1.load(Ordering::SeqCst));
            Reading {
                wall: now + error,
                monotonic: now - origin,
            }
        });
        if let Some(ledger) = self.ledger.take() {
            ledger.shutdown().await;
        }
        let options = Ledger::options().durable(false).clock(source);
        let path = self.directory.path().join("ledger.sqlite");
        let ledger = options.sqlite(path).await.unwrap();
        ledger.set_policy(Policy::new().rule(Rule::new().days(30)).unwrap());
        self.store = Some(Recorded::new(self.files.clone(), ledger.clone()));
        self.ledger = Some(ledger);
        self.ledger().note_time().await.unwrap();
    }

    fn ledger(&self) -> &Ledger {
        self.ledger.as_ref().unwrap()
    }

    /// Lets time pass. The ledger notes it each day.
    async fn pass(&self, time: i64) {
        let mut left = time;
        while left > 0 {
            let step = left.min(DAY);
            self.time.0.fetch_add(step, Ordering::SeqCst);
            self.ledger().note_time().await.unwrap();
            left -= step;
        }
    }

    fn set_error(&self, error: i64) {
        self.time.1.store(error, Ordering::SeqCst);
    }

    /// Stores a file, and returns its number.
    async fn put(&self) -> u32 {
        let number = self.stored.fetch_add(1, Ordering::SeqCst);
        let key = BlobKey::from_segments(["A", "D", &number.to_string()]).unwrap();
        self.store.as_ref().unwrap().put(Upload::new(key, "x")).await.unwrap();
        number
    }

    async fn retain(&self) -> Retained {
        self.store.as_ref().unwrap().retain().await.unwrap()
    }

    /// Asserts the numbers of the files that are left.
    async fn has(&self, numbers: &[u32]) {
        let mut due = Vec::new();
        for number in 0..self.stored.load(Ordering::SeqCst) {
            let key = BlobKey::from_segments(["A", "D", &number.to_string()]).unwrap();
            due.extend(self.files.head(&key).await.ok().map(|_| number));
        }
        assert_eq!(due, numbers);
    }
}

fn fault(machine: &Machine) -> Option<ClockFault> {
    machine.ledger().suspension().map(|suspension| suspension.fault)
}

#[tokio::test(start_paused = true)]
async fn removes_files_in_time() {
    let machine = Machine::start().await;
    let (old, ()) = (machine.put().await, machine.pass(DAY).await);
    let new = machine.put().await;
    machine.pass(29 * DAY - 1).await;
    machine.retain().await;
    machine.has(&[old, new]).await;
    machine.pass(1).await;
    assert_eq!(machine.retain().await.removed, 1);
    machine.has(&[new]).await;
}

#[tokio::test(start_paused = true)]
async fn a_jump_while_it_runs_deletes_nothing_early() {
    for (jump, expected) in [(YEAR, ClockFault::Ahead), (-YEAR, ClockFault::Behind)] {
        let machine = Machine::start().await;
        let before = machine.put().await;
        machine.set_error(jump);
        // Detected before the next note.
        assert!(machine.retain().await.suspension.is_some());
        assert_eq!(fault(&machine), Some(expected));
        let during = machine.put().await;
        machine.pass(10 * DAY).await;
        assert_eq!(machine.retain().await.removed, 0);

        machine.set_error(0);
        assert_eq!(fault(&machine), None);
        machine.pass(19 * DAY).await;
        assert_eq!(machine.retain().await.removed, 0);
        machine.has(&[before, during]).await;
        machine.pass(DAY).await;
        machine.retain().await;
        // A file that was stored by a clock ahead is kept for longer.
        let left: &[u32] = if jump > 0 { &[during] } else { &[] };
        machine.has(left).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_jump_across_a_restart_deletes_nothing_early() {
    for (jump, expected) in [(YEAR, ClockFault::Ahead), (-YEAR, ClockFault::Behind)] {
        let mut machine = Machine::start().await;
        let before = machine.put().await;
        machine.set_error(jump);
        machine.restart().await;
        assert_eq!(fault(&machine), Some(expected));
        let during = machine.put().await;
        assert!(machine.retain().await.suspension.is_some());
        machine.restart().await;
        assert!(fault(&machine).is_some());
        machine.pass(DAY).await;
        machine.set_error(0);
        machine.restart().await;
        assert_eq!(fault(&machine), None);
        machine.pass(28 * DAY).await;
        assert_eq!(machine.retain().await.removed, 0);
        machine.has(&[before, during]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_forgets_no_small_jump() {
    let mut machine = Machine::start().await;
    machine.put().await;
    machine.pass(27 * DAY).await;
    machine.set_error(4 * DAY);
    machine.pass(1).await;
    machine.restart().await;
    assert_eq!(fault(&machine), Some(ClockFault::Unconfirmed));
    assert_eq!(machine.retain().await.removed, 0);
    machine.ledger().confirm_time().await.unwrap();
    assert_eq!(fault(&machine), None);
    assert_eq!(machine.retain().await.removed, 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_off_for_long_waits_for_the_operator() {
    let mut machine = Machine::start().await;
    machine.put().await;
    machine.time.0.fetch_add(40 * DAY, Ordering::SeqCst);
    machine.restart().await;
    assert_eq!(machine.retain().await.removed, 0);
    machine.ledger().confirm_time().await.unwrap();
    assert_eq!(machine.retain().await.removed, 1);
    machine.restart().await;
    assert_eq!(fault(&machine), None);
}

#[tokio::test(start_paused = true)]
async fn servers_that_share_a_ledger_wait_for_the_one_with_a_wrong_clock() {
    let machine = Machine::start().await;
    let path = machine.directory.path().join("ledger.sqlite");
    let time = Arc::clone(&machine.time);
    let origin = time.0.load(Ordering::SeqCst);
    let right = Source::new(move || {
        let now = time.0.load(Ordering::SeqCst);
        Reading {
            wall: now,
            monotonic: now - origin,
        }
    });
    let other = Ledger::options().clock(right).sqlite(path).await.unwrap();
    let suspended = || other.suspension().map(|suspension| suspension.fault);
    machine.set_error(YEAR);
    machine.pass(HOUR).await;
    other.note_time().await.unwrap();
    assert_eq!(suspended(), Some(ClockFault::OtherServer));
    machine.pass(HOUR).await;
    machine.set_error(0);
    machine.pass(HOUR).await;
    other.note_time().await.unwrap();
    assert_eq!(suspended(), None);

    // The operator confirms the time of the one whose clock is right.
    for (jump, expected) in [(YEAR, ClockFault::Ahead), (-YEAR, ClockFault::Behind)] {
        machine.set_error(jump);
        machine.pass(HOUR).await;
        other.confirm_time().await.unwrap();
        assert_eq!(suspended(), None);
        machine.pass(60_000).await;
        assert_eq!(fault(&machine), Some(expected));
        machine.set_error(0);
        machine.pass(HOUR).await;
        assert_eq!(fault(&machine), None);
        other.note_time().await.unwrap();
        assert_eq!(suspended(), None);
    }
}

#[tokio::test]
async fn no_upload_is_recorded_before_the_last_note() {
    let machine = Machine::start().await;
    let now = time::from_millis(machine.time.0.load(Ordering::SeqCst));
    machine.set_error(-YEAR);
    let number = machine.put().await;
    let key = BlobKey::from_segments(["A", "D", &number.to_string()]).unwrap();
    let file: FileRecord = machine.ledger().file(&key).await.unwrap().unwrap();
    assert_eq!(file.stored_at, now);
    machine.set_error(HOUR);
    assert_eq!(machine.ledger().stored_now(), now + Duration::from_secs(3600));
}
