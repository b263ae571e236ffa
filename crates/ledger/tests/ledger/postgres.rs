//! PostgreSQL: servers that share a ledger, lost connections, and what is refused.

use std::{
    collections::HashMap,
    env,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use kazoo_storage::{BlobStore as _, ErrorKind, Upload, digest::Digest};
use kazoo_storage_ledger::{Consumer, FileRecord, Ledger};
use tokio::{net::TcpListener, time::sleep};

use super::{
    Site, key,
    site::{KILLED, Postgres, execute, open_with},
    upload,
};

/// The ids of the events that consumers received, and the sizes of the files of each key, in order.
#[derive(Default)]
struct Received {
    ids: HashMap<String, usize>,
    sizes: HashMap<String, Vec<u64>>,
}

/// Receives events until the ledger of `consumer` is closed.
async fn receive(consumer: Consumer, received: Arc<Mutex<Received>>) -> usize {
    let mut count = 0;
    while let Some(job) = consumer.next().await {
        {
            let mut received = received.lock().unwrap();
            *received.ids.entry(job.event().id.clone()).or_default() += 1;
            let file = &job.event().file;
            received.sizes.entry(file.key.to_string()).or_default().push(file.size);
        }
        count += 1;
        // While PostgreSQL is down, the job comes back.
        let _ = job.ack().await;
    }
    count
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: see tests/system/cluster/postgres.py"]
async fn two_servers_receive_each_event_once_and_the_survivor_the_rest() {
    let site = Site::postgres().await;
    let (first, second) = (site.open_again().await, site.open_again().await);
    let received = Arc::new(Mutex::new(Received::default()));
    let mut tasks = Vec::new();
    for ledger in [&first, &second] {
        for _ in 0..3 {
            let consumer = ledger.consumer("shared").await.unwrap();
            tasks.push(tokio::spawn(receive(consumer, Arc::clone(&received))));
        }
    }
    // Each server changes all keys, so that they also race for the rows of the files.
    let record = |ledger: Ledger, parity: u64| async move {
        for number in 0..200 {
            let file = FileRecord::new(&key(&format!("a/{}", number % 7)), number * 2 + parity + 1, None);
            ledger.record(&file).await.unwrap();
        }
    };
    tokio::join!(record(first.clone(), 0), record(second.clone(), 1));
    until("all events", || received.lock().unwrap().ids.len() == 400).await;

    // A server that dies with a job leaves it to the other.
    let dying = site.open_again().await;
    let consumer = dying
        .consumer("shared")
        .await
        .unwrap()
        .visibility(Duration::from_secs(1));
    first.close();
    second.close();
    let counts = join_all(tasks).await;
    assert!(counts.iter().all(|count| *count.as_ref().unwrap() > 0), "{counts:?}");
    for number in 0..20 {
        site.ledger
            .record(&FileRecord::new(&key(&format!("b/{number}")), 1, None))
            .await
            .unwrap();
    }
    let lost = consumer.next().await.unwrap();
    drop((consumer, dying));
    let survivor = site.ledger.consumer("shared").await.unwrap();
    let task = tokio::spawn(receive(survivor, Arc::clone(&received)));
    until("the rest", || received.lock().unwrap().ids.len() == 420).await;
    site.ledger.close();
    task.await.unwrap();

    let received = std::mem::take(&mut *received.lock().unwrap());
    assert!(
        received.ids.values().all(|count| *count == 1),
        "an event was received twice"
    );
    assert_eq!(received.ids[&lost.event().id], 1);
    // The events of a key were received in the order of the commits: the last one has the file that the ledger has.
    for (path, sizes) in &received.sizes {
        let file = site.ledger.file(&key(path)).await.unwrap().unwrap();
        assert_eq!(sizes.last(), Some(&file.size), "{path}");
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: see tests/system/cluster/postgres.py"]
async fn an_event_is_not_put_off_while_another_server_settles_the_one_before() {
    let site = Site::postgres().await;
    let (other, connection) = tokio_postgres::connect(site.url(), tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let consumer = site.ledger.consumer("crm").await.unwrap();
    let record = async |size| {
        site.ledger
            .record(&FileRecord::new(&key("a"), size, None))
            .await
            .unwrap()
    };
    record(1).await;
    let _first = consumer.try_next().await.unwrap().unwrap();
    record(2).await;

    // The release of the second event is the next statement of the other server. Without it, the event stays put off.
    let settle = "SET search_path = kazoo_storage; BEGIN; DELETE FROM outbox WHERE claimed = 1";
    other.batch_execute(settle).await.unwrap();
    assert!(consumer.try_next().await.unwrap().is_none());
    other.batch_execute("COMMIT").await.unwrap();
    let second = consumer.try_next().await.unwrap().unwrap();
    assert_eq!(second.event().file.size, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: see tests/system/cluster/postgres.py"]
async fn servers_that_lock_the_same_rows_in_another_order_both_succeed() {
    let site = Site::postgres().await;
    let second = site.open_again().await;
    for round in 1..4 {
        let records = (0..64).flat_map(|number| {
            [(site.ledger.clone(), number), (second.clone(), 63 - number)].map(|(ledger, number)| async move {
                let file = FileRecord::new(&key(&format!("a/{number}")), round, None);
                ledger.record(&file).await.map(drop)
            })
        });
        for result in join_all(records).await {
            result.unwrap();
        }
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: see tests/system/cluster/postgres.py"]
async fn connects_again_after_the_server_has_ended_its_connections() {
    const END: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let site = Site::postgres().await;
    let store = site.store();
    let put = async |path: &str, content: &'static str| {
        // PostgreSQL ends the connections in its own time. There are two for changes.
        for _ in 0..2 {
            match store.put(Upload::new(key(path), content)).await {
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Unavailable);
                    assert!(error.retry_after().is_some());
                }
                Ok(_) => return,
            }
        }
        store.put(Upload::new(key(path), content)).await.unwrap();
    };
    for round in 0..3 {
        let path = format!("a/{round}");
        put(&path, "1").await;
        site.execute(END);
        put(&path, "22").await;
        let file = match site.ledger.file(&key(&path)).await {
            Err(error) if error.kind() == ErrorKind::Unavailable => site.ledger.file(&key(&path)).await,
            file => file,
        };
        assert_eq!(file.unwrap().unwrap().size, 2);
    }
}

/// With `postgres.py --killed`, the server dies several times meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: see tests/system/cluster/postgres.py"]
async fn delivers_every_acknowledged_upload_although_the_server_is_killed() {
    let killed: Option<f64> = env::var(KILLED).ok().map(|text| text.parse().unwrap());
    let end = Instant::now() + Duration::from_secs_f64(killed.unwrap_or(0.2) * 5.0);
    let site = Site::postgres().await;
    let ledger = open_with(Ledger::options(), &site.location()).await;
    let received = Arc::new(Mutex::new(Received::default()));
    let consumer = ledger
        .consumer("test")
        .await
        .unwrap()
        .visibility(Duration::from_secs(1));
    let task = tokio::spawn(receive(consumer, Arc::clone(&received)));
    let store = kazoo_storage_ledger::Recorded::new(kazoo_storage::MemoryStore::new(), ledger.clone());
    let clients = (0..16).map(|client| {
        let store = store.clone();
        tokio::spawn(async move {
            let (mut acknowledged, mut failures) = (Vec::new(), 0);
            for number in 0.. {
                let path = format!("{client}/{number}");
                while let Err(error) = store.put(Upload::new(key(&path), path.clone())).await {
                    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                    assert!(
                        error.retry_after().is_some() && !error.message().contains('@'),
                        "{error}"
                    );
                    failures += 1;
                    sleep(Duration::from_millis(50)).await;
                }
                acknowledged.push(path);
                if Instant::now() > end {
                    break;
                }
            }
            (acknowledged, failures)
        })
    });
    let mut failures = 0;
    for client in join_all(clients).await {
        let (acknowledged, failed) = client.unwrap();
        failures += failed;
        until("every event", || {
            let received = received.lock().unwrap();
            acknowledged.iter().all(|path| received.sizes.contains_key(path))
        })
        .await;
        for path in acknowledged {
            let file = loop {
                if let Ok(file) = ledger.file(&key(&path)).await {
                    break file.unwrap();
                }
                sleep(Duration::from_millis(50)).await;
            };
            assert_eq!(file.sha256, Some(Digest::of(path.as_bytes())));
        }
    }
    assert_eq!(failures > 0, killed.is_some(), "{failures} failures");
    ledger.close();
    task.await.unwrap();
}

#[tokio::test]
#[ignore = "needs PostgreSQL: see tests/system/cluster/postgres.py"]
async fn refuses_what_is_not_its_schema() {
    for (sql, reason) in [
        (
            "CREATE SCHEMA kazoo_storage; CREATE TABLE kazoo_storage.files (a INT)",
            "another program",
        ),
        (
            "CREATE SCHEMA kazoo_storage; CREATE TABLE kazoo_storage.ledger_schema AS SELECT CAST(1000 AS BIGINT) AS version",
            "newer program",
        ),
    ] {
        let database = Postgres::new();
        execute(&database.url, sql);
        let error = Ledger::open(&database.url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(error.message().contains(reason), "{error}");
        let password = database.url.split([':', '@']).nth(2).unwrap();
        assert!(!format!("{error:?}").contains(password), "{error:?}");
    }
    let latin = Postgres::with("ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    let error = Ledger::open(&latin.url).await.unwrap_err();
    assert!(error.message().contains("UTF8"), "{error}");

    // Tables of others in another schema are no obstacle, and several servers may start at once.
    let shared = Postgres::new();
    execute(&shared.url, "CREATE TABLE files (a INT)");
    for ledger in join_all((0..8).map(|_| Ledger::open(&shared.url))).await {
        ledger.unwrap();
    }
    for (url, reason) in [
        (format!("{}_missing", shared.url), "createdb"),
        (shared.url.replacen("kazoo:", "kazoo:wrong", 1), "password"),
    ] {
        let error = Ledger::open(&url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.message().contains(reason), "{error}");
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: see tests/system/cluster/postgres.py"]
async fn needs_no_privilege_but_the_ownership_of_its_schema() {
    let database = Postgres::new();
    // A role that every PostgreSQL has, in place of a user without privileges.
    let unprivileged = format!("{}?options=-c%20role%3Dpg_monitor", database.url);
    let error = Ledger::open(&unprivileged).await.unwrap_err();
    assert!(error.message().contains("own the schema `kazoo_storage`"), "{error}");
    execute(&database.url, "CREATE SCHEMA kazoo_storage AUTHORIZATION pg_monitor");
    let ledger = Ledger::open(&unprivileged).await.unwrap();
    ledger.record(&FileRecord::new(&key("a"), 1, None)).await.unwrap();
}

#[tokio::test]
#[ignore = "needs PostgreSQL: see tests/system/cluster/postgres.py"]
async fn verifies_the_certificate_of_the_server() {
    let authority = env::var("KAZOO_STORAGE_TEST_POSTGRES_CA").expect("the file of an authority");
    let database = Postgres::new();
    let trusting = format!("{}?sslmode=verify-full&sslrootcert={authority}", database.url);
    Ledger::open(&trusting).await.unwrap();
    for refused in [
        format!("{}?sslmode=require", database.url),
        trusting.replacen("127.0.0.1", "localhost", 1),
    ] {
        let error = Ledger::open(&refused).await.unwrap_err();
        assert!(error.message().contains("certificate"), "{error}");
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: see tests/system/cluster/postgres.py"]
async fn replaces_a_nul_which_postgresql_does_not_store() {
    let site = Site::postgres().await;
    let consumer = site.ledger.consumer("test").await.unwrap();
    site.store().put(upload("a", "1")).await.unwrap();
    let job = consumer.next().await.unwrap();
    assert!(job.bury("exit status\0 1").await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn fails_to_open_if_the_server_does_not_answer() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (address, reason) in [(silent.local_addr().unwrap(), "does not answer"), (refusing, "refused")] {
        let url = format!("postgres://kazoo:hunter2@{address}/kazoo");
        let error = Ledger::open(&url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.message().contains(reason), "{error}");
        assert!(
            error.message().contains(&format!("postgres://kazoo@{address}/kazoo")),
            "{error}"
        );
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}
