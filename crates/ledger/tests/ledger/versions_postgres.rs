//! A ledger opens the PostgreSQL databases that earlier versions wrote, with their files, events, holds and audit trail.

use std::{fmt::Write as _, fs};

use kazoo_storage_ledger::{
    Ledger,
    audit::{Action, Entry},
    holds::NewHold,
};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::{
    key,
    site::{Postgres, execute},
    versions::{VOICEMAIL, assert_kept, directory, fill},
};

/// The migrations, of which each schema has seen the first ones.
const MIGRATIONS: [&str; 4] = [
    include_str!("../../src/database/postgres/1.sql"),
    include_str!("../../src/database/postgres/2.sql"),
    include_str!("../../src/database/postgres/3.sql"),
    include_str!("../../src/database/postgres/4.sql"),
];

/// Returns the SQL that creates each database.
fn fixtures() -> Vec<String> {
    let versions = fs::read_dir(directory()).unwrap();
    let files = versions.flat_map(|version| fs::read_dir(version.unwrap().path()).unwrap());
    let paths = files.map(|file| file.unwrap().path());
    let fixtures = paths.filter(|path| path.extension().is_some_and(|extension| extension == "sql"));
    fixtures.map(|path| fs::read_to_string(path).unwrap()).collect()
}

#[tokio::test]
#[ignore = "needs PostgreSQL: see tests/system/cluster/postgres.py"]
async fn opens_every_postgres_ledger_of_an_earlier_version() {
    let fixtures = fixtures();
    let (mut with_holds, mut with_trail) = (0, 0);
    for fixture in &fixtures {
        let database = Postgres::new();
        execute(&database.url, fixture);
        let ledger = Ledger::open(&database.url).await.unwrap();
        assert_kept(&ledger).await;
        if fixture.contains("INSERT INTO holds ") {
            with_holds += 1;
            let holds = ledger.holds_of(&key(VOICEMAIL)).await.unwrap();
            assert_eq!(holds.len(), 1);
            assert_eq!((&*holds[0].reason, &*holds[0].author), ("lawsuit", "operator"));
            assert_eq!(holds[0].call_id.as_deref(), Some("b3f6"));
        }
        if fixture.contains("INSERT INTO audit ") {
            with_trail += 1;
            assert_trail_is_kept(&ledger).await;
        }
    }
    // The first three schemas have neither.
    assert!(fixtures.len() >= MIGRATIONS.len());
    assert_eq!((with_holds, with_trail), (fixtures.len() - 3, fixtures.len() - 3));
}

async fn assert_trail_is_kept(ledger: &Ledger) {
    let last = ledger.last_audit().await.unwrap();
    let entries = ledger.audit_after(0, 10).await.unwrap();
    let fetch = entries.iter().find(|entry| entry.action == "fetch").unwrap();
    assert_eq!(
        (fetch.name.as_deref(), fetch.address.as_deref(), &*fetch.outcome),
        (Some("kazoo"), Some("10.0.0.7"), "200")
    );
    assert_eq!(fetch.key, Some(key(VOICEMAIL)));
    // New entries continue the chain.
    assert_eq!(
        ledger.append_audit(&Entry::new(Action::Fetch, "404")).await.unwrap(),
        last + 1
    );
    let verified = ledger.verify_audit(|_| ()).await.unwrap();
    assert_eq!(verified.fault, None);
    assert_eq!(verified.entries, u64::try_from(last + 1).unwrap());
}

/// Writes the fixtures of this version: tests/fixtures/README.md has the command.
#[tokio::test]
#[ignore = "replaces the fixtures of this version, for a release; needs PostgreSQL"]
async fn write_the_fixtures_of_this_version() {
    let database = Postgres::new();
    let ledger = Ledger::open(&database.url).await.unwrap();
    fill(&ledger).await;
    ledger
        .add_hold(NewHold::new("lawsuit", "operator").call_id("b3f6"))
        .await
        .unwrap();
    let fetch = Entry::new(Action::Fetch, "200")
        .name(Some("kazoo"))
        .address("10.0.0.7".parse().ok())
        .key(&key(VOICEMAIL));
    ledger.append_audit(&fetch).await.unwrap();
    let newest = connect(&database.url).await;
    for version in 1..=MIGRATIONS.len() {
        // No release had the older schemas.
        let name = match version {
            version if version == MIGRATIONS.len() => "ledger-postgres.sql".to_owned(),
            version => format!("ledger-postgres-schema-{version}.sql"),
        };
        let mut sql = schema(version);
        let empty = Postgres::new();
        execute(&empty.url, &sql);
        sql.push_str(&rows(&newest, &connect(&empty.url).await).await);
        fs::write(directory().join("0.1").join(name), sql).unwrap();
    }
}

/// Returns the SQL that creates the tables of a `version` of the schema.
fn schema(version: usize) -> String {
    let create = "CREATE SCHEMA kazoo_storage;\nSET search_path = kazoo_storage;\nCREATE TABLE ledger_schema (version BIGINT NOT NULL);\n";
    let migrations = MIGRATIONS[..version].join("\n");
    format!("{create}INSERT INTO ledger_schema VALUES ({version});\n\n{migrations}\n-- The rows.\n")
}

/// Returns the SQL that gives the tables of `old`, which has an older or the same schema, the rows of `newest`.
async fn rows(newest: &Client, old: &Client) -> String {
    const COLUMNS: &str = "SELECT table_name, string_agg(column_name, ', ' ORDER BY ordinal_position), \
        string_agg('quote_nullable(' || column_name || ')', ', ' ORDER BY ordinal_position) \
        FROM information_schema.columns WHERE table_schema = 'kazoo_storage' AND table_name <> 'ledger_schema' \
        GROUP BY table_name ORDER BY table_name";
    // A migration adds the others.
    let states = select(old, "SELECT string_agg(quote_literal(name), ', ') FROM state").await;
    let mut sql = String::new();
    for table in select(old, COLUMNS).await {
        let [name, columns, quoted] = &table[..] else {
            panic!("{table:?}")
        };
        let condition = match &**name {
            "state" => format!("WHERE name IN ({})", states[0][0]),
            _ => String::new(),
        };
        let values = format!("SELECT concat_ws(', ', {quoted}) FROM {name} {condition} ORDER BY {columns}");
        writeln!(sql, "DELETE FROM {name};").unwrap();
        for row in select(newest, &values).await {
            let values = &row[0];
            // The database numbers the events.
            writeln!(
                sql,
                "INSERT INTO {name} ({columns}) OVERRIDING SYSTEM VALUE VALUES ({values});"
            )
            .unwrap();
        }
    }
    let last = select(newest, "SELECT MAX(seq) + 1 FROM outbox").await;
    writeln!(sql, "ALTER TABLE outbox ALTER COLUMN seq RESTART WITH {};", last[0][0]).unwrap();
    sql
}

/// Returns the rows of `sql`, which has no NULL.
async fn select(client: &Client, sql: &str) -> Vec<Vec<String>> {
    let messages = client.simple_query(sql).await.unwrap().into_iter();
    let rows = messages.filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    rows.map(|row| {
        (0..row.len())
            .map(|column| row.get(column).unwrap().to_owned())
            .collect()
    })
    .collect()
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("SET search_path = kazoo_storage").await.unwrap();
    client
}
