//! The receivers outside of this process, which come from a configuration.

use kazoo_storage::Result;

use crate::{
    consumer::activate,
    database::{Row, statement},
    ledger::Ledger,
};

/// A receiver that an earlier configuration had, and the number of events that it has not received.
#[derive(Debug)]
pub(crate) struct Abandoned {
    pub(crate) name: String,
    pub(crate) events: i64,
}

impl Ledger {
    /// Makes `names` the only active receivers whose names begin with `prefix`. Returns the others that have undelivered
    /// events, which stay.
    ///
    /// An event that is recorded meanwhile is kept for the receivers before or for those after, and for each that is in
    /// both.
    pub(crate) async fn set_receivers(&self, prefix: &str, names: &[String]) -> Result<Vec<Abandoned>> {
        const STOP: &str =
            "UPDATE receivers SET active = 0 WHERE active = 1 AND substr(name, 1, length(CAST($1 AS TEXT))) = $1";
        const ABANDONED: &str = "\
            SELECT name, events FROM ( \
                SELECT r.name, ( \
                    SELECT count(*) FROM outbox o WHERE o.receiver = r.name AND o.due_at IS NOT NULL) AS events \
                FROM receivers r WHERE r.active = 0 AND substr(r.name, 1, length(CAST($1 AS TEXT))) = $1) AS stopped \
            WHERE events > 0 ORDER BY name";
        let mut statements = vec![statement!(STOP, prefix)];
        statements.extend(names.iter().map(|name| activate(name)));
        self.write(statements).await?;
        let rows = self.read(statement!(ABANDONED, prefix)).await?;
        rows.into_iter().map(abandoned).collect()
    }
}

fn abandoned(mut row: Row) -> Result<Abandoned> {
    Ok(Abandoned {
        name: row.text()?,
        events: row.integer()?,
    })
}
