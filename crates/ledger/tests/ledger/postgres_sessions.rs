//! PostgreSQL: the work of each connection of a ledger.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use kazoo_storage::ErrorKind;
use kazoo_storage_ledger::{FileRecord, Ledger};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::AbortHandle,
    time::sleep,
};

use super::{Site, key};

/// The position of the second connection for changes, after those for the schema and for the first changes.
const SECOND: usize = 2;

/// Passes connections on to PostgreSQL, until it refuses them.
struct Proxy {
    address: SocketAddr,
    passed: Arc<Mutex<Vec<AbortHandle>>>,
    refuses: Arc<AtomicBool>,
}

impl Proxy {
    async fn new(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (passed, refuses) = (Arc::<Mutex<Vec<AbortHandle>>>::default(), Arc::<AtomicBool>::default());
        tokio::spawn({
            let (passed, refuses) = (Arc::clone(&passed), Arc::clone(&refuses));
            async move {
                while let Ok((mut client, _)) = listener.accept().await {
                    if refuses.load(Ordering::SeqCst) {
                        continue;
                    }
                    let mut upstream = TcpStream::connect(&server).await.unwrap();
                    let task = tokio::spawn(async move { drop(copy_bidirectional(&mut client, &mut upstream).await) });
                    passed.lock().unwrap().push(task.abort_handle());
                }
            }
        });
        Self {
            address,
            passed,
            refuses,
        }
    }

    /// Ends a connection, and refuses every later one.
    fn end(&self, position: usize) {
        self.refuses.store(true, Ordering::SeqCst);
        self.passed.lock().unwrap()[position].abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: see tests/system/cluster/postgres.py"]
async fn a_refused_connection_takes_no_uploads_from_the_healthy_one() {
    let site = Site::postgres().await;
    let (user, rest) = site.url().rsplit_once('@').unwrap();
    let (server, database) = rest.split_once('/').unwrap();
    let proxy = Proxy::new(server.to_owned()).await;
    let ledger = Ledger::open(&format!("{user}@{}/{database}", proxy.address))
        .await
        .unwrap();
    proxy.end(SECOND);
    let mut failures = 0;
    for size in 1..50 {
        if let Err(error) = ledger.record(&FileRecord::new(&key("a"), size, None)).await {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            failures += 1;
        }
    }
    // That of the upload that found out.
    assert!(failures <= 1, "{failures} failures");

    proxy.refuses.store(false, Ordering::SeqCst);
    proxy.end(SECOND - 1);
    proxy.refuses.store(false, Ordering::SeqCst);
    let file = FileRecord::new(&key("b"), 1, None);
    while ledger.record(&file).await.is_err() {
        sleep(Duration::from_millis(10)).await;
    }
}

/// Uploads of the key wait while its events are claimed.
#[tokio::test]
#[ignore = "needs PostgreSQL: see tests/system/cluster/postgres.py"]
async fn a_claim_does_not_read_the_dead_events_of_a_key() {
    let site = Site::postgres().await;
    let ledger = site.open_again().await;
    let consumer = ledger.consumer("crm").await.unwrap();
    site.execute(
        "INSERT INTO outbox (receiver, event, event_kind, recorded_at, due_at, key, kind, size, stored_at) \
         SELECT 'crm', 'e' || n, 'file.stored', 0, CASE WHEN n > 19990 THEN 0 END, 'a', 'other', n, 0 \
         FROM generate_series(1, 20000) n",
    );
    let job = consumer.try_next().await.unwrap().unwrap();
    assert_eq!(job.event().file.size, 19_991);
    drop((job, consumer, ledger));
    // A connection reports what it has read when it ends.
    let (client, connection) = tokio_postgres::connect(site.url(), tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let read = loop {
        const SQL: &str = "SELECT COALESCE(sum(idx_tup_read), 0)::BIGINT, COALESCE(sum(idx_scan), 0)::BIGINT \
            FROM pg_stat_user_indexes WHERE relname = 'outbox' AND indexrelname = 'outbox_by_key'";
        let row = client.query_one(SQL, &[]).await.unwrap();
        if row.get::<_, i64>(1) > 0 {
            break row.get::<_, i64>(0);
        }
        sleep(Duration::from_millis(50)).await;
    };
    assert!(read < 1000, "{read} entries");
}
